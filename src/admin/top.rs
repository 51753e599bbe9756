//! `longwire top`: the live view in the terminal.

use std::ffi::OsString;
use std::process::ExitCode;

use super::console::Load;

/// Runs the command with what stands behind its name.
pub(super) fn command(args: &[OsString], load: Load) -> ExitCode {
    let _ = (args, load);
    eprintln!("longwire: top is not there yet");
    ExitCode::from(2)
}
