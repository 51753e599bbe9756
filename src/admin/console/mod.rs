//! `longwire top`, `longwire ls` and `longwire close`: the API of a running process in the terminal.

use std::ffi::OsString;
use std::process::ExitCode;

use super::top;

/// Runs one of the commands: `top`, `ls` or `close`, with what stands behind its name.
pub fn command(name: &str, args: &[OsString]) -> ExitCode {
    if name == "top" {
        return top::command(args);
    }
    eprintln!("longwire: {name} is not there yet");
    ExitCode::from(2)
}
