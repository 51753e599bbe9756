//! From the tree to the model: walks the directives, checks each against its table entry and lets it set its value.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Frame;
use crate::diagnostic::{Diagnostic, MAX_FINDINGS, Severity};
use crate::directives::{self, Class, Context, Entry};
use crate::level::Level;
use crate::model::{Address, At, Config, Matcher, Spanned, Unsupported, Upstream};
use crate::names::Names;
use crate::source::{Sources, Span};
use crate::template::{Mistake, Part, Template, Variable};
use crate::token::Word;
use crate::tree::Directive;
use crate::value;

/// What is known while directives are read.
pub(crate) struct Builder<'a> {
    /// The texts, for marking a part of a word.
    sources: &'a Sources,
    /// What relative paths of logs and the pid file count from.
    pub(crate) prefix: &'a Path,
    /// What relative paths of certificates count from: the configuration file's folder.
    pub(crate) folder: &'a Path,
    /// Everything found so far.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Names that may be used before they are defined.
    pub(crate) names: Names,
    /// Whether the file is the inside of `http {}`.
    pub(crate) frame: Frame,
    /// The block being read.
    pub(crate) context: Context,
    /// Settings typed in it.
    pub(crate) level: Level,
    /// Levels around it that matter to their inside: what the enclosing locations match.
    pub(crate) enclosing: Vec<Matcher>,
    /// Groups made for fixed addresses in `proxy_pass`.
    pub(crate) implicit: Vec<Upstream>,
    /// Where in `implicit` the group of an address stands.
    pub(crate) by_address: HashMap<Address, usize>,
    /// The `http` block, once read.
    pub(crate) http: Option<Level>,
    /// The model as far as it is finished.
    pub(crate) config: Config,
    /// `--allow-unsupported`.
    pub(crate) allow_unsupported: bool,
    /// Variables without a value in the directive being read: the last one and where it stands.
    without_value: Option<(String, Span)>,
    /// Groups that need what there will never be, by index.
    pub(crate) unsupported_groups: HashMap<usize, Unsupported>,
    /// The first `otel_trace`.
    pub(crate) otel_trace: Option<Span>,
    /// How many of the findings are errors.
    errors: usize,
    /// Accepted without effect: where first, and how often.
    accepted: BTreeMap<String, (Span, usize, &'static str)>,
}

