//! `longwire check`: what it says about a configuration of nginx, for people, for machines and for code review.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use support::{Folder, longwire, run};

/// The block that one writes first, and that answers 400 to every browser.
const WRONG: &str = "\
server {
    listen 80;

    location /chat/ {
        proxy_pass http://127.0.0.1:3000;
    }

    location /ws {
        proxy_pass http://127.0.0.1:3000;
        proxy_set_header Host $host;
    }
}
";

/// Runs `longwire check` with these arguments on a text: status, standard output and standard error.
fn check(text: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = Folder::new();
    let file = folder.write("app.conf", text);
    let (status, out, err) = run(longwire().arg("check").args(arguments).arg(&file));
    (status, out.replace(&format!("{}/", folder.path().display()), ""), err)
}

#[test]
fn the_line_to_add_is_said_with_its_place() {
    let (status, out, err) = check(WRONG, &[]);
    assert_eq!(status, Some(1), "{out}{err}");
    for part in [
        "error[upgrade-missing]",
        "app.conf:8:5",
        "proxy_set_header Upgrade $http_upgrade;",
        "map $http_upgrade",
    ] {
        assert!(out.contains(part), "{part:?} expected in\n{out}");
    }
    assert!(!out.contains("app.conf:4:"), "a location that serves no WebSockets is left alone:\n{out}");
    assert!(out.ends_with("longwire check --explain RULE says more\n"), "{out}");
}

#[test]
fn machines_get_places_and_corrections() {
    let (status, out, err) = check(WRONG, &["--json"]);
    assert_eq!(status, Some(1), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let finding = &report["findings"][0];
    assert_eq!(finding["rule"], "upgrade-missing");
    assert_eq!((&finding["line"], &finding["column"]), (&Value::from(8), &Value::from(5)));
    assert_eq!(report["summary"]["errors"], 1);
    // Made as it says, the corrections leave nothing of it.
    let mut lines: Vec<String> = WRONG.lines().map(str::to_owned).collect();
    let mut edits: Vec<&Value> = finding["fix"].as_array().unwrap().iter().collect();
    edits.sort_by_key(|edit| std::cmp::Reverse(edit["line"].as_u64().unwrap()));
    for edit in edits {
        let at = |key: &str| edit[key].as_u64().unwrap() as usize - 1;
        assert_eq!(at("line"), at("end_line"));
        lines[at("line")].replace_range(at("column")..at("end_column"), edit["text"].as_str().unwrap());
    }
    let (status, out, _) = check(&lines.join("\n"), &["--level", "error"]);
    assert_eq!(status, Some(0), "{out}");
}

#[test]
fn code_review_gets_sarif() {
    let (status, out, err) = check(WRONG, &["--sarif"]);
    assert_eq!(status, Some(1), "{err}");
    let log: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let result = &run["results"][0];
    let index = result["ruleIndex"].as_u64().unwrap() as usize;
    assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
    assert_eq!(result["ruleId"], "upgrade-missing");
    assert_eq!(result["level"], "error");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["region"]["startLine"], 8);
    assert!(place["artifactLocation"]["uri"].as_str().unwrap().ends_with("app.conf"));
    let change = &result["fixes"][0]["artifactChanges"][0];
    assert_eq!(change["artifactLocation"]["uri"], place["artifactLocation"]["uri"]);
    assert!(change["replacements"][0]["insertedContent"]["text"].is_string());
}

#[test]
fn the_exit_status_says_whether_a_build_should_stop() {
    let good = "server { location /x { proxy_pass http://127.0.0.1:1; } }\n";
    assert_eq!(check(good, &[]).0, Some(0));
    let allowed =
        WRONG.replace("    location /ws {", "    # longwire: allow upgrade-missing\n    location /ws {");
    let (status, out, _) = check(&allowed, &["--level", "error"]);
    assert_eq!(status, Some(0), "{out}");
    // What cannot be read is neither good nor bad.
    assert_eq!(check("server {\n", &[]).0, Some(2));
    assert_eq!(run(longwire().args(["check", "/nowhere/at.all"])).0, Some(2));
    for arguments in
        [vec!["check"], vec!["check", "--level", "loud", "x"], vec!["check", "--explain", "nothing"]]
    {
        let (status, _, err) = run(longwire().args(&arguments));
        assert_eq!(status, Some(2), "{arguments:?}: {err}");
        assert!(err.contains("longwire check -h"), "{err}");
    }
}

#[test]
fn a_file_that_is_not_there_is_no_reason_to_guess() {
    let text = WRONG.replace("proxy_set_header Host $host;", "include proxy_headers.conf;");
    let (status, out, _) = check(&text, &["--json"]);
    assert_eq!(status, Some(0), "{out}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["problems"][0]["line"], 10);
    assert!(report["findings"].as_array().unwrap().is_empty(), "{out}");
}

#[test]
fn rules_explain_themselves() {
    let (status, out, _) = run(longwire().args(["check", "--rules"]));
    assert_eq!(status, Some(0));
    assert!(out.lines().count() >= 20, "{out}");
    for line in out.lines() {
        let id = line.split_whitespace().nth(1).unwrap();
        let (status, said, _) = run(longwire().args(["check", "--explain", id]));
        assert_eq!(status, Some(0), "{id}");
        assert!(said.starts_with(id) && said.contains("When to leave it"), "{said}");
    }
}
