//! Pure: nginx's smooth weighted round robin.

use std::ops::Range;

use super::{Ask, Balancer, UNIT, Walk};

impl Balancer {
    /// The server whose turn it is; backups only when no other is left.
    pub(super) fn round_robin(&mut self, ask: &Ask<'_>, walk: &Walk) -> Option<usize> {
        let backups = self.primaries..self.peers.len();
        self.round(0..self.primaries, ask, walk).or_else(|| self.round(backups, ask, walk))
    }

    fn round(&mut self, range: Range<usize>, ask: &Ask<'_>, walk: &Walk) -> Option<usize> {
        let stuck = self.stuck(range.clone(), ask, walk);
        if let Some(at) = stuck {
            // What sticks counts as its turn, but no more than one such turn is held against it.
            let peer = &self.peers[at];
            let others = i64::from(self.total_weight) - i64::from(peer.member.params.weight);
            if peer.current <= -others * UNIT {
                return Some(at);
            }
        }
        let mut total = 0;
        let mut best: Option<usize> = None;
        for at in range {
            let peer = &mut self.peers[at];
            if !peer.is_usable(ask, walk) {
                continue;
            }
            total += peer.turn(ask.now_us);
            let current = peer.current;
            if best.is_none_or(|best| current > self.peers[best].current) {
                best = Some(at);
            }
        }
        let chosen = stuck.or(best)?;
        self.peers[chosen].current -= total;
        Some(chosen)
    }
}
