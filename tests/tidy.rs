//! Keeps the house as the design draws it, by reading the sources.
//!
//! The floors: `wire` and `conf` import nothing of ours, and a module of `src/` imports only modules that stand before
//! it in `src/lib.rs`. Beside that: pure files stay pure, files stay short, `unsafe` stays where it is watched, and no
//! test waits for a fixed time. Each message says what to do about it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Files that may say `unsafe`; each use there needs a `SAFETY:` comment just above it.
const UNSAFE_FILES: &[&str] = &[
    "src/main.rs",
    // Descriptors that are there when the process begins belong to nobody yet.
    "src/lifecycle/systemd.rs",
];

/// The longest a source file may be.
const MAX_LINES: usize = 700;

/// What a file that calls itself pure must not name: clocks, sockets, the runtime, chance.
const IMPURE: &[&str] = &[
    "tokio",
    "std::net",
    "std::fs",
    "Instant",
    "SystemTime",
    "Utc::now",
    "Local::now",
    "getrandom",
    "fastrand",
    "thread_rng",
    "RandomState",
];

/// Files whose code may sleep on a thread: the log's writer is asked to finish when the process ends, and only then.
const SLEEPERS: &[&str] = &["src/log/writer.rs"];

/// What marks a wait for a fixed time as one that the promise itself is about.
const ALLOW_SLEEP: &str = "sleep is the promise:";

#[test]
fn libraries_import_nothing_of_ours() {
    let mut faults = Faults::default();
    for krate in ["wire", "conf"] {
        let manifest = read(&root().join("crates").join(krate).join("Cargo.toml"));
        for (number, line) in manifest.lines().enumerate() {
            let of_ours = line.trim_start().starts_with("longwire") || line.contains("path = \"..");
            faults.when(of_ours, &format!("crates/{krate}/Cargo.toml:{}", number + 1), || {
                format!("`{krate}` stands on the ground and depends on no crate of ours: pass what it needs as arguments")
            });
        }
        for file in sources(&format!("crates/{krate}/src")) {
            for (number, line) in file.code() {
                let other = if krate == "wire" { "longwire_conf" } else { "longwire_wire" };
                faults.when(line.contains(other) || line.contains("longwire::"), &file.at(number), || {
                    format!("`{krate}` imports nothing of ours, not even its neighbour: move the shared piece up into src/")
                });
            }
        }
    }
    faults.report();
}

#[test]
fn floors_import_only_lower_floors() {
    let floors = floors();
    let mut faults = Faults::default();
    let kept = read(&root().join("rustfmt.toml")).contains("reorder_modules = false");
    faults.when(!kept, "rustfmt.toml", || {
        "say `reorder_modules = false`, or `cargo fmt` sorts the floors of src/lib.rs by the alphabet".into()
    });
    for file in sources("src") {
        let Some(floor) = file.floor() else { continue };
        let Some(height) = floors.iter().position(|f| *f == floor) else {
            if floor != "main" {
                faults.add(
                    &file.name,
                    &format!("module `{floor}` is not declared in src/lib.rs: give it its floor there"),
                );
            }
            continue;
        };
        for (number, line) in file.code() {
            for used in imports(&line) {
                let Some(other) = floors.iter().position(|f| *f == used) else { continue };
                faults.when(other > height, &file.at(number), || {
                    format!(
                        "`{floor}` imports `{used}`, which stands above it (order of `pub mod` in src/lib.rs): \
                         move the shared piece down, or pass it in from above"
                    )
                });
            }
        }
    }
    faults.report();
}

#[test]
fn pure_files_are_pure() {
    let mut faults = Faults::default();
    for file in all_sources() {
        // The machinery of this test names the words itself; the sketch of a pure file says so in its first lines.
        if !file.text.lines().take_while(|l| l.starts_with("//!")).any(|l| l.starts_with("//! Pure:")) {
            continue;
        }
        for (number, line) in file.code_before_tests() {
            for word in IMPURE {
                faults.when(has_word(&line, word), &file.at(number), || {
                    format!(
                        "this file says `//! Pure:` and names `{word}`: take what it gives as an argument"
                    )
                });
            }
        }
    }
    faults.report();
}

#[test]
fn every_file_says_what_it_is() {
    let mut faults = Faults::default();
    for file in all_sources() {
        let first = file.text.lines().next().unwrap_or_default();
        let says = first.strip_prefix("//! ").is_some_and(|text| !text.trim().is_empty());
        faults.when(!says, &format!("{}:1", file.name), || {
            "a file begins with `//!` and a sentence that says what it is for".into()
        });
    }
    faults.report();
}

#[test]
fn files_are_short() {
    let mut faults = Faults::default();
    for file in all_sources() {
        let lines = file.text.lines().count();
        faults.when(lines > MAX_LINES, &file.name, || {
            format!("{lines} lines, of at most {MAX_LINES}: give its parts rooms of their own")
        });
    }
    faults.report();
}

