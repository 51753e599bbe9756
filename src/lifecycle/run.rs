//! From a loaded configuration to a serving process, and to its end.

use std::sync::Arc;
use std::time::Duration;

use longwire_conf::model::{Config, Level, LogTarget};
use longwire_conf::{Diagnostic, Loaded, Severity, Sources};
use nix::unistd::geteuid;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::drain::Parting;
use super::load::{Origin, show};
use super::process::{PidFile, become_user, check_user, raise_files};
use super::reload::{Fixed, Reload};
use super::signals::{Signals, Wish};
use super::upgrade::{Arriving, Heir, Program, Successor, Upgrade, Verdict};
use super::{say, shutdown, systemd};
use crate::clock;
use crate::http::Service;
use crate::log::Logs;
use crate::metrics::COUNTS;
use crate::net::{Endpoint, Inherited};
use crate::scrape::Keeper;
use crate::server::{BindError, Sockets};
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
        Ok(snapshot) => {
            snapshot.logs.flush();
            Outcome::Done
        }
        Err(Unable(_)) => Outcome::Failed,
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
    pub(super) pid_file: Option<PidFile>,
    /// What an upgrade starts.
    pub(super) program: Program,
    /// Takes what the process before this one still hands over.
    pub(super) arriving: Option<Arriving>,
}

impl Running {
    /// Whether all that the process before had is here.
    pub(super) fn has_arrived(&self) -> bool {
        self.arriving.as_ref().is_none_or(Arriving::is_over)
    }
}

/// Builds the snapshot and shows what was found on the way.
fn prepare(loaded: Loaded, least: Severity) -> Result<Snapshot, Unable> {
    show(&loaded.diagnostics, &loaded.sources, least);
    let Some(config) = loaded.config else { return Err(Unable::of(&loaded.diagnostics, &loaded.sources)) };
    let mut faults: Vec<_> = user_fault(&config).into_iter().collect();
    let logs = match Logs::open(&config) {
        Ok(logs) => logs,
        Err(error) => {
            eprintln!("longwire: [emerg] {error}");
            return Err(Unable(error.to_string()));
        }
    };
    let mut warnings = Vec::new();
    let built = Snapshot::build(config, logs, None, &mut warnings);
    show(&warnings, &loaded.sources, least);
    match built {
        Ok(snapshot) if faults.is_empty() => return Ok(snapshot.with_sources(loaded.sources)),
        Ok(_) => {}
        Err(more) => faults.extend(more),
    }
    show(&faults, &loaded.sources, least);
    Err(Unable::of(&faults, &loaded.sources))
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
    COUNTS.begin(clock::unix_us());
    let successor = Successor::find();
    let given = systemd::sockets();
    let snapshot = match prepare(loaded, Severity::Warning) {
        Ok(snapshot) => snapshot,
        Err(Unable(why)) => {
            if let Some(successor) = successor {
                successor.refuse(&why);
            }
            return Outcome::Failed;
        }
    };
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
        match begin(Start { snapshot: Arc::new(snapshot), origin, given }, successor).await {
            Ok(running) => {
                // Its files are open no longer than its configuration is in use.
                drop(first);
                ready(&running.sockets.addresses(), &running.service.tunnels);
                (Outcome::Done, serve(running).await)
            }
            Err(Unable(_)) => (Outcome::Failed, first),
        }
    });
    // What still runs is abandoned: its time was up.
    runtime.shutdown_timeout(Duration::from_millis(100));
    logs.flush();
    outcome
}

/// It cannot start, and has said why.
struct Unable(String);

impl Unable {
    /// Because of these errors.
    fn of(diagnostics: &[Diagnostic], sources: &Sources) -> Unable {
        let errors = diagnostics.iter().filter(|found| found.severity == Severity::Error);
        Unable(errors.map(|found| found.line(sources)).collect::<Vec<_>>().join("; "))
    }
}

/// What a process begins with.
struct Start {
    snapshot: Arc<Snapshot>,
    origin: Option<Origin>,
    given: Vec<systemd::Given>,
}

