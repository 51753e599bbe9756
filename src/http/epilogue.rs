//! What is kept of a request while its tunnel is open: little, for there may be many. The lines of its end are text
//! already, but for what only the end decides.

use std::sync::Arc;

use http::HeaderMap;
use longwire_conf::model::{Level, Settings};
use longwire_wire::{Cause, Party, Side};

use super::Service;
use super::journal::Journal;
use crate::clock;
use crate::log::{Context, Draft, Frozen};
use crate::route::facts::{ConnectionFacts, Course, Facts, Outcome, Peer, Try, TunnelFacts};
use crate::tunnel::Report;

/// The end of a tunnel's story, to be told.
pub(super) struct Epilogue {
    service: Arc<Service>,
    settings: Arc<Settings>,
    context: Frozen,
    drafts: Box<[Draft]>,
    /// Only where a line asks for them.
    tries: Box<[Try]>,
    accepted_us: u64,
    started_us: u64,
    started_unix_us: u64,
    request_length: u64,
    /// Bytes of the 101.
    head_sent: u64,
    opened_us: u64,
}

impl Epilogue {
    /// Keeps of a journal what the end will need; `opened_us`: when the tunnel opened.
    pub(super) fn new(journal: Journal, opened_us: u64) -> Epilogue {
        let service = journal.service().clone();
        let head_sent = journal.sent();
        let settings = journal.settings().clone();
        let snapshot = &service.snapshot;
        let formats = &snapshot.config.log_formats;
        let drafts = snapshot.logs.draft(&settings.access_log, formats, &snapshot.scope(&journal.facts));
        let context = Context::request(&journal.facts).freeze();
        let facts = journal.facts;
        let asked = drafts.iter().any(Draft::asks_backends);
        let tries = if asked { facts.outcome.tries } else { Vec::new() };
        Epilogue {
            context,
            drafts,
            tries: tries.into(),
            accepted_us: facts.connection.accepted_us,
            started_us: facts.started_us,
            started_unix_us: facts.started_unix_us,
            request_length: facts.request_length,
            head_sent,
            opened_us,
            service,
            settings,
        }
    }

    /// Writes to the error log.
    pub(super) fn log(&self, level: Level, message: std::fmt::Arguments<'_>) {
        let logs = &self.service.snapshot.logs;
        logs.error(&self.settings.error_log, level, &Context::frozen(&self.context), message);
    }

    /// Writes the lines of the end.
    pub(super) fn write(self, report: &Report) {
        let duration_us = clock::now_us() - self.opened_us;
        let told = Told { report, duration_us, settings: &self.settings };
        self.log(level_of(report), format_args!("{told}"));
        let Epilogue { service, settings, drafts, .. } = &self;
        let facts = self.facts(report, duration_us);
        let snapshot = &service.snapshot;
        let formats = &snapshot.config.log_formats;
        snapshot.logs.complete(drafts, &settings.access_log, formats, &snapshot.scope(&facts));
    }

    /// Facts for what the drafts left open.
    fn facts(&self, report: &Report, duration_us: u64) -> Facts {
        let stats = &report.stats;
        let mut tries = self.tries.to_vec();
        if let Some(last) = tries.last_mut() {
            last.response_us = Some(duration_us);
            last.response_length = stats.backend.bytes;
            last.received = stats.backend.bytes;
            last.sent = stats.client.bytes;
        }
        Facts {
            connection: Arc::new(ConnectionFacts {
                announced: None,
                serial: 0,
                remote: Peer::Unix(String::new()),
                local: Peer::Unix(String::new()),
                accepted_us: self.accepted_us,
                tls: None,
            }),
            number: 0,
            method: String::new(),
            target: String::new(),
            minor_version: 1,
            headers: HeaderMap::new(),
            uri: String::new(),
            args: String::new(),
            course: Course::default(),
            host: String::new(),
            server_name: String::new(),
            captures: Vec::new(),
            named: Vec::new(),
            request_id: String::new(),
            started_us: self.started_us,
            started_unix_us: self.started_unix_us,
            request_length: self.request_length + stats.client.bytes,
            proxy_host: String::new(),
            proxy_port: String::new(),
            upstream: String::new(),
            outcome: Outcome {
                status: 101,
                bytes_sent: self.head_sent + stats.backend.bytes,
                body_bytes_sent: stats.backend.bytes,
                completed: true,
                now_us: clock::now_us(),
                tries,
                tunnel: Some(facts_of(report, duration_us)),
                ..Outcome::default()
            },
        }
    }
}

/// nginx logs at `error` what ended at the backend or by a timer, and at `info` what the client did.
fn level_of(report: &Report) -> Level {
    match (report.outcome.cause, report.outcome.ended_by) {
        (Cause::Closed | Cause::Shutdown | Cause::Drain | Cause::Operator, _) => Level::Notice,
        (Cause::Idle, _) | (_, Party::Backend) => Level::Error,
        (Cause::ProtocolViolation(_) | Cause::MessageTooBig, _) => Level::Warn,
        _ => Level::Notice,
    }
}

fn facts_of(report: &Report, duration_us: u64) -> TunnelFacts {
    let outcome = &report.outcome;
    let from_ender = match outcome.ended_by {
        Party::Client => outcome.code_from[Side::Client.index()],
        Party::Backend => outcome.code_from[Side::Backend.index()],
        Party::Proxy => outcome.code_to[Side::Client.index()],
    };
    let rtt = |side: Side| Some(report.stats[side].rtt).filter(|rtt| rtt.count > 0).map(|rtt| rtt.mean());
    TunnelFacts {
        duration_us,
        messages: [report.stats.client.messages, report.stats.backend.messages],
        close_code: from_ender.or(outcome.code_to[Side::Client.index()]),
        ended_by: outcome.ended_by.name(),
        reason: outcome.cause.to_string(),
        rtt_us: [rtt(Side::Client), rtt(Side::Backend)],
    }
}

/// The story of a tunnel in one line.
struct Told<'a> {
    report: &'a Report,
    duration_us: u64,
    settings: &'a Settings,
}

impl std::fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let outcome = &self.report.outcome;
        write!(f, "tunnel ended by the {}: {}", outcome.ended_by.name(), outcome.cause)?;
        match outcome.cause {
            Cause::Idle => write!(f, " (proxy_read_timeout {:?})", self.settings.proxy_read_timeout)?,
            Cause::MessageTooBig => write!(f, " (websocket_max_message)")?,
            _ => {}
        }
        write!(f, "; open {}.{:03} s", self.duration_us / 1_000_000, self.duration_us / 1000 % 1000)?;
        for (side, name) in [(Side::Client, "client"), (Side::Backend, "backend")] {
            let stats = &self.report.stats[side];
            write!(f, "; from {name} {} messages, {} bytes", stats.messages, stats.bytes)?;
            if let Some(code) = outcome.code_from[side.index()] {
                write!(f, ", Close {code}")?;
            }
            if let Some(code) = outcome.code_to[side.index()] {
                write!(f, ", told Close {code}")?;
            }
            match stats.rtt.count {
                0 if stats.pings > 0 => write!(f, ", answered none of {} pings", stats.pings)?,
                0 => {}
                _ => {
                    let (min, mean, max) = (stats.rtt.min.into(), stats.rtt.mean(), stats.rtt.max.into());
                    let ms = |us: u64| us as f64 / 1000.0;
                    write!(f, ", ping {:.3}/{:.3}/{:.3} ms", ms(min), ms(mean), ms(max))?;
                    write!(f, " ({} of {} answered)", stats.pongs, stats.pings)?;
                }
            }
        }
        Ok(())
    }
}
