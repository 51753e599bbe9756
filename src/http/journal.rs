//! The access log's line of a request, written when its answer has left or is given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use longwire_conf::model::{Level, Settings};

use super::Service;
use super::body::Progress;
use super::guarded::Shared;
use super::gzip::Sizes;
use crate::clock;
use crate::guard::Slot;
use crate::route::facts::Facts;

/// All that the line tells.
pub(super) struct Journal {
    service: Arc<Service>,
    shared: Arc<Shared>,
    pub(super) facts: Facts,
    settings: Arc<Settings>,
    request: Arc<Progress>,
    answer: Arc<Progress>,
    /// Bytes on the socket before this answer.
    sent_before: u64,
    body_sent: Arc<AtomicU64>,
    /// What it holds of `limit_conn`, until its end.
    pub(super) slots: Vec<Slot>,
    /// Counts it as a request in work.
    _working: Arc<()>,
    /// What compressing did to the body.
    pub(super) packed: Option<Arc<Sizes>>,
}

impl Journal {
    pub(super) fn new(
        service: Arc<Service>,
        shared: Arc<Shared>,
        facts: Facts,
        settings: Arc<Settings>,
        request: Arc<Progress>,
        answer: Arc<Progress>,
        sent_before: u64,
    ) -> Journal {
        Journal {
            service,
            shared,
            facts,
            settings,
            request,
            answer,
            sent_before,
            body_sent: Arc::default(),
            slots: Vec::new(),
            _working: Arc::default(),
            packed: None,
        }
    }

    /// The same, with what ends with it: slots, and the mark of a request in work.
    pub(super) fn holding(self, slots: Vec<Slot>, working: Arc<()>) -> Journal {
        Journal { slots, _working: working, ..self }
    }

    /// Counts the answer's body.
    pub(super) fn body_sent(&self) -> Arc<AtomicU64> {
        self.body_sent.clone()
    }

    /// Bytes of this answer on the socket so far.
    pub(super) fn sent(&self) -> u64 {
        self.shared.sent.load(Relaxed).saturating_sub(self.sent_before)
    }

    /// The settings in force.
    pub(super) fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// The service.
    pub(super) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Hands the line over to the connection, which writes it once hyper has flushed the answer; to be dropped when
    /// the body was taken.
    pub(super) fn when_flushed(self) -> WhenFlushed {
        WhenFlushed(Some(self))
    }

    /// Writes the line.
    pub(super) fn write(mut self) {
        let sent = self.sent();
        let outcome = &mut self.facts.outcome;
        outcome.now_us = clock::now_us();
        outcome.completed = true;
        if outcome.tunnel.is_none() {
            outcome.bytes_sent = sent;
            outcome.body_bytes_sent = self.body_sent.load(Relaxed);
            self.tell_of_answer();
        }
        self.facts.outcome.gzip =
            self.packed.as_ref().map(|sizes| [&sizes.before, &sizes.after].map(|count| count.load(Relaxed)));
        self.facts.request_length += self.request.bytes.load(Relaxed);
        self.end_spans();
        let snapshot = &self.service.snapshot;
        let scope = snapshot.scope(&self.facts);
        snapshot.logs.access(&self.settings.access_log, &snapshot.config.log_formats, &scope);
    }

    /// What became of a backend's answer after its head.
    fn tell_of_answer(&mut self) {
        let Some(last) = self.facts.outcome.tries.last_mut() else { return };
        let answer = &self.answer;
        let body_us = answer.moved_us.load(Relaxed).saturating_sub(answer.since_us.load(Relaxed));
        last.response_us = last.response_us.map(|head_us| head_us + body_us);
        last.response_length = answer.bytes.load(Relaxed);
        last.received = last.response_length;
        let fault = match (answer.timed_out.load(Relaxed), answer.broken.load(Relaxed)) {
            (true, _) => "timed out",
            (_, true) => "prematurely closed connection, or broke the rules of HTTP,",
            _ => return,
        };
        let address = last.address.clone();
        if let Some(noted) = last.trace.as_deref_mut() {
            noted.broke_off = Some(format!("{fault} while reading upstream"));
        }
        self.log(Level::Error, format_args!("upstream {address} {fault} while reading upstream"));
    }

    /// Writes to the error log.
    pub(super) fn log(&self, level: Level, message: std::fmt::Arguments<'_>) {
        self.service.snapshot.log_request(&self.settings, level, &self.facts, message);
    }
}

/// See [`Journal::when_flushed`].
pub(super) struct WhenFlushed(Option<Journal>);

impl Drop for WhenFlushed {
    fn drop(&mut self) {
        if let Some(journal) = self.0.take() {
            let shared = journal.shared.clone();
            shared.answered(Box::new(move || journal.write()));
        }
    }
}
