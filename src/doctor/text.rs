//! Pure: the report for people: the answer first, then the evidence, then what to do.

use std::fmt::Write as _;

use super::facts::Facts;
use super::verdict::{Report, Verdict};

/// The whole report.
pub fn render(report: &Report, facts: &Facts) -> String {
    let mut text = String::new();
    let verdict = &report.verdict;
    let _ = writeln!(text, "{}", verdict.sentence);
    if verdict.exit_status() == 1 {
        let _ = writeln!(text, "At fault: {} ({}).", verdict.fault_of.words(), verdict.id);
    }
    if !verdict.evidence.is_empty() {
        let _ = writeln!(text, "\nWhat shows it:");
        for line in &verdict.evidence {
            let _ = writeln!(text, "  - {}", safe(line));
        }
    }
    fixes(&mut text, verdict);
    if !report.also.is_empty() {
        let _ = writeln!(text, "\nAlso:");
        for note in &report.also {
            let _ = writeln!(text, "  - {} ({})", safe(&note.sentence), note.id);
            for fix in &note.fix {
                let _ = writeln!(text, "    {}: {}", fix.place, fix.what);
                for line in &fix.lines {
                    let _ = writeln!(text, "        {line}");
                }
            }
        }
    }
    let _ = writeln!(text, "\n({:.1} s)", facts.elapsed_ms as f64 / 1000.0);
    text
}

fn fixes(text: &mut String, verdict: &Verdict) {
    if verdict.fix.is_empty() {
        return;
    }
    let _ = writeln!(text, "\nWhat to do:");
    for fix in &verdict.fix {
        let _ = writeln!(text, "  {}: {}", fix.place, fix.what);
        for line in &fix.lines {
            let _ = writeln!(text, "      {line}");
        }
    }
}

/// What came from afar must not steer the terminal.
fn safe(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
