//! The ways that tunnels take through the configuration, each kept once for all tunnels that take it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use longwire_conf::model::{Location, Matcher};

use crate::route::facts::Facts;
use crate::tunnel::Place;

/// Ways that are remembered before it is looked which of them are still taken.
const FEW: usize = 64;

/// Those in use. A backend's name out of variables makes ways without end, so none is kept longer than its tunnels.
#[derive(Default)]
pub(super) struct Places(Mutex<Known>);

#[derive(Default)]
struct Known {
    places: HashMap<Key, Weak<Place>>,
    /// How many there may be before the unused ones go.
    limit: usize,
}

#[derive(PartialEq, Eq, Hash)]
enum Key {
    /// The location's address (the snapshot outlives this), group and server.
    Own(usize, String, String),
    /// One that a tunnel brought along.
    Brought(Place),
}

impl Places {
    /// The way of a request whose backend has answered.
    pub(super) fn of(&self, facts: &Facts, location: &Location) -> Arc<Place> {
        let backend = facts.outcome.tries.last().map(|last| last.address.clone()).unwrap_or_default();
        let identity = std::ptr::from_ref(location) as usize;
        let group = facts.proxy_host.clone();
        self.shared(Key::Own(identity, group.clone(), backend.clone()), || Place {
            server: facts.server_name.clone(),
            location: as_written(&location.matcher),
            group,
            backend,
            https: facts.upstream.starts_with("https:"),
        })
    }

    /// The way of a tunnel that another process had.
    pub(super) fn brought(&self, place: Place) -> Arc<Place> {
        self.shared(Key::Brought(place.clone()), || place)
    }

    fn shared(&self, key: Key, place: impl FnOnce() -> Place) -> Arc<Place> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = known.places.get(&key).and_then(Weak::upgrade) {
            return place;
        }
        if known.places.len() >= known.limit {
            known.places.retain(|_, place| place.strong_count() > 0);
            known.limit = (known.places.len() * 2).max(FEW);
        }
        let place = Arc::new(place());
        known.places.insert(key, Arc::downgrade(&place));
        place
    }
}

/// The head of a location's block: [`Place::location`].
pub(crate) fn as_written(matcher: &Matcher) -> String {
    match matcher {
        Matcher::Exact(path) => format!("= {path}"),
        Matcher::Prefix { path, no_regex: false } => path.clone(),
        Matcher::Prefix { path, no_regex: true } => format!("^~ {path}"),
        // Whether it minds the case does not show any more.
        Matcher::Regex(regex) => format!("~ {regex}"),
        Matcher::Named(name) => format!("@{}", name.trim_start_matches('@')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::facts::Try;
    use crate::route::fixture::{facts, location};

    #[test]
    fn tunnels_that_go_the_same_way_share_it_and_unused_ways_go() {
        let places = Places::default();
        let here = location("/ws/", Vec::new());
        let mut facts = facts("/ws/a");
        let mut of = |backend: &str| {
            facts.outcome.tries = vec![Try { address: backend.to_owned(), ..Try::default() }];
            places.of(&facts, &here)
        };
        let first = of("127.0.0.1:1");
        assert!(Arc::ptr_eq(&first, &of("127.0.0.1:1")));
        assert_eq!((first.location.as_str(), first.group.as_str()), ("/ws/", "backend:3000"));
        assert_eq!((first.server.as_str(), first.backend.as_str()), ("first.example.com", "127.0.0.1:1"));
        for port in 2..1000 {
            of(&format!("127.0.0.1:{port}"));
        }
        assert!(Arc::ptr_eq(&first, &of("127.0.0.1:1")));
        assert!(places.0.lock().unwrap().places.len() <= FEW);
    }

    #[test]
    fn locations_are_told_as_they_are_written() {
        let regex = |text| Matcher::Regex(longwire_conf::pattern::Pattern::new(text, false).unwrap());
        let prefix = |no_regex| Matcher::Prefix { path: "/a".to_owned(), no_regex };
        for (matcher, text) in [
            (Matcher::Exact("/a".to_owned()), "= /a"),
            (prefix(false), "/a"),
            (prefix(true), "^~ /a"),
            (regex("^/a$"), "~ ^/a$"),
            (Matcher::Named("a".to_owned()), "@a"),
        ] {
            assert_eq!(as_written(&matcher), text);
        }
    }
}