#[test]
fn unsafe_stays_where_it_is_watched() {
    let mut faults = Faults::default();
    for file in all_sources() {
        let listed = UNSAFE_FILES.contains(&file.name.as_str());
        let lines: Vec<&str> = file.text.lines().collect();
        for (number, line) in file.code() {
            if !has_word(&line, "unsafe") || file.name == "tests/tidy.rs" {
                continue;
            }
            faults.when(!listed, &file.at(number), || {
                "`unsafe` outside the files listed in tests/tidy.rs: use a safe crate, or list the file with its reason"
                    .into()
            });
            let from = number.saturating_sub(6);
            let reasoned = lines[from..number].iter().any(|l| l.contains("SAFETY:"));
            faults.when(!reasoned, &file.at(number), || {
                "say in a `// SAFETY:` comment just above why this is sound".into()
            });
        }
    }
    faults.report();
}

#[test]
fn no_test_waits_for_a_fixed_time() {
    let mut faults = Faults::default();
    let scripts = walk(&root().join("tests"), &["py", "js", "mjs", "sh", ""]);
    let unit_tests = sources("src").into_iter().chain(sources("crates")).map(|f| {
        // Of a source file only the part below `#[cfg(test)]` is a test.
        let from = f.code_before_tests().len();
        (f, from)
    });
    for (file, from) in sources("tests").into_iter().chain(scripts).map(|f| (f, 0)).chain(unit_tests) {
        let lines: Vec<&str> = file.text.lines().collect();
        for (number, line) in file.code() {
            let waits = ["sleep(", "setTimeout(", "waitForTimeout("].iter().any(|w| line.contains(w))
                || line.trim_start().starts_with("sleep ");
            if number < from || !waits || file.name == "tests/tidy.rs" {
                continue;
            }
            let near = lines[number.saturating_sub(3)..=number].iter();
            faults.when(!near.into_iter().any(|l| l.contains(ALLOW_SLEEP)), &file.at(number), || {
                format!(
                    "a fixed wait makes a test slow or flaky: wait for the thing itself, with a bound; where the time \
                     is what is tested, say `{ALLOW_SLEEP} ...` just above"
                )
            });
        }
    }
    faults.report();
}

#[test]
fn the_program_never_sleeps_on_a_thread() {
    let mut faults = Faults::default();
    for file in sources("src").into_iter().chain(sources("crates")) {
        for (number, line) in file.code_before_tests() {
            let sleeps = line.contains("thread::sleep") && !SLEEPERS.contains(&file.name.as_str());
            faults.when(sleeps, &file.at(number), || {
                "a sleeping thread serves nobody: use a timer of the runtime, or wait for the event itself".into()
            });
        }
    }
    faults.report();
}

#[test]
fn nothing_is_left_to_do_and_no_host_is_named() {
    // Spelt in halves, so that this file passes its own test.
    let left = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    let hosts = [
        concat!("crates", ".io"),
        concat!("static.rust", "-lang.org"),
        concat!("pypi", ".org"),
        concat!("pythonhosted", ".org"),
        concat!("registry.npm", "js"),
        concat!("deb.deb", "ian.org"),
    ];
    let mut faults = Faults::default();
    let mut files =
        walk(&root(), &["rs", "toml", "md", "py", "js", "mjs", "html", "json", "conf", "txt", "sh", ""]);
    files.retain(|f| f.name != "Cargo.lock");
    for file in files {
        for (number, line) in file.text.lines().enumerate() {
            for word in left {
                faults.when(has_word(line, word), &file.at(number), || {
                    format!("`{word}`: do it now, or write in words what is absent and why")
                });
            }
            for host in hosts {
                faults.when(line.contains(host), &file.at(number), || {
                    format!("`{host}`: packages are named by name alone, whichever registry serves them")
                });
            }
        }
    }
    faults.report();
}

/// The tests of this file are worth something only if the readers below see what they should.
#[test]
fn the_readers_see_what_they_should() {
    assert_eq!(imports("use crate::{net, tunnel::Table};"), ["net", "tunnel"]);
    assert_eq!(imports("    let x = crate::http::serve(crate::net::Stream);"), ["http", "net"]);
    assert_eq!(imports("use crate::route::facts::{Facts, Peer};"), ["route"]);
    assert_eq!(imports("use longwire::tls::Acceptor;"), ["tls"]);
    assert!(has_word("let t = Instant::now();", "Instant") && !has_word("Instantly", "Instant"));
    let text = "//! x\nlet a = \"http://b\"; // Instant\n/* tokio\n tokio */ let b;\n// unsafe\n";
    let file = Source { name: "x.rs".into(), text: text.into() };
    let code: Vec<String> = file.code().into_iter().map(|(_, line)| line.trim().to_string()).collect();
    assert_eq!(code, ["", "let a = \"http://b\";", "", "let b;", ""]);
    assert!(floors().len() >= 3, "src/lib.rs declares its floors with `pub mod`");
}

