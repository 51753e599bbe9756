//! The life of the process: load, bind, serve, obey signals, stop in order.

mod drain;
mod load;
mod process;
mod reload;
mod run;
mod shutdown;
mod signals;
mod systemd;
mod upgrade;

use longwire_conf::model::Level;

use crate::log::{Context, Logs};

pub use load::{Disk, Origin, load, show};
pub use process::{PidFile, Signal, read_pid, send};
pub use run::{Outcome, Ready, Startup, check, run};

/// Writes to the main error log.
fn say(logs: &Logs, level: Level, message: std::fmt::Arguments<'_>) {
    logs.error(&[], level, &Context::default(), message);
}
