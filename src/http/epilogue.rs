//! What is kept of a request while its tunnel is open: little, for there may be many. The lines of its end are made
//! of its texts, which stand in one allocation.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use longwire_conf::model::Level;
use longwire_wire::{Cause, Party, Side};

use super::ending::{Ending, Endings};
use super::journal::Journal;
use crate::clock;
use crate::guard;
use crate::log::{Pieces, Reader};
use crate::metrics::COUNTS;
use crate::net::os_text;
use crate::route::facts::{ConnectionFacts, Course, Facts, Outcome, Peer, Protocol, Try, TunnelFacts};
use crate::tls::Fault;
use crate::tunnel::{About, Keeper, Place, Report};
use crate::upstream::Slot;

/// Headers that the error log names, the request's own.
const NAMED: [HeaderName; 2] = [header::HOST, header::REFERER];

/// The end of a tunnel's story, to be told.
pub(super) struct Epilogue {
    ending: Arc<Ending>,
    place: Arc<Place>,
    /// The tunnel's place at the server, given back with this.
    slot: Slot,
    /// `$request_id` where a line will tell it, method and target of the request, the URL at the backend, [`NAMED`]
    /// headers; then what the access log keeps.
    texts: Box<[u8]>,
    /// Only where a line asks for them.
    tries: Option<Box<[Try]>>,
    client: Peer,
    serial: u64,
    accepted_us: u64,
    started_us: u64,
    opened_us: u64,
    request_length: u64,
    /// Bytes of the 101.
    head_sent: u64,
    tls: [Option<&'static str>; 2],
    /// What it holds of `limit_conn`, until its end.
    slots: Box<[guard::Slot]>,
}

impl Epilogue {
    /// Keeps of a journal what the end will need; `opened_us`: when the tunnel opened.
    pub(super) fn new(
        journal: Journal,
        place: Arc<Place>,
        slot: Slot,
        tls: [Option<&'static str>; 2],
        opened_us: u64,
    ) -> Epilogue {
        let head_sent = journal.sent();
        let service = journal.service();
        let ending = Endings::of(service, journal.settings());
        let facts = &journal.facts;
        let mut texts = Pieces::with_capacity(512);
        texts.push(ending.tells_request_ids().then_some(facts.request_id.as_bytes()));
        texts.push(Some(facts.method.as_bytes()));
        texts.push(Some(facts.target.as_bytes()));
        texts.push(shortened(facts, &place));
        for name in &NAMED {
            texts.push(facts.headers.get(name).map(HeaderValue::as_bytes));
        }
        let asked = ending.keep(&service.snapshot.scope(facts), &mut texts);
        let (mut facts, slots) = (journal.facts, journal.slots);
        // Their spans have ended.
        facts.outcome.tries.iter_mut().for_each(|one| one.trace = None);
        Epilogue {
            texts: texts.finish(),
            tries: asked.then(|| facts.outcome.tries.into()),
            client: facts.connection.remote.clone(),
            serial: facts.connection.serial,
            accepted_us: facts.connection.accepted_us,
            started_us: facts.started_us,
            opened_us,
            request_length: facts.request_length,
            head_sent,
            slots: slots.into(),
            ending,
            place,
            slot,
            tls,
        }
    }

    /// Writes to the error log.
    pub(super) fn log(&self, level: Level, message: std::fmt::Arguments<'_>) {
        if self.ending.logs_at(level) {
            self.ending.error(level, &self.facts(&mut Reader(&self.texts)), message);
        }
    }

    /// Writes the lines of the end.
    pub(super) fn write(&self, report: &Report) {
        let now_us = clock::now_us();
        let ending = &self.ending;
        let told = Told { report, duration_us: now_us.saturating_sub(self.opened_us), ending };
        COUNTS.ended(&report.outcome, told.duration_us);
        let level = level_of(report);
        if !ending.is_counted() && !ending.logs_at(level) {
            return;
        }
        let mut rest = Reader(&self.texts);
        let mut facts = self.facts(&mut rest);
        ending.error(level, &facts, format_args!("{told}"));
        facts.request_length += report.stats.client.bytes;
        facts.outcome = self.outcome(report, now_us);
        ending.access(&facts, rest);
    }

    /// What is left of the request's facts. `rest` is left behind them.
    fn facts(&self, rest: &mut Reader<'_>) -> Facts {
        let text = |piece: Option<&[u8]>| String::from_utf8_lossy(piece.unwrap_or_default()).into_owned();
        let request_id = text(rest.text());
        let (method, target) = (text(rest.text()), text(rest.text()));
        let url = |path: &str| format!("{}://{}{path}", self.place.scheme(), self.place.backend);
        let upstream = rest.text().map_or_else(|| url(&target), |url| text(Some(url)));
        let mut headers = HeaderMap::new();
        for name in NAMED {
            if let Some(value) = rest.text().and_then(|value| HeaderValue::from_bytes(value).ok()) {
                headers.insert(name, value);
            }
        }
        Facts {
            connection: Arc::new(ConnectionFacts {
                announced: None,
                came_from: None,
                serial: self.serial,
                remote: self.client.clone(),
                local: Peer::Unix(String::new()),
                accepted_us: self.accepted_us,
                tls: None,
            }),
            number: 0,
            method,
            target,
            protocol: Protocol::Http11,
            headers,
            uri: String::new(),
            args: String::new(),
            course: Course::default(),
            host: String::new(),
            server_name: self.place.server.clone(),
            captures: Vec::new(),
            named: Vec::new(),
            request_id,
            started_us: self.started_us,
            started_unix_us: clock::unix_us().saturating_sub(clock::now_us().saturating_sub(self.started_us)),
            request_length: self.request_length,
            proxy_host: String::new(),
            proxy_port: String::new(),
            upstream,
            trace: None,
            outcome: Outcome::default(),
        }
    }

    /// What came of it.
    fn outcome(&self, report: &Report, now_us: u64) -> Outcome {
        let stats = &report.stats;
        let duration_us = now_us.saturating_sub(self.opened_us);
        let mut tries = self.tries.as_deref().unwrap_or_default().to_vec();
        if let Some(last) = tries.last_mut() {
            last.response_us = Some(duration_us);
            last.response_length = stats.backend.bytes;
            last.received = stats.backend.bytes;
            last.sent = stats.client.bytes;
        }
        Outcome {
            status: 101,
            bytes_sent: self.head_sent + stats.backend.bytes,
            body_bytes_sent: stats.backend.bytes,
            completed: true,
            now_us,
            tries,
            tunnel: Some(facts_of(report, duration_us)),
            ..Outcome::default()
        }
    }
}

impl Keeper for Epilogue {
    fn id(&self) -> u64 {
        self.serial
    }

