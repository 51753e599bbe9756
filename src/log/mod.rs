//! The error log and the access log, in nginx's formats.
//!
//! Lines go through a bounded queue to one writer thread: a full disk or a stuck terminal then never holds up
//! traffic. What finds the queue full is dropped and counted, and the count is said.

mod access;
pub mod brought;
mod error;
mod pieces;
mod syslog;
mod writer;

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use longwire_conf::model::{
    AccessLog, Config, ErrorLog, Level, LogFormat, LogTarget, Server, Settings, Spanned,
};
use longwire_conf::source::Span;

use crate::route::variables::Scope;

pub use error::{Context, utc_offset};
pub use pieces::{Pieces, Reader};
pub use writer::OpenError;
use writer::{Sink, Writer};

/// The logs of one configuration. A file is open once in the process, however many configurations write to it, and is
/// closed when the last of their logs is dropped. Clones share all.
#[derive(Debug, Clone)]
pub struct Logs {
    shared: Arc<Shared>,
    own: Arc<Own>,
}

/// What belongs to one configuration.
#[derive(Debug)]
struct Own {
    /// Its files stay open as long as this is there.
    _sinks: Vec<Arc<Sink>>,
    /// `error_log` of the main context.
    main: Arc<[ErrorLog]>,
    /// `log_json`.
    json: bool,
}

#[derive(Debug)]
struct Shared {
    sinks: RwLock<HashMap<LogTarget, Weak<Sink>>>,
    /// The configuration in force: what belongs to no place is written to its main log.
    present: RwLock<Arc<Own>>,
    /// Held while files are opened for somebody: nobody else enters any then.
    opening: Mutex<()>,
    writer: Writer,
}

impl Logs {
    /// Opens all files of a configuration and starts the writer.
    pub fn open(config: &Config) -> Result<Logs, OpenError> {
        let stderr = Arc::new(Sink::open(LogTarget::Stderr)?);
        let mut sinks = HashMap::from([(LogTarget::Stderr, Arc::downgrade(&stderr))]);
        let own = Arc::new(Own::open(config, &mut sinks)?);
        let writer = Writer::start(stderr)?;
        let shared = Shared {
            sinks: RwLock::new(sinks),
            present: RwLock::new(own.clone()),
            opening: Mutex::new(()),
            writer,
        };
        Ok(Logs { shared: Arc::new(shared), own })
    }

    /// The logs of another configuration: all files that are new in it are opened, or none. It is not in force yet.
    pub fn next(&self, config: &Config) -> Result<Logs, OpenError> {
        self.entering(|sinks| Own::open(config, sinks))
    }

    /// These logs, and files of theirs for lines that no configuration of this process knows. Of those that cannot be opened it
    /// is told why; lines for them go nowhere.
    pub fn with(&self, error: &[ErrorLog], access: &[AccessLog]) -> (Logs, Vec<OpenError>) {
        let mut faults = Vec::new();
        let logs = self.entering(|sinks| {
            let mut own = Vec::new();
            for target in targets(error, access) {
                own.extend(open(target, sinks).map_err(|fault| faults.push(fault)));
            }
            Ok(Own { _sinks: own, main: self.own.main.clone(), json: self.own.json })
        });
        (logs.unwrap_or_else(|_: Infallible| self.clone()), faults)
    }

    /// Logs of which somebody opens the files.
    fn entering<E>(
        &self,
        enter: impl FnOnce(&mut HashMap<LogTarget, Weak<Sink>>) -> Result<Own, E>,
    ) -> Result<Logs, E> {
        let _one_at_a_time = self.shared.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sinks = self.shared.sinks.read().unwrap_or_else(PoisonError::into_inner).clone();
        // Opening may take its time, and meanwhile others log.
        let own = Arc::new(enter(&mut sinks)?);
        sinks.retain(|_, sink| sink.strong_count() > 0);
        *self.shared.sinks.write().unwrap_or_else(PoisonError::into_inner) = sinks;
        Ok(Logs { shared: Arc::clone(&self.shared), own })
    }

