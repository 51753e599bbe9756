//! Every kind of finding once: `golden/NAME.conf` is loaded, and what is shown must be `golden/NAME.expected`.

mod support;

use std::path::Path;

use support::{Table, compare, load_with, rendered};

#[test]
fn findings_read_as_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut differences = String::new();
    let mut names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    names.sort();
    for path in names {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let expected = path.with_extension("expected");
        if let Err(difference) = compare(&expected, &shown(&name, &std::fs::read_to_string(&path).unwrap())) {
            differences += &difference;
        }
    }
    assert!(differences.is_empty(), "\n{differences}");
}

/// What a terminal shows for a file and whether it can be used. Included files are the same for all.
fn shown(name: &str, text: &str) -> String {
    let table = Table::default()
        .with("/etc/longwire/test.conf", text)
        .with("/etc/longwire/good.conf", "proxy_read_timeout 1h;\n")
        .with("/etc/longwire/bad.conf", "proxy_read_timeout soon;\n")
        .with("/etc/longwire/loop.conf", "include loop.conf;\n")
        .with("/etc/longwire/sites/a.conf", "server { server_name a; location / { proxy_pass http://a; } }\n")
        .with(
            "/etc/longwire/sites/b.conf",
            "server { server_name b; location / { proxy_pass http://b; } }\n",
        );
    let loaded = load_with(&table, name.starts_with("allowed"));
    let verdict = if loaded.config.is_some() { "good" } else { "refused" };
    let text = rendered(&loaded).replace("/etc/longwire/test.conf", &format!("{name}.conf"));
    format!("{text}{name}.conf: {verdict}\n")
}
