//! Which tunnels are to go, and over what time: what the configuration in force says of them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use longwire_conf::model::{Config, Location, OnRemoval};
use longwire_wire::{Cause, CloseCode};

use crate::clock::{self, micros};
use crate::http::as_written;
use crate::snapshot::Snapshot;
use crate::tunnel::{Drain, Place, Verdict};

/// Everybody goes. `cap`: how long it may take until all are gone; a tenth of that is for their answers.
pub fn everybody(snapshot: &Snapshot, code: CloseCode, cause: Cause, cap: Option<Duration>) -> Drain {
    let policies = Policies::of(snapshot);
    let most_us = cap.map_or(u64::MAX, |cap| micros(cap) / 10 * 9);
    drain(code, cause, move |place| Verdict::Go(policies.at(place).over_us.min(most_us)))
}

/// Those go whose server drains, and where `websocket_reload drain` says so those whose server is not there any more.
pub fn leavers(snapshot: &Snapshot) -> Drain {
    let (policies, servers) = (Policies::of(snapshot), Servers::of(snapshot));
    drain(CloseCode::SERVICE_RESTART, Cause::Drain, move |place| {
        let policy = policies.at(place);
        match servers.standing(place) {
            Standing::Drains => Verdict::Go(policy.over_us),
            Standing::Serves => Verdict::Stay,
            Standing::Removed if policy.on_removal == OnRemoval::Drain => Verdict::Go(policy.over_us),
            Standing::Removed | Standing::Unknown => Verdict::AsBefore,
        }
    })
}

fn drain(
    code: CloseCode,
    cause: Cause,
    verdict: impl Fn(&Place) -> Verdict + Send + Sync + 'static,
) -> Drain {
    // No system is without chance; where it is, all parts of the time begin alike.
    let chance = getrandom::u64().unwrap_or_default();
    Drain { code, cause, begun_us: clock::now_us(), chance, verdict: Box::new(verdict) }
}

/// What is written of tunnels at their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Policy {
    /// `websocket_drain`.
    over_us: u64,
    /// `websocket_reload`.
    on_removal: OnRemoval,
}

/// What is written at each place: by the first name of the server and the location as written, where it is not what
/// `http` says.
struct Policies {
    places: HashMap<(String, String), Policy>,
    otherwise: Policy,
}

impl Policies {
    fn of(snapshot: &Snapshot) -> Policies {
        let Config { main, servers, .. } = &snapshot.config;
        let otherwise = Policy { over_us: micros(main.websocket_drain), on_removal: main.websocket_reload };
        let mut policies = Policies { places: HashMap::new(), otherwise };
        for (index, server) in servers.iter().enumerate() {
            let name = snapshot.server_name(index);
            server.locations.iter().for_each(|location| policies.add(&name, location));
        }
        policies
    }

    fn add(&mut self, server: &str, location: &Location) {
        let settings = &location.settings;
        let over_us = micros(settings.websocket_drain);
        let policy = Policy { over_us, on_removal: settings.websocket_reload };
        if policy != self.otherwise {
            self.places.insert((server.to_owned(), as_written(&location.matcher)), policy);
        }
        location.locations.iter().for_each(|location| self.add(server, location));
    }

    fn at(&self, place: &Place) -> Policy {
        let key = (place.server.clone(), place.location.clone());
        self.places.get(&key).copied().unwrap_or(self.otherwise)
    }
}

/// What has become of a server, as a tunnel to it sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Serves,
    /// It is marked `drain`.
    Drains,
    /// It was in a group of a configuration, and is not any more.
    Removed,
    /// It was never in a group, or is in one whose servers are not all known at the moment.
    Unknown,
}

/// The servers of all groups.
struct Servers {
    /// Those that are there, by group: whether each drains, by address.
    present: HashMap<String, HashMap<String, bool>>,
    /// Groups of which some servers are not known at the moment.
    vague: HashSet<String>,
    /// Those that have something to do, by group: as they are counted.
    busy: HashMap<String, Vec<String>>,
}

impl Servers {
    fn of(snapshot: &Snapshot) -> Servers {
        let groups = snapshot.groups.iter();
        let present = groups.clone().map(|group| (group.name.clone(), group.draining())).collect();
        let vague = groups.filter(|group| !group.is_known()).map(|group| group.name.clone()).collect();
        let mut busy: HashMap<String, Vec<String>> = HashMap::new();
        for (group, server) in snapshot.ledger.busy() {
            busy.entry(group).or_default().push(server);
        }
        Servers { present, vague, busy }
    }

    fn standing(&self, place: &Place) -> Standing {
        match self.present.get(&place.group).and_then(|servers| servers.get(&place.backend)) {
            Some(true) => Standing::Drains,
            Some(false) => Standing::Serves,
            None if self.vague.contains(&place.group) => Standing::Unknown,
            // What a request's own variables lead to is in no ledger.
            None if self.is_busy(place) => Standing::Removed,
            None => Standing::Unknown,
        }
    }

    fn is_busy(&self, place: &Place) -> bool {
        // A server is called by what is written and by its address.
        let is_it = |name: &String| name.split(' ').any(|word| word == place.backend);
        self.busy.get(&place.group).is_some_and(|names| names.iter().any(is_it))
    }
}
