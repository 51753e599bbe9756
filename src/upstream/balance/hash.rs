//! Pure: `hash KEY`: the server of a key on the line of weights, as Cache::Memcached and nginx find it.

use super::{Ask, Balancer, Walk};

impl Balancer {
    pub(super) fn hash(&mut self, ask: &Ask<'_>, walk: &mut Walk) -> Option<usize> {
        if self.primaries < 2 || ask.key.is_empty() || walk.steps > super::MAX_STEPS {
            return self.round_robin(ask, walk);
        }
        if let Some(at) = self.stuck(0..self.primaries, ask, walk) {
            return Some(at);
        }
        loop {
            let mut crc = crc32fast::Hasher::new();
            if walk.rehash > 0 {
                crc.update(walk.rehash.to_string().as_bytes());
            }
            crc.update(ask.key);
            walk.hash = walk.hash.wrapping_add((crc.finalize() >> 16) & 0x7fff);
            walk.rehash += 1;
            let at = self.by_weight(walk.hash);
            if self.peers[at].is_usable(ask, walk) {
                return Some(at);
            }
            if !walk.step() {
                return self.round_robin(ask, walk);
            }
        }
    }
}
