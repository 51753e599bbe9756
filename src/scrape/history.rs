//! The last ten minutes, second by second, for whoever opens the live page now.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::task::JoinHandle;

use super::Counters;
use crate::http::Service;

/// Seconds that are remembered.
const LENGTH: usize = 600;

/// The history of this process.
pub static HISTORY: History = History::new();

/// One second: what there was at its end, and what has happened in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Its end, in seconds since 1970.
    pub at: f64,
    /// Open tunnels.
    pub open: u64,
    /// Tunnels that opened.
    pub opened: u64,
    /// Tunnels that ended.
    pub ended: u64,
    /// Handshakes that failed.
    pub failed: u64,
    /// The same by their cause.
    pub failures: BTreeMap<&'static str, u64>,
    /// Messages from clients and from backends.
    pub messages: [u64; 2],
    /// Bytes from clients and from backends.
    pub bytes: [u64; 2],
    /// The share of its time that the busiest pump was busy.
    pub pump_load: f64,
}

/// A ring of points.
#[derive(Debug)]
pub struct History(Mutex<Ring>);

#[derive(Debug)]
struct Ring {
    points: VecDeque<Point>,
    /// What the next point is the difference to.
    last: Option<Box<Counters>>,
    /// The share of its time that each pump was busy in the last second.
    pump_load: Vec<f64>,
}

impl History {
    const fn new() -> History {
        History(Mutex::new(Ring { points: VecDeque::new(), last: None, pump_load: Vec::new() }))
    }

    /// Notes another second.
    pub fn note(&self, counters: &Counters) {
        let mut ring = self.lock();
        if let Some(last) = ring.last.replace(Box::new(counters.clone())) {
            ring.pump_load = load(&last, counters);
            let point = point(&last, counters, &ring.pump_load);
            if ring.points.len() == LENGTH {
                ring.points.pop_front();
            }
            ring.points.push_back(point);
        }
    }

    /// All that is remembered, the oldest first.
    pub fn points(&self) -> Vec<Point> {
        self.lock().points.iter().cloned().collect()
    }

    /// The latest.
    pub fn latest(&self) -> Option<Point> {
        self.lock().points.back().cloned()
    }

    /// The share of its time that each pump was busy in the last second.
    pub fn pump_load(&self) -> Vec<f64> {
        self.lock().pump_load.clone()
    }

    /// Forgets what the next point would be the difference to: there will be none for a while.
    fn pause(&self) {
        let mut ring = self.lock();
        ring.last = None;
        ring.pump_load.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps [`HISTORY`] while somebody can ask for it.
#[derive(Debug, Default)]
pub struct Keeper(Option<JoinHandle<()>>);

impl Keeper {
    /// A second is over. Nobody waits for what this begins.
    pub fn turn(&mut self, service: &Arc<Service>) {
        if !service.snapshot.bindings.iter().any(|binding| binding.admin.is_some()) {
            return HISTORY.pause();
        }
        // A process that has no time for it has other cares.
        if self.0.as_ref().is_none_or(JoinHandle::is_finished) {
            let service = service.clone();
            self.0 = Some(tokio::spawn(async move { HISTORY.note(&super::gather(&service).await) }));
        }
    }
}

fn point(last: &Counters, now: &Counters, load: &[f64]) -> Point {
    let since = |before: u64, now: u64| now.saturating_sub(before);
    let failed = last.handshakes.iter().zip(&now.handshakes).filter(|(_, h)| h.outcome == "failed");
    let failures: BTreeMap<_, _> = failed
        .map(|(before, now)| (now.cause, since(before.count, now.count)))
        .filter(|(_, count)| *count > 0)
        .collect();
    Point {
        at: now.time,
        open: now.open,
        opened: since(last.opened, now.opened),
        ended: since(last.ended_total, now.ended_total),
        failed: failures.values().sum(),
        failures,
        messages: [
            since(last.messages.from_client, now.messages.from_client),
            since(last.messages.from_backend, now.messages.from_backend),
        ],
        bytes: [
            since(last.bytes.from_client, now.bytes.from_client),
            since(last.bytes.from_backend, now.bytes.from_backend),
        ],
        pump_load: load.iter().copied().fold(0.0, f64::max),
    }
}

fn load(last: &Counters, now: &Counters) -> Vec<f64> {
    let seconds = (now.time - last.time).max(0.001);
    let pumps = last.pumps.iter().zip(&now.pumps);
    pumps.map(|(before, now)| ((now.busy_seconds - before.busy_seconds) / seconds).clamp(0.0, 1.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{From, Handshakes, Pump};
    use super::*;

    fn counters(second: u64) -> Counters {
        let handshake =
            |outcome, cause, count| Handshakes { outcome, cause, words: "", fault: "none", count };
        Counters {
            time: second as f64,
            open: 7,
            opened: second * 10,
            ended_total: second * 3,
            handshakes: vec![
                handshake("opened", "none", second * 10),
                handshake("failed", "client-left", second * 2),
                handshake("failed", "password", 5),
            ],
            messages: From { from_client: second * 100, from_backend: second * 200 },
            bytes: From { from_client: second, from_backend: 0 },
            pumps: vec![Pump { tunnels: 7, busy_seconds: second as f64 / 4.0 }],
            ..Counters::default()
        }
    }

    #[test]
    fn a_point_is_what_happened_in_its_second() {
        let history = History::new();
        history.note(&counters(1));
        assert_eq!(history.points(), [], "one alone is no difference");
        history.note(&counters(2));
        let failures = BTreeMap::from([("client-left", 2)]);
        let expected = Point {
            at: 2.0,
            open: 7,
            opened: 10,
            ended: 3,
            failed: 2,
            failures,
            messages: [100, 200],
            bytes: [1, 0],
            pump_load: 0.25,
        };
        assert_eq!(history.latest(), Some(expected));
        assert_eq!(history.pump_load(), [0.25]);
    }

    #[test]
    fn ten_minutes_are_remembered() {
        let history = History::new();
        (1..=700).for_each(|second| history.note(&counters(second)));
        let points = history.points();
        assert_eq!((points.len(), points[0].at, points[599].at), (600, 101.0, 700.0));
        history.pause();
        history.note(&counters(900));
        assert_eq!(history.latest().map(|point| point.at), Some(700.0), "no point is the sum of a pause");
    }
}
