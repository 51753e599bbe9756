//! The life of the process: load, bind, serve, obey signals, stop in order.

mod load;
mod process;
mod run;

pub use load::{Disk, load, show};
pub use process::{PidFile, Signal, read_pid, send};
pub use run::{Outcome, Ready, Startup, check, run};