impl<'a> Builder<'a> {
    /// A builder for a tree whose names are known.
    pub(crate) fn new(sources: &'a Sources, prefix: &'a Path, folder: &'a Path, names: Names) -> Builder<'a> {
        Builder {
            sources,
            prefix,
            folder,
            names,
            diagnostics: Vec::new(),
            frame: Frame::Whole,
            context: Context::Main,
            level: Level::default(),
            enclosing: Vec::new(),
            implicit: Vec::new(),
            by_address: HashMap::new(),
            http: None,
            config: Config::default(),
            allow_unsupported: false,
            without_value: None,
            unsupported_groups: HashMap::new(),
            otel_trace: None,
            errors: 0,
            accepted: BTreeMap::new(),
        }
    }

    /// Takes a finding.
    pub(crate) fn report(&mut self, diagnostic: Diagnostic) {
        self.errors += usize::from(diagnostic.severity == Severity::Error);
        self.diagnostics.push(diagnostic);
    }

    /// Whether something is wrong at or behind a place in its file, as far as is known: what is missing there may
    /// only be missing for that.
    pub(crate) fn has_errors_from(&self, place: Span) -> bool {
        self.diagnostics
            .iter()
            .filter(|found| found.severity == Severity::Error)
            .any(|found| found.span.is_some_and(|span| span.file == place.file && span.start >= place.start))
    }

    /// Takes a finding that inheritance may bring up several times.
    pub(crate) fn report_once(&mut self, diagnostic: Diagnostic) {
        if !self.diagnostics.contains(&diagnostic) {
            self.report(diagnostic);
        }
    }

    /// Reads the directives of the block at hand.
    pub(crate) fn walk(&mut self, directives: &[Directive]) {
        for directive in directives {
            if self.errors > MAX_FINDINGS {
                return;
            }
            self.directive(directive);
        }
    }

    /// Reads a block of settings inside the one at hand, and gives what was typed in it.
    pub(crate) fn inside(&mut self, context: Context, directive: &Directive, level: Level) -> Level {
        let outer = std::mem::replace(&mut self.level, Level { span: directive.span, ..level });
        self.within(context, directive);
        std::mem::replace(&mut self.level, outer)
    }

    /// Reads a block in another context.
    pub(crate) fn within(&mut self, context: Context, directive: &Directive) {
        let outer = std::mem::replace(&mut self.context, context);
        self.walk(directive.block.as_deref().unwrap_or_default());
        self.context = outer;
    }

    /// Where a line ends among words that should stand in one: there a `;` is missing.
    pub(crate) fn line_end(&self, words: &[&Word]) -> Option<Span> {
        let ends = |pair: &&[&Word]| {
            let (before, after) = (pair[0].span, pair[1].span);
            self.sources
                .text(Span { end: after.start.max(before.end), start: before.end, ..before })
                .contains('\n')
        };
        words.windows(2).find(ends).map(|pair| pair[0].span)
    }

    /// Quotes out of a word processor, which are letters here.
    fn typographic_quotes(&mut self, directive: &Directive) {
        for word in directive
            .args
            .iter()
            .filter(|word| !word.quoted && word.value.starts_with(['“', '”', '„', '‘', '’']))
        {
            let message =
                format!("the quotes of {} are typographic, which makes them a part of the value", word.value);
            self.diagnostics.push(Diagnostic::warning(word.span, message).help("write \" or ' instead"));
        }
    }

    fn directive(&mut self, directive: &Directive) {
        self.typographic_quotes(directive);
        let Some(entry) = directives::find(&directive.name.value, self.context) else {
            return self.report(directives::suggest::unknown(directive, self.context));
        };
        if let Class::Refused | Class::Unsupported(_) = entry.class {
            let reason = match directive.args.as_slice() {
                [word] if word.value == "off" => Some("\"off\" is how it is here"),
                [word] if word.value == "0" => Some("no limit is how it is here"),
                _ => None,
            };
            if let Some(reason) = reason {
                self.supported(entry);
                return self.without_effect(&directive.name.value, directive.span, reason);
            }
            return match entry.class {
                Class::Unsupported(lack) if self.allow_unsupported => {
                    self.unsupported(directive, entry, lack);
                }
                _ => self.report(refusal(directive, entry)),
            };
        }
        if !entry.contexts.contains(&self.context) {
            let mistake = directives::suggest::misplaced(directive, entry, self.context);
            let Some(help) = directives::suggest::frame(entry, self.context, &self.frame) else {
                return self.report(mistake);
            };
            // The first says it for all.
            self.frame = Frame::Whole;
            return self.report(mistake.help(help));
        }
        if let Some(mistake) = wrong_shape(directive, entry) {
            return self.report(self.ran_on(directive).unwrap_or(mistake));
        }
        self.swallowed_lines(directive);
        match entry.class {
            Class::Implemented(set) => {
                if !entry.repeats && self.is_duplicate(directive, entry) {
                    return;
                }
                let outer = self.without_value.take();
                set(self, directive);
                if let Some((variable, span)) = std::mem::replace(&mut self.without_value, outer) {
                    self.uses_unsupported(directive, &variable, span);
                }
            }
            Class::Accepted if !directives::values::check(self, directive, entry) => {}
            Class::Accepted | Class::Refused | Class::Unsupported(_) => {
                self.without_effect(&directive.name.value, directive.span, entry.text)
            }
        }
    }

    /// A quoted word over several lines in a directive whose arguments make no sense: its quote was probably meant to
    /// end before.
    fn ran_on(&self, directive: &Directive) -> Option<Diagnostic> {
        let is_long = |word: &&Word| word.quoted && self.sources.text(word.span).contains('\n');
        let word = directive.args.iter().find(is_long)?;
        let message = format!("invalid number of arguments in \"{}\" directive", directive.name.value);
        Some(Diagnostic::error(word.span, message).label(self.opened_and_closed(word)).help(QUOTE_HELP))
    }

    /// A quoted word that has taken in lines which look like directives, although all is well without them.
    fn swallowed_lines(&mut self, directive: &Directive) {
        if self.diagnostics.len() > MAX_FINDINGS {
            return;
        }
        let takes_in = |word: &&Word| {
            let text = self.sources.text(word.span);
            let mut lines = text.lines();
            let ends_line = |line: &str| line.trim_end().ends_with(';');
            let is_directive = |line: &str| {
                let (name, rest) = line.trim().split_once([' ', '\t']).unwrap_or(("", ""));
                !rest.is_empty() && directives::is_name(name, true)
            };
            word.quoted && lines.next().is_some_and(ends_line) && lines.any(is_directive)
        };
        if let Some(word) = directive.args.iter().find(takes_in) {
            let message = "a quoted value has lines in it that look like directives";
            let warning = Diagnostic::warning(word.span, message).label(self.opened_and_closed(word));
            self.report(warning.help(QUOTE_HELP));
        }
    }

    /// From which line to which a quoted word runs.
    fn opened_and_closed(&self, word: &Word) -> String {
        let (_, first, _) = self.sources.locate(word.span);
        let last = first + self.sources.text(word.span).matches('\n').count();
        format!("the quote that opens in line {first} runs on to line {last}")
    }

    pub(crate) fn is_duplicate(&mut self, directive: &Directive, entry: &Entry) -> bool {
        let first = self.level.seen.insert(entry.name, directive.span);
        if let Some(first) = first {
            let (_, line, _) = self.sources.locate(first);
            self.report(
                Diagnostic::error(directive.span, format!("\"{}\" directive is duplicate", entry.name))
                    .label(format!("stands in line {line} already"))
                    .help("keep the one that is meant"),
            );
        }
        first.is_some()
    }

    /// Notes a directive that changes nothing here, with the reason. One note tells of all places.
    pub(crate) fn without_effect(&mut self, name: &str, span: Span, reason: &'static str) {
        self.accepted.entry(name.to_owned()).or_insert((span, 0, reason)).1 += 1;
    }

    /// Turns what was accepted without effect into notes.
    pub(crate) fn finish_notes(&mut self) {
        for (name, (span, times, reason)) in std::mem::take(&mut self.accepted) {
            let times = if times > 1 { format!(" ({times} times)") } else { String::new() };
            self.report(Diagnostic::note(span, format!("\"{name}\" has no effect{times}: {reason}")));
        }
    }

    /// Reports a value that cannot be read.
    pub(crate) fn invalid(&mut self, directive: &Directive, word: &Word, what: &str, help: &str) {
        let message = format!("\"{}\" directive invalid value", directive.name.value);
        self.report(Diagnostic::error(word.span, message).label(format!("not {what}")).help(help));
    }

    /// The only argument as a time.
    pub(crate) fn time(&mut self, directive: &Directive) -> Option<Duration> {
        self.time_of(directive, &directive.args[0])
    }

    /// An argument as a time.
    pub(crate) fn time_of(&mut self, directive: &Directive, word: &Word) -> Option<Duration> {
        let time = value::time(&word.value);
        if time.is_none() {
            self.invalid(directive, word, "a time", TIME_HELP);
        }
        time
    }

    /// The only argument as a time in whole seconds.
    pub(crate) fn seconds(&mut self, directive: &Directive) -> Option<Duration> {
        let time = value::seconds(&directive.args[0].value);
        if time.is_none() {
            self.invalid(directive, &directive.args[0], "a time in seconds", TIME_HELP);
        }
        time
    }

    /// An argument as a size.
    pub(crate) fn size(&mut self, directive: &Directive, word: &Word) -> Option<u64> {
        let size = value::size(&word.value);
        if size.is_none() {
            self.invalid(
                directive,
                word,
                "a size",
                "write bytes, or a number with k, m or g behind it: \"64k\", \"10m\"",
            );
        }
        size
    }

    /// The only argument as a number.
    pub(crate) fn number(&mut self, directive: &Directive) -> Option<u64> {
        let number = value::number(&directive.args[0].value);
        if number.is_none() {
            self.invalid(directive, &directive.args[0], "a number", "write digits only");
        }
        number
    }

    /// The only argument as `on` or `off`.
    pub(crate) fn flag(&mut self, directive: &Directive) -> Option<bool> {
        let word = &directive.args[0];
        match word.value.to_ascii_lowercase().as_str() {
            "on" => Some(true),
            "off" => Some(false),
            other => {
                let name = &directive.name.value;
                let message = format!(
                    "invalid value \"{other}\" in \"{name}\" directive, it must be \"on\" or \"off\""
                );
                self.report(Diagnostic::error(word.span, message).label("neither \"on\" nor \"off\""));
                None
            }
        }
    }

    /// A value with variables.
    pub(crate) fn template(&mut self, word: &Word) -> Option<Template> {
        self.template_at(&word.value, word.span)
    }

    /// A part of a word as a value with variables.
    pub(crate) fn template_at(&mut self, text: &str, span: Span) -> Option<Template> {
        match Template::parse(text, |name| self.names.variable(name)) {
            Ok(template) => {
                for part in &template.parts {
                    match part {
                        Part::Variable(Variable::Named(name))
                            if self.names.unsupported.contains_key(name) =>
                        {
                            self.without_value = Some((name.clone(), span));
                        }
                        Part::Variable(Variable::Known(known)) => {
                            self.config.otel.used |= known.is_of_trace()
                        }
                        _ => {}
                    }
                }
                Some(template)
            }
            Err(mistakes) => {
                for mistake in mistakes {
                    let diagnostic = self.variable_mistake(self.place_of(span, &mistake), &mistake);
                    self.report(diagnostic);
                }
                None
            }
        }
    }

    /// Where in a word a variable stands.
    fn place_of(&self, span: Span, mistake: &Mistake) -> Span {
        let (Mistake::Unknown(name) | Mistake::NoBrace(name)) = mistake else { return span };
        let text = self.sources.text(span);
        let found = [format!("${name}"), format!("${{{name}}}"), format!("${{{name}")]
            .into_iter()
            .find_map(|written| text.find(&written).map(|at| (at as u32, written.len() as u32)));
        match found {
            Some((at, length)) => Span { start: span.start + at, end: span.start + at + length, ..span },
            None => span,
        }
    }

    fn variable_mistake(&self, span: Span, mistake: &Mistake) -> Diagnostic {
        match mistake {
            Mistake::NoName => Diagnostic::error(span, "invalid variable name")
                .label("a \"$\" without a name behind it")
                .help("a \"$\" always begins a variable and cannot be escaped"),
            Mistake::NoBrace(name) => {
                Diagnostic::error(span, format!("the closing bracket in \"{name}\" variable is missing"))
                    .label(format!("write \"${{{name}}}\""))
            }
            Mistake::Unknown(name) => directives::suggest::unknown_variable(span, name, &self.names),
        }
    }

    /// Where a directive stands, for logs.
    pub(crate) fn at(&self, span: Span) -> At {
        let (path, line, _) = self.sources.locate(span);
        format!("{}:{line}", path.display()).into()
    }

    /// A path that counts from the prefix: logs and the pid file.
    pub(crate) fn path(&self, word: &Word) -> Spanned<PathBuf> {
        Spanned { value: self.prefix.join(&word.value), span: word.span }
    }

    /// A path that counts from the configuration file's folder: certificates and keys.
    pub(crate) fn conf_path(&self, word: &Word) -> Spanned<PathBuf> {
        Spanned { value: self.folder.join(&word.value), span: word.span }
    }
}

/// What is to be done about a quote that runs on.
pub(crate) const QUOTE_HELP: &str = "if the value should end in its first line, a quote is missing there";

const TIME_HELP: &str =
    "write seconds, or numbers with units from large to small: \"60s\", \"1h30m\", \"500ms\", \"7d\"";

fn refusal(directive: &Directive, entry: &Entry) -> Diagnostic {
    let mut sentences = entry.text.splitn(2, ". ");
    let message =
        format!("\"{}\": {}", directive.name.value, sentences.next().unwrap_or("").trim_end_matches('.'));
    let diagnostic = Diagnostic::error(directive.span, message);
    match sentences.next() {
        Some(help) => diagnostic.help(lower_first(help)),
        None => diagnostic,
    }
}

/// A sentence as the help of a finding begins: without a capital letter.
fn lower_first(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// A block where none belongs, none where one does, or too few or many arguments.
fn wrong_shape(directive: &Directive, entry: &Entry) -> Option<Diagnostic> {
    let (name, span) = (entry.name, directive.span);
    let (least, most) = entry.args;
    if directive.block.is_some() && !entry.block && !matches!(entry.class, Class::Accepted) {
        let message = format!("directive \"{name}\" is not terminated by \";\"");
        return Some(Diagnostic::error(span, message).label("a block follows, but this directive has none"));
    }
    if directive.block.is_none() && entry.block {
        let message = format!("directive \"{name}\" has no opening \"{{\"");
        return Some(Diagnostic::error(span, message).label("a block belongs here"));
    }
    // What is accepted without effect needs an argument or, as "types" does, a block.
    let is_data = matches!(entry.class, Class::Accepted) && directive.block.is_some();
    if !is_data && !(least..=most).contains(&directive.args.len()) {
        let mistake = Diagnostic::error(span, format!("invalid number of arguments in \"{name}\" directive"));
        return Some(match entry.syntax {
            "" if least > 0 => mistake,
            _ => mistake.help(format!("its form is: {}", entry.form())),
        });
    }
    None
}
