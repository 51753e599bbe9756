//! From a loaded configuration to a serving process, and to its end.

use std::sync::Arc;
use std::time::Duration;

use longwire_conf::model::{Config, Level};
use longwire_conf::{Diagnostic, Loaded, Severity, Sources};
use longwire_wire::{Cause, CloseCode};
use nix::unistd::geteuid;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::load::show;
use super::process::{PidFile, become_user, check_user, raise_files};
use crate::clock;
use crate::http::Service;
use crate::log::{Context, Logs};
use crate::net::Endpoint;
use crate::server::bind_all;
use crate::snapshot::Snapshot;
use crate::tunnel::Tunnels;

/// After SIGTERM, how long tunnels have for their Close frames.
const STOP_PATIENCE: Duration = Duration::from_secs(1);
/// Then, how long they have to be told of in the logs.
const CUT_PATIENCE: Duration = Duration::from_millis(200);
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
    /// Called once all sockets are bound, with their addresses and the table of tunnels.
    pub ready: Ready,
}

/// What is done when all sockets are bound.
pub type Ready = Box<dyn FnOnce(&[Endpoint], &Arc<Tunnels>) + Send>;

/// `-t`: everything but binding. Says what was found, down to notes unless `quiet`.
pub fn check(loaded: Loaded, quiet: bool) -> Outcome {
    let least = if quiet { Severity::Error } else { Severity::Note };
    match prepare(loaded, least) {
        Some((snapshot, _)) => {
            snapshot.logs.flush();
            Outcome::Done
        }
        None => Outcome::Failed,
    }
}

/// Builds the snapshot and shows what was found on the way; `None` when something is in the way.
fn prepare(loaded: Loaded, least: Severity) -> Option<(Snapshot, Sources)> {
    show(&loaded.diagnostics, &loaded.sources, least);
    let config = loaded.config?;
    let mut faults = Vec::new();
    if let Some(user) = &config.main.user
        && let Err(message) = check_user(&user.value.0, user.value.1.as_deref())
    {
        let span = Some(user.span);
        faults.push(Diagnostic { severity: Severity::Error, span, message, label: None, help: Vec::new() });
    }
    let logs = match Logs::open(&config) {
        Ok(logs) => logs,
        Err(error) => {
            eprintln!("longwire: [emerg] {error}");
            return None;
        }
    };
    let mut warnings = Vec::new();
    let built = Snapshot::build(config, logs, &Arc::default(), &mut warnings);
    show(&warnings, &loaded.sources, least);
    match built {
        Ok(snapshot) if faults.is_empty() => return Some((snapshot, loaded.sources)),
        Ok(_) => {}
        Err(more) => faults.extend(more),
    }
    show(&faults, &loaded.sources, least);
    None
}

/// Serves until a signal ends it.
pub fn run(startup: Startup) -> Outcome {
    let Startup { loaded, ready } = startup;
    let Some((snapshot, _)) = prepare(loaded, Severity::Warning) else { return Outcome::Failed };
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
    let logs = snapshot.logs.clone();
    let outcome = runtime.block_on(serve(Arc::new(snapshot), ready));
    // What still runs is abandoned: its time was up.
    runtime.shutdown_timeout(Duration::from_millis(100));
    logs.flush();
    outcome
}

