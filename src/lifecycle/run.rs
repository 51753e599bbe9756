//! From a loaded configuration to a serving process, and to its end.

use std::sync::Arc;
use std::time::Duration;

use longwire_conf::model::{Config, Level};
use longwire_conf::{Diagnostic, Loaded, Severity};
use nix::unistd::geteuid;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::drain::Parting;
use super::load::{Origin, show};
use super::process::{PidFile, become_user, check_user, raise_files};
use super::reload::{Fixed, Reload};
use super::signals::{Signals, Wish};
use super::{say, shutdown};
use crate::http::Service;
use crate::log::Logs;
use crate::net::Endpoint;
use crate::server::Sockets;
use crate::snapshot::Snapshot;
use crate::tunnel::Tunnels;

/// How often idle connections to backends are looked through.
const SWEEP: Duration = Duration::from_secs(5);

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As asked: exit status 0.
    Done,
    /// It could not start: exit status 1. What was in the way has been said.
    Failed,
}

/// What is to be started.
pub struct Startup {
    /// The configuration, with what was found in it.
    pub loaded: Loaded,
    /// Where it came from, to be read again by a reload; `None` when it is no file.
    pub origin: Option<Origin>,
    /// Called once all sockets are bound, with their addresses and the table of tunnels.
    pub ready: Ready,
}

/// What is done when all sockets are bound.
pub type Ready = Box<dyn FnOnce(&[Endpoint], &Arc<Tunnels>) + Send>;

/// `-t`: everything but binding. Says what was found, down to notes unless `quiet`.
pub fn check(loaded: Loaded, quiet: bool) -> Outcome {
    let least = if quiet { Severity::Error } else { Severity::Note };
    match prepare(loaded, least) {
        Some(snapshot) => {
            snapshot.logs.flush();
            Outcome::Done
        }
        None => Outcome::Failed,
    }
}

/// The process at work.
pub(super) struct Running {
    /// The generation in force.
    pub(super) service: Arc<Service>,
    /// What it listens on.
    pub(super) sockets: Sockets,
    /// Where the configuration came from; `None` when it was no file.
    pub(super) origin: Option<Origin>,
    /// What was fixed at the start and no reload changes.
    pub(super) fixed: Fixed,
    /// Tunnels that go because of the configuration in force.
    pub(super) parting: Parting,
    /// What it is asked for.
    pub(super) signals: Signals,
    /// Ends it when true; closed once no connection and no tunnel is left, and nothing here leads to one.
    pub(super) stop: watch::Sender<bool>,
    /// Removed at the end.
    pub(super) _pid_file: Option<PidFile>,
}

/// Builds the snapshot and shows what was found on the way; `None` when something is in the way.
fn prepare(loaded: Loaded, least: Severity) -> Option<Snapshot> {
    show(&loaded.diagnostics, &loaded.sources, least);
    let config = loaded.config?;
    let mut faults: Vec<_> = user_fault(&config).into_iter().collect();
    let logs = match Logs::open(&config) {
        Ok(logs) => logs,
        Err(error) => {
            eprintln!("longwire: [emerg] {error}");
            return None;
        }
    };
    let mut warnings = Vec::new();
    let built = Snapshot::build(config, logs, None, &mut warnings);
    show(&warnings, &loaded.sources, least);
    match built {
        Ok(snapshot) if faults.is_empty() => return Some(snapshot),
        Ok(_) => {}
        Err(more) => faults.extend(more),
    }
    show(&faults, &loaded.sources, least);
    None
}

/// A `user` that is nobody.
pub(super) fn user_fault(config: &Config) -> Option<Diagnostic> {
    let user = config.main.user.as_ref()?;
    let message = check_user(&user.value.0, user.value.1.as_deref()).err()?;
    Some(Diagnostic::error(user.span, message))
}

/// Serves until a signal ends it.
pub fn run(startup: Startup) -> Outcome {
    let Startup { loaded, origin, ready } = startup;
    let Some(snapshot) = prepare(loaded, Severity::Warning) else { return Outcome::Failed };
    let threads = snapshot.config.main.worker_processes;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads.max(1));
    }
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("longwire: [emerg] cannot start threads: {error}");
            return Outcome::Failed;
        }
    };
    let first = snapshot.logs.clone();
    let (outcome, logs) = runtime.block_on(async move {
        match begin(Arc::new(snapshot), origin).await {
            Ok(running) => {
                // Its files are open no longer than its configuration is in use.
                drop(first);
                ready(&running.sockets.addresses(), &running.service.tunnels);
                (Outcome::Done, serve(running).await)
            }
            Err(Unable) => (Outcome::Failed, first),
        }
    });
    // What still runs is abandoned: its time was up.
    runtime.shutdown_timeout(Duration::from_millis(100));
    logs.flush();
    outcome
}

