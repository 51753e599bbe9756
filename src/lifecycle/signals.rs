//! What signals ask the process for.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// SIGTERM, SIGINT: end at once.
    Stop,
    /// SIGQUIT: end, and let others finish.
    Quit,
    /// SIGHUP: serve by the configuration as it is now.
    Reload,
    /// SIGUSR1: open the log files anew.
    Reopen,
    /// SIGUSR2: go on as another program.
    Upgrade,
}

/// The signals that are heard.
pub(super) struct Signals {
    term: Signal,
    int: Signal,
    quit: Signal,
    hup: Signal,
    usr1: Signal,
    usr2: Signal,
}

impl Signals {
    /// Hears them from now on.
    pub(super) fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next one. Several of a kind that nobody waited for are one.
    pub(super) async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.term.recv() => Wish::Stop,
            _ = self.int.recv() => Wish::Stop,
            _ = self.quit.recv() => Wish::Quit,
            _ = self.hup.recv() => Wish::Reload,
            _ = self.usr1.recv() => Wish::Reopen,
            _ = self.usr2.recv() => Wish::Upgrade,
        }
    }
}