/// Begins to serve: by itself, or in the place of the process that has started it.
async fn begin(start: Start, successor: Option<Successor>) -> Result<Running, Unable> {
    let Some(successor) = successor else { return settle(start, &mut None).await };
    let mut heir = match successor.inherit().await {
        Ok(heir) => Some(heir),
        Err(error) => return Err(Unable(format!("the process before gave nothing: {error}"))),
    };
    let settled = settle(start, &mut heir).await;
    if let (Err(Unable(why)), Some(heir)) = (&settled, heir) {
        heir.refuse(why).await;
    }
    settled
}

/// Binds, takes its place in the system, and accepts connections: with an heir, after the process before it has given
/// the first tunnels away.
async fn settle(start: Start, heir: &mut Option<Heir>) -> Result<Running, Unable> {
    let Start { snapshot, origin, given } = start;
    let logs = snapshot.logs.clone();
    let unable = |message: &dyn std::fmt::Display| {
        eprintln!("longwire: [emerg] {message}");
        Unable(message.to_string())
    };
    if let Err(error) = raise_files(snapshot.config.main.worker_rlimit_nofile) {
        say(&logs, Level::Alert, format_args!("the limit of open files could not be raised: {error}"));
    }
    let program = Program::this().map_err(|error| unable(&format!("the program is not known: {error}")))?;
    let mut sockets = Sockets::default();
    let mut inherited = match heir {
        Some(heir) => {
            Inherited { sockets: std::mem::take(&mut heir.sockets), are_lent: systemd::is_activated() }
        }
        None => Inherited { sockets: systemd::usable(given, &logs), are_lent: true },
    };
    let given = inherited.sockets.len();
    let fresh = sockets.bind(&snapshot, &mut inherited).map_err(|errors| cannot_bind(&errors, &snapshot))?;
    let taken = given - inherited.sockets.len();
    // Before anybody can know where to send one: what is not listened to ends a process.
    let signals = Signals::new().map_err(|error| unable(&format!("cannot listen to signals: {error}")))?;
    let pid_file = pid_file(&snapshot.config, heir.as_mut()).map_err(|message| unable(&message))?;
    let write_pid = || pid_file.as_ref().map_or(Ok(()), PidFile::write);
    if heir.is_none() {
        write_pid().map_err(|error| unable(&format!("the pid file cannot be written: {error}")))?;
    }
    give_up_rights(&snapshot.config, &logs, heir.is_some()).map_err(|message| {
        say(&logs, Level::Emerg, format_args!("{message}"));
        unable(&message)
    })?;
    let threads = snapshot.config.main.worker_processes.unwrap_or_else(cores);
    let tunnels =
        Tunnels::start(threads).map_err(|error| unable(&format!("cannot start the pumps: {error}")))?;
    let (stop, stopped) = watch::channel(false);
    let fixed = Fixed::of(&snapshot.config);
    let service = Arc::new(Service::new(snapshot.clone(), Arc::new(tunnels), stopped));
    let mut arriving = None;
    if let Some(mut heir) = heir.take() {
        let bound = snapshot.bindings.len() - taken;
        let count = match heir.take_office(taken, bound, &service, write_pid).await {
            Ok(count) => count,
            Err(error) => return Err(unable(&format!("the upgrade has come to nothing: {error}"))),
        };
        COUNTS.upgrades_done.add();
        say(&logs, Level::Notice, format_args!("upgrade: this process serves, tunnels taken over: {count}"));
        arriving = Some(heir.follow(service.clone()));
    }
    snapshot.start(None);
    for address in sockets.turn_to(&service, fresh).await.added {
        say(&logs, Level::Notice, format_args!("listening on {address}"));
    }
    give_up(inherited, &logs);
    let mut parting = Parting::default();
    if arriving.is_some() {
        // Of the tunnels that came, some may be to servers that this configuration wants to be left.
        parting.begin(service.snapshot.clone(), service.tunnels.clone());
    }
    systemd::tell(systemd::State::Ready, &logs);
    Ok(Running { service, sockets, origin, fixed, parting, signals, stop, pid_file, program, arriving })
}

