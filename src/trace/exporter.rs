//! Spans wait in a queue with a bound, and go to the collector together. Whoever makes them never waits.

use std::future::Future;
use std::mem::take;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use longwire_conf::Span as Place;
use longwire_conf::model::{self, Level, Otel};
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::client::Client;
use super::otlp::{Export, KeyValue, Resource, ResourceSpans, Scope, ScopeSpans, Span};
use crate::clock;
use crate::log::{Context, Logs};
use crate::metrics::COUNTS;

/// How long a collector may take for a batch, connecting included.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is said that spans are lost.
const TELL_EVERY: u64 = 60_000_000;
/// The longest that a span waits for others, whatever is configured.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);
/// As much of a collector's words as is told, in bytes.
const LONGEST_REASON: usize = 512;
/// Most spans that wait, whatever is configured.
const MOST: usize = 1 << 20;

/// The way of one configuration's spans to its collector. What waits is still sent when the last one who holds it lets
/// go of it.
pub struct Exporter {
    queue: mpsc::Sender<Span>,
    dropped: Arc<AtomicU64>,
    /// What sends them, until it begins.
    sending: Mutex<Option<Sending>>,
}

impl Exporter {
    /// Of this configuration, if it has one. The error says what is in the way, and where it is written.
    pub fn new(otel: &Otel) -> Result<Option<Exporter>, (Place, String)> {
        let Some(exporter) = &otel.exporter else { return Ok(None) };
        let client = Client::new(exporter)?;
        let most = exporter.batch_size.saturating_mul(exporter.batch_count).min(MOST);
        let (queue, waiting) = mpsc::channel(most);
        let dropped = Arc::default();
        let sending = Sending {
            waiting,
            batch: Vec::new(),
            most: exporter.batch_size.min(MOST),
            interval: exporter.interval.clamp(Duration::from_millis(1), LONGEST_WAIT),
            resource: Resource { attributes: resource(otel) },
            lost: Lost { dropped: Arc::clone(&dropped), ..Lost::default() },
            client,
        };
        Ok(Some(Exporter { queue, dropped, sending: Mutex::new(Some(sending)) }))
    }

