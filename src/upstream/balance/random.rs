//! Pure: `random`: by chance and weight, of two the one with fewer connections.

use super::{Ask, Balancer, Walk};

impl Balancer {
    pub(super) fn random(&mut self, ask: &Ask<'_>, walk: &mut Walk, two: bool) -> Option<usize> {
        if self.primaries < 2 || walk.steps > super::MAX_STEPS {
            return self.round_robin(ask, walk);
        }
        if let Some(at) = self.stuck(0..self.primaries, ask, walk) {
            return Some(at);
        }
        let mut first: Option<usize> = None;
        loop {
            let draw = walk.draw(ask);
            let at = self.by_weight((draw % u64::from(self.total_weight.max(1))) as u32);
            if first != Some(at) && self.peers[at].is_usable(ask, walk) {
                match first {
                    None if two => first = Some(at),
                    None => return Some(at),
                    Some(first) => return Some(self.less_busy(first, at)),
                }
                continue;
            }
            if !walk.step() {
                return self.round_robin(ask, walk);
            }
        }
    }

    /// The second, unless it has more connections for its weight.
    fn less_busy(&self, first: usize, second: usize) -> usize {
        let load = |at: usize, other: usize| {
            let conns = self.peers[at].member.live.count();
            conns.saturating_mul(self.peers[other].member.params.weight as usize)
        };
        if load(second, first) > load(first, second) { first } else { second }
    }
}
