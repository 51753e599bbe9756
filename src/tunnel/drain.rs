//! Pure: a drain: which tunnels are to go, and when each of them is told.

use std::sync::Arc;

use longwire_wire::{Cause, CloseCode, Farewell, Planned};

use super::table::{Place, Wish};

/// Tunnels that are to go, evenly over a time. It is in force until another takes its place: a tunnel that opens
/// meanwhile goes with the others.
pub struct Drain {
    /// What their Close frames say.
    pub code: CloseCode,
    /// Why.
    pub cause: Cause,
    /// When it began, microseconds of the process's clock.
    pub begun_us: u64,
    /// Any number; it decides where inside its part of the time each tunnel is told.
    pub chance: u64,
    /// What becomes of the tunnels that go this way.
    pub verdict: Box<dyn Fn(&Place) -> Verdict + Send + Sync>,
}

/// What a drain says of the tunnels of one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They are told within so many microseconds.
    Go(u64),
    /// They stay, also those that were to go by a drain of the same code before.
    Stay,
    /// As it was decided before.
    AsBefore,
}

impl Drain {
    /// What is to be done with a tunnel, before anybody knows how many there are.
    ///
    /// Whoever was told a time by a drain of the same code keeps it, unless that is too late for this one: drained
    /// anew every minute, a tunnel goes all the same.
    fn judge(&self, place: &Place, planned: Option<&Planned>) -> Judgement {
        let same = planned.filter(|planned| self.has_planned(planned));
        match ((self.verdict)(place), same) {
            (Verdict::Go(over_us), Some(planned))
                if planned.at.0 <= self.begun_us.saturating_add(over_us) =>
            {
                Judgement::Nothing
            }
            (Verdict::Go(over_us), _) => Judgement::Goes(over_us),
            (Verdict::Stay, Some(_)) => Judgement::IsFree,
            _ => Judgement::Nothing,
        }
    }

    /// Whether it, or one like it before, is where a plan comes from.
    fn has_planned(&self, planned: &Planned) -> bool {
        planned.farewell.code == self.code && planned.farewell.cause == self.cause
    }

    /// What is to be done with a tunnel that opens at this time: it goes at any moment of what is left of the time.
    pub(super) fn late(&self, place: &Place, id: u64, now_us: u64) -> Option<Wish> {
        let Verdict::Go(over_us) = (self.verdict)(place) else { return None };
        let left_us = self.begun_us.saturating_add(over_us).saturating_sub(now_us);
        Some(self.told_at(now_us.saturating_add(moment(left_us, (0, 1), self.chance ^ id))))
    }

    fn told_at(&self, at_us: u64) -> Wish {
        Wish::CloseAt(Farewell::from((self.code, self.cause)), at_us)
    }
}

enum Judgement {
    Nothing,
    Goes(u64),
    /// What was planned for it is void.
    IsFree,
}

/// The ways of a drain past the tunnels of a pump, or of the runtime: on the first they are counted, on the second
/// each gets its time.
pub(super) struct Round {
    drain: Arc<Drain>,
    /// One for each time that was asked for.
    spreads: Vec<Spread>,
    is_counted: bool,
}

impl Round {
    pub(super) fn new(drain: Arc<Drain>) -> Round {
        Round { drain, spreads: Vec::new(), is_counted: false }
    }

    /// The drain that is carried round.
    pub(super) fn drain(&self) -> &Arc<Drain> {
        &self.drain
    }

    /// At a tunnel that is open: what is to be done with it.
    pub(super) fn pass(&mut self, place: &Place, planned: Option<&Planned>) -> Option<Wish> {
        match self.drain.judge(place, planned) {
            Judgement::Goes(over_us) if self.is_counted => {
                let (chance, begun_us) = (self.drain.chance, self.drain.begun_us);
                let after_us = self.spread(over_us).next(chance);
                Some(self.drain.told_at(begun_us.saturating_add(after_us)))
            }
            Judgement::Goes(over_us) => {
                self.spread(over_us).count += 1;
                None
            }
            Judgement::IsFree => Some(self.drain.told_at(u64::MAX)),
            Judgement::Nothing => None,
        }
    }

    /// At the end of a way: how many were set a time, if it was the last one.
    pub(super) fn turn(&mut self) -> Option<usize> {
        let is_over = std::mem::replace(&mut self.is_counted, true);
        is_over.then(|| self.spreads.iter().map(Spread::given).sum())
    }

    fn spread(&mut self, over_us: u64) -> &mut Spread {
        let known = self.spreads.iter().position(|spread| spread.over_us == over_us);
        let at = known.unwrap_or_else(|| {
            self.spreads.push(Spread::new(over_us, 0));
            self.spreads.len() - 1
        });
        &mut self.spreads[at]
    }
}

/// A time in as many equal parts as there are tunnels: each gets one, and is told at some moment of it. So no second
/// has more than its share, and those who come back at once do not come back together.
#[derive(Debug, Default)]
pub(super) struct Spread {
    over_us: u64,
    /// How many parts there are.
    count: u64,
    /// How many were given away.
    given: u64,
    /// From one part that is given to the next. Neighbours in a pump opened together, often to the same backend: they
    /// are not told together.
    stride: u64,
}

impl Spread {
    /// So many parts of a time.
    pub(super) fn new(over_us: u64, count: u64) -> Spread {
        Spread { over_us, count, given: 0, stride: 0 }
    }

    /// How many parts were given away.
    pub(super) fn given(&self) -> usize {
        self.given as usize
    }

    /// When the next tunnel is told, from the beginning.
    pub(super) fn next(&mut self, chance: u64) -> u64 {
        // Some that were not counted may come behind those that were.
        let count = self.count.max(1);
        if self.given == 0 {
            self.stride = stride(count);
        }
        let part = u128::from(self.given) * u128::from(self.stride) % u128::from(count);
        let at_us = moment(self.over_us, (part as u64, count), chance.wrapping_add(self.given));
        self.given += 1;
        at_us
    }
}

/// A step through this many places that comes to each once, and leaves as much room as can be between the last ones:
/// the golden section of them, or the next one that has no divisor in common with their number.
fn stride(count: u64) -> u64 {
    let golden = (count as f64 * 0.618_033_988_75) as u64;
    (golden.max(1)..).find(|step| gcd(*step, count) == 1).unwrap_or(1)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A moment in one of so many equal parts of a time; `chance` says where in there.
fn moment(time_us: u64, (part, parts): (u64, u64), chance: u64) -> u64 {
    let inside = u128::from(scatter(chance) >> 32);
    // Fits: no more than the time.
    (u128::from(time_us) * (u128::from(part) << 32 | inside) / (u128::from(parts.max(1)) << 32)) as u64
}

/// Numbers that look like chance, also for those that are next to each other (splitmix64).
fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
