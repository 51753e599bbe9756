//! `longwire top`: the live view in the terminal.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command with what stands behind its name.
pub(super) fn command(args: &[OsString]) -> ExitCode {
    let _ = args;
    eprintln!("longwire: top is not there yet");
    ExitCode::from(2)
}
