//! What is wrong with a configuration, said to a tired person: place, line, what it means, what would be right.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::source::{Sources, Span};

/// More findings than anybody reads: reading ends there.
pub(crate) const MAX_FINDINGS: usize = 500;

/// How bad a [`Diagnostic`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// An error at a place.
    pub fn error(span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Error, span, message)
    }

    /// A warning at a place.
    pub fn warning(span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Warning, span, message)
    }

    /// A note at a place.
    pub fn note(span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Note, span, message)
    }

    fn new(severity: Severity, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity, span: Some(span), message: message.into(), label: None, help: Vec::new() }
    }

    /// Sets the word at the marked place.
    pub fn label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = Some(label.into());
        self
    }

    /// Adds a line that says what would be right.
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help.push(help.into());
        self
    }

    /// As text for a terminal or a log: the line, the mark under it, and the help. Ends with a newline.
    pub fn render(&self, sources: &Sources, color: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Note => Level::NOTE,
        };
        let title = level.primary_title(self.message.as_str());
        let mut group = match self.span.and_then(|span| self.excerpt(sources, span)) {
            Some(snippet) => title.element(snippet),
            None => Group::with_title(title),
        };
        for help in &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut text = renderer.decor_style(DecorStyle::Ascii).render(&[group]);
        text.push('\n');
        text
    }

    /// In one line, as nginx's error log has it: what, where, and what would be right.
    pub fn line(&self, sources: &Sources) -> String {
        let mut text = self.message.clone();
        if let Some((path, line, _)) = self.span.map(|span| sources.locate(span)) {
            text.push_str(&format!(" in {}:{line}", path.display()));
        }
        if !self.help.is_empty() {
            text.push_str(&format!(" (help: {})", self.help.join(" ")));
        }
        text
    }

    /// The line of the span with the mark under it; a span of several lines is marked on its first.
    fn excerpt<'a>(
        &'a self,
        sources: &'a Sources,
        span: Span,
    ) -> Option<Snippet<'a, annotate_snippets::Annotation<'a>>> {
        let text = &sources.files().get(span.file as usize)?.text;
        let (path, number, _) = sources.locate(span);
        let before = text.get(..span.start as usize)?;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[start..].lines().next().unwrap_or("");
        let from = span.start as usize - start;
        let to = (span.end as usize - start).min(line.len()).max(from);
        let mut mark = AnnotationKind::Primary.span(from..to);
        if let Some(label) = &self.label {
            mark = mark.label(label.as_str());
        }
        Some(Snippet::source(line).line_start(number).path(path.to_string_lossy()).annotation(mark))
    }
}
