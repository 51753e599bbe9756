//! Variables made by `geo` and `split_clients`.

use std::collections::{BTreeMap, HashMap};

use crate::cidr::Cidr;
use crate::template::Template;

/// `geo [$ADDRESS] $VARIABLE { ... }`.
#[derive(Debug, Clone, Default)]
pub struct Geo {
    /// What address is looked up; `None` is the client's.
    pub source: Option<Template>,
    /// Values of networks; the smallest that has the address decides. Empty with `ranges`.
    pub nets: HashMap<Cidr, String>,
    /// `ranges`: values by the first IPv4 address of a range, with the last one; none overlaps another.
    pub ranges: BTreeMap<u32, (u32, String)>,
    /// Whether `ranges` was written.
    pub by_ranges: bool,
    /// `default`; empty when not written.
    pub default: String,
    /// `proxy`: whose `X-Forwarded-For` is taken for the client's address.
    pub proxies: Vec<Cidr>,
    /// `proxy_recursive`.
    pub proxy_recursive: bool,
}

/// `split_clients KEY $VARIABLE { ... }`.
#[derive(Debug, Clone)]
pub struct Split {
    /// What is hashed.
    pub key: Template,
    /// Values in order, each with the hash below which it is taken; 0 takes all that is left (`*`).
    pub parts: Vec<(u32, String)>,
}
