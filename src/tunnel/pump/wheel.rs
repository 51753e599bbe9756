//! Pure: deadlines of many tunnels, in coarse ticks. Entries may be early or stale: whoever is woken asks again.

/// Microseconds of one tick.
const TICK_US: u64 = 10_000;
/// Ticks of one turn of the wheel, about ten seconds. What lies further off is looked at once a turn.
const SLOTS: u64 = 1024;

/// A hashed timing wheel over slot numbers.
#[derive(Debug)]
pub(super) struct Wheel {
    slots: Vec<Vec<u32>>,
    /// The first tick that has not been taken yet.
    tick: u64,
    /// No slot before this tick holds anything.
    first: u64,
    count: usize,
}

impl Wheel {
    /// A wheel that begins now, in microseconds.
    pub(super) fn new(now_us: u64) -> Wheel {
        let tick = now_us / TICK_US;
        Wheel { slots: vec![Vec::new(); SLOTS as usize], tick, first: tick, count: 0 }
    }

    /// Wakes `key` at `at_us`, up to a tick later; earlier when that is more than a turn away. Gives the time it
    /// was set to.
    pub(super) fn insert(&mut self, key: u32, at_us: u64) -> u64 {
        let tick = at_us.div_ceil(TICK_US).clamp(self.tick, self.tick + SLOTS - 1);
        self.slots[(tick % SLOTS) as usize].push(key);
        self.first = self.first.min(tick);
        self.count += 1;
        tick * TICK_US
    }

    /// When the next entry is due; `None` when there is none.
    pub(super) fn next_us(&mut self) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        while self.slots[(self.first % SLOTS) as usize].is_empty() {
            self.first += 1;
        }
        Some(self.first * TICK_US)
    }

    /// Takes what is due.
    pub(super) fn take_due(&mut self, now_us: u64, due: &mut Vec<u32>) {
        let now = now_us / TICK_US;
        while self.tick <= now && self.count > 0 {
            let slot = std::mem::take(&mut self.slots[(self.tick % SLOTS) as usize]);
            self.count -= slot.len();
            due.extend(slot);
            self.tick += 1;
        }
        self.tick = self.tick.max(now + 1);
        self.first = self.first.max(self.tick);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_woken_early_within_a_turn_and_all_are_woken() {
        let seed = std::env::var("LONGWIRE_SEED")
            .ok()
            .and_then(|s| s.parse().ok())
            .unwrap_or_else(|| fastrand::u64(..));
        println!("LONGWIRE_SEED={seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let mut now = random.u64(0..1 << 40);
        let mut wheel = Wheel::new(now);
        let mut wanted: Vec<(u32, u64)> = Vec::new();
        let mut woken = 0;
        for key in 0..2000 {
            let at = now + random.u64(0..9_000_000);
            wheel.insert(key, at);
            wanted.push((key, at));
            now += random.u64(0..20_000);
            let mut due = Vec::new();
            wheel.take_due(now, &mut due);
            woken += due.len();
            assert!(due.iter().all(|key| wanted[*key as usize].1 <= now), "somebody was woken early");
            if let Some(next) = wheel.next_us() {
                assert!(next > now - now % TICK_US, "what is due was left");
            }
        }
        let mut due = Vec::new();
        wheel.take_due(now + 20_000_000, &mut due);
        assert_eq!(woken + due.len(), wanted.len());
        assert_eq!(wheel.next_us(), None);
    }

    #[test]
    fn what_lies_beyond_a_turn_is_looked_at_within_it() {
        let mut wheel = Wheel::new(0);
        let set = wheel.insert(1, 3_600_000_000);
        assert!(set < SLOTS * TICK_US);
        assert_eq!(wheel.next_us(), Some(set));
    }
}
