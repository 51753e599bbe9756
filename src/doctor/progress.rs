//! A line on the terminal while something long is done.

use std::io::{IsTerminal as _, Write as _};

/// Shows how far a long step is: on standard error, and only to a terminal.
#[derive(Debug)]
pub struct Progress {
    shown: bool,
}

impl Progress {
    /// On standard error, if that is a terminal.
    pub fn new() -> Progress {
        Progress { shown: std::io::stderr().is_terminal() }
    }

    /// Nowhere.
    pub fn mute() -> Progress {
        Progress { shown: false }
    }

    /// Replaces the line by this one.
    pub fn show(&self, text: &str) {
        if self.shown {
            // Nothing is lost when it cannot be written.
            let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
        }
    }

    /// Takes the line away.
    pub fn clear(&self) {
        self.show("");
    }
}

impl Default for Progress {
    fn default() -> Progress {
        Progress::new()
    }
}
