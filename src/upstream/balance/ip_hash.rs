//! Pure: `ip_hash`: nginx's own hash of a client's network.

use super::{Ask, Balancer, Walk};

impl Balancer {
    /// `ask.key`: three bytes of an IPv4 address, sixteen of an IPv6 address, three zeros for a Unix socket.
    pub(super) fn ip_hash(&mut self, ask: &Ask<'_>, walk: &mut Walk) -> Option<usize> {
        if self.primaries < 2 || walk.steps > super::MAX_STEPS {
            return self.round_robin(ask, walk);
        }
        if let Some(at) = self.stuck(0..self.primaries, ask, walk) {
            return Some(at);
        }
        let mut hash = if walk.hash == 0 { 89 } else { walk.hash - 1 };
        loop {
            for byte in ask.key {
                hash = (hash * 113 + u32::from(*byte)) % 6271;
            }
            let at = self.by_weight(hash);
            if self.peers[at].is_usable(ask, walk) {
                // Zero stands for "not yet", so one is added.
                walk.hash = hash + 1;
                return Some(at);
            }
            if !walk.step() {
                return self.round_robin(ask, walk);
            }
        }
    }
}
