//! `longwire`: see `longwire -h`.

use std::process::ExitCode;

fn main() -> ExitCode {
    longwire::cli::main()
}