    /// From now on this is the configuration in force.
    pub fn take_over(&self) {
        *self.shared.present.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&self.own);
    }

    /// Opens every file anew by its name, after somebody moved the old ones away. Where that fails the old file
    /// stays in use.
    pub fn reopen(&self) -> Vec<OpenError> {
        let sinks = self.shared.sinks.read().unwrap_or_else(PoisonError::into_inner);
        sinks.values().filter_map(Weak::upgrade).filter_map(|sink| sink.reopen().err()).collect()
    }

    /// Waits until what was logged so far is written, but not for ever.
    pub fn flush(&self) {
        self.shared.writer.flush(Duration::from_secs(2));
    }

    /// Whether a line of this level would be written anywhere; `target` as for [`Logs::error`].
    pub fn enabled(&self, target: &[ErrorLog], level: Level) -> bool {
        let any = |logs: &[ErrorLog]| logs.iter().any(|log| level <= log.level);
        if target.is_empty() { any(&self.main()) } else { any(target) }
    }

    /// Writes a line to the error logs in force (`settings.error_log`); an empty list stands for those of the
    /// main context.
    pub fn error(&self, target: &[ErrorLog], level: Level, context: &Context<'_>, message: impl Display) {
        let main;
        let target = if target.is_empty() {
            main = self.main();
            &main
        } else {
            target
        };
        let mut wanted = target.iter().filter(|log| level <= log.level).peekable();
        if wanted.peek().is_none() {
            return;
        }
        let form = if self.own.json { error::json } else { error::line };
        let line: Arc<[u8]> = form(level, context, &message).into_bytes().into();
        for log in wanted {
            self.write(&log.target.value, Some(level), &line);
        }
    }

    /// Writes a request to the access logs in force (`settings.access_log`); `formats` are those of its
    /// configuration.
    pub fn access(&self, target: &[AccessLog], formats: &[LogFormat], scope: &Scope<'_>) {
        for log in target {
            if log.condition.as_ref().is_some_and(|condition| !scope.holds(condition)) {
                continue;
            }
            let Some(format) = formats.get(log.format) else { continue };
            self.write(&log.target.value, None, &access::line(format, scope).into());
        }
    }

    /// Keeps what the lines of something that lasts will need at its end. Conditions are decided now. True when a line
    /// tells what backends took and gave.
    pub fn keep(
        &self,
        target: &[AccessLog],
        formats: &[LogFormat],
        scope: &Scope<'_>,
        kept: &mut Pieces,
    ) -> bool {
        let mut asks_backends = false;
        for (index, log) in target.iter().enumerate() {
            if log.condition.as_ref().is_some_and(|condition| !scope.holds(condition)) {
                continue;
            }
            let (Some(format), Ok(index)) = (formats.get(log.format), u32::try_from(index)) else { continue };
            kept.push_number(index);
            access::keep(format, scope, kept);
            asks_backends |= access::asks_backends(format);
        }
        asks_backends
    }

    /// Writes the lines of which something was kept, with the same target and formats. `scope` need know no more of
    /// the request than its first line, its client and its server.
    pub fn complete(
        &self,
        target: &[AccessLog],
        formats: &[LogFormat],
        scope: &Scope<'_>,
        mut kept: Reader<'_>,
    ) {
        while let Some(index) = kept.number() {
            let Some(log) = target.get(index as usize) else { return };
            let Some(format) = formats.get(log.format) else { return };
            self.write(&log.target.value, None, &access::complete(format, &mut kept, scope).into());
        }
    }

    /// Whether error logs are written as JSON.
    pub fn json(&self) -> bool {
        self.own.json
    }

    /// `level`: what the line says of itself; `None` is left to the target.
    fn write(&self, target: &LogTarget, level: Option<Level>, line: &Arc<[u8]>) {
        let sinks = self.shared.sinks.read().unwrap_or_else(PoisonError::into_inner);
        let Some(sink) = sinks.get(target).and_then(Weak::upgrade) else { return };
        drop(sinks);
        let line = match sink.syslog() {
            Some(syslog) => [&syslog::header(syslog, level), &**line].concat().into(),
            None => Arc::clone(line),
        };
        self.shared.writer.write(sink, line);
    }

    fn main(&self) -> Arc<[ErrorLog]> {
        Arc::clone(&self.shared.present.read().unwrap_or_else(PoisonError::into_inner).main)
    }
}

