//! Findings as SARIF 2.1.0 (OASIS), which tools for code review read.

use longwire_conf::check::{Checked, Finding, Rule, rules};
use longwire_conf::{Sources, Span};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::json::Region;
use super::severity;

/// What may stand in the path of a URI as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b'~');

/// The log of all files.
pub(super) fn render(all: &[Checked]) -> String {
    let results: Vec<Value> =
        all.iter().flat_map(|checked| checked.findings.iter().map(|f| result(&checked.sources, f))).collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "longwire check",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules().map(rule).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    let mut text = serde_json::to_string_pretty(&log).unwrap_or_default();
    text.push('\n');
    text
}

fn rule(rule: &'static Rule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": { "text": format!("{}.", rule.summary.replace('`', "\"")) },
        "fullDescription": { "text": rule.why, "markdown": rule.why },
        "help": {
            "text": format!("{}\n\nWhen to leave it: {}", rule.why, rule.ignore),
            "markdown": format!("{}\n\n**When to leave it:** {}", rule.why, rule.ignore),
        },
        "defaultConfiguration": { "level": severity(rule.severity) },
    })
}

fn result(sources: &Sources, finding: &Finding) -> Value {
    let index = rules().position(|rule| rule.id == finding.rule.id);
    let text = std::iter::once(&finding.message)
        .chain(&finding.help)
        .map(|line| format!("{line}. "))
        .collect::<String>();
    let mut places = finding.places.iter();
    let first: Vec<Value> =
        places.next().map(|place| location(sources, place.span, None)).into_iter().collect();
    let others: Vec<Value> = places.map(|place| location(sources, place.span, Some(&place.label))).collect();
    let mut result = json!({
        "ruleId": finding.rule.id,
        "ruleIndex": index,
        "level": severity(finding.severity),
        "message": { "text": text.trim_end() },
        "locations": first,
    });
    if !others.is_empty() {
        result["relatedLocations"] = others.into();
    }
    if !finding.fix.is_empty() {
        result["fixes"] = json!([{
            "description": { "text": "The corrected lines" },
            "artifactChanges": changes(sources, finding),
        }]);
    }
    result
}

fn changes(sources: &Sources, finding: &Finding) -> Vec<Value> {
    let mut files: Vec<u32> = finding.fix.iter().map(|edit| edit.span.file).collect();
    files.dedup();
    let change = |file: u32| {
        let edits = finding.fix.iter().filter(|edit| edit.span.file == file);
        let replacements: Vec<Value> = edits
            .map(|edit| {
                let deleted = region(&Region::of(sources, edit.span));
                json!({ "deletedRegion": deleted, "insertedContent": { "text": edit.text } })
            })
            .collect();
        let span = Span { file, ..Span::default() };
        json!({ "artifactLocation": artifact(&Region::of(sources, span)), "replacements": replacements })
    };
    files.into_iter().map(change).collect()
}

fn location(sources: &Sources, span: Span, label: Option<&str>) -> Value {
    let at = Region::of(sources, span);
    let mut location =
        json!({ "physicalLocation": { "artifactLocation": artifact(&at), "region": region(&at) } });
    if let Some(label) = label.filter(|label| !label.is_empty()) {
        location["message"] = json!({ "text": label });
    }
    location
}

fn artifact(at: &Region) -> Value {
    let path = at.file.to_string_lossy();
    let encoded = utf8_percent_encode(&path, PATH);
    let uri = if path.starts_with('/') { format!("file://{encoded}") } else { encoded.to_string() };
    json!({ "uri": uri })
}

fn region(at: &Region) -> Value {
    json!({ "startLine": at.line, "startColumn": at.column, "endLine": at.end_line, "endColumn": at.end_column })
}
