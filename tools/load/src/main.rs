//! Load for a WebSocket proxy: clients that measure, and the backend behind it.
//!
//! The floors, ground floor first: frames and histogram are plain data; a stream is TCP or TLS; a crowd is many
//! connections on one epoll loop; a scenario tells the crowd what to do. The backend stands beside them.

mod frames;
mod histogram;
mod stream;

mod crowd;

mod scenario;

mod args;
mod backend;

use std::process::ExitCode;

fn main() -> ExitCode {
    let result = args::parse(std::env::args_os().skip(1)).and_then(|args| match args {
        args::Args::Help => {
            print!("{}", args::HELP);
            Ok(())
        }
        args::Args::Backend(address) => backend::run(address).map_err(|error| format!("{address}: {error}")),
        args::Args::Load(options) => scenario::run(&options),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("longwire-load: {message}");
            ExitCode::FAILURE
        }
    }
}
