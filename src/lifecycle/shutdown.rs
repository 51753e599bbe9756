//! The end of the process: everybody is told, and nobody is waited for longer than that may take.

use std::sync::Arc;
use std::time::Duration;

use longwire_conf::model::Level;
use longwire_wire::{Cause, CloseCode};
use tokio::sync::watch;

use super::process::PidFile;
use super::run::Running;
use super::signals::{Signals, Wish};
use super::{run, say};
use crate::log::Logs;
use crate::tunnel::Tunnels;
use crate::{clock, parting};

/// After SIGTERM, how long tunnels have for their Close frames.
const STOP_PATIENCE: Duration = Duration::from_secs(1);
/// When the process ends in order, how long the spans of its last requests have to be sent.
const SPANS_PATIENCE: Duration = Duration::from_secs(3);
/// Then, how long they have to be told of in the logs.
const CUT_PATIENCE: Duration = Duration::from_millis(200);

/// SIGTERM: ends as soon as every tunnel was told. Gives the logs, for what is still to be said.
pub(super) async fn stop(running: Running) -> Arc<Logs> {
    let mut end = End::new(running);
    end.hurry().await;
    end.cut().await
}

/// SIGQUIT: tunnels are told to go over `websocket_drain`; ends when everybody has gone, or when
/// `worker_shutdown_timeout` is over.
pub(super) async fn quit(running: Running) -> Arc<Logs> {
    empty(running, CloseCode::GOING_AWAY, Cause::Shutdown).await
}

/// Another process has taken over: the same for those who could not go there, who are told to come back.
pub(super) async fn leave(running: Running) -> Arc<Logs> {
    empty(running, CloseCode::SERVICE_RESTART, Cause::Drain).await
}

async fn empty(running: Running, code: CloseCode, cause: Cause) -> Arc<Logs> {
    let snapshot = running.service.snapshot.clone();
    // nginx: 0 is none.
    let cap = snapshot.config.main.worker_shutdown_timeout.filter(|cap| !cap.is_zero());
    let everybody = parting::everybody(&snapshot, code, cause, cap);
    let exporters = snapshot.exporters.clone();
    drop(snapshot);
    let mut end = End::new(running);
    let count = end.tunnels.drain(everybody).await;
    say(&end.logs, Level::Notice, format_args!("tunnels that are told to go, one after the other: {count}"));
    if end.wind_down(cap).await == Wound::Hurried {
        end.hurry().await;
        return end.cut().await;
    }
    let logs = end.cut().await;
    exporters.finish(SPANS_PATIENCE).await;
    logs
}

/// What is left of a process that ends.
struct End {
    tunnels: Arc<Tunnels>,
    logs: Arc<Logs>,
    signals: Signals,
    /// Closed once no connection and no tunnel is left.
    stop: watch::Sender<bool>,
    _pid_file: Option<PidFile>,
}

/// How waiting for all to be gone ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wound {
    /// Nobody is left.
    Down,
    /// The time is over.
    Late,
    /// A second signal says that it is to be quick.
    Hurried,
}

impl End {
    /// Nobody is let in from here on, and connections end after the request in work.
    fn new(running: Running) -> End {
        // The rest of it goes here, or it would be waited for.
        let Running { service, signals, stop, pid_file, .. } = running;
        let (tunnels, logs) = (service.tunnels.clone(), service.snapshot.logs.clone());
        say(&logs, Level::Notice, format_args!("shutting down, open tunnels: {}", tunnels.count()));
        stop.send_replace(true);
        End { tunnels, logs, signals, stop, _pid_file: pid_file }
    }

    /// All tunnels are told now, and have a moment to answer.
    async fn hurry(&mut self) {
        self.tunnels.close_all(CloseCode::GOING_AWAY, Cause::Shutdown);
        self.wind_down(Some(STOP_PATIENCE)).await;
    }

    /// What is left ends now.
    async fn cut(self) -> Arc<Logs> {
        let count = self.tunnels.count();
        if count > 0 {
            say(&self.logs, Level::Warn, format_args!("time is up, tunnels that are cut: {count}"));
            self.tunnels.cut_all();
            // Their last lines are worth a moment.
            let _ = tokio::time::timeout(CUT_PATIENCE, self.stop.closed()).await;
        }
        say(&self.logs, Level::Notice, format_args!("exit"));
        self.logs
    }

    /// Waits until every connection is gone, `patience` is over, or a signal says to hurry.
    async fn wind_down(&mut self, patience: Option<Duration>) -> Wound {
        let end_us = patience.map(|patience| clock::now_us().saturating_add(clock::micros(patience)));
        loop {
            let late = async {
                match end_us {
                    Some(end_us) => tokio::time::sleep_until(clock::instant(end_us)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.closed() => return Wound::Down,
                () = late => return Wound::Late,
                wish = self.signals.next() => match wish {
                    Wish::Stop => return Wound::Hurried,
                    // It may take minutes, in which logs are rotated.
                    Wish::Reopen => run::reopen(&self.logs),
                    Wish::Quit => {}
                    Wish::Reload | Wish::Upgrade => {
                        say(&self.logs, Level::Warn, format_args!("the process is ending: nothing is taken up any more"));
                    }
                },
            }
        }
    }
}
