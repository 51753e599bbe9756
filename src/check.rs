//! `longwire check`: what in a configuration will break or weaken WebSockets.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command with what stands behind its name.
pub fn command(args: &[OsString]) -> ExitCode {
    let _ = args;
    eprintln!("longwire: check is not there yet");
    ExitCode::from(2)
}
