//! `admin`.

use std::path::PathBuf;

use super::{Address, Spanned};

/// An address where the process is looked at and steered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub address: Address,
    /// `token=FILE`: who knows what stands there may change things.
    pub token: Option<Spanned<PathBuf>>,
    /// `name=HOST`: names under which it is asked for, in lower case.
    pub names: Vec<String>,
    /// `public`: others than this machine may reach it.
    pub public: bool,
}
