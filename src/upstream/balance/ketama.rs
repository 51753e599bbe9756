//! Pure: `hash KEY consistent`: a ring of points, 160 for each unit of weight, as Cache::Memcached::Fast and nginx have it.

use std::sync::Arc;

use super::{Ask, Balancer, Member, Walk};

/// Points for one unit of weight.
const POINTS: usize = 160;

/// The points of all servers, sorted.
#[derive(Debug, Clone, Default)]
pub(super) struct Ring {
    points: Vec<(u32, usize)>,
    /// Servers as written; those of several addresses stand here once.
    texts: Vec<Arc<str>>,
}

impl Ring {
    pub(super) fn new<'a>(members: impl Iterator<Item = &'a Member>) -> Ring {
        let mut ring = Ring::default();
        for member in members {
            if ring.texts.contains(&member.text) {
                continue;
            }
            let index = ring.texts.len();
            ring.texts.push(member.text.clone());
            let base = base(&member.text);
            let mut previous = 0u32;
            for _ in 0..member.params.weight as usize * POINTS {
                let mut crc = base.clone();
                crc.update(&previous.to_le_bytes());
                previous = crc.finalize();
                ring.points.push((previous, index));
            }
        }
        ring.points.sort_by_key(|(hash, _)| *hash);
        ring.points.dedup_by_key(|(hash, _)| *hash);
        ring
    }

    /// The server at a number of points behind that of a hash.
    fn at(&self, hash: u32, steps: u32) -> Option<&Arc<str>> {
        let first = self.points.partition_point(|(point, _)| *point < hash);
        let place = (first + steps as usize).checked_rem(self.points.len())?;
        self.texts.get(self.points.get(place)?.1)
    }
}

/// crc32 of host, a zero and port, going on; the port that is not written is nothing.
fn base(text: &str) -> crc32fast::Hasher {
    let (host, port) = match text.get(..5).filter(|start| start.eq_ignore_ascii_case("unix:")) {
        Some(_) => (&text[5..], ""),
        None => match text.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
            _ => (text, ""),
        },
    };
    let mut crc = crc32fast::Hasher::new();
    crc.update(host.as_bytes());
    crc.update(&[0]);
    crc.update(port.as_bytes());
    crc
}

impl Balancer {
    pub(super) fn ketama(&mut self, ask: &Ask<'_>, walk: &mut Walk) -> Option<usize> {
        if self.primaries < 2 || ask.key.is_empty() || walk.steps > super::MAX_STEPS {
            return self.round_robin(ask, walk);
        }
        if let Some(at) = self.stuck(0..self.primaries, ask, walk) {
            return Some(at);
        }
        let hash = crc32fast::hash(ask.key);
        loop {
            let text = self.ring.at(hash, walk.steps)?.clone();
            // Addresses of one name take turns.
            let mut total = 0;
            let mut best: Option<usize> = None;
            for at in 0..self.primaries {
                let peer = &mut self.peers[at];
                if peer.member.text != text || !peer.is_usable(ask, walk) {
                    continue;
                }
                total += peer.turn(ask.now_us);
                let current = peer.current;
                if best.is_none_or(|best| current > self.peers[best].current) {
                    best = Some(at);
                }
            }
            if let Some(best) = best {
                self.peers[best].current -= total;
                return Some(best);
            }
            if !walk.step() {
                return self.round_robin(ask, walk);
            }
        }
    }
}
