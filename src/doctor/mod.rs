//! `longwire doctor`: takes the road that a browser takes to a WebSocket, and says where it breaks.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command with what stands behind its name. Exit status: 0 sound, 1 a fault was found, 2 it could not tell.
pub fn command(args: &[OsString]) -> ExitCode {
    let _ = args;
    eprintln!("longwire: doctor is not there yet");
    ExitCode::from(2)
}
