//! nginx's configuration language: text -> tokens -> tree -> typed model, with diagnostics that show the line.
//!
//! No file is opened and no socket made here: texts come through a [`Reader`] that the caller passes in.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::path::Path;

mod address;
mod build;
pub mod check;
pub mod cidr;
mod ciphers;
pub mod diagnostic;
mod directives;
mod level;
mod mime;
pub mod model;
mod names;
pub mod pattern;
mod redact;
mod resolve;
pub mod source;
pub mod template;
mod token;
mod tree;
pub mod value;

use build::Builder;
use diagnostic::MAX_FINDINGS;
use names::Names;
use token::Word;
use tree::Directive;

pub use diagnostic::{Diagnostic, Severity};
pub use redact::redacted;
pub use source::{Reader, Sources, Span};

/// What is to be loaded.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The configuration file. Relative paths of `include` and of certificates count from its
    /// folder, those of logs and the pid file from `prefix`.
    pub file: &'a Path,
    /// `-p`: what relative paths of logs and the pid file count from.
    pub prefix: &'a Path,
    /// `-g`: directives for the main context, read after the file.
    pub globals: Option<&'a str>,
    /// `--allow-unsupported`: what Longwire will never have answers 501 instead of being an error.
    pub allow_unsupported: bool,
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
pub fn load(reader: &dyn Reader, input: Input<'_>) -> Loaded {
    let folder = input.file.parent().unwrap_or(Path::new(""));
    let mut parser = tree::Parser::new(reader, folder);
    let (mut tree, frame) = inside_http(parser.file(input.file));
    if let Some(globals) = input.globals {
        tree.extend(parser.text(Path::new("-g"), globals.as_bytes().to_vec(), ""));
    }
    let mut builder =
        Builder::new(&parser.sources, input.prefix, folder, Names::collect(&tree, input.allow_unsupported));
    builder.allow_unsupported = input.allow_unsupported;
    builder.diagnostics.append(&mut parser.diagnostics);
    builder.frame = frame;
    builder.config.log_formats.extend(directives::formats());
    builder.walk(&tree);
    resolve::servers(&mut builder);
    builder.finish_notes();
    builder.config.has_set = !builder.names.set.is_empty();
    if builder.config.log_json {
        builder.config.log_formats[0] = builder.config.log_formats[2].clone();
    }
    let (mut config, mut diagnostics) = (builder.config, builder.diagnostics);
    config.upstreams.append(&mut builder.implicit);
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.map(|span| (span.file, span.start)));
    once_each(&mut diagnostics, &parser.sources);
    let has_errors = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    Loaded { config: (!has_errors).then_some(config), diagnostics, sources: parser.sources }
}

/// The page about all directives and variables, in Markdown, written from the table that reads them.
pub fn reference() -> String {
    directives::reference::page()
}

/// A file that is included several times says what is wrong with it once; and there is an end to findings.
fn once_each(diagnostics: &mut Vec<Diagnostic>, sources: &Sources) {
    let mut seen = HashSet::new();
    diagnostics.retain(|diagnostic| {
        let place = |span: Span| (sources.files().get(span.file as usize).map(|file| &file.path), span.start);
        seen.insert((diagnostic.span.map(place), diagnostic.message.clone()))
    });
    if diagnostics.len() > MAX_FINDINGS {
        // Errors are what must be seen when not all can be.
        diagnostics.sort_by_key(|diagnostic| diagnostic.severity);
        diagnostics.truncate(MAX_FINDINGS);
        let more = Diagnostic::note(Span::default(), "there are more findings, which are not shown");
        diagnostics.push(Diagnostic { span: None, ..more });
    }
}

/// What a file without `http {}` was taken for, and the directive that decided it.
#[derive(Debug)]
enum Frame {
    /// It has the block.
    Whole,
    /// The inside of the block.
    Inside(String),
    /// A whole file, though the block is missing.
    Outside(String),
}

/// A file that begins with a directive of `http` is the inside of that block.
fn inside_http(tree: Vec<Directive>) -> (Vec<Directive>, Frame) {
    if tree.iter().any(|directive| directive.name.value == "http") {
        return (tree, Frame::Whole);
    }
    let decides = |directive: &Directive| {
        let name = &directive.name.value;
        directives::is_inside_http(name).map(|inside| (inside, name.clone()))
    };
    match (tree.first(), tree.iter().find_map(decides)) {
        (Some(first), Some((true, decider))) => {
            let span = first.span;
            let name = Word { value: "http".to_owned(), span, quoted: false };
            let http = Directive { name, args: Vec::new(), block: Some(tree), span };
            (vec![http], Frame::Inside(decider))
        }
        (_, Some((false, decider))) => (tree, Frame::Outside(decider)),
        _ => (tree, Frame::Whole),
    }
}