async fn serve(snapshot: Arc<Snapshot>, ready: Ready) -> Outcome {
    let logs = snapshot.logs.clone();
    let say = |level: Level, message: std::fmt::Arguments<'_>| {
        logs.error(&[], level, &Context::default(), message);
    };
    if let Err(error) = raise_files(snapshot.config.main.worker_rlimit_nofile) {
        say(Level::Alert, format_args!("the limit of open files could not be raised: {error}"));
    }
    let sockets = match bind_all(&snapshot) {
        Ok(sockets) => sockets,
        Err(errors) => {
            let log = &snapshot.config.main.error_log;
            let shown = log.is_empty() || log.iter().any(|log| log.path.is_none());
            for error in errors {
                say(Level::Emerg, format_args!("{error}"));
                // Whoever typed the command looks at the terminal, also where the log is a file.
                if !shown {
                    eprintln!("longwire: [emerg] {error}");
                }
            }
            return Outcome::Failed;
        }
    };
    let _pid_file = match pid_file(&snapshot.config) {
        Ok(file) => file,
        Err(message) => {
            eprintln!("longwire: [emerg] {message}");
            return Outcome::Failed;
        }
    };
    match &snapshot.config.main.user {
        Some(_) if !geteuid().is_root() => say(
            Level::Warn,
            format_args!(
                "the \"user\" directive makes sense only if the process runs with super-user privileges, ignored"
            ),
        ),
        Some(user) => {
            // Whoever asked for fewer rights must not be served with all of them.
            if let Err(message) = become_user(&user.value.0, user.value.1.as_deref()) {
                say(Level::Emerg, format_args!("{message}"));
                eprintln!("longwire: [emerg] {message}");
                return Outcome::Failed;
            }
        }
        None => {}
    }
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("longwire: [emerg] cannot listen to signals: {error}");
            return Outcome::Failed;
        }
    };
    let threads = snapshot.config.main.worker_processes.unwrap_or_else(cores);
    let tunnels = match Tunnels::start(threads) {
        Ok(tunnels) => Arc::new(tunnels),
        Err(error) => {
            eprintln!("longwire: [emerg] cannot start the pumps: {error}");
            return Outcome::Failed;
        }
    };
    let (stop, stopped) = watch::channel(false);
    snapshot.start();
    let addresses = sockets.addresses();
    sockets.serve(&Arc::new(Service::new(snapshot.clone(), tunnels.clone(), stopped)));
    for address in &addresses {
        say(Level::Notice, format_args!("listening on {address}"));
    }
    ready(&addresses, &tunnels);
    let patience = loop {
        tokio::select! {
            wish = signals.next() => match wish {
                Wish::Stop => break Some(STOP_PATIENCE),
                Wish::Quit => break snapshot.config.main.worker_shutdown_timeout,
                Wish::Reopen => {
                    say(Level::Notice, format_args!("reopening logs"));
                    for error in logs.reopen() {
                        say(Level::Emerg, format_args!("{error}"));
                    }
                }
                Wish::Reload => say(
                    Level::Error,
                    format_args!("reload is not there yet: the configuration in force stays; restart to change it"),
                ),
            },
            () = tokio::time::sleep(SWEEP) => snapshot.groups.iter().for_each(|group| group.sweep()),
        }
    };
    say(
        Level::Notice,
        format_args!("shutting down, tunnels that get their Close frames: {}", tunnels.count()),
    );
    let _ = stop.send(true);
    tunnels.close_all(CloseCode::GOING_AWAY, Cause::Shutdown);
    wind_down(&stop, &mut signals, patience).await;
    if tunnels.count() > 0 {
        say(Level::Warn, format_args!("time is up, tunnels that are cut: {}", tunnels.count()));
        tunnels.cut_all();
        // Their last lines are worth a moment.
        let _ = tokio::time::timeout(CUT_PATIENCE, stop.closed()).await;
    }
    say(Level::Notice, format_args!("exit"));
    Outcome::Done
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

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn pid_file(config: &Config) -> Result<Option<PidFile>, String> {
    let Some(path) = &config.main.pid else { return Ok(None) };
    PidFile::create(&path.value)
        .map(Some)
        .map_err(|error| format!("the pid file {} cannot be written: {error}", path.value.display()))
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Stop,
    Quit,
    Reload,
    Reopen,
}

struct Signals {
    term: Signal,
    int: Signal,
    quit: Signal,
    hup: Signal,
    usr1: Signal,
    usr2: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.term.recv() => Wish::Stop,
            _ = self.int.recv() => Wish::Stop,
            _ = self.quit.recv() => Wish::Quit,
            _ = self.hup.recv() => Wish::Reload,
            _ = self.usr2.recv() => Wish::Reload,
            _ = self.usr1.recv() => Wish::Reopen,
        }
    }
}
