//! `longwire check`: what in a configuration will break or weaken WebSockets. The rules are in `longwire_conf::check`.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use longwire_conf::Severity;
use longwire_conf::check::{Checked, Rule, Wishes, check, rules};

use crate::lifecycle::Disk;

mod json;
mod sarif;

const HELP: &str = "\
longwire check [OPTIONS] FILE...      what will break or weaken WebSockets, in any configuration of nginx or a part of one

  --tunnels N    WebSockets that should be open at once: are connections, descriptors and ports enough?
  --cores N      what \"worker_processes auto\" comes to (default: the processors of this machine)
  --level LEVEL  the least that is shown and counts: error, warning or note
  --json         findings with places and corrections, for machines
  --sarif        the same as SARIF 2.1.0, for code review
  --rules        all rules, and exit
  --explain RULE why a rule is there, and when it may be ignored

exit status: 0 nothing worse than a note, 1 errors or warnings, 2 a file could not be read
a comment \"# longwire: allow RULE\" on the line of a finding, or on the one before, silences it
";

/// How findings are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Format {
    #[default]
    Text,
    Json,
    Sarif,
}

/// What was asked for.
#[derive(Debug, Default)]
struct Args {
    files: Vec<PathBuf>,
    wishes: Wishes,
    level: Option<Severity>,
    format: Format,
    rules: bool,
    explain: Option<String>,
    help: bool,
}

/// Runs the command with what stands behind its name.
pub fn command(args: &[OsString]) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match parse(args).and_then(|args| run(&args, &mut out)) {
        Ok(status) => ExitCode::from(status),
        Err(message) => {
            eprintln!("longwire: {message}\nlongwire: longwire check -h shows what can be said");
            ExitCode::from(2)
        }
    }
}

fn parse(args: &[OsString]) -> Result<Args, String> {
    let mut parsed = Args::default();
    read(&mut parsed, lexopt::Parser::from_args(args)).map_err(|error| error.to_string())?;
    Ok(parsed)
}

fn read(parsed: &mut Args, mut parser: lexopt::Parser) -> Result<(), lexopt::Error> {
    use lexopt::prelude::*;
    while let Some(arg) = parser.next()? {
        match arg {
            Value(file) => parsed.files.push(file.into()),
            Short('c') => parsed.files.push(parser.value()?.into()),
            Long("tunnels") => parsed.wishes.tunnels = Some(parser.value()?.parse()?),
            Long("cores") => parsed.wishes.cores = Some(parser.value()?.parse()?),
            Long("level") => {
                parsed.level = Some(parser.value()?.parse_with(|level| match level {
                    "error" => Ok(Severity::Error),
                    "warning" => Ok(Severity::Warning),
                    "note" => Ok(Severity::Note),
                    _ => Err("it is error, warning or note"),
                })?);
            }
            Long("json") => parsed.format = Format::Json,
            Long("sarif") => parsed.format = Format::Sarif,
            Long("rules") => parsed.rules = true,
            Long("explain") => parsed.explain = Some(parser.value()?.string()?),
            Short('h' | '?') | Long("help") => parsed.help = true,
            other => return Err(other.unexpected()),
        }
    }
    Ok(())
}

fn run(args: &Args, out: &mut impl Write) -> Result<u8, String> {
    let (text, status) = answer(args)?;
    // Whoever reads may have enough before the end, as `head` does.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    Ok(status)
}

/// What is said, and the exit status.
fn answer(args: &Args) -> Result<(String, u8), String> {
    if args.help {
        return Ok((HELP.to_owned(), 0));
    }
    if args.rules {
        let line = |rule: &Rule| format!("{:<8} {:<26} {}\n", severity(rule.severity), rule.id, rule.summary);
        return Ok((rules().map(line).collect(), 0));
    }
    if let Some(id) = &args.explain {
        let rule = rules().find(|rule| rule.id == id).ok_or_else(|| format!("there is no rule \"{id}\""))?;
        return Ok((explanation(rule), 0));
    }
    if args.files.is_empty() {
        return Err("no file to check".to_owned());
    }
    let mut wishes = args.wishes;
    wishes.cores = wishes.cores.or_else(|| std::thread::available_parallelism().ok().map(|n| n.get() as u64));
    let mut all: Vec<Checked> = args.files.iter().map(|file| check(&Disk, file, wishes)).collect();
    let least = args.level.unwrap_or(Severity::Note);
    all.iter_mut().for_each(|checked| checked.findings.retain(|finding| finding.severity <= least));
    let text = match args.format {
        Format::Text => text(args, &all),
        Format::Json => json::render(&args.files, &all),
        Format::Sarif => sarif::render(&all),
    };
    Ok((text, status(&all, args.level)))
}

fn status(all: &[Checked], level: Option<Severity>) -> u8 {
    let counts = level.unwrap_or(Severity::Warning);
    if all.iter().flat_map(|checked| &checked.problems).any(|problem| problem.severity == Severity::Error) {
        return 2;
    }
    let found = all.iter().flat_map(|checked| &checked.findings).any(|finding| finding.severity <= counts);
    u8::from(found)
}

fn text(args: &Args, all: &[Checked]) -> String {
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut text = String::new();
    for (file, checked) in args.files.iter().zip(all) {
        // Warnings are about files that are not there: they matter where something may have been missed.
        for problem in checked.problems.iter().filter(|problem| problem.severity <= Severity::Warning) {
            text.push_str(&problem.render(&checked.sources, color));
            text.push('\n');
        }
        for finding in &checked.findings {
            text.push_str(&finding.render(&checked.sources, color));
        }
        let [errors, warnings, notes] = count(checked);
        let file = file.display();
        text.push_str(&match (errors, warnings, notes) {
            (0, 0, 0) => format!("{file}: nothing found\n"),
            _ => format!(
                "{file}: {}, {}, {}; longwire check --explain RULE says more\n",
                counted(errors, "error"),
                counted(warnings, "warning"),
                counted(notes, "note")
            ),
        });
    }
    text
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Errors, warnings and notes.
fn count(checked: &Checked) -> [usize; 3] {
    [Severity::Error, Severity::Warning, Severity::Note]
        .map(|severity| checked.findings.iter().filter(|finding| finding.severity == severity).count())
}

fn explanation(rule: &Rule) -> String {
    let Rule { id, summary, why, ignore, .. } = rule;
    let severity = severity(rule.severity);
    format!("{id} ({severity}): {summary}.\n\n{why}\n\nWhen to leave it: {ignore}\n")
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

/// The page of a rule, as a path in the documentation.
fn page(rule: &Rule) -> String {
    format!("docs/check/{}.md", rule.id)
}