/// It cannot start, and has said why.
struct Unable;

/// Binds, takes its place in the system, and accepts connections.
async fn begin(snapshot: Arc<Snapshot>, origin: Option<Origin>) -> Result<Running, Unable> {
    let logs = snapshot.logs.clone();
    let unable = |message: &dyn std::fmt::Display| {
        eprintln!("longwire: [emerg] {message}");
        Unable
    };
    if let Err(error) = raise_files(snapshot.config.main.worker_rlimit_nofile) {
        say(&logs, Level::Alert, format_args!("the limit of open files could not be raised: {error}"));
    }
    let mut sockets = Sockets::default();
    let fresh = sockets.bind(&snapshot).map_err(|errors| {
        let log = &snapshot.config.main.error_log;
        let shown = log.is_empty() || log.iter().any(|log| log.path.is_none());
        for error in errors {
            say(&logs, Level::Emerg, format_args!("{error}"));
            // Whoever typed the command looks at the terminal, also where the log is a file.
            if !shown {
                unable(&error);
            }
        }
        Unable
    })?;
    let pid_file = pid_file(&snapshot.config).map_err(|message| unable(&message))?;
    give_up_rights(&snapshot.config, &logs).map_err(|message| {
        say(&logs, Level::Emerg, format_args!("{message}"));
        unable(&message)
    })?;
    let signals = Signals::new().map_err(|error| unable(&format!("cannot listen to signals: {error}")))?;
    let threads = snapshot.config.main.worker_processes.unwrap_or_else(cores);
    let tunnels =
        Tunnels::start(threads).map_err(|error| unable(&format!("cannot start the pumps: {error}")))?;
    let (stop, stopped) = watch::channel(false);
    let fixed = Fixed::of(&snapshot.config);
    snapshot.start(None);
    let service = Arc::new(Service::new(snapshot, Arc::new(tunnels), stopped));
    for address in sockets.turn_to(&service, fresh).await.added {
        say(&logs, Level::Notice, format_args!("listening on {address}"));
    }
    let parting = Parting::default();
    Ok(Running { service, sockets, origin, fixed, parting, signals, stop, _pid_file: pid_file })
}

/// `user`. Whoever asked for fewer rights must not be served with all of them.
fn give_up_rights(config: &Config, logs: &Logs) -> Result<(), String> {
    match &config.main.user {
        Some(_) if !geteuid().is_root() => {
            say(
                logs,
                Level::Warn,
                format_args!(
                    "the \"user\" directive makes sense only if the process runs with super-user privileges, ignored"
                ),
            );
            Ok(())
        }
        Some(user) => become_user(&user.value.0, user.value.1.as_deref()),
        None => Ok(()),
    }
}

/// Obeys signals, until one ends it. Gives the logs that were in force last.
async fn serve(mut running: Running) -> Arc<Logs> {
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reload = Reload::default();
    loop {
        tokio::select! {
            wish = running.signals.next() => match wish {
                Wish::Stop => return shutdown::stop(running).await,
                Wish::Quit => return shutdown::quit(running).await,
                Wish::Reload => reload.begin(&running),
                Wish::Reopen => reopen(&running.service.snapshot.logs),
                Wish::Upgrade => say(
                    &running.service.snapshot.logs,
                    Level::Error,
                    format_args!("upgrade is not there yet: the process goes on as it is"),
                ),
            },
            built = reload.built() => reload.finish(built, &mut running).await,
            () = running.parting.done() => {}
            _ = sweep.tick() => running.service.snapshot.groups.iter().for_each(|group| group.sweep()),
        }
    }
}

pub(super) fn reopen(logs: &Logs) {
    say(logs, Level::Notice, format_args!("reopening logs"));
    for error in logs.reopen() {
        say(logs, Level::Emerg, format_args!("{error}"));
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn pid_file(config: &Config) -> Result<Option<PidFile>, String> {
    let Some(path) = &config.main.pid else { return Ok(None) };
    PidFile::create(&path.value)
        .map(Some)
        .map_err(|error| format!("the pid file {} cannot be written: {error}", path.value.display()))
}