    fn about(&self) -> About {
        About {
            id: self.serial,
            client: self.client.clone(),
            opened_us: self.opened_us,
            place: self.place.clone(),
            tls: self.tls,
        }
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn save(&self, now_us: u64) -> Option<Vec<u8>> {
        Some(self.to_bytes(now_us))
    }

    fn ended(self: Box<Self>, report: &Report) {
        self.write(report);
    }
}

mod save;
pub use save::keeper;

/// The URL at the backend; `None` when place and target say the same.
fn shortened<'a>(facts: &'a Facts, place: &Place) -> Option<&'a [u8]> {
    let rest = facts.upstream.strip_prefix(place.scheme());
    let rest = rest.and_then(|rest| rest.strip_prefix("://")?.strip_prefix(&place.backend));
    (rest != Some(&facts.target)).then_some(facts.upstream.as_bytes())
}

/// nginx logs at `error` what ended at the backend or by a timer, and at `info` what the client did.
fn level_of(report: &Report) -> Level {
    match (report.outcome.cause, report.outcome.ended_by) {
        (Cause::Closed | Cause::Shutdown | Cause::Drain | Cause::Operator, _) => Level::Notice,
        (Cause::Idle, _) | (_, Party::Backend) => Level::Error,
        (Cause::ProtocolViolation(_) | Cause::MessageTooBig | Cause::TooFast, _) => Level::Warn,
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
    ending: &'a Ending,
}

impl std::fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let outcome = &self.report.outcome;
        write!(f, "tunnel ended by the {}: {}", outcome.ended_by.name(), outcome.cause)?;
        match outcome.cause {
            Cause::Idle => write!(f, " (proxy_read_timeout {:?})", self.ending.idle)?,
            Cause::MessageTooBig => write!(f, " (websocket_max_message)")?,
            Cause::TooFast => write!(f, " (websocket_rate in {})", self.ending.rate)?,
            _ => {}
        }
        if let Some(error) = &self.report.reason {
            let fault = error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>());
            match fault {
                Some(fault) if fault.is_of_peer() => {
                    write!(f, ", fault of the {}: {fault}", outcome.ended_by.name())?;
                }
                _ => write!(f, " ({})", os_text(error))?,
            }
        }
        write!(f, "; open {}.{:03} s", self.duration_us / 1_000_000, self.duration_us / 1000 % 1000)?;
        for (side, name) in [(Side::Client, "client"), (Side::Backend, "backend")] {
            let stats = &self.report.stats[side];
            write!(f, "; from {name} {} messages, {} bytes", stats.messages, stats.bytes)?;
            let ender = if side == Side::Client { Party::Client } else { Party::Backend };
            match (outcome.code_from[side.index()], outcome.code_to[side.index()]) {
                // Whoever did not end it only answers.
                (Some(code), Some(told)) if outcome.ended_by != ender => {
                    write!(f, ", told Close {told}, answered {code}")?;
                }
                (Some(code), Some(told)) => write!(f, ", Close {code}, answered {told}")?,
                (Some(code), None) => write!(f, ", Close {code}")?,
                (None, Some(told)) => write!(f, ", told Close {told}")?,
                (None, None) => {}
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
