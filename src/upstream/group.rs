//! A group of backends at work: its servers, whose turn it is, and its idle connections.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use longwire_conf::model::{Balance, Sticky};
use longwire_conf::template::Template;
use tokio::sync::watch::Sender;
use tokio::task::JoinSet;

use super::balance::{Ask, Balancer, Change, Member, Method, Params, Walk};
use super::health::{self, Check, Course, Likeness};
use super::idle::Idle;
use super::live::{Ledger, Slot};
use super::sticky::{Seal, Sessions, sid};
use super::watch::{self, Lookup};
use super::{Connection, Keepalive, Lease, lock};
use crate::clock::{self, micros};
use crate::log::Logs;
use crate::net::Endpoint;

/// Numbers servers.
static NEXT_ID: AtomicUsize = AtomicUsize::new(1);

/// A `server` line of a group. A name with several addresses gives several servers.
#[derive(Debug, Clone)]
pub struct Source {
    /// As written in the configuration.
    pub text: String,
    /// `route=`.
    pub route: Option<String>,
    /// For choosing.
    pub params: Params,
    /// Where its servers are, as far as that is known.
    pub places: Vec<Place>,
    /// The name that says where they are, if they come and go.
    pub lookup: Option<Lookup>,
}

/// An address of a source, and what its SRV record says, if that is where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The address.
    pub endpoint: Endpoint,
    /// Weight by the record; 1 without one.
    pub weight: u32,
    /// Whether records of a higher priority stand before it.
    pub backup: bool,
}

impl From<Endpoint> for Place {
    fn from(endpoint: Endpoint) -> Place {
        Place { endpoint, weight: 1, backup: false }
    }
}

/// One server of a group.
#[derive(Debug)]
pub struct Server {
    /// Its number in the process, never given to another. A configuration that has it again gives it the same.
    pub id: usize,
    /// What it is known by in all configurations, within its group: as written, and where it is.
    pub name: String,
    /// Where it is.
    pub endpoint: Endpoint,
    /// What sticky sessions name it by.
    pub sid: Arc<str>,
}

/// A server that was chosen, and the place that the request has there.
#[derive(Debug)]
pub struct Picked {
    /// The server.
    pub server: Arc<Server>,
    /// Held until the request, or its tunnel, has ended.
    pub slot: Slot,
}

/// How a server stands at the moment.
#[derive(Debug, Clone)]
pub struct Look {
    /// The server.
    pub server: Arc<Server>,
    /// As written in the configuration.
    pub text: Arc<str>,
    /// What the configuration says of it.
    pub params: Params,
    /// It is neither `down`, nor left out for its failures or by its health checks.
    pub is_up: bool,
    /// Requests in work and open tunnels, whatever configuration they began with.
    pub active: usize,
    /// Connections that wait for the next request.
    pub idle: usize,
}

/// How a group is set up.
#[derive(Debug)]
pub struct Setup {
    /// Name of the `upstream` block, or the address in `proxy_pass`.
    pub name: String,
    /// Its servers.
    pub sources: Vec<Source>,
    /// How they are chosen.
    pub balance: Balance,
    /// What leads a client back.
    pub sticky: Option<Sticky>,
    /// How connections are kept.
    pub keepalive: Keepalive,
}

/// A group of backends.
#[derive(Debug)]
pub struct Group {
    /// Name of the `upstream` block, or the address in `proxy_pass`.
    pub name: String,
    /// What decides beside turn and load.
    pub balance: Balance,
    /// What leads a client back.
    pub sticky: Option<Sticky>,
    /// Signs what `sticky cookie` gives away.
    pub seal: Option<Seal>,
    idle: Idle,
    state: Mutex<State>,
    sessions: Mutex<Option<Sessions>>,
    ledger: Arc<Ledger>,
    /// How many sources are still looked up for the first time.
    awaited: Sender<usize>,
    /// What goes on beside requests; it ends with the group.
    tasks: Mutex<JoinSet<()>>,
    checks: Mutex<Vec<(Likeness, Arc<Mutex<Course>>)>>,
    seat: OnceLock<Seat>,
    retired: AtomicBool,
}

/// Whichever configuration's group of a name is in force. All of them know it, so that what a request of an older one
/// finds out comes to where it is of use.
type Seat = Arc<Mutex<Weak<Group>>>;

#[derive(Debug, Clone)]
struct State {
    sources: Vec<Source>,
    servers: Vec<Arc<Server>>,
    balancer: Balancer,
    /// Servers that an operator has told to drain, or not to, whatever the configuration says.
    told: HashMap<Endpoint, bool>,
}

impl State {
    /// Whether the servers of a source at this address drain.
    fn drains(&self, source: &Source, endpoint: &Endpoint) -> bool {
        self.told.get(endpoint).copied().unwrap_or(source.params.drain)
    }
}

