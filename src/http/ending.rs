//! How the ends of tunnels are told: where their lines go, how these look, and what else of the settings they say. All
//! tunnels of a place share it. It outlives the configuration that it was made of, and goes with a tunnel to another process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use longwire_conf::model::{AccessLog, ErrorLog, Level, LogFormat, Settings};
use tokio::sync::watch;

use super::Service;
use crate::clock;
use crate::log::{Context, Logs, Pieces, Reader, brought, utc_offset};
use crate::route::facts::Facts;
use crate::route::variables::{Machine, Maps, Scope};
use crate::saved::{self, Malformed, Writer};

/// How an end is told.
pub(super) struct Ending {
    /// Those of its configuration, so that its files stay open.
    logs: Logs,
    error: Arc<[ErrorLog]>,
    access: Vec<AccessLog>,
    /// The formats of these access logs.
    formats: Vec<LogFormat>,
    /// `proxy_read_timeout`.
    pub(super) idle: Duration,
    /// Where `websocket_rate` stands; empty without one.
    pub(super) rate: Arc<str>,
    /// Whoever waits for the last tunnel waits for this.
    _stop: watch::Receiver<bool>,
}

impl Ending {
    fn new(service: &Service, settings: &Settings) -> Ending {
        let (mut access, mut formats) = (Vec::new(), Vec::new());
        for log in settings.access_log.iter() {
            if let Some(format) = service.snapshot.config.log_formats.get(log.format) {
                access.push(AccessLog { format: formats.len(), ..log.clone() });
                formats.push(format.clone());
            }
        }
        Ending {
            logs: Logs::clone(&service.snapshot.logs),
            error: settings.error_log.clone(),
            access,
            formats,
            idle: settings.proxy_read_timeout,
            rate: settings.guard.websocket_rate.as_ref().map_or_else(Arc::default, |rate| rate.at.clone()),
            _stop: service.stop.clone(),
        }
    }

    /// Keeps what its lines will need; says whether one of them tells what backends took and gave.
    pub(super) fn keep(&self, scope: &Scope<'_>, kept: &mut Pieces) -> bool {
        self.logs.keep(&self.access, &self.formats, scope, kept)
    }

    /// Whether lines of the error log name requests.
    pub(super) fn tells_request_ids(&self) -> bool {
        self.logs.json()
    }

    /// Whether a line of this level would be written.
    pub(super) fn logs_at(&self, level: Level) -> bool {
        self.logs.enabled(&self.error, level)
    }

    /// Whether there is a line in any access log.
    pub(super) fn is_counted(&self) -> bool {
        !self.access.is_empty()
    }

    /// Writes to the error log.
    pub(super) fn error(&self, level: Level, facts: &Facts, message: impl std::fmt::Display) {
        self.logs.error(&self.error, level, &Context::request(facts), message);
    }

    /// Writes to the access logs, with what was kept.
    pub(super) fn access(&self, facts: &Facts, kept: Reader<'_>) {
        // All else was kept.
        let utc_offset = utc_offset(clock::unix_us() / 1_000_000);
        let machine = Machine { utc_offset, ..Machine::default() };
        let scope = Scope { facts, maps: &Maps::default(), machine: &machine };
        self.logs.complete(&self.access, &self.formats, &scope, kept);
    }

    /// As bytes: error logs, access logs, the idle time in microseconds, and where the rate stands.
    pub(super) fn save(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(512);
        brought::save_errors(&mut w, &self.error);
        w.list(self.access.iter(), |w, log| {
            if let Some(format) = self.formats.get(log.format) {
                brought::save_access(w, log, format);
            }
        });
        w.u64(clock::micros(self.idle));
        w.text(&self.rate);
        w.finish().to_vec()
    }

    fn restore(bytes: &[u8], service: &Service) -> Result<Ending, Malformed> {
        let mut r = saved::Reader::new(bytes);
        let error = brought::restore_errors(&mut r)?;
        let mut formats = Vec::new();
        let access = r.list(|r| {
            let (log, format) = brought::restore_access(r, formats.len())?;
            formats.push(format);
            Ok(log)
        })?;
        let (idle, rate) = (Duration::from_micros(r.u64()?), r.text()?.into());
        r.end()?;
        let (logs, faults) = service.snapshot.logs.with(&error, &access);
        for fault in faults {
            let told = format_args!("a tunnel of the process before had a log that is lost: {fault}");
            logs.error(&[], Level::Error, &Context::default(), told);
        }
        Ok(Ending { logs, error: error.into(), access, formats, idle, rate, _stop: service.stop.clone() })
    }
}

/// Those in use.
#[derive(Default)]
pub(super) struct Endings {
    /// Of this generation, by the address of their settings, which the snapshot keeps in place.
    own: Mutex<HashMap<usize, Arc<Ending>>>,
    /// From other processes, by what they are.
    brought: Mutex<HashMap<Box<[u8]>, Weak<Ending>>>,
}

impl Endings {
    /// How the end of a tunnel with these settings is told.
    pub(super) fn of(service: &Service, settings: &Arc<Settings>) -> Arc<Ending> {
        let mut own = service.endings.own.lock().unwrap_or_else(PoisonError::into_inner);
        let key = Arc::as_ptr(settings) as usize;
        own.entry(key).or_insert_with(|| Arc::new(Ending::new(service, settings))).clone()
    }

    /// How many that came from other processes are in use.
    #[cfg(test)]
    pub(super) fn brought_in_use(&self) -> usize {
        let brought = self.brought.lock().unwrap_or_else(PoisonError::into_inner);
        brought.values().filter(|ending| ending.strong_count() > 0).count()
    }

    /// One that another process has saved.
    pub(super) fn brought(service: &Service, bytes: &[u8]) -> Result<Arc<Ending>, Malformed> {
        let mut brought = service.endings.brought.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = brought.get(bytes).and_then(Weak::upgrade) {
            return Ok(known);
        }
        brought.retain(|_, ending| ending.strong_count() > 0);
        let ending = Arc::new(Ending::restore(bytes, service)?);
        brought.insert(bytes.into(), Arc::downgrade(&ending));
        Ok(ending)
    }
}
