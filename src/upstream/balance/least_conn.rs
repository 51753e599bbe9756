//! Pure: `least_conn`: the server with the fewest connections for its weight.

use std::ops::Range;

use super::{Ask, Balancer, Peer, Walk};

impl Balancer {
    /// The server with the least to do; those that have equally little take turns.
    pub(super) fn least_conn(&mut self, ask: &Ask<'_>, walk: &Walk) -> Option<usize> {
        let backups = self.primaries..self.peers.len();
        self.least(0..self.primaries, ask, walk).or_else(|| self.least(backups, ask, walk))
    }

    fn least(&mut self, range: Range<usize>, ask: &Ask<'_>, walk: &Walk) -> Option<usize> {
        if let Some(at) = self.stuck(range.clone(), ask, walk) {
            return Some(at);
        }
        let mut least: Option<Load> = None;
        let mut equal = Vec::new();
        for at in range {
            let peer = &self.peers[at];
            if !peer.is_usable(ask, walk) {
                continue;
            }
            let load = Load::of(peer, ask.now_us);
            match least.map_or(std::cmp::Ordering::Less, |least| load.compare(least)) {
                std::cmp::Ordering::Less => {
                    least = Some(load);
                    equal = vec![at];
                }
                std::cmp::Ordering::Equal => equal.push(at),
                std::cmp::Ordering::Greater => {}
            }
        }
        let [first, ..] = *equal else { return None };
        if equal.len() == 1 {
            return Some(first);
        }
        let mut total = 0;
        let mut best = first;
        for at in equal {
            total += self.peers[at].turn(ask.now_us);
            if self.peers[at].current > self.peers[best].current {
                best = at;
            }
        }
        self.peers[best].current -= total;
        Some(best)
    }
}

/// Connections for a weight.
#[derive(Clone, Copy)]
struct Load {
    conns: i128,
    weight: i128,
}

impl Load {
    fn of(peer: &Peer, now_us: u64) -> Load {
        let conns = i128::try_from(peer.member.live.count()).unwrap_or(i128::MAX);
        Load { conns, weight: i128::from(peer.weight(now_us)) }
    }

    fn compare(self, other: Load) -> std::cmp::Ordering {
        (self.conns.saturating_mul(other.weight)).cmp(&other.conns.saturating_mul(self.weight))
    }
}