impl Group {
    /// Puts a group to work; `ledger` knows what its servers have to do already.
    pub fn new(setup: Setup, ledger: &Arc<Ledger>) -> Group {
        let Setup { name, sources, balance, sticky, keepalive } = setup;
        let (mut seal, mut sessions) = (None, None);
        match &sticky {
            Some(Sticky::Cookie(cookie)) => seal = Seal::new(&name, &cookie.secrets),
            Some(Sticky::Learn(learn)) => {
                sessions = Some(Sessions::new(learn.sessions, micros(learn.timeout)));
            }
            Some(Sticky::Route(_)) | None => {}
        }
        let balancer = Balancer::new(method(&balance), []);
        let state = State { sources, servers: Vec::new(), balancer, told: HashMap::new() };
        let group = Group {
            name,
            balance,
            sticky,
            seal,
            idle: Idle::new(keepalive),
            state: Mutex::new(state),
            sessions: Mutex::new(sessions),
            ledger: ledger.clone(),
            awaited: Sender::new(0),
            tasks: Mutex::default(),
            checks: Mutex::default(),
            seat: OnceLock::new(),
            retired: AtomicBool::new(false),
        };
        group.rebuild(&mut lock(&group.state));
        group
    }

    /// A group for one request, to these addresses.
    pub fn passing(name: &str, endpoints: Vec<Endpoint>) -> Group {
        let source = Source {
            text: name.to_owned(),
            route: None,
            params: Params { fail_timeout_us: 0, ..Params::default() },
            places: endpoints.into_iter().map(Place::from).collect(),
            lookup: None,
        };
        let setup = Setup {
            name: name.to_owned(),
            sources: vec![source],
            balance: Balance::RoundRobin,
            sticky: None,
            keepalive: Keepalive::default(),
        };
        Group::new(setup, &Arc::default())
    }

    /// What is hashed to choose a server.
    pub fn key(&self) -> Option<&Template> {
        match &self.balance {
            Balance::Hash { key, .. } => Some(key),
            _ => None,
        }
    }

    /// The server for a request, with a place there.
    pub fn pick(&self, ask: &Ask<'_>, walk: &mut Walk) -> Option<Picked> {
        let mut state = lock(&self.state);
        let (id, slot) = state.balancer.pick(ask, walk)?;
        let server = state.servers.iter().find(|server| server.id == id)?.clone();
        Some(Picked { server, slot })
    }

    /// How many servers a request may try at most.
    pub fn tries(&self) -> usize {
        lock(&self.state).balancer.tries()
    }

    /// Its servers at the moment.
    pub fn servers(&self) -> Vec<Arc<Server>> {
        lock(&self.state).servers.clone()
    }

    /// Its servers at the moment, and how each one stands.
    pub fn look(&self) -> Vec<Look> {
        let state = lock(&self.state);
        let standings = state.balancer.look(clock::now_us());
        let known = |(member, is_up): (&Member, bool)| {
            let server = state.servers.iter().find(|server| server.id == member.id)?.clone();
            let (active, idle) = (member.live.count(), self.idle.count(member.id));
            Some(Look { server, text: member.text.clone(), params: member.params, is_up, active, idle })
        };
        standings.filter_map(known).collect()
    }

    /// Whether each of its servers drains, by address.
    pub fn draining(&self) -> HashMap<String, bool> {
        let mut found = HashMap::new();
        let state = lock(&self.state);
        for source in &state.sources {
            for place in &source.places {
                // An address that stands twice serves as long as one of them does.
                let drains = state.drains(source, &place.endpoint);
                found.entry(place.endpoint.to_string()).and_modify(|all| *all &= drains).or_insert(drains);
            }
        }
        found
    }

    /// An operator tells the server at this address to drain, or to serve, until the next configuration. False when
    /// there is none.
    pub fn tell_to_drain(&self, address: &str, drain: bool) -> bool {
        let mut state = lock(&self.state);
        let here = |server: &&Arc<Server>| server.endpoint.to_string() == address;
        let Some(endpoint) = state.servers.iter().find(here).map(|server| server.endpoint.clone()) else {
            return false;
        };
        state.told.insert(endpoint, drain);
        self.rebuild(&mut state);
        true
    }

    /// Whether every name has led to an address.
    pub fn is_known(&self) -> bool {
        lock(&self.state).sources.iter().all(|source| !source.places.is_empty())
    }

    /// Notes that a server failed.
    pub fn failed(&self, server: &Server) -> Option<Change> {
        if let Some(heir) = self.heir() {
            return heir.failed(server);
        }
        lock(&self.state).balancer.failed(server.id, clock::now_us())
    }

    /// Notes that a server answered.
    pub fn succeeded(&self, server: &Server) -> Option<Change> {
        if let Some(heir) = self.heir() {
            return heir.succeeded(server);
        }
        lock(&self.state).balancer.succeeded(server.id, clock::now_us())
    }

