//! Another generation in the same process: the configuration is read and built beside the one in force, and put in its
//! place when nothing is in the way. What is in the way is said, and then nothing has changed.

use std::path::PathBuf;
use std::sync::Arc;

use longwire_conf::model::{Config, Level};
use longwire_conf::{Diagnostic, Severity, Sources};
use nix::unistd::geteuid;
use tokio::sync::oneshot;

use super::load::{Origin, load};
use super::process::raise_files;
use super::run::{Running, user_fault};
use super::{say, systemd};
use crate::clock;
use crate::metrics::COUNTS;
use crate::net::Inherited;
use crate::snapshot::Snapshot;

/// As much as a program's first thread has, on which the configuration is read at the start.
const STACK: usize = 8 << 20;

/// A reload under way, if there is one.
#[derive(Default)]
pub(super) struct Reload {
    building: Option<oneshot::Receiver<Built>>,
    /// It was asked for again meanwhile: what is being read may be older than that.
    again: bool,
}

/// What came of building: a snapshot, or all that is in the way.
pub(super) struct Built {
    outcome: Result<Snapshot, Vec<String>>,
    warnings: Vec<String>,
}

/// What a process settles when it starts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fixed {
    threads: Option<usize>,
    user: Option<(String, Option<String>)>,
    pid: Option<PathBuf>,
}

impl Fixed {
    /// As this configuration wants it.
    pub(super) fn of(config: &Config) -> Fixed {
        let main = &config.main;
        Fixed {
            threads: main.worker_processes,
            user: main.user.as_ref().map(|user| user.value.clone()),
            pid: main.pid.as_ref().map(|pid| pid.value.clone()),
        }
    }

    /// Directives that want something else than what is.
    fn differs(&self, wanted: &Fixed) -> impl Iterator<Item = &'static str> {
        let all = [
            ("worker_processes", self.threads != wanted.threads),
            ("user", self.user != wanted.user),
            ("pid", self.pid != wanted.pid),
        ];
        all.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name)
    }
}

impl Reload {
    /// Whether a generation is being built.
    pub(super) fn is_under_way(&self) -> bool {
        self.building.is_some()
    }

    /// Begins to build the next generation beside the one in force. One that is under way is finished first, and then
    /// there is one more, however often it was asked for.
    pub(super) fn begin(&mut self, running: &Running) {
        let present = &running.service.snapshot;
        if self.building.is_some() {
            if !std::mem::replace(&mut self.again, true) {
                say(&present.logs, Level::Notice, format_args!("reload: one is under way, another follows"));
            }
            return;
        }
        let Some(origin) = running.origin.clone() else {
            return say(
                &present.logs,
                Level::Error,
                format_args!("reload: there is no configuration file to read again, nothing changes"),
            );
        };
        say(&present.logs, Level::Notice, format_args!("reload: reading {}", origin.file.display()));
        let before = present.clone();
        let (done, building) = oneshot::channel();
        // Files are read and names are looked up: it may take its time.
        let builder = std::thread::Builder::new().name("reload".to_owned()).stack_size(STACK);
        let thread = builder.spawn(move || {
            // The process may have ended meanwhile.
            let _ = done.send(build(&origin, &before));
        });
        match thread {
            Ok(_) => {
                self.building = Some(building);
                systemd::tell(systemd::State::Reloading, &present.logs);
            }
            Err(error) => {
                say(&present.logs, Level::Alert, format_args!("reload: no thread could be started: {error}"))
            }
        }
    }

    /// Waits until the next generation is built; for ever where none is.
    pub(super) async fn built(&mut self) -> Built {
        let Some(building) = &mut self.building else { return std::future::pending().await };
        let built = building.await;
        self.building = None;
        // Only a bug ends it without an outcome.
        let ended = || vec!["building the configuration ended without an outcome".to_owned()];
        built.unwrap_or_else(|_| Built { outcome: Err(ended()), warnings: Vec::new() })
    }

