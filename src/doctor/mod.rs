//! `longwire doctor`: takes the road that a browser takes to a WebSocket, and says where it breaks.
//!
//! `probe` collects [`facts`] and judges nothing; [`verdict`] is a pure function of the facts; [`text`] shows it.

pub mod facts;
pub mod hops;
pub mod idle;
pub mod look;
pub mod options;
pub mod probe;
pub mod progress;
pub mod sticky;
pub mod target;
pub mod text;
pub mod timers;
pub mod verdict;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use facts::Facts;
use options::{Asked, Options};
use progress::Progress;
use verdict::{Report, judge};

/// Exit status when nothing could be told.
const COULD_NOT_TELL: u8 = 2;

/// Runs the command with what stands behind its name. Exit status: 0 sound, 1 a fault was found, 2 it could not tell.
pub fn command(args: &[OsString]) -> ExitCode {
    let outcome = match options::parse(args) {
        Ok(Asked::Help) => {
            let _ = std::io::stdout().write_all(options::HELP.as_bytes());
            return ExitCode::SUCCESS;
        }
        Ok(Asked::Examine(url, options)) => examine(&url, &options),
        Err(error) => Err(format!("{error}\nlongwire: longwire doctor -h shows what can be said")),
    };
    match outcome {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("longwire: {error}");
            ExitCode::from(COULD_NOT_TELL)
        }
    }
}

/// Looks, judges and shows. Returns the exit status.
fn examine(url: &str, options: &Options) -> Result<u8, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime cannot be started: {error}"))?;
    let facts = runtime.block_on(look::all(url, options, &Progress::new()));
    // A look-up that hangs must not hold the report back.
    runtime.shutdown_background();
    let facts = facts?;
    let report = judge(&facts);
    let text = if options.json { json(&report, &facts)? } else { text::render(&report, &facts) };
    // Whoever closed the pipe has read what was wanted.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(report.verdict.exit_status())
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    /// Of this form. A later one may add to it, not change it.
    format: u32,
    url: &'a str,
    sound: bool,
    #[serde(flatten)]
    report: &'a Report,
    facts: &'a Facts,
    elapsed_ms: u64,
}

fn json(report: &Report, facts: &Facts) -> Result<String, String> {
    let document = Document {
        format: 1,
        url: &facts.url,
        sound: report.verdict.is_sound(),
        report,
        facts,
        elapsed_ms: facts.elapsed_ms,
    };
    let text = serde_json::to_string_pretty(&document).map_err(|error| error.to_string())?;
    Ok(text + "\n")
}