    /// Notes what a health check found.
    pub fn checked(&self, server: &Server, healthy: bool) -> Option<Change> {
        lock(&self.state).balancer.check(server.id, healthy, clock::now_us())
    }

    /// The server of a session that was learned.
    pub fn session(&self, name: &[u8]) -> Option<Arc<str>> {
        if let Some(heir) = self.heir() {
            return heir.session(name);
        }
        lock(&self.sessions).as_mut()?.find(name, clock::now_us())
    }

    /// Learns where a session is; one that is not known only where it `begins`.
    pub fn learn(&self, name: &[u8], server: &Server, begins: bool) {
        if let Some(heir) = self.heir() {
            // What it calls the server may be something else.
            let Some(server) = heir.server(server.id) else { return };
            return heir.learn(name, &server, begins);
        }
        if let Some(sessions) = lock(&self.sessions).as_mut() {
            sessions.learn(name, &server.sid, begins, clock::now_us());
        }
    }

    /// An idle connection that fits, the one used last.
    pub fn take_idle(&self, lease: &Lease) -> Option<Connection> {
        self.idle.take(lease)
    }

    /// Keeps a connection for later, if the configuration allows.
    pub fn keep(&self, connection: Connection) {
        match self.heir() {
            Some(heir) if heir.server(connection.lease.server).is_none() => {}
            Some(heir) => heir.idle.keep(connection),
            None => self.idle.keep(connection),
        }
    }

    /// Whether connections of this group are kept at all.
    pub fn keeps(&self) -> bool {
        self.idle.keeps()
    }

    /// Drops connections that have been idle for too long. Called now and then.
    pub fn sweep(&self) {
        self.idle.sweep();
    }

    /// Takes over from the group of this name in the configuration before, if there is one, and begins what goes on
    /// beside requests until another takes over: names are looked up again and again, and servers are checked.
    pub fn start(self: &Arc<Self>, checks: Vec<Check>, previous: Option<&Group>, logs: &Logs) {
        if let Some(previous) = previous {
            self.succeed(previous);
            previous.retire();
        }
        let seat = previous.and_then(|group| group.seat.get()).cloned().unwrap_or_default();
        *lock(&seat) = Arc::downgrade(self);
        // A group is started once.
        let _ = self.seat.set(seat);
        if checks.is_empty() {
            lock(&self.state).balancer.unwatch();
        }
        let courses = previous.map(|group| std::mem::take(&mut *lock(&group.checks))).unwrap_or_default();
        let mut tasks = lock(&self.tasks);
        for check in checks {
            let likeness = check.likeness();
            let known = courses.iter().find(|(known, _)| *known == likeness);
            let course = known.map(|(_, course)| course.clone()).unwrap_or_default();
            lock(&self.checks).push((likeness, course.clone()));
            tasks.spawn(health::watch(Arc::downgrade(self), check, course, logs.clone()));
        }
        let lookups: Vec<_> = {
            let state = lock(&self.state);
            let lookup = |(index, source): (usize, &Source)| {
                Some((index, source.lookup.clone()?, source.places.is_empty()))
            };
            state.sources.iter().enumerate().filter_map(lookup).collect()
        };
        self.awaited.send_replace(lookups.iter().filter(|(_, _, unknown)| *unknown).count());
        for (source, lookup, unknown) in lookups {
            tasks.spawn(watch::follow(Arc::downgrade(self), source, lookup, unknown, logs.clone()));
        }
    }

    /// What goes on beside requests ends, and no connections are kept any more: another configuration is in force.
    pub fn retire(&self) {
        self.retired.store(true, Relaxed);
        // A request that waits for names gets them; who looks them up ends by itself then.
        if *self.awaited.borrow() == 0 {
            lock(&self.tasks).abort_all();
        }
        self.idle.close();
    }

    /// Whether another configuration is in force.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }

    fn succeed(&self, previous: &Group) {
        let before = lock(&previous.state).clone();
        let mut state = lock(&self.state);
        for source in &mut state.sources {
            let Some(lookup) = &source.lookup else { continue };
            let same = |known: &&Source| {
                known.text == source.text && known.lookup.as_ref().is_some_and(|known| known.is_like(lookup))
            };
            // Until it is looked up again, what was known is better than nothing.
            if let Some(known) = before.sources.iter().find(same) {
                source.places.clone_from(&known.places);
            }
        }
        state.servers = before.servers;
        let names_before: Vec<_> = state.servers.iter().map(|s| (s.sid.clone(), s.id)).collect();
        state.balancer.succeed(&before.balancer);
        self.rebuild(&mut state);
        let now = |id: usize| state.servers.iter().find(|server| server.id == id).map(|s| s.sid.clone());
        let rename =
            |sid: &str| names_before.iter().find(|(known, _)| **known == *sid).and_then(|(_, id)| now(*id));
        if let (Some(sessions), Some(known)) = (&mut *lock(&self.sessions), lock(&previous.sessions).take()) {
            sessions.succeed(known, rename);
        }
        self.idle.take_over(&previous.idle, |id| now(id).is_some());
    }