/// What was found, all of it, so that one run shows everything.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, place: &str, remedy: &str) {
        self.0.push(format!("{place}: {remedy}"));
    }

    fn when(&mut self, fault: bool, place: &str, remedy: impl FnOnce() -> String) {
        if fault {
            self.add(place, &remedy());
        }
    }

    fn report(self) {
        let mut text = String::new();
        for fault in &self.0 {
            let _ = writeln!(text, "  {fault}");
        }
        assert!(self.0.is_empty(), "\n{text}");
    }
}

/// A file with its path from the root of the repository.
struct Source {
    name: String,
    text: String,
}

impl Source {
    /// Place of a line, counted from 0 here and from 1 by editors.
    fn at(&self, number: usize) -> String {
        format!("{}:{}", self.name, number + 1)
    }

    /// The module of `src/lib.rs` that the file belongs to.
    fn floor(&self) -> Option<String> {
        let rest = self.name.strip_prefix("src/")?;
        let first = rest.split('/').next()?.trim_end_matches(".rs");
        (first != "lib").then(|| first.to_string())
    }

    /// Its lines with comments taken away, each with its number from 0. Strings stay.
    fn code(&self) -> Vec<(usize, String)> {
        let mut in_block = false;
        self.text.lines().enumerate().map(|(number, line)| (number, code_of(line, &mut in_block))).collect()
    }

    /// Same, up to the unit tests at the end of the file.
    fn code_before_tests(&self) -> Vec<(usize, String)> {
        self.code().into_iter().take_while(|(_, line)| line.trim() != "#[cfg(test)]").collect()
    }
}

/// A line without its comments. `in_block` carries an open `/*` over to the next line.
fn code_of(line: &str, in_block: &mut bool) -> String {
    let mut code = String::new();
    let mut in_string = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        if *in_block {
            if c == '*' && next == Some('/') {
                chars.next();
                *in_block = false;
            }
            continue;
        }
        match (c, next) {
            ('/', Some('/')) if !in_string => break,
            ('/', Some('*')) if !in_string => *in_block = true,
            ('\\', Some(_)) if in_string => {
                code.push(c);
                code.extend(chars.next());
            }
            // A character literal of a quote opens no string.
            ('\'', Some('"')) if !in_string => {
                chars.next();
            }
            _ => {
                in_string ^= c == '"';
                code.push(c);
            }
        }
    }
    code
}

/// The modules of `src/lib.rs` in their order: the ground floor first.
fn floors() -> Vec<String> {
    let text = read(&root().join("src/lib.rs"));
    text.lines()
        .filter_map(|l| l.trim().strip_prefix("pub mod ")?.strip_suffix(';').map(str::to_string))
        .collect()
}

/// The top-level modules that a line names through `crate::` or `longwire::`.
fn imports(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for root in ["crate::", "longwire::"] {
        for (at, _) in line.match_indices(root) {
            let before = line[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
                continue;
            }
            let rest = &line[at + root.len()..];
            match rest.strip_prefix('{') {
                Some(list) => found.extend(heads(list)),
                None => found.extend(word(rest)),
            }
        }
    }
    found
}

/// First words of the items of a `{...}` list, whatever is nested in them.
fn heads(list: &str) -> Vec<String> {
    let mut depth = 0i32;
    let mut found = Vec::new();
    let mut item_begins = true;
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => item_begins = true,
            c if item_begins && !c.is_whitespace() => {
                item_begins = false;
                found.extend(word(&list[at..]));
            }
            _ => {}
        }
    }
    found
}

fn word(text: &str) -> Option<String> {
    let word: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!word.is_empty()).then_some(word)
}

/// Whether `word` stands in `line` by itself, not as a part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The Rust files below a folder of the repository.
fn sources(folder: &str) -> Vec<Source> {
    walk(&root().join(folder), &["rs"])
}

/// All Rust files of ours.
fn all_sources() -> Vec<Source> {
    ["src", "crates", "tests"].into_iter().flat_map(sources).collect()
}

/// The text files below `folder` with one of these endings, in a stable order.
fn walk(folder: &Path, endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.flatten().map(|e| e.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", ".git", "node_modules", "corpus"].contains(&name.as_str()) {
                    folders.push(path);
                }
                continue;
            }
            let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
            if !endings.contains(&ending.as_str()) {
                continue;
            }
            if let Ok(text) = std::fs::read_to_string(&path) {
                let name = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().into_owned();
                found.push(Source { name, text });
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}
