//! Pure: choosing a server of a group, as nginx does: the same server for the same key, the same order for the same weights.

mod hash;
mod ip_hash;
mod ketama;
mod least_conn;
mod random;
mod round_robin;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::live::{Live, Slot};
use ketama::Ring;

/// What the configuration says of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// `weight`.
    pub weight: u32,
    /// `max_conns`; 0 for no limit.
    pub max_conns: u32,
    /// `max_fails`; 0 turns the accounting off.
    pub max_fails: u32,
    /// `fail_timeout` in microseconds: the window of the count, and how long a failed server is left alone.
    pub fail_timeout_us: u64,
    /// `slow_start` in microseconds: how long the weight of a server that comes back grows.
    pub slow_start_us: u64,
    /// `backup`.
    pub backup: bool,
    /// `down`.
    pub down: bool,
    /// `drain`.
    pub drain: bool,
    /// `mandatory` of a health check: it is left out until it has passed one.
    pub mandatory: bool,
}

impl Default for Params {
    fn default() -> Params {
        Params {
            weight: 1,
            max_conns: 0,
            max_fails: 1,
            fail_timeout_us: 10_000_000,
            slow_start_us: 0,
            backup: false,
            down: false,
            drain: false,
            mandatory: false,
        }
    }
}

/// How servers are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// In turn, by weight.
    RoundRobin,
    /// `least_conn`.
    LeastConn,
    /// `random`, or `random two`.
    Random {
        /// Of two servers the one with fewer connections.
        two: bool,
    },
    /// `hash KEY`.
    Hash,
    /// `hash KEY consistent`.
    Ketama,
    /// `ip_hash`.
    IpHash,
}

/// A server as it joins a group.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its number in the group; never given to another.
    pub id: usize,
    /// The server as written in the configuration: what a ring is made of.
    pub text: Arc<str>,
    /// What a sticky session names it by.
    pub sid: Arc<str>,
    /// What the configuration says.
    pub params: Params,
    /// What it has to do.
    pub live: Arc<Live>,
}

/// What a choice depends on beside the group.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask<'a> {
    /// The time.
    pub now_us: u64,
    /// The value of the key of `hash`; the address of the client for `ip_hash`.
    pub key: &'a [u8],
    /// The server that a sticky session names.
    pub stick: Option<&'a str>,
    /// It begins what stays: a server that drains is not for it, even where its session sticks.
    pub begins: bool,
    /// Chance.
    pub chance: u64,
}

/// A request's way through a group: what was tried, and how far a key was hashed.
#[derive(Debug, Default)]
pub struct Walk {
    tried: Vec<usize>,
    /// Steps that led to no server.
    steps: u32,
    /// How often the key was hashed, and what came of it so far.
    rehash: u32,
    hash: u32,
    draws: u64,
}

impl Walk {
    /// Whether nothing was tried yet.
    pub fn is_fresh(&self) -> bool {
        self.tried.is_empty()
    }
}

/// Steps after which a method that looks for the server of a key takes any, as nginx.
const MAX_STEPS: u32 = 20;

/// What a weight is counted in, so that a part of one can be told.
const UNIT: i64 = 256;

/// A server's standing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is left out from now on, for this long at least; `None` until a health check says otherwise.
    Out(Option<u64>),
    /// It is back, after this long.
    Back(u64),
}

/// Chooses servers.
#[derive(Debug, Clone)]
pub struct Balancer {
    method: Method,
    /// Those that are no backups, then the backups: the order in which nginx numbers them.
    peers: Vec<Peer>,
    primaries: usize,
    total_weight: u32,
    ring: Ring,
}

#[derive(Debug, Clone)]
struct Peer {
    member: Member,
    current: i64,
    /// Falls with each failure and recovers with each round.
    effective: i64,
    fails: u32,
    failed_us: u64,
    checked_us: u64,
    /// Since when it is left out.
    out_us: Option<u64>,
    /// What health checks say.
    healthy: bool,
    /// Since when its weight grows.
    risen_us: Option<u64>,
}

impl Balancer {
    /// A balancer over these servers.
    pub fn new(method: Method, members: impl IntoIterator<Item = Member>) -> Balancer {
        let mut balancer =
            Balancer { method, peers: Vec::new(), primaries: 0, total_weight: 0, ring: Ring::default() };
        balancer.renew(members);
        balancer
    }

    /// Takes over the servers of another, with their standing; to be renewed next.
    pub fn succeed(&mut self, previous: &Balancer) {
        self.peers.clone_from(&previous.peers);
    }