    /// Begins to send; says in these logs what goes wrong. Ends sooner when `exporters` are told to finish.
    pub fn start(&self, logs: Arc<Logs>, exporters: &Exporters) {
        let sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sending) = sending {
            tokio::spawn(sending.run(logs, exporters.0.subscribe()));
        }
    }

    /// Takes a span, if there is room.
    pub fn offer(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            COUNTS.spans_dropped.add();
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

/// The exporters of all configurations that were in force in this process.
#[derive(Clone)]
pub struct Exporters(Arc<watch::Sender<bool>>);

impl Default for Exporters {
    fn default() -> Exporters {
        Exporters(Arc::new(watch::channel(false).0))
    }
}

impl Exporters {
    /// Has all that waits sent at once, and waits for that, at most so long.
    pub async fn finish(&self, patience: Duration) {
        self.0.send_replace(true);
        let _ = timeout(patience, self.0.closed()).await;
    }
}

fn resource(otel: &Otel) -> Vec<KeyValue> {
    let is_name = |(name, _): &&(String, String)| name == "service.name";
    let typed = otel.resource.iter().find(is_name).map(|(_, value)| value);
    let name = otel.service_name.as_ref().or(typed).map_or("longwire", String::as_str);
    let others = otel.resource.iter().filter(|pair| !is_name(pair));
    let others = others.map(|(name, value)| KeyValue::new(name, value.as_str()));
    std::iter::once(KeyValue::new("service.name", name)).chain(others).collect()
}

/// What takes spans out of the queue.
struct Sending {
    waiting: mpsc::Receiver<Span>,
    batch: Vec<Span>,
    most: usize,
    interval: Duration,
    resource: Resource,
    client: Client,
    lost: Lost,
}

impl Sending {
    async fn run(mut self, logs: Arc<Logs>, mut finish: watch::Receiver<bool>) {
        let mut turn = interval_at(Instant::now() + self.interval, self.interval);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut finishing, mut open) = (false, true);
        while open {
            let room = self.most - self.batch.len();
            let due = tokio::select! {
                count = self.waiting.recv_many(&mut self.batch, room) => {
                    open = count > 0;
                    !open || self.batch.len() == self.most
                }
                _ = turn.tick() => true,
                _ = finish.wait_for(|finish| *finish), if !finishing => {
                    finishing = true;
                    // What waits is still given out.
                    self.waiting.close();
                    false
                }
            };
            if due {
                self.send(&logs).await;
            }
        }
    }

    async fn send(&mut self, logs: &Logs) {
        let spans = take(&mut self.batch);
        let count = spans.len() as u64;
        if count > 0 {
            let body = self.export(spans);
            let (taken, reason) = outcome(self.client.send(body), count).await;
            let mut failed = count - taken;
            if taken == 0 && self.waiting.is_closed() {
                // No configuration needs it any more, and it takes nothing: what is left does not wait for it.
                while self.waiting.try_recv().is_ok() {
                    failed += 1;
                }
            }
            COUNTS.spans_exported.add_all(taken);
            COUNTS.spans_failed.add_all(failed);
            self.lost.failed += failed;
            if let Some(mut reason) = reason {
                reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
                self.lost.reason = reason;
            }
        }
        self.lost.tell(logs, self.client.endpoint());
    }

    fn export(&self, spans: Vec<Span>) -> Vec<u8> {
        let scope = Scope { name: "longwire".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
        let resource = Some(self.resource.clone());
        Export { resource_spans: vec![ResourceSpans { resource, scope_spans }] }.encode_to_vec()
    }
}

/// How many spans were taken, and why not all of them.
async fn outcome(
    sending: impl Future<Output = Result<Option<(u64, String)>, String>>,
    count: u64,
) -> (u64, Option<String>) {
    match timeout(PATIENCE, sending).await {
        Ok(Ok(None)) => (count, None),
        Ok(Ok(Some((rejected, reason)))) => (count.saturating_sub(rejected), Some(reason)),
        Ok(Err(reason)) => (0, Some(reason)),
        Err(_) => (0, Some(format!("no answer within {PATIENCE:?}"))),
    }
}

/// Spans that were lost since that was told last.
#[derive(Default)]
struct Lost {
    failed: u64,
    reason: String,
    /// For want of room.
    dropped: Arc<AtomicU64>,
    told_us: Option<u64>,
}

impl Lost {
    fn tell(&mut self, logs: &Logs, endpoint: &model::Endpoint) {
        let now = clock::now_us();
        if self.told_us.is_some_and(|told| now.saturating_sub(told) < TELL_EVERY) {
            return;
        }
        let dropped = self.dropped.swap(0, Relaxed);
        let (failed, reason) = (take(&mut self.failed), take(&mut self.reason));
        if dropped == 0 && failed == 0 && reason.is_empty() {
            return;
        }
        self.told_us = Some(now);
        let reason = if reason.is_empty() { "it is slow".to_owned() } else { reason };
        let to = &endpoint.authority;
        let told = format_args!(
            "spans that did not reach the collector {to}: {failed}, and {dropped} for want of room: {reason}"
        );
        logs.error(&[], Level::Warn, &Context::default(), told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_one_name() {
        let named = |service_name: Option<&str>, resource: &[(&str, &str)]| {
            let resource = resource.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            super::resource(&Otel { service_name: service_name.map(Into::into), resource, ..Otel::default() })
        };
        let pairs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| KeyValue::new(name, *value)).collect::<Vec<_>>()
        };
        assert_eq!(named(None, &[("a", "b")]), pairs(&[("service.name", "longwire"), ("a", "b")]));
        assert_eq!(
            named(None, &[("a", "b"), ("service.name", "c")]),
            pairs(&[("service.name", "c"), ("a", "b")])
        );
        assert_eq!(named(Some("d"), &[("service.name", "c")]), pairs(&[("service.name", "d")]));
    }
}