impl Own {
    /// Opens what is not open yet, and enters it among `sinks`.
    fn open(config: &Config, sinks: &mut HashMap<LogTarget, Weak<Sink>>) -> Result<Own, OpenError> {
        let mut own = HashMap::new();
        for target in all_targets(config) {
            if !own.contains_key(&target) {
                own.insert(target.clone(), open(target, sinks)?);
            }
        }
        Ok(Own { _sinks: own.into_values().collect(), main: main_log(config), json: config.log_json })
    }
}

/// `error_log` of the main context, or what holds without one.
fn main_log(config: &Config) -> Arc<[ErrorLog]> {
    if config.main.error_log.is_empty() {
        let target = Spanned { value: LogTarget::Stderr, span: Span::default() };
        Arc::new([ErrorLog { target, level: Level::Notice }])
    } else {
        Arc::clone(&config.main.error_log)
    }
}

/// What is open already, or is opened now and entered.
fn open(target: LogTarget, sinks: &mut HashMap<LogTarget, Weak<Sink>>) -> Result<Arc<Sink>, OpenError> {
    if let Some(sink) = sinks.get(&target).and_then(Weak::upgrade) {
        return Ok(sink);
    }
    let sink = Arc::new(Sink::open(target.clone())?);
    sinks.insert(target, Arc::downgrade(&sink));
    Ok(sink)
}

/// Everything that a configuration logs to.
fn all_targets(config: &Config) -> Vec<LogTarget> {
    let mut all: Vec<_> = targets(&config.main.error_log, &[]).collect();
    for settings in config.servers.iter().flat_map(all_settings) {
        all.extend(targets(&settings.error_log, &settings.access_log));
    }
    all
}

fn targets<'a>(error: &'a [ErrorLog], access: &'a [AccessLog]) -> impl Iterator<Item = LogTarget> + 'a {
    let errors = error.iter().map(|log| &log.target);
    errors.chain(access.iter().map(|log| &log.target)).map(|target| target.value.clone())
}