    /// Other servers from now on; those that stay (by their id) keep their standing. Whose turn it is goes on only
    /// where all are the same with the same weights: one that leaves takes its share of the others' turns with it.
    pub fn renew(&mut self, members: impl IntoIterator<Item = Member>) {
        let mut before = std::mem::take(&mut self.peers);
        let shares = |peers: &[Peer]| -> Vec<(usize, u32, bool)> {
            let share = |peer: &Peer| (peer.member.id, peer.member.params.weight, peer.member.params.backup);
            let mut all: Vec<_> = peers.iter().map(share).collect();
            all.sort_unstable();
            all
        };
        let shares_before = shares(&before);
        for member in members {
            let known = before.iter().position(|peer| peer.member.id == member.id);
            self.peers.push(match known {
                Some(at) => before.swap_remove(at).renewed(member),
                None => Peer::new(member),
            });
        }
        if shares(&self.peers) != shares_before {
            self.peers.iter_mut().for_each(|peer| peer.current = 0);
        }
        self.peers.sort_by_key(|peer| peer.member.params.backup);
        self.primaries = self.peers.iter().filter(|peer| !peer.member.params.backup).count();
        self.total_weight = self.primaries().iter().map(|peer| peer.member.params.weight).sum();
        if self.method == Method::Ketama {
            self.ring = Ring::new(self.primaries().iter().map(|peer| &peer.member));
        }
    }

    /// The server for a request, with its place taken; `None` when there is none that was not tried yet.
    pub fn pick(&mut self, ask: &Ask<'_>, walk: &mut Walk) -> Option<(usize, Slot)> {
        let at = match self.method {
            _ if self.is_single() => self.single(ask, walk)?,
            Method::RoundRobin => self.round_robin(ask, walk)?,
            Method::LeastConn => self.least_conn(ask, walk)?,
            Method::Random { two } => self.random(ask, walk, two)?,
            Method::Hash => self.hash(ask, walk)?,
            Method::Ketama => self.ketama(ask, walk)?,
            Method::IpHash => self.ip_hash(ask, walk)?,
        };
        let peer = &mut self.peers[at];
        if ask.now_us.saturating_sub(peer.checked_us) > peer.member.params.fail_timeout_us {
            peer.checked_us = ask.now_us;
        }
        walk.tried.push(peer.member.id);
        Some((peer.member.id, peer.member.live.enter()))
    }

    /// All servers, and whether each can be chosen, as far as that is not a matter of the request.
    pub fn look(&self, now_us: u64) -> impl Iterator<Item = (&Member, bool)> {
        let rests = move |peer: &Peer| !self.is_single() && peer.is_resting(now_us);
        self.peers
            .iter()
            .map(move |peer| (&peer.member, peer.healthy && !peer.member.params.down && !rests(peer)))
    }

    /// How many servers a request may try at most.
    pub fn tries(&self) -> usize {
        self.peers.iter().filter(|peer| !peer.member.params.down).count()
    }

    /// A connection to the server, or its answer, failed.
    pub fn failed(&mut self, id: usize, now_us: u64) -> Option<Change> {
        // nginx: a lone server is used whatever it failed.
        let single = self.is_single();
        let peer = self.peer(id).filter(|_| !single)?;
        let params = peer.member.params;
        peer.fails = peer.fails.saturating_add(1);
        peer.failed_us = now_us;
        peer.checked_us = now_us;
        let step = params.weight.checked_div(params.max_fails).unwrap_or(0);
        peer.effective = (peer.effective - i64::from(step) * UNIT).max(0);
        if params.max_fails == 0 || peer.fails < params.max_fails || peer.out_us.is_some() {
            return None;
        }
        peer.out_us = Some(now_us);
        Some(Change::Out(Some(params.fail_timeout_us)))
    }

    /// The server answered.
    pub fn succeeded(&mut self, id: usize, now_us: u64) -> Option<Change> {
        let peer = self.peer(id)?;
        if peer.failed_us >= peer.checked_us {
            return None;
        }
        peer.fails = 0;
        peer.back(now_us)
    }

    /// A health check took the server out, or brought it back.
    pub fn check(&mut self, id: usize, healthy: bool, now_us: u64) -> Option<Change> {
        let peer = self.peer(id)?;
        if std::mem::replace(&mut peer.healthy, healthy) == healthy {
            return None;
        }
        if healthy {
            peer.fails = 0;
            return peer.back(now_us);
        }
        let was_out = peer.out_us.is_some();
        peer.out_us.get_or_insert(now_us);
        (!was_out).then_some(Change::Out(None))
    }

    /// No health check looks after these servers any more, so none can bring one back.
    pub fn unwatch(&mut self) {
        for peer in self.peers.iter_mut().filter(|peer| !peer.healthy) {
            peer.healthy = true;
            peer.fails = 0;
            peer.out_us = None;
        }
    }

