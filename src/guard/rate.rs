//! Pure: `limit_req`. A leaky bucket for each key, in milliseconds and thousandths of requests, rounded as nginx does.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use longwire_conf::model::{LimitReq, ReqZone};

use super::{cost, room};

/// Who was silent for so long, in milliseconds, may be forgotten; and a clock that jumps back further is not believed.
const LONG_MS: i64 = 60_000;

/// What is remembered of a `limit_req_zone`.
#[derive(Debug)]
pub struct RateZone {
    /// Thousandths of requests in a second.
    rate: u64,
    room: u64,
    /// Shared with the same zone of other configurations.
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    buckets: HashMap<Arc<[u8]>, Bucket>,
    /// Keys by when they were asked for, as a number that only grows.
    order: BTreeMap<u64, Arc<[u8]>>,
    turn: u64,
    used: u64,
}

#[derive(Debug)]
struct Bucket {
    /// Thousandths of requests ahead of the rate.
    excess: u64,
    /// When that was so, in milliseconds; `None` before its first request is accounted for.
    last_ms: Option<u64>,
    turn: u64,
    /// Requests that have asked and are not accounted for yet.
    asking: u32,
}

/// What several limits made of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No limit counts it.
    Uncounted,
    /// It may go on.
    Pass,
    /// It waits; the figures are those of the limit that makes it wait longest.
    Wait {
        /// How long, in milliseconds.
        ms: u64,
        /// Thousandths of requests ahead of the rate.
        excess: u64,
        /// Index of the limit in the list.
        limit: usize,
    },
    /// It is refused.
    Refuse {
        /// Thousandths of requests ahead of the rate.
        excess: u64,
        /// Index of the limit in the list.
        limit: usize,
    },
    /// It is refused, because a key does not fit into its zone at all.
    NoRoom {
        /// Index of the limit in the list.
        limit: usize,
    },
}

enum Asked {
    /// Over the burst, by so much.
    Over(u64),
    /// Accounted for.
    Done(u64),
    /// To be accounted for.
    Open,
    NoRoom,
}

impl RateZone {
    /// A zone in which nobody was seen yet.
    pub fn new(zone: &ReqZone) -> RateZone {
        RateZone { rate: zone.rate, room: room(zone.size, 128), inner: Arc::default() }
    }