    /// The group that took this one's place, if another configuration is in force.
    fn heir(&self) -> Option<Arc<Group>> {
        if !self.is_retired() {
            return None;
        }
        let heir = lock(self.seat.get()?).upgrade()?;
        (!std::ptr::eq(&raw const *heir, self)).then_some(heir)
    }

    fn server(&self, id: usize) -> Option<Arc<Server>> {
        lock(&self.state).servers.iter().find(|server| server.id == id).cloned()
    }

    /// Waits until nothing goes on beside requests.
    #[cfg(test)]
    pub(crate) async fn ended(&self) {
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        while tasks.join_next().await.is_some() {}
    }

    /// Whether a check has not found anything yet.
    #[cfg(test)]
    pub(crate) fn is_checking(&self) -> bool {
        lock(&self.checks).iter().any(|(_, course)| lock(course).is_fresh())
    }

    /// A first look-up is done, with whatever outcome.
    pub(super) fn names_came(&self) {
        self.awaited.send_modify(|count| *count = count.saturating_sub(1));
    }

    /// Waits until every name was looked up once.
    pub async fn ready(&self) {
        if *self.awaited.borrow() > 0 {
            // The other end lives in this very group.
            let _ = self.awaited.subscribe().wait_for(|count| *count == 0).await;
        }
    }

    /// The servers of a source are elsewhere from now on; says whether anything changed.
    pub(super) fn place(&self, source: usize, places: Vec<Place>) -> bool {
        let mut state = lock(&self.state);
        let Some(source) = state.sources.get_mut(source) else { return false };
        if source.places == places {
            return false;
        }
        source.places = places;
        self.rebuild(&mut state);
        let there: Vec<usize> = state.servers.iter().map(|server| server.id).collect();
        drop(state);
        self.idle.forget(|id| there.contains(&id));
        true
    }

    /// Makes servers of the sources; those that were there before keep their numbers.
    fn rebuild(&self, state: &mut State) {
        let before = std::mem::take(&mut state.servers);
        let mut members = Vec::new();
        let mut names = Vec::new();
        for source in &state.sources {
            for place in &source.places {
                let name = format!("{} {}", source.text, place.endpoint);
                let twins = names.iter().filter(|known| **known == name).count();
                let known_as = if twins == 0 { name.clone() } else { format!("{name} {twins}") };
                names.push(name);
                let sid = source.route.clone().unwrap_or_else(|| sid(&place.endpoint.to_string()));
                let server = match before.iter().find(|server| server.name == known_as) {
                    Some(server) if *server.sid == *sid => server.clone(),
                    known => Arc::new(Server {
                        id: known.map_or_else(|| NEXT_ID.fetch_add(1, Relaxed), |server| server.id),
                        name: known_as,
                        endpoint: place.endpoint.clone(),
                        sid: sid.into(),
                    }),
                };
                let params = Params {
                    weight: source.params.weight.saturating_mul(place.weight),
                    backup: source.params.backup || place.backup,
                    drain: state.drains(source, &place.endpoint),
                    ..source.params
                };
                members.push(Member {
                    id: server.id,
                    text: source.text.as_str().into(),
                    sid: server.sid.clone(),
                    params,
                    live: self.ledger.of(&self.name, &server.name),
                });
                state.servers.push(server);
            }
        }
        state.balancer.renew(members);
    }
}

/// What the error log says of a server whose standing changed, and why it did.
pub fn standing(group: &str, server: &Server, change: Change, why: &str) -> String {
    let server = &server.endpoint;
    match change {
        Change::Out(Some(us)) => {
            let time = Duration::from_micros(us);
            format!(
                "upstream server temporarily disabled: {server} of \"{group}\" is left out for {time:?}: {why}"
            )
        }
        Change::Out(None) => {
            format!(
                "upstream server disabled: {server} of \"{group}\" is left out until its health checks pass: {why}"
            )
        }
        Change::Back(us) => {
            let time = us / 1_000_000;
            format!("upstream server {server} of \"{group}\" is back after {time} s")
        }
    }
}

fn method(balance: &Balance) -> Method {
    match balance {
        Balance::RoundRobin => Method::RoundRobin,
        Balance::LeastConn => Method::LeastConn,
        Balance::Random { two } => Method::Random { two: *two },
        Balance::Hash { consistent: false, .. } => Method::Hash,
        Balance::Hash { consistent: true, .. } => Method::Ketama,
        Balance::IpHash => Method::IpHash,
    }
}
