//! The end of the process: everybody is told, and nobody is waited for longer than that may take.

use std::time::Duration;

use longwire_conf::model::Level;
use longwire_wire::{Cause, CloseCode};
use tokio::sync::watch;

use super::run::Running;
use super::signals::{Signals, Wish};
use crate::clock;

/// After SIGTERM, how long tunnels have for their Close frames.
const STOP_PATIENCE: Duration = Duration::from_secs(1);
/// Then, how long they have to be told of in the logs.
const CUT_PATIENCE: Duration = Duration::from_millis(200);

/// SIGTERM: ends as soon as every tunnel was told.
pub(super) async fn stop(running: Running) {
    end(running, Some(STOP_PATIENCE)).await;
}

/// SIGQUIT: ends when everybody has gone, or when `worker_shutdown_timeout` is over.
pub(super) async fn quit(running: Running) {
    let patience = running.service.snapshot.config.main.worker_shutdown_timeout;
    end(running, patience).await;
}

async fn end(running: Running, patience: Option<Duration>) {
    let Running { service, sockets, mut signals, stop, .. } = running;
    let (tunnels, logs) = (service.tunnels.clone(), service.snapshot.logs.clone());
    let say = |level, message: std::fmt::Arguments<'_>| super::say(&logs, level, message);
    say(
        Level::Notice,
        format_args!("shutting down, tunnels that get their Close frames: {}", tunnels.count()),
    );
    stop.send_replace(true);
    // Or it would be waited for these.
    drop((service, sockets));
    tunnels.close_all(CloseCode::GOING_AWAY, Cause::Shutdown);
    wind_down(&stop, &mut signals, patience).await;
    if tunnels.count() > 0 {
        say(Level::Warn, format_args!("time is up, tunnels that are cut: {}", tunnels.count()));
        tunnels.cut_all();
        // Their last lines are worth a moment.
        let _ = tokio::time::timeout(CUT_PATIENCE, stop.closed()).await;
    }
    say(Level::Notice, format_args!("exit"));
}

/// Waits until every connection is gone, `patience` is over, or a second signal says to hurry.
async fn wind_down(stop: &watch::Sender<bool>, signals: &mut Signals, mut patience: Option<Duration>) {
    let begun = clock::now_us();
    loop {
        let over = async {
            match patience {
                Some(patience) => {
                    let end = begun.saturating_add(clock::micros(patience));
                    tokio::time::sleep_until(clock::instant(end)).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.closed() => return,
            () = over => return,
            wish = signals.next() => if wish == Wish::Stop {
                patience = Some(Duration::ZERO);
            },
        }
    }
}