    /// Puts a generation in the place of the one in force, if it was built and its sockets can be bound.
    pub(super) async fn finish(&mut self, built: Built, running: &mut Running) {
        put(built, running).await;
        systemd::tell(systemd::State::Ready, &running.service.snapshot.logs);
        if std::mem::take(&mut self.again) {
            self.begin(running);
        }
    }
}

/// Reads and builds a configuration. Runs on a thread that may wait.
fn build(origin: &Origin, before: &Snapshot) -> Built {
    let loaded = load(origin);
    let mut found = loaded.diagnostics;
    found.extend(loaded.config.as_ref().and_then(user_fault));
    let outcome = match loaded.config {
        None => Err(Vec::new()),
        Some(_) if found.iter().any(|found| found.severity == Severity::Error) => Err(Vec::new()),
        Some(config) => match before.logs.next(&config) {
            Err(error) => Err(vec![error.to_string()]),
            Ok(logs) => Snapshot::build(config, logs, Some(before), &mut found).map_err(|faults| {
                found.extend(faults);
                Vec::new()
            }),
        },
    };
    let sources = loaded.sources;
    let warnings = lines(&found, &sources, Severity::Warning);
    let outcome = match outcome {
        Ok(snapshot) => Ok(snapshot.with_sources(sources)),
        Err(faults) => Err(lines(&found, &sources, Severity::Error).into_iter().chain(faults).collect()),
    };
    Built { outcome, warnings }
}

fn lines(found: &[Diagnostic], sources: &Sources, severity: Severity) -> Vec<String> {
    found.iter().filter(|found| found.severity == severity).map(|found| found.line(sources)).collect()
}

async fn put(built: Built, running: &mut Running) {
    let before = running.service.snapshot.clone();
    let logs = before.logs.clone();
    let say_all =
        |level, lines: &[String]| lines.iter().for_each(|line| say(&logs, level, format_args!("{line}")));
    say_all(Level::Warn, &built.warnings);
    let bound = built.outcome.and_then(|snapshot| {
        let fresh = running.sockets.bind(&snapshot, &mut Inherited::default());
        let fresh = fresh.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        Ok((snapshot, fresh))
    });
    let (snapshot, fresh) = match bound {
        Ok(bound) => bound,
        Err(faults) => {
            say_all(Level::Emerg, &faults);
            if running.fixed.user.is_some() && !geteuid().is_root() {
                // Files and ports that it could have at the start need not be open to it any more.
                let user = geteuid();
                say(
                    &logs,
                    Level::Notice,
                    format_args!("reload: this process reads and binds with the rights of user id {user}"),
                );
            }
            COUNTS.reloads_failed.add();
            return say(&logs, Level::Error, format_args!("reload failed: the configuration in force stays"));
        }
    };
    let wanted = Fixed::of(&snapshot.config);
    let snapshot = Arc::new(snapshot);
    let logs = snapshot.logs.clone();
    logs.take_over();
    snapshot.start(Some(&before));
    let files = (before.config.main.worker_rlimit_nofile, snapshot.config.main.worker_rlimit_nofile);
    running.service = Arc::new(running.service.next(snapshot));
    let turned = running.sockets.turn_to(&running.service, fresh).await;
    if files.0 != files.1
        && let Err(error) = raise_files(files.1)
    {
        say(&logs, Level::Alert, format_args!("the limit of open files could not be changed: {error}"));
    }
    for name in running.fixed.differs(&wanted) {
        say(
            &logs,
            Level::Warn,
            format_args!("reload: \"{name}\" stays as it was at the start of the process"),
        );
    }
    for words in turned.unchanged {
        say(&logs, Level::Warn, format_args!("reload: {words}"));
    }
    for address in turned.added {
        say(&logs, Level::Notice, format_args!("listening on {address}"));
    }
    for address in turned.removed {
        say(&logs, Level::Notice, format_args!("not listening on {address} any more"));
    }
    COUNTS.reloaded(clock::unix_us());
    say(&logs, Level::Notice, format_args!("reload done: the new configuration is in force"));
    running.parting.begin(running.service.snapshot.clone(), running.service.tunnels.clone());
}
