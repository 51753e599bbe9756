//! Findings for machines, in a form of our own.

use std::path::{Path, PathBuf};

use longwire_conf::check::{Checked, Finding};
use longwire_conf::{Sources, Span};
use serde::Serialize;

use super::{count, page, severity};

#[derive(Serialize)]
struct Report {
    version: u32,
    file: PathBuf,
    files: Vec<PathBuf>,
    findings: Vec<Found>,
    problems: Vec<Problem>,
    summary: Summary,
}

#[derive(Serialize)]
struct Summary {
    errors: usize,
    warnings: usize,
    notes: usize,
}

#[derive(Serialize)]
struct Found {
    rule: &'static str,
    severity: &'static str,
    message: String,
    help: Vec<String>,
    #[serde(flatten)]
    at: Region,
    text: String,
    places: Vec<Place>,
    fix: Vec<Edit>,
    page: String,
}

/// Lines and columns from 1, columns in characters; the end is behind the last one.
#[derive(Serialize)]
pub(super) struct Region {
    pub(super) file: PathBuf,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) end_line: usize,
    pub(super) end_column: usize,
}

impl Region {
    pub(super) fn of(sources: &Sources, span: Span) -> Region {
        let (path, line, column) = sources.locate(span);
        let (_, end_line, end_column) = sources.locate(Span { start: span.end, ..span });
        Region { file: path.to_owned(), line, column, end_line, end_column }
    }
}

#[derive(Serialize)]
struct Place {
    #[serde(flatten)]
    at: Region,
    label: String,
}

#[derive(Serialize)]
struct Edit {
    #[serde(flatten)]
    at: Region,
    text: String,
}

#[derive(Serialize)]
struct Problem {
    severity: &'static str,
    message: String,
    file: Option<PathBuf>,
    line: Option<usize>,
    column: Option<usize>,
}

/// The report of all files.
pub(super) fn render(files: &[PathBuf], all: &[Checked]) -> String {
    let totals = all.iter().map(count).fold([0; 3], |a, b| [a[0] + b[0], a[1] + b[1], a[2] + b[2]]);
    let report = Report {
        version: 1,
        file: files.first().map_or_else(PathBuf::new, |file| Path::to_owned(file)),
        files: files.to_vec(),
        findings: all
            .iter()
            .flat_map(|checked| checked.findings.iter().map(|f| found(&checked.sources, f)))
            .collect(),
        problems: all.iter().flat_map(problems).collect(),
        summary: Summary { errors: totals[0], warnings: totals[1], notes: totals[2] },
    };
    let mut text = serde_json::to_string_pretty(&report).unwrap_or_default();
    text.push('\n');
    text
}

fn found(sources: &Sources, finding: &Finding) -> Found {
    let places: Vec<Place> = (finding.places.iter())
        .map(|place| Place { at: Region::of(sources, place.span), label: place.label.clone() })
        .collect();
    let first = finding.places.first().map_or_else(Span::default, |place| place.span);
    let fix =
        finding.fix.iter().map(|edit| Edit { at: Region::of(sources, edit.span), text: edit.text.clone() });
    Found {
        rule: finding.rule.id,
        severity: severity(finding.severity),
        message: finding.message.clone(),
        help: finding.help.clone(),
        at: Region::of(sources, first),
        text: sources.text(first).to_owned(),
        places,
        fix: fix.collect(),
        page: page(finding.rule),
    }
}

fn problems(checked: &Checked) -> Vec<Problem> {
    let problems = checked.problems.iter().map(|problem| {
        let at = problem.span.map(|span| checked.sources.locate(span));
        Problem {
            severity: severity(problem.severity),
            message: problem.message.clone(),
            file: at.map(|(path, ..)| path.to_owned()),
            line: at.map(|(_, line, _)| line),
            column: at.map(|(_, _, column)| column),
        }
    });
    problems.collect()
}
