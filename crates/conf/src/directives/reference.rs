//! The reference page, written from the table.

use std::fmt::Write as _;

use super::{Class, Entry, MODULES};
use crate::template::{EMPTY, Known, PREFIXES};

const INTRODUCTION: &str = "\
# Directives and variables

Longwire reads nginx's configuration language. A directive is implemented, accepted without effect because Longwire does
not need it (`longwire -t` says so in a note), or refused because ignoring it would change what the file means. Any other
name is a mistake. Times and sizes are written as in nginx: `500ms`, `60s`, `1h30m`, `7d`; `512`, `64k`, `10m`, `1g`.

This page is generated from the table in `crates/conf/src/directives`; `UPDATE=1 cargo test -p longwire-conf` writes it.
";

/// What is said before the table of refused directives.
const OFF: &str = "\nWith the only argument `off` or `0` these are accepted: that is how it is here.\n";

/// What is said before the table of directives that will never be there.
const NEVER: &str = "
These are refused as well. With `--allow-unsupported` on the command line the file runs without them: a place that needs one
answers 501, a definition is left out, and each is a warning at the start. What uses the variable of a `js_set`, `perl_set`
or `set_by_lua` answers 501, too.
";

/// The whole page, in Markdown.
pub(crate) fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (heading, table) in MODULES {
        let implemented: Vec<_> =
            table.iter().filter(|entry| matches!(entry.class, Class::Implemented(_))).collect();
        if !implemented.is_empty() {
            let _ = writeln!(page, "\n## {heading}");
        }
        implemented.iter().for_each(|entry| describe(&mut page, entry));
    }
    list(&mut page, "Accepted without effect", "", |class| matches!(class, Class::Accepted));
    list(&mut page, "Refused", OFF, |class| matches!(class, Class::Refused));
    list(&mut page, "Unsupported", NEVER, |class| matches!(class, Class::Unsupported(_)));
    variables(&mut page);
    page
}

fn describe(page: &mut String, entry: &Entry) {
    let default = if entry.default.is_empty() { "none".to_owned() } else { format!("`{}`", entry.default) };
    let _ = writeln!(page, "\n### {}\n\n    {}\n", entry.name, entry.form());
    let _ = writeln!(page, "Default: {default}. Context: {}.\n\n{}", contexts(entry), entry.text);
}

fn contexts(entry: &Entry) -> String {
    entry.contexts.iter().map(|context| context.name()).collect::<Vec<_>>().join(", ")
}

/// A table of names and reasons; names of one reason stand in one row.
fn list(page: &mut String, heading: &str, note: &str, belongs: fn(&Class) -> bool) {
    let _ = writeln!(page, "\n## {heading}\n{note}\n| Directives | Reason |\n|---|---|");
    let mut rows: Vec<(&str, Vec<String>)> = Vec::new();
    for entry in super::entries().filter(|entry| belongs(&entry.class)) {
        let name = format!("`{}`", entry.name);
        match rows.iter_mut().find(|(text, _)| *text == entry.text) {
            Some((_, names)) => names.push(name),
            None => rows.push((entry.text, vec![name])),
        }
    }
    for (text, names) in rows {
        let _ = writeln!(page, "| {} | {text} |", names.join(", "));
    }
}

fn variables(page: &mut String) {
    let _ = writeln!(page, "\n## Variables\n\n| Name | Meaning |\n|---|---|");
    let _ = writeln!(page, "| `$1` to `$9` | What the groups of the last regular expression captured. |");
    for (_, name, meaning) in Known::ALL {
        let _ = writeln!(page, "| `${name}` | {} |", meaning.trim());
    }
    for (prefix, meaning) in PREFIXES {
        let _ = writeln!(page, "| `${prefix}NAME` | {meaning} |");
    }
    for (name, reason) in EMPTY {
        let _ = writeln!(page, "| `${name}` | Always empty: {reason}. |");
    }
    let _ = writeln!(
        page,
        "\nVariables of `map` blocks and named groups of regular expressions come on top of these."
    );
}