    fn peer(&mut self, id: usize) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|peer| peer.member.id == id)
    }

    fn primaries(&self) -> &[Peer] {
        &self.peers[..self.primaries]
    }

    /// nginx: one server and no backup. It has no other to give way to.
    fn is_single(&self) -> bool {
        self.peers.len() == 1
    }

    fn single(&self, ask: &Ask<'_>, walk: &Walk) -> Option<usize> {
        let peer = self.peers.first()?;
        let is_there = peer.healthy && peer.is_open(ask) && peer.has_room();
        (is_there && !walk.has_tried(peer)).then_some(0)
    }

    /// The server that a sticky session names, if it can take a request.
    fn stuck(&self, range: std::ops::Range<usize>, ask: &Ask<'_>, walk: &Walk) -> Option<usize> {
        let sid = ask.stick?;
        range.into_iter().find(|&at| {
            let peer = &self.peers[at];
            *peer.member.sid == *sid && peer.is_usable(ask, walk)
        })
    }

    /// The server at this place on the line of weights.
    fn by_weight(&self, value: u32) -> usize {
        let mut left = value.checked_rem(self.total_weight).unwrap_or(0);
        for (at, peer) in self.primaries().iter().enumerate() {
            let weight = peer.member.params.weight;
            if left < weight {
                return at;
            }
            left -= weight;
        }
        0
    }
}

impl Walk {
    fn has_tried(&self, peer: &Peer) -> bool {
        self.tried.contains(&peer.member.id)
    }

    /// Counts a step that led to no server; false when there were too many.
    fn step(&mut self) -> bool {
        self.steps += 1;
        self.steps <= MAX_STEPS
    }

    /// The next number by chance (splitmix64).
    fn draw(&mut self, ask: &Ask<'_>) -> u64 {
        self.draws = self.draws.wrapping_add(1);
        let mut z = ask.chance.wrapping_add(self.draws.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

impl Peer {
    fn new(member: Member) -> Peer {
        let effective = i64::from(member.params.weight) * UNIT;
        let healthy = !member.params.mandatory;
        Peer {
            member,
            current: 0,
            effective,
            fails: 0,
            failed_us: 0,
            checked_us: 0,
            out_us: None,
            healthy,
            risen_us: None,
        }
    }

    /// The same server as the configuration has it now.
    fn renewed(self, member: Member) -> Peer {
        let weight = member.params.weight;
        let same = weight == self.member.params.weight;
        let effective = if same { self.effective } else { i64::from(weight) * UNIT };
        Peer { member, effective, ..self }
    }

    /// It is back in its place, unless it never left.
    fn back(&mut self, now_us: u64) -> Option<Change> {
        let since = self.out_us.filter(|_| self.healthy)?;
        self.out_us = None;
        self.risen_us = Some(now_us);
        Some(Change::Back(now_us.saturating_sub(since)))
    }

    /// Whether the configuration lets this request in.
    fn is_open(&self, ask: &Ask<'_>) -> bool {
        let params = &self.member.params;
        let belongs = || !ask.begins && ask.stick.is_some_and(|sid| *sid == *self.member.sid);
        !params.down && (!params.drain || belongs())
    }

    fn has_room(&self) -> bool {
        let limit = self.member.params.max_conns as usize;
        limit == 0 || self.member.live.count() < limit
    }

    fn is_resting(&self, now_us: u64) -> bool {
        let params = &self.member.params;
        params.max_fails > 0
            && self.fails >= params.max_fails
            && now_us.saturating_sub(self.checked_us) <= params.fail_timeout_us
    }

    fn is_usable(&self, ask: &Ask<'_>, walk: &Walk) -> bool {
        !walk.has_tried(self)
            && self.is_open(ask)
            && self.healthy
            && !self.is_resting(ask.now_us)
            && self.has_room()
    }

    /// A weight as far as it has grown since the server came back.
    fn grown(&self, weight: i64, now_us: u64) -> i64 {
        let slow_start_us = self.member.params.slow_start_us;
        let Some(risen_us) = self.risen_us.filter(|_| slow_start_us > 0) else { return weight };
        let since_us = now_us.saturating_sub(risen_us);
        if since_us >= slow_start_us {
            return weight;
        }
        let part = i128::from(weight) * i128::from(since_us) / i128::from(slow_start_us);
        i64::try_from(part).unwrap_or(weight).clamp(1, weight.max(1))
    }

    /// Its weight in units, as far as it has grown.
    fn weight(&self, now_us: u64) -> i64 {
        self.grown(i64::from(self.member.params.weight) * UNIT, now_us)
    }

    /// Its share of a round of smooth weighted round robin.
    fn turn(&mut self, now_us: u64) -> i64 {
        let share = self.grown(self.effective, now_us);
        self.current += share;
        if self.effective < i64::from(self.member.params.weight) * UNIT {
            self.effective += UNIT;
        }
        share
    }
}