/// Closes sockets of others that no `listen` wants.
fn give_up(mut inherited: Inherited, logs: &Logs) {
    // What systemd has bound clients still reach, and wait there for ever.
    let level = if inherited.are_lent { Level::Warn } else { Level::Notice };
    let endpoints: Vec<Endpoint> = inherited.sockets.iter().map(|(endpoint, _)| endpoint.clone()).collect();
    for endpoint in endpoints {
        if let Some(Ok(listener)) = inherited.take(&endpoint) {
            // With its file, as this is its end.
            listener.own(true);
        }
        let whose = if inherited.are_lent { "systemd has bound it, and " } else { "" };
        say(logs, level, format_args!("not listening on {endpoint}: {whose}no \"listen\" wants it"));
    }
}

/// Says what cannot be bound.
fn cannot_bind(errors: &[BindError], snapshot: &Snapshot) -> Unable {
    let log = &snapshot.config.main.error_log;
    let shown = log.is_empty() || log.iter().any(|log| log.target.value == LogTarget::Stderr);
    for error in errors {
        say(&snapshot.logs, Level::Emerg, format_args!("{error}"));
        // Whoever typed the command looks at the terminal, also where the log is a file.
        if !shown {
            eprintln!("longwire: [emerg] {error}");
        }
    }
    Unable(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

/// `user`. Whoever asked for fewer rights must not be served with all of them.
fn give_up_rights(config: &Config, logs: &Logs, is_heir: bool) -> Result<(), String> {
    match &config.main.user {
        // An upgrade begins with the rights of the process before it.
        Some(_) if !geteuid().is_root() && is_heir => Ok(()),
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
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut history = Keeper::default();
    let mut reload = Reload::default();
    let mut upgrade = Upgrade::default();
    loop {
        tokio::select! {
            wish = running.signals.next() => match wish {
                Wish::Stop => {
                    // A process that was started for an upgrade goes first.
                    drop(upgrade);
                    systemd::tell(systemd::State::Stopping, &running.service.snapshot.logs);
                    return shutdown::stop(running).await;
                }
                Wish::Quit => {
                    drop(upgrade);
                    systemd::tell(systemd::State::Stopping, &running.service.snapshot.logs);
                    return shutdown::quit(running).await;
                }
                Wish::Reload if upgrade.is_under_way() => say(
                    &running.service.snapshot.logs,
                    Level::Error,
                    format_args!("reload: nothing changes, an upgrade is under way"),
                ),
                Wish::Reload => reload.begin(&running),
                Wish::Reopen => reopen(&running.service.snapshot.logs),
                Wish::Upgrade if reload.is_under_way() => say(
                    &running.service.snapshot.logs,
                    Level::Error,
                    format_args!("upgrade: nothing changes, a reload is under way"),
                ),
                Wish::Upgrade => upgrade.begin(&running),
            },
            begun = upgrade.begun() => match begun.hand_over(&mut running).await {
                Verdict::Stays => {}
                Verdict::Replaced => return shutdown::leave(running).await,
                Verdict::Hurried => return shutdown::stop(running).await,
            },
            built = reload.built() => reload.finish(built, &mut running).await,
            () = running.parting.done() => {}
            _ = second.tick() => history.turn(&running.service),
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

/// Opens the pid file, or takes over that of the process before.
fn pid_file(config: &Config, heir: Option<&mut Heir>) -> Result<Option<PidFile>, String> {
    let Some(path) = &config.main.pid else { return Ok(None) };
    if let Some(file) = heir.and_then(|heir| heir.pid_file(&path.value)) {
        return Ok(Some(PidFile::of(&path.value, file.into())));
    }
    PidFile::open(&path.value)
        .map(Some)
        .map_err(|error| format!("the pid file {} cannot be written: {error}", path.value.display()))
}
