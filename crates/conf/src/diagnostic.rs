//! What is wrong with a configuration, said to a tired person: place, line, what it means, what would be right.

use crate::source::{Sources, Span};

/// How bad a [`Diagnostic`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but probably does not do what was meant.
    Warning,
    /// Accepted without effect; shown by `-t` only.
    Note,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Where; `None` when it belongs to no place in a file.
    pub span: Option<Span>,
    /// What is wrong, without a full stop.
    pub message: String,
    /// A short word at the marked place.
    pub label: Option<String>,
    /// What would be right, each a line.
    pub help: Vec<String>,
}

impl Diagnostic {
    /// As text for a terminal or a log: the line, the mark under it, and the help. Ends with a newline.
    pub fn render(&self, _sources: &Sources, _color: bool) -> String {
        todo!()
    }
}
