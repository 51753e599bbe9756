//! nginx's configuration language: text -> tokens -> tree -> typed model, with diagnostics that show the line.
//!
//! No file is opened and no socket made here: texts come through a [`Reader`] that the caller passes in.

use std::path::Path;

pub mod diagnostic;
pub mod model;
pub mod source;
pub mod template;

pub use diagnostic::{Diagnostic, Severity};
pub use source::{Reader, Sources, Span};

/// What is to be loaded.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The configuration file. Relative paths of `include` count from its folder, other paths from `prefix`.
    pub file: &'a Path,
    /// `-p`: what relative paths of logs, pid file and certificates count from.
    pub prefix: &'a Path,
    /// `-g`: directives for the main context, read after the file.
    pub globals: Option<&'a str>,
}

/// What came of it. Loading never fails: it gives a model, or all the reasons why there is none.
#[derive(Debug)]
pub struct Loaded {
    /// The model; `None` when any diagnostic is an error.
    pub config: Option<model::Config>,
    /// Everything found, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts that diagnostics point into.
    pub sources: Sources,
}

/// Reads a configuration with everything that it includes.
pub fn load(_reader: &dyn Reader, _input: Input<'_>) -> Loaded {
    todo!()
}
