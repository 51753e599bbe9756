//! Directives and blocks, with every `include` already in its place.
//!
//! Reading never fails: each mistake is reported, repaired in the likeliest way, and reading goes on.

use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, MAX_FINDINGS, Severity};
use crate::directives;
use crate::mime;
use crate::source::{Reader, Sources, Span};
use crate::token::{Token, Tokens, Word};

/// A directive with its arguments and, if it has one, its block.
#[derive(Debug, Clone)]
pub(crate) struct Directive {
    /// Its name.
    pub(crate) name: Word,
    /// Its arguments.
    pub(crate) args: Vec<Word>,
    /// What stands between `{` and `}`.
    pub(crate) block: Option<Vec<Directive>>,
    /// From its name to its last argument.
    pub(crate) span: Span,
}

/// Blocks inside blocks, more than any configuration needs.
const MAX_DEPTH: usize = 64;
/// Files that include files.
const MAX_INCLUDE_DEPTH: usize = 16;
/// Files in all.
const MAX_FILES: usize = 4096;
/// Blocks whose entries are data: a word there is never the name of a directive.
const DATA_BLOCKS: &[&str] = &["map", "types", "geo", "split_clients", "charset_map", "match"];

/// Reads files into a tree.
pub(crate) struct Parser<'a> {
    reader: &'a dyn Reader,
    folder: PathBuf,
    /// Texts read so far.
    pub(crate) sources: Sources,
    /// Mistakes found so far.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Files being read now, outermost first.
    open: Vec<PathBuf>,
    /// An `include` that cannot be followed is no error, and stays in the tree.
    pub(crate) keep_includes: bool,
}

/// A block whose `}` has not come yet.
struct Unclosed {
    head: Option<Directive>,
    items: Vec<Directive>,
    open: Span,
}

impl<'a> Parser<'a> {
    /// A parser whose includes count from `folder`.
    pub(crate) fn new(reader: &'a dyn Reader, folder: &Path) -> Parser<'a> {
        let (sources, diagnostics) = (Sources::default(), Vec::new());
        Parser {
            reader,
            folder: folder.to_owned(),
            sources,
            diagnostics,
            open: Vec::new(),
            keep_includes: false,
        }
    }

    /// Reads the configuration file.
    pub(crate) fn file(&mut self, path: &Path) -> Vec<Directive> {
        match self.reader.read(path) {
            Ok(bytes) => self.text(path, bytes, ""),
            Err(error) => {
                let message = format!("cannot open \"{}\": {error}", path.display());
                self.diagnostics
                    .push(Diagnostic { span: None, ..Diagnostic::error(Span::default(), message) });
                Vec::new()
            }
        }
    }

    /// Reads a text that stands inside a block named `outer`.
    pub(crate) fn text(&mut self, path: &Path, bytes: Vec<u8>, outer: &str) -> Vec<Directive> {
        let file = self.sources.add(path.to_owned(), bytes);
        let text = self.sources.files()[file as usize].text.clone();
        self.open.push(path.to_owned());
        let items =
            Reading { parser: self, text: &text, stack: Vec::new(), items: Vec::new(), outer, suspect: None }
                .run(Tokens::new(&text, file));
        self.open.pop();
        items
    }

    /// What an `include` brings in.
    fn include(&mut self, directive: &Directive, outer: &str) -> Vec<Directive> {
        let word = &directive.args[0];
        let path = self.folder.join(&word.value);
        if !word.value.contains(['*', '?', '[']) {
            return self.include_file(&path, directive, outer);
        }
        match self.reader.glob(&path) {
            Ok(paths) => paths.iter().flat_map(|path| self.include_file(path, directive, outer)).collect(),
            Err(error) => {
                let message = format!("cannot look for \"{}\": {error}", path.display());
                self.diagnostics.push(Diagnostic::error(word.span, message));
                Vec::new()
            }
        }
    }

    fn include_file(&mut self, path: &Path, directive: &Directive, outer: &str) -> Vec<Directive> {
        let (shown, word) = (path.display(), &directive.args[0]);
        if self.open.iter().any(|open| open == path) {
            let message = format!("\"{shown}\" includes itself");
            self.diagnostics
                .push(Diagnostic::error(word.span, message).label("this file is being read already"));
            return Vec::new();
        }
        if self.open.len() >= MAX_INCLUDE_DEPTH || self.sources.files().len() >= MAX_FILES {
            let message = format!("too many files are included, \"{shown}\" is left out");
            let help = format!("at most {MAX_INCLUDE_DEPTH} files inside each other and {MAX_FILES} in all");
            self.diagnostics.push(Diagnostic::error(word.span, message).help(help));
            return Vec::new();
        }
        match self.reader.read(path) {
            Ok(bytes) => self.text(path, bytes, outer),
            Err(error) => {
                let message = format!("cannot open \"{shown}\": {error}");
                if path.file_name().is_some_and(|name| name == "mime.types") {
                    let note = Diagnostic::note(word.span, message);
                    self.diagnostics
                        .push(note.help("the usual types of files, which Longwire knows, are taken"));
                    return self.text(path, mime::usual_types().into_bytes(), outer);
                }
                if self.keep_includes {
                    let warning = Diagnostic::warning(word.span, message);
                    self.diagnostics
                        .push(warning.help("what it says is not known, and nothing is said about it"));
                    return vec![directive.clone()];
                }
                let mistake = Diagnostic::error(word.span, message)
                    .help("a relative path counts from the folder of the configuration file")
                    .help("with a mask such as \"*.conf\" it is no mistake when no file matches");
                self.diagnostics.push(mistake);
                Vec::new()
            }
        }
    }
}

/// One file being read.
struct Reading<'p, 'a, 't> {
    parser: &'p mut Parser<'a>,
    text: &'t str,
    stack: Vec<Unclosed>,
    /// Items of the innermost open block.
    items: Vec<Directive>,
    /// Name of the block that includes this file.
    outer: &'t str,
    /// A block whose `}` seems to be missing, judged by indentation.
    suspect: Option<Span>,
}

