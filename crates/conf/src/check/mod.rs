//! What in a configuration will break or weaken WebSockets: rules over the tree of blocks, for any file of nginx.
//!
//! Pure: texts come through a [`Reader`]. A rule is an entry of a table with its page; what it finds says why, and how
//! the lines should read. Directives that Longwire does not have are read as well: only their words matter.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Severity};
use crate::source::{Reader, Sources, Span};
use crate::tree::Parser;

mod allow;
mod eval;
mod fix;
mod listen;
mod location;
mod render;
mod road;
mod rules;
mod site;

pub use fix::Edit;
use site::Site;

/// What a configuration should be able to do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes {
    /// WebSockets open at once.
    pub tunnels: Option<u64>,
    /// Processors: what `worker_processes auto` becomes.
    pub cores: Option<u64>,
}

/// Something that a configuration can have wrong.
#[derive(Debug)]
pub struct Rule {
    /// Its name, which never changes.
    pub id: &'static str,
    /// How bad it is, as a rule: [`Severity::Error`] breaks WebSockets, [`Severity::Warning`] weakens them.
    pub severity: Severity,
    /// In a sentence without a full stop.
    pub summary: &'static str,
    /// What happens and why, in Markdown.
    pub why: &'static str,
    /// When it may be left as it is, in Markdown.
    pub ignore: &'static str,
    find: fn(&Site<'_>) -> Vec<Found>,
}

/// One cause, with all places that it concerns.
#[derive(Debug)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// How bad it is here.
    pub severity: Severity,
    /// What is wrong, without a full stop.
    pub message: String,
    /// What else is to be known, each a line.
    pub help: Vec<String>,
    /// Where, first of all; never empty.
    pub places: Vec<Place>,
    /// How the text is put right; empty when that is not a matter of lines.
    pub fix: Vec<Edit>,
}

impl Finding {
    /// The files that its fix concerns, as they read with it.
    pub fn corrected(&self, sources: &Sources) -> Vec<(PathBuf, String)> {
        let files = sources.files().iter().enumerate();
        let concerned = files.filter_map(|(number, file)| {
            let edits: Vec<&Edit> =
                self.fix.iter().filter(|edit| edit.span.file as usize == number).collect();
            (!edits.is_empty()).then(|| (file.path.clone(), fix::apply(&file.text, edits)))
        });
        concerned.collect()
    }
}

/// A place that a finding concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where.
    pub span: Span,
    /// A word at the mark.
    pub label: String,
}

/// What came of a check.
#[derive(Debug)]
pub struct Checked {
    /// What was found, the worst first, then in the order of the text.
    pub findings: Vec<Finding>,
    /// What could not be read, or only guessed.
    pub problems: Vec<Diagnostic>,
    /// The texts that all of it points into.
    pub sources: Sources,
}

/// What a rule found at one place; those of the same message become one [`Finding`].
struct Found {
    severity: Option<Severity>,
    message: String,
    help: Vec<String>,
    span: Span,
    label: String,
    fix: Vec<Edit>,
}

impl Found {
    fn new(span: Span, label: impl Into<String>, message: impl Into<String>) -> Found {
        let (message, label) = (message.into(), label.into());
        Found { severity: None, message, help: Vec::new(), span, label, fix: Vec::new() }
    }

    fn severity(mut self, severity: Severity) -> Found {
        self.severity = Some(severity);
        self
    }

    fn help(mut self, help: impl Into<String>) -> Found {
        self.help.push(help.into());
        self
    }

    fn fix(mut self, edits: impl IntoIterator<Item = Edit>) -> Found {
        self.fix.extend(edits);
        self
    }
}

/// All rules, in the order of their pages.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    rules::TABLE.iter().copied().flatten().copied()
}

/// Reads a configuration, or a part of one, and judges it.
pub fn check(reader: &dyn Reader, file: &Path, wishes: Wishes) -> Checked {
    let mut parser = Parser::new(reader, &folder(file));
    parser.keep_includes = true;
    let tree = parser.file(file);
    let (sources, mut problems) = (parser.sources, parser.diagnostics);
    let mut findings = {
        let site = Site::new(&tree, &sources, wishes);
        rules().flat_map(|rule| merge(rule, (rule.find)(&site), &sources)).collect::<Vec<Finding>>()
    };
    findings.sort_by_key(|finding| {
        let first = finding.places[0].span;
        (finding.severity, first.file, first.start, finding.rule.id)
    });
    crate::once_each(&mut problems, &sources);
    Checked { findings, problems, sources }
}

/// What a relative `include` counts from: a file in one of Debian's folders is included from the folder above.
fn folder(file: &Path) -> PathBuf {
    let folder = file.parent().unwrap_or(Path::new(""));
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or("");
    match (name, folder.parent()) {
        ("conf.d" | "sites-enabled" | "sites-available" | "snippets" | "http.d", Some(above)) => {
            above.to_owned()
        }
        _ => folder.to_owned(),
    }
}

/// Makes one finding of those with the same message; places where it is allowed are left out.
fn merge(rule: &'static Rule, found: Vec<Found>, sources: &Sources) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut known: HashMap<(Severity, String), usize> = HashMap::new();
    // A file that is included twice is a place once.
    let mut seen: HashSet<(usize, &Path, u32)> = HashSet::new();
    for found in found {
        let Found { severity, message, help, span, label, fix } = found;
        let Some(file) = sources.files().get(span.file as usize) else { continue };
        if allow::allows(sources, span, rule.id) {
            continue;
        }
        let (severity, place) = (severity.unwrap_or(rule.severity), Place { span, label });
        let at = *known.entry((severity, message.clone())).or_insert(findings.len());
        if at == findings.len() {
            findings.push(Finding { rule, severity, message, help, places: Vec::new(), fix: Vec::new() });
        }
        if seen.insert((at, &file.path, span.start)) {
            findings[at].places.push(place);
        }
        findings[at].fix.extend(fix);
    }
    findings.iter_mut().for_each(|finding| finding.fix = tidy(std::mem::take(&mut finding.fix), sources));
    findings
}

/// Each edit once, and what is written at one place as one edit.
fn tidy(edits: Vec<Edit>, sources: &Sources) -> Vec<Edit> {
    let mut tidied: Vec<Edit> = Vec::new();
    let mut known: HashMap<(&Path, u32, u32), usize> = HashMap::new();
    for edit in edits {
        let Some(file) = sources.files().get(edit.span.file as usize) else { continue };
        let at = *known.entry((&file.path, edit.span.start, edit.span.end)).or_insert(tidied.len());
        match tidied.get_mut(at) {
            Some(old) if old.text.contains(&edit.text) => {}
            Some(old) => old.text.push_str(&edit.text),
            None => tidied.push(edit),
        }
    }
    tidied.sort_by_key(|edit| (edit.span.file, edit.span.start));
    tidied
}