    /// The zone as a new configuration has it, with all who were seen in this one. Its size must be the same.
    pub fn with(&self, zone: &ReqZone) -> RateZone {
        RateZone { rate: zone.rate, room: self.room, inner: self.inner.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for one request. The last limit of a list is accounted for at once, others when all have agreed.
    fn ask(&self, key: &[u8], burst: u64, now_ms: u64, last: bool) -> Asked {
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.turn += 1;
        let turn = inner.turn;
        if let Some((known, _)) = inner.buckets.get_key_value(key) {
            let known = known.clone();
            let Some(bucket) = inner.buckets.get_mut(key) else { return Asked::NoRoom };
            inner.order.remove(&bucket.turn);
            inner.order.insert(turn, known);
            bucket.turn = turn;
            let (excess, moved) = self.leaked(bucket, now_ms);
            if excess > burst {
                return Asked::Over(excess);
            }
            if !last {
                bucket.asking += 1;
                return Asked::Open;
            }
            bucket.set(excess, moved, now_ms);
            return Asked::Done(excess);
        }
        let needed = cost(80 + key.len());
        self.forget(inner, now_ms, false);
        if inner.used + needed > self.room {
            self.forget(inner, now_ms, true);
            if inner.used + needed > self.room {
                return Asked::NoRoom;
            }
        }
        let known: Arc<[u8]> = key.into();
        let bucket = Bucket { excess: 0, last_ms: last.then_some(now_ms), turn, asking: u32::from(!last) };
        inner.used += needed;
        inner.order.insert(turn, known.clone());
        inner.buckets.insert(known, bucket);
        if last { Asked::Done(0) } else { Asked::Open }
    }

    /// What a bucket holds with one request more, and whether time has passed since.
    fn leaked(&self, bucket: &Bucket, now_ms: u64) -> (u64, bool) {
        let Some(last_ms) = bucket.last_ms else { return (0, true) };
        let ms = match now_ms as i64 - last_ms as i64 {
            ms if ms < -LONG_MS => 1,
            ms => ms.max(0),
        };
        let leak = self.rate.saturating_mul(ms as u64) / 1000;
        ((bucket.excess + 1000).saturating_sub(leak), ms > 0)
    }

    /// Accounts for a request that this zone was asked for; the excess.
    fn account(&self, key: &[u8], now_ms: u64) -> u64 {
        let mut inner = self.lock();
        let Some(bucket) = inner.buckets.get_mut(key) else { return 0 };
        let (excess, moved) = self.leaked(bucket, now_ms);
        bucket.set(excess, moved, now_ms);
        bucket.asking = bucket.asking.saturating_sub(1);
        excess
    }

    /// A request that this zone was asked for will not be accounted for.
    fn withdraw(&self, key: &[u8]) {
        if let Some(bucket) = self.lock().buckets.get_mut(key) {
            bucket.asking = bucket.asking.saturating_sub(1);
        }
    }

    /// Forgets up to two who were silent for long and owe nothing; with `force` first whoever was seen longest ago.
    fn forget(&self, inner: &mut Inner, now_ms: u64, force: bool) {
        for round in usize::from(!force)..3 {
            let Some((turn, key)) = inner.order.first_key_value() else { return };
            let (turn, key) = (*turn, key.clone());
            let Some(bucket) = inner.buckets.get(&key) else { return };
            if bucket.asking > 0 {
                return;
            }
            if round > 0 {
                let ms = bucket.last_ms.map_or(i64::MAX as u64, |last| now_ms.abs_diff(last));
                let leak = self.rate.saturating_mul(ms) / 1000;
                if ms < LONG_MS as u64 || bucket.excess > leak {
                    return;
                }
            }
            inner.order.remove(&turn);
            inner.buckets.remove(&key);
            inner.used -= cost(80 + key.len());
        }
    }

    /// How long such an excess waits, in milliseconds.
    fn wait_ms(&self, excess: u64, delay: u64) -> u64 {
        if excess <= delay { 0 } else { (excess - delay) * 1000 / self.rate.max(1) }
    }
}

impl Bucket {
    fn set(&mut self, excess: u64, moved: bool, now_ms: u64) {
        self.excess = excess;
        if moved {
            self.last_ms = Some(now_ms);
        }
    }
}

/// Asks all limits of a list for one request, in order, and stops at the first that refuses it.
///
/// `key` makes the key for a zone; nothing is counted where it is empty.
pub fn judge(
    zones: &[Arc<RateZone>],
    limits: &[LimitReq],
    mut key: impl FnMut(usize) -> Vec<u8>,
    now_ms: u64,
) -> Verdict {
    let mut open: Vec<(usize, &RateZone, Vec<u8>)> = Vec::new();
    let mut counted = false;
    let mut worst = (0, 0, limits.len().saturating_sub(1));
    for (at, limit) in limits.iter().enumerate() {
        let Some(zone) = zones.get(limit.zone) else { continue };
        let key = key(limit.zone);
        if key.is_empty() {
            continue;
        }
        let refused = match zone.ask(&key, limit.burst, now_ms, at + 1 == limits.len()) {
            Asked::Over(excess) => Verdict::Refuse { excess, limit: at },
            Asked::NoRoom => Verdict::NoRoom { limit: at },
            Asked::Done(excess) => {
                counted = true;
                worst = (zone.wait_ms(excess, limit.delay), excess, at);
                continue;
            }
            Asked::Open => {
                counted = true;
                open.push((at, zone, key));
                continue;
            }
        };
        open.iter().for_each(|(_, zone, key)| zone.withdraw(key));
        return refused;
    }
    // Backwards, so that of two equal waits the later limit is named, as in nginx.
    for (at, zone, key) in open.iter().rev() {
        let excess = zone.account(key, now_ms);
        let ms = limits.get(*at).map_or(0, |limit| zone.wait_ms(excess, limit.delay));
        if ms > worst.0 {
            worst = (ms, excess, *at);
        }
    }
    match worst {
        _ if !counted => Verdict::Uncounted,
        (0, ..) => Verdict::Pass,
        (ms, excess, limit) => Verdict::Wait { ms, excess, limit },
    }
}

#[cfg(test)]
mod tests {
    use longwire_conf::template::Template;

    use super::*;

    fn zone(rate: u64, size: u64) -> Arc<RateZone> {
        let zone = ReqZone { name: "z".into(), size, key: Template::default(), rate };
        Arc::new(RateZone::new(&zone))
    }

    fn limit(zone: usize, burst: u64, delay: Option<u64>) -> LimitReq {
        let delay = delay.map_or(u64::MAX, |delay| delay * 1000);
        LimitReq { zone, burst: burst * 1000, delay, at: "here".into() }
    }

    fn run(zones: &[Arc<RateZone>], limits: &[LimitReq], times: &[u64]) -> Vec<String> {
        let one = |now: &u64| match judge(zones, limits, |_| b"key".to_vec(), 1_000_000 + now) {
            Verdict::Uncounted => "-".to_owned(),
            Verdict::Pass => "pass".to_owned(),
            Verdict::Wait { ms, excess, limit } => format!("wait {ms} {excess} {limit}"),
            Verdict::Refuse { excess, limit } => format!("refuse {excess} {limit}"),
            Verdict::NoRoom { .. } => "full".to_owned(),
        };
        times.iter().map(one).collect()
    }

    #[test]
    fn without_a_burst_each_waits_for_the_rate() {
        let zones = [zone(10_000, 1 << 20)];
        let seen = run(&zones, &[limit(0, 0, Some(0))], &[0, 50, 99, 100, 199, 300]);
        assert_eq!(seen, ["pass", "refuse 500 0", "refuse 10 0", "pass", "refuse 10 0", "pass"]);
    }

    #[test]
    fn a_burst_waits_in_line() {
        let zones = [zone(10_000, 1 << 20)];
        let seen = run(&zones, &[limit(0, 2, Some(0))], &[0, 0, 0, 0, 100, 100]);
        assert_eq!(
            seen,
            [
                "pass",
                "wait 100 1000 0",
                "wait 200 2000 0",
                "refuse 3000 0",
                "wait 200 2000 0",
                "refuse 3000 0"
            ]
        );
        let seen = run(&[zone(10_000, 1 << 20)], &[limit(0, 2, None)], &[0, 0, 0, 0]);
        assert_eq!(seen, ["pass", "pass", "pass", "refuse 3000 0"]);
        let seen = run(&[zone(10_000, 1 << 20)], &[limit(0, 3, Some(1))], &[0, 0, 0, 0, 0]);
        assert_eq!(seen, ["pass", "pass", "wait 100 2000 0", "wait 200 3000 0", "refuse 4000 0"]);
    }

    /// One request a minute is 16 thousandths in a second: 16.666 are cut, as nginx cuts them.
    #[test]
    fn rates_are_cut_to_thousandths() {
        let zones = [zone(1000 / 60, 1 << 20)];
        let seen = run(&zones, &[limit(0, 0, Some(0))], &[0, 60_000, 62_438, 62_500]);
        assert_eq!(seen, ["pass", "refuse 40 0", "refuse 1 0", "pass"]);
    }

    #[test]
    fn several_limits_all_have_to_agree() {
        let zones = [zone(1000, 1 << 20), zone(10_000, 1 << 20)];
        let both = [limit(0, 1, Some(0)), limit(1, 5, Some(0))];
        assert_eq!(run(&zones, &both, &[0, 0, 0]), ["pass", "wait 1000 1000 0", "refuse 2000 0"]);
        // What the first refused was not counted by the second.
        assert_eq!(run(&zones, &both[1..], &[0]), ["wait 200 2000 0"]);
        // What the last refuses is not counted by those before it.
        let zones = [zone(1000, 1 << 20), zone(1000, 1 << 20)];
        let both = [limit(0, 5, Some(0)), limit(1, 0, Some(0))];
        assert_eq!(run(&zones, &both, &[0, 0, 0]), ["pass", "refuse 1000 1", "refuse 1000 1"]);
        assert_eq!(run(&zones, &both[..1], &[0]), ["wait 1000 1000 0"]);
        let none = judge(&zones, &both, |_| Vec::new(), 0);
        assert_eq!(none, Verdict::Uncounted);
    }

    #[test]
    fn a_clock_that_jumps_does_no_harm() {
        let zones = [zone(1000, 1 << 20)];
        let seen = run(&zones, &[limit(0, 5, None)], &[500_000, 490_000, 100_000, 100_000]);
        assert_eq!(seen, ["pass", "pass", "pass", "pass"]);
        assert_eq!(run(&zones, &[limit(0, 2, None)], &[100_000]), ["refuse 3999 0"]);
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        // Seven pages: one is the zone's own, and one entry of 128 bytes.
        let zone = zone(1, 32 << 10);
        let zones = [zone.clone()];
        let ask = |number: u32, now_ms| {
            judge(&zones, &[limit(0, 0, None)], |_| number.to_be_bytes().to_vec(), now_ms)
        };
        for number in 0..191 {
            assert_eq!(ask(number, 5), Verdict::Pass);
        }
        assert_eq!(zone.lock().buckets.len(), 191);
        assert!(matches!(ask(0, 5), Verdict::Refuse { .. }));
        assert_eq!(ask(191, 5), Verdict::Pass);
        assert_eq!(zone.lock().buckets.len(), 191);
        // Number 1 was seen longest ago, so that it starts anew; 0 is remembered.
        assert!(matches!(ask(0, 5), Verdict::Refuse { .. }));
        assert_eq!(ask(1, 5), Verdict::Pass);
        let long = judge(&zones, &[limit(0, 0, None)], |_| vec![7; 60_000], 5);
        assert_eq!(long, Verdict::NoRoom { limit: 0 });
        let inner = zone.lock();
        assert_eq!(inner.order.len(), inner.buckets.len());
        assert_eq!(inner.used, inner.buckets.len() as u64 * 128);
    }
}
