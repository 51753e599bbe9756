//! Every rule of `check`: `check/RULE-ID/bad.conf` shows it, `good.conf` does not; `bad.out` is what is said about it, and
//! `docs/check/RULE-ID.md` is its page. `UPDATE=1` writes what is said and the pages.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use longwire_conf::Severity;
use longwire_conf::check::{Checked, Rule, Wishes, check, rules};
use support::{Table, compare};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn folder(rule: &Rule) -> PathBuf {
    root().join("tests/check").join(rule.id)
}

/// What a first line such as `# options: --tunnels 400` asks for.
fn wishes(text: &str) -> Wishes {
    let mut wishes = Wishes::default();
    let mut words =
        text.lines().next().filter(|line| line.starts_with("# options:")).unwrap_or("").split(' ');
    while let Some(word) = words.next() {
        match word {
            "--tunnels" => wishes.tunnels = words.next().map(|number| number.parse().unwrap()),
            "--cores" => wishes.cores = words.next().map(|number| number.parse().unwrap()),
            _ => {}
        }
    }
    wishes
}

fn checked(name: &str, text: &str) -> Checked {
    let mut table = Table::default().with(name, text);
    table.0.insert("lost/headers.conf".into(), b"proxy_set_header X-Real-IP $remote_addr;\n".to_vec());
    check(&table, Path::new(name), wishes(text))
}

/// What is found of a rule, as a terminal shows it.
fn shown(rule: &Rule, checked: &Checked) -> String {
    let findings = checked.findings.iter().filter(|finding| finding.rule.id == rule.id);
    findings.map(|finding| finding.render(&checked.sources, false)).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn each_rule_finds_what_is_bad_and_leaves_what_is_good() {
    let mut faults = String::new();
    for rule in rules() {
        let (bad, good) = (read(&folder(rule).join("bad.conf")), read(&folder(rule).join("good.conf")));
        let found = checked("bad.conf", &bad);
        let said = shown(rule, &found);
        if said.is_empty() {
            let _ = writeln!(faults, "{}: bad.conf shows nothing of it", rule.id);
        }
        let left = shown(rule, &checked("good.conf", &good));
        if !left.is_empty() {
            let _ = writeln!(faults, "{}: good.conf shows it:\n{left}", rule.id);
        }
        if let Err(difference) = compare(&folder(rule).join("bad.out"), &said) {
            faults += &difference;
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}

#[test]
fn corrected_lines_put_right_what_was_found() {
    let mut faults = String::new();
    for rule in rules() {
        let found = checked("bad.conf", &read(&folder(rule).join("bad.conf")));
        for finding in found.findings.iter().filter(|finding| !finding.fix.is_empty()) {
            let [(_, text)] = finding.corrected(&found.sources).try_into().unwrap();
            let again = checked("bad.conf", &text);
            assert!(again.problems.is_empty(), "{}:\n{text}\n{:?}", rule.id, again.problems);
            let same = again
                .findings
                .iter()
                .any(|new| new.rule.id == finding.rule.id && new.message == finding.message);
            let worse = again.findings.iter().find(|new| {
                new.severity == Severity::Error
                    && !found.findings.iter().any(|old| old.message == new.message)
            });
            if same || worse.is_some() {
                let worse = worse.map(|finding| &finding.message);
                let _ = writeln!(
                    faults,
                    "{}: {}: still or newly found ({worse:?}) in\n{text}",
                    rule.id, finding.rule.id
                );
            }
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}

#[test]
fn each_rule_has_its_page_and_no_page_is_without_a_rule() {
    let mut faults = String::new();
    for rule in rules() {
        let bad = read(&folder(rule).join("bad.conf"));
        let out = shown(rule, &checked("bad.conf", &bad));
        let severity = format!("{:?}", rule.severity).to_lowercase();
        let page = format!(
            "# {id}\n\n{summary}. Severity: {severity}.\n\n{why}\n\n## Example\n\n```nginx\n{bad}```\n\n```text\n{out}```\n\n\
             ## When to leave it\n\n{ignore}\n\nA comment `# longwire: allow {id}` on the line, or on the one before, silences it there.\n",
            id = rule.id,
            summary = rule.summary,
            why = rule.why,
            out = out.trim_end().to_owned() + "\n",
            ignore = rule.ignore,
        );
        let file = root().join("../../docs/check").join(format!("{}.md", rule.id));
        if let Err(difference) = compare(&file, &page) {
            faults += &difference;
        }
    }
    for entry in std::fs::read_dir(root().join("../../docs/check")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !rules().any(|rule| name == format!("{}.md", rule.id)) && name != "README.md" {
            let _ = writeln!(faults, "docs/check/{name} is no rule's page");
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}