fn all_settings(server: &Server) -> Vec<&Settings> {
    let mut all = vec![&*server.settings];
    let mut rest: Vec<_> = server.locations.iter().collect();
    while let Some(location) = rest.pop() {
        all.push(&location.settings);
        rest.extend(&location.locations);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::fixture::{facts, server, template, with_scope};
    use longwire_conf::model::Escape;
    use std::fs;
    use std::path::PathBuf;

    /// A directory that goes when the test ends.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Directory {
            let path = std::env::temp_dir().join(format!("longwire-log-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Directory(path)
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.0.join(name)).unwrap_or_default()
        }

        fn spanned(&self, name: &str) -> Spanned<LogTarget> {
            Spanned { value: LogTarget::File(self.0.join(name)), span: Span::default() }
        }

        fn errors(&self, name: &str, level: Level) -> Arc<[ErrorLog]> {
            Arc::new([ErrorLog { target: self.spanned(name), level }])
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn config(directory: &Directory) -> Config {
        let mut server = server(Vec::new());
        let settings = Arc::make_mut(&mut server.settings);
        settings.error_log = directory.errors("server.log", Level::Warn);
        let log = |path, condition: Option<&str>| AccessLog {
            target: directory.spanned(path),
            format: 0,
            condition: condition.map(template),
        };
        settings.access_log = [log("access.log", None), log("some.log", Some("$arg_log"))].into();
        let mut config = Config { servers: vec![server], ..Config::default() };
        config.main.error_log = directory.errors("main.log", Level::Info);
        let format =
            LogFormat { name: "f".to_owned(), escape: Escape::Default, template: template("$request_uri") };
        config.log_formats.push(format);
        config
    }

    #[test]
    fn lines_go_where_they_belong() {
        let directory = Directory::new("lines");
        let config = config(&directory);
        let logs = Logs::open(&config).unwrap();
        let settings = &config.servers[0].settings;
        let none = Context::default();
        logs.error(&settings.error_log, Level::Error, &none, "to the server");
        logs.error(&settings.error_log, Level::Notice, &none, "to nobody");
        logs.error(&[], Level::Notice, &none, "to all");
        for target in ["/a", "/b?log=0", "/c?log=1"] {
            let facts = facts(target);
            with_scope(&facts, &[], |scope| logs.access(&settings.access_log, &config.log_formats, scope));
        }
        logs.flush();
        assert!(directory.read("server.log").ends_with(": to the server\n"));
        assert!(directory.read("main.log").ends_with(": to all\n"));
        assert_eq!(directory.read("access.log"), "/a\n/b?log=0\n/c?log=1\n");
        assert_eq!(directory.read("some.log"), "/c?log=1\n");
        assert!(
            logs.enabled(&settings.error_log, Level::Warn) && !logs.enabled(&settings.error_log, Level::Info)
        );
        assert!(logs.enabled(&[], Level::Info) && !logs.enabled(&[], Level::Debug));
    }

    #[test]
    fn files_are_opened_anew_after_they_were_moved() {
        let directory = Directory::new("reopen");
        let config = config(&directory);
        let logs = Logs::open(&config).unwrap();
        logs.error(&[], Level::Error, &Context::default(), "one");
        logs.flush();
        fs::rename(directory.0.join("main.log"), directory.0.join("old.log")).unwrap();
        logs.error(&[], Level::Error, &Context::default(), "two");
        logs.flush();
        assert!(logs.reopen().is_empty());
        logs.error(&[], Level::Error, &Context::default(), "three");
        logs.flush();
        assert_eq!(
            (directory.read("old.log").lines().count(), directory.read("main.log").lines().count()),
            (2, 1)
        );
    }

    /// Whether this process has the file of this name open.
    fn is_open(path: &std::path::Path) -> bool {
        let open = fs::read_dir("/proc/self/fd").unwrap();
        open.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()).any(|target| target == path)
    }

    #[test]
    fn files_that_no_configuration_uses_any_more_are_closed() {
        let directory = Directory::new("close");
        let before = Logs::open(&config(&directory)).unwrap();
        let mut other = config(&directory);
        other.main.error_log = directory.errors("other.log", Level::Info);
        let after = before.next(&other).unwrap();
        let none = Context::default();
        after.error(&[], Level::Error, &none, "not in force yet");
        after.take_over();
        before.error(&[], Level::Error, &none, "in force");
        let old = directory.errors("main.log", Level::Info);
        before.error(&old, Level::Error, &none, "a request that began before");
        before.flush();
        let [main, other] = ["main.log", "other.log"].map(|name| directory.read(name));
        assert!(main.contains("not in force yet") && main.contains("a request that began before"), "{main}");
        assert!(other.ends_with(": in force\n") && other.lines().count() == 1, "{other}");
        let file = |name| directory.0.join(name);
        assert!(is_open(&file("main.log")));
        drop(before);
        assert!(!is_open(&file("main.log")) && is_open(&file("other.log")) && is_open(&file("server.log")));
        assert!(after.reopen().is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named_and_changes_nothing() {
        let directory = Directory::new("fail");
        let good = config(&directory);
        let logs = Logs::open(&good).unwrap();
        let mut bad = config(&directory);
        bad.main.error_log = directory.errors("none/x.log", Level::Info);
        for error in [logs.next(&bad).unwrap_err(), Logs::open(&bad).unwrap_err()] {
            let text = error.to_string();
            assert!(text.starts_with("open() \"") && text.contains("none/x.log\" failed: "), "{text}");
        }
        logs.error(&[], Level::Error, &Context::default(), "still here");
        logs.flush();
        assert!(directory.read("main.log").ends_with(": still here\n"));
    }
}