impl Reading<'_, '_, '_> {
    fn run(mut self, mut tokens: Tokens<'_>) -> Vec<Directive> {
        let mut words = Vec::new();
        while let Some(token) = tokens.next() {
            match token {
                Token::Word(word) => words.push(word),
                Token::Semicolon(span) if words.is_empty() => self.unexpected(span, ";"),
                Token::Semicolon(_) => self.finish(&mut words),
                Token::Open(span) => {
                    self.opened(std::mem::take(&mut words), span);
                    if self.stack.last().is_some_and(Unclosed::is_lua) {
                        tokens.skip_lua();
                    } else if self.stack.len() >= MAX_DEPTH {
                        tokens.skip_block();
                    }
                }
                Token::Close(span) => {
                    if let Some(last) = words.last() {
                        let mistake = Diagnostic::error(last.span, "unexpected \"}\"")
                            .label("\";\" is missing after this");
                        self.report(mistake);
                        self.finish(&mut words);
                    }
                    self.closed(span);
                }
            }
        }
        self.end(words, &mut tokens);
        self.items
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        let is_error = |found: &&Diagnostic| found.severity == Severity::Error;
        if self.parser.diagnostics.iter().filter(is_error).count() <= MAX_FINDINGS {
            self.parser.diagnostics.push(diagnostic);
        }
    }

    fn unexpected(&mut self, span: Span, what: &str) {
        self.report(
            Diagnostic::error(span, format!("unexpected \"{what}\""))
                .label("no directive stands before this"),
        );
    }

    fn outer(&self) -> &str {
        match self.stack.last() {
            Some(block) => block.head.as_ref().map_or("", |head| &head.name.value),
            None => self.outer,
        }
    }

    /// A directive has come to its `;`.
    fn finish(&mut self, words: &mut Vec<Word>) {
        for directive in self.directives(std::mem::take(words), false) {
            if directive.name.value == "include" && directive.args.len() == 1 {
                let outer = self.outer().to_owned();
                let included = self.parser.include(&directive, &outer);
                self.items.extend(included);
            } else {
                self.items.push(directive);
            }
        }
    }

    /// Makes a directive of words, or several where a `;` was forgotten at the end of a line.
    fn directives(&mut self, words: Vec<Word>, opens: bool) -> Vec<Directive> {
        let (mut directives, mut current) = (Vec::new(), Vec::<Word>::new());
        let is_data = DATA_BLOCKS.contains(&self.outer());
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            let has_more = opens || words.peek().is_some();
            if let (Some(name), Some(last)) = (current.first(), current.last())
                && !is_data
                && self.is_next_directive(last, &word, has_more)
            {
                let name = &name.value;
                let message = format!("directive \"{name}\" is not terminated by \";\"");
                let begins = &word.value;
                let mistake = Diagnostic::error(last.span, message)
                    .label("\";\" is missing after this")
                    .help(format!("the next line, which begins with \"{begins}\", is read as more arguments of \"{name}\""));
                self.report(mistake);
                directives.extend(directive(std::mem::take(&mut current)));
            }
            current.push(word);
        }
        directives.extend(directive(current));
        directives
    }

    /// Whether a word among arguments begins a line with what can only be the next directive.
    fn is_next_directive(&self, last: &Word, word: &Word, has_more: bool) -> bool {
        let gap = self.text.get(last.span.end as usize..word.span.start as usize);
        let is_first_on_line = gap.is_some_and(|gap| gap.contains('\n'));
        is_first_on_line && !word.quoted && directives::is_name(&word.value, has_more)
    }

    fn opened(&mut self, words: Vec<Word>, open: Span) {
        if words.is_empty() {
            self.unexpected(open, "{");
        }
        let mut directives = self.directives(words, true);
        let head = directives.pop();
        self.items.extend(directives);
        if self.stack.len() + 1 == MAX_DEPTH {
            self.report(Diagnostic::error(open, format!("more than {MAX_DEPTH} blocks inside each other")));
        }
        self.stack.push(Unclosed { head, items: std::mem::take(&mut self.items), open });
    }

    fn closed(&mut self, close: Span) {
        let Some(block) = self.stack.pop() else {
            let mistake =
                Diagnostic::error(close, "unexpected \"}\"").label("closes nothing: no block is open here");
            return self.report(mistake);
        };
        let inside = std::mem::replace(&mut self.items, block.items);
        if let Some(head) = block.head {
            let (opens_at, closes_at) = (self.indent(head.span), self.indent(close));
            if self.suspect.is_none() && matches!((opens_at, closes_at), (Some(a), Some(b)) if a > b) {
                self.suspect = Some(block.open);
            }
            self.items.push(Directive { block: Some(inside), ..head });
        }
    }

    /// How far a place is indented, if nothing but space stands before it.
    fn indent(&self, span: Span) -> Option<usize> {
        let before = self.text.get(..span.start as usize)?;
        let before = &before[before.rfind('\n').map_or(0, |newline| newline + 1)..];
        before.trim().is_empty().then(|| before.chars().count())
    }

    fn end(&mut self, mut words: Vec<Word>, tokens: &mut Tokens<'_>) {
        let quote_open = tokens.quote_open;
        self.parser.diagnostics.append(&mut tokens.mistakes);
        if let Some(last) = words.last().filter(|_| !quote_open) {
            let message = "unexpected end of file, expecting \";\" or \"}\"";
            self.report(Diagnostic::error(last.span, message).label("\";\" is missing after this"));
            self.finish(&mut words);
        }
        if let Some(block) = self.stack.last() {
            let place = self.suspect.unwrap_or(block.open);
            let label = if self.suspect.is_some() {
                "this block seems not to be closed"
            } else {
                "this block is not closed"
            };
            if !quote_open {
                self.report(Diagnostic::error(place, "unexpected end of file, expecting \"}\"").label(label));
            }
            let end = tokens.end();
            while !self.stack.is_empty() {
                self.closed(end);
            }
        }
    }
}

impl Unclosed {
    /// Whether another language stands inside.
    fn is_lua(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.name.value.ends_with("_by_lua_block"))
    }
}

fn directive(words: Vec<Word>) -> Option<Directive> {
    let span = words.first()?.span.to(words.last()?.span);
    let mut words = words.into_iter();
    Some(Directive { name: words.next()?, args: words.collect(), block: None, span })
}
