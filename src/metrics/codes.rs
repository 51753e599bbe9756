//! Pure: counts by numbers that strangers choose: close codes and statuses. There are never more than so many
//! different ones; the rest is counted together.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use longwire_wire::{Cause, Party};

/// Counts by keys that are not known beforehand. A key that has found no room is the caller's to count otherwise.
#[derive(Debug)]
struct Table<const N: usize> {
    /// A key, and how often it came; key 0 is none. Filled from the beginning, without holes.
    rows: [(AtomicU64, AtomicU64); N],
}

impl<const N: usize> Table<N> {
    const fn new() -> Table<N> {
        Table { rows: [const { (AtomicU64::new(0), AtomicU64::new(0)) }; N] }
    }

    /// Counts a key, which is not 0. False when there is no room for one more.
    fn add(&self, key: u64) -> bool {
        for (known, count) in &self.rows {
            // Whoever comes first takes the row; an other one takes the next.
            let found = match known.load(Relaxed) {
                0 => known.compare_exchange(0, key, Relaxed, Relaxed).unwrap_or_else(|other| other),
                found => found,
            };
            if found == key || found == 0 {
                count.fetch_add(1, Relaxed);
                return true;
            }
        }
        false
    }

    /// All keys with their counts, in the order of the keys.
    fn read(&self) -> Vec<(u64, u64)> {
        let rows = self.rows.iter().map(|(key, count)| (key.load(Relaxed), count.load(Relaxed)));
        let mut found: Vec<_> = rows.filter(|(key, count)| *key != 0 && *count > 0).collect();
        found.sort_unstable();
        found
    }
}

/// Statuses that were answered.
#[derive(Debug)]
pub struct Statuses {
    known: Table<40>,
    other: AtomicU64,
}

impl Statuses {
    pub(super) const fn new() -> Statuses {
        Statuses { known: Table::new(), other: AtomicU64::new(0) }
    }

    /// Counts a status.
    pub fn add(&self, status: u16) {
        if status == 0 || !self.known.add(status.into()) {
            self.other.fetch_add(1, Relaxed);
        }
    }

    /// Each status with its count; `None` are all that found no room.
    pub fn read(&self) -> Vec<(Option<u16>, u64)> {
        let known = self.known.read().into_iter().map(|(status, count)| (Some(status as u16), count));
        let other = self.other.load(Relaxed);
        known.chain((other > 0).then_some((None, other))).collect()
    }
}

/// How tunnels ended.
#[derive(Debug)]
pub struct Endings {
    known: Table<192>,
    /// Those whose code found no room, by party and cause.
    other: Table<64>,
}

/// One way in which tunnels end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Who ended it.
    pub by: &'static str,
    /// Why: a label.
    pub cause: &'static str,
    /// What is said of that to people.
    pub words: &'static str,
    /// The close code: 1005 for a Close without one, 1006 without a Close; `None`: one of those that found no room.
    pub code: Option<u16>,
}

impl Endings {
    pub(super) const fn new() -> Endings {
        Endings { known: Table::new(), other: Table::new() }
    }

    /// Counts the end of a tunnel.
    pub fn add(&self, by: Party, cause: Cause, code: u16) {
        let way = way(by, cause);
        if !self.known.add(way << 16 | u64::from(code)) {
            // There are fewer ways than rows.
            self.other.add(way);
        }
    }

    /// All that happened, each with its count.
    pub fn read(&self) -> Vec<(Ending, u64)> {
        let known =
            self.known.read().into_iter().map(|(key, count)| (ending(key >> 16, Some(key as u16)), count));
        let other = self.other.read().into_iter().map(|(way, count)| (ending(way, None), count));
        known.chain(other).collect()
    }
}

const PARTIES: [Party; 3] = [Party::Client, Party::Backend, Party::Proxy];

/// A label and words for every cause.
const CAUSES: [(&str, &str); 12] = [
    ("closed", "closed by the application"),
    ("fin", "connection ended without a Close frame"),
    ("reset", "connection broke"),
    ("dead-peer", "no pong came in time"),
    ("idle", "no traffic in either direction for too long"),
    ("write-blocked", "took no data for too long"),
    ("protocol-violation", "broke the rules of WebSocket"),
    ("message-too-big", "message larger than allowed"),
    ("too-fast", "sent more at a time than allowed"),
    ("shutdown", "proxy is shutting down"),
    ("drain", "connections are being moved away, come back"),
    ("operator", "closed by an operator"),
];

/// Party and cause as a number, never 0.
fn way(by: Party, cause: Cause) -> u64 {
    let cause = match cause {
        Cause::Closed => 0,
        Cause::Fin => 1,
        Cause::Reset => 2,
        Cause::DeadPeer => 3,
        Cause::Idle => 4,
        Cause::WriteBlocked => 5,
        Cause::ProtocolViolation(_) => 6,
        Cause::MessageTooBig => 7,
        Cause::TooFast => 8,
        Cause::Shutdown => 9,
        Cause::Drain => 10,
        Cause::Operator => 11,
    };
    let by = match by {
        Party::Client => 1,
        Party::Backend => 2,
        Party::Proxy => 3,
    };
    by << 4 | cause
}

fn ending(way: u64, code: Option<u16>) -> Ending {
    let (cause, words) = CAUSES.get(way as usize & 15).copied().unwrap_or_default();
    let by = PARTIES.get((way as usize >> 4).wrapping_sub(1)).map_or("", |party| party.name());
    Ending { by, cause, words, code }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_come_back_as_they_were_counted() {
        let endings = Endings::new();
        endings.add(Party::Client, Cause::Closed, 1000);
        endings.add(Party::Client, Cause::Closed, 1000);
        endings.add(Party::Proxy, Cause::Operator, 4000);
        endings.add(Party::Backend, Cause::Fin, 1006);
        let found: Vec<_> =
            endings.read().into_iter().map(|(e, count)| (e.by, e.cause, e.code, count)).collect();
        assert_eq!(
            found,
            [
                ("client", "closed", Some(1000), 2),
                ("backend", "fin", Some(1006), 1),
                ("proxy", "operator", Some(4000), 1),
            ]
        );
    }

    #[test]
    fn words_are_those_of_the_logs() {
        for cause in
            [Cause::Closed, Cause::Fin, Cause::Reset, Cause::DeadPeer, Cause::Idle, Cause::WriteBlocked]
                .into_iter()
                .chain([Cause::MessageTooBig, Cause::TooFast, Cause::Shutdown, Cause::Drain, Cause::Operator])
        {
            assert_eq!(ending(way(Party::Proxy, cause), None).words, cause.sentence());
        }
    }

    #[test]
    fn codes_that_strangers_choose_have_a_bound_and_none_is_lost() {
        let (endings, statuses) = (Endings::new(), Statuses::new());
        for code in 3000..5000 {
            endings.add(Party::Client, Cause::Closed, code);
            statuses.add(code);
        }
        let ends = endings.read();
        assert!(ends.len() <= 193, "{}", ends.len());
        assert_eq!(ends.iter().map(|(_, count)| count).sum::<u64>(), 2000);
        assert!(ends.iter().any(|(end, _)| end.code.is_none()));
        let statuses = statuses.read();
        assert_eq!(statuses.len(), 41);
        assert_eq!(statuses.iter().map(|(_, count)| count).sum::<u64>(), 2000);
    }

    #[test]
    fn threads_that_come_at_once_lose_nothing() {
        let table = Table::<8>::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|n| assert!(table.add(n % 8 + 1))));
            }
        });
        assert_eq!(table.read(), (1..=8).map(|key| (key, 5000)).collect::<Vec<_>>());
    }
}
