//! Pure: how many requests and tunnels each server has at the moment.
//!
//! A count lives as long as anything counts for it: a configuration that is built anew finds it again by the names of
//! group and server, so that tunnels of the one before are not forgotten.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Requests in work and open tunnels of one server.
#[derive(Debug, Default)]
pub struct Live {
    count: AtomicUsize,
    /// The names it is found by.
    group: String,
    server: String,
}

impl Live {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Takes a place; it is given back when the slot is dropped.
    pub fn enter(self: &Arc<Live>) -> Slot {
        self.count.fetch_add(1, Relaxed);
        Slot(self.clone())
    }
}

/// A place at a server, held by a request, or by a tunnel until it has ended.
#[derive(Debug)]
pub struct Slot(Arc<Live>);

impl Slot {
    /// The names of group and server: what [`Ledger::of`] wants to know, also in another process.
    pub fn names(&self) -> (&str, &str) {
        (&self.0.group, &self.0.server)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Relaxed);
    }
}

/// The counts of all servers, by the names of group and server.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<HashMap<(String, String), Weak<Live>>>);

impl Ledger {
    /// The count of a server: the one that is there already, or a new one.
    pub fn of(&self, group: &str, server: &str) -> Arc<Live> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (group.to_owned(), server.to_owned());
        if let Some(live) = all.get(&key).and_then(Weak::upgrade) {
            return live;
        }
        // Names that are looked up come and go.
        all.retain(|_, live| live.strong_count() > 0);
        let live = Arc::new(Live { count: AtomicUsize::new(0), group: key.0.clone(), server: key.1.clone() });
        all.insert(key, Arc::downgrade(&live));
        live
    }

    /// The servers that have anything to do, whatever configuration they stand in: names of group and server.
    pub fn busy(&self) -> Vec<(String, String)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_busy = |live: &Weak<Live>| live.upgrade().is_some_and(|live| live.count() > 0);
        all.iter().filter(|(_, live)| is_busy(live)).map(|(names, _)| names.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_outlives_its_group_while_a_slot_is_held() {
        let ledger = Ledger::default();
        let slot = ledger.of("g", "a:1").enter();
        assert_eq!(ledger.of("g", "a:1").count(), 1);
        assert_eq!(ledger.of("h", "a:1").count(), 0);
        let _idle = ledger.of("g", "b:1");
        assert_eq!(ledger.busy(), [("g".to_owned(), "a:1".to_owned())]);
        drop(slot);
        assert_eq!(ledger.of("g", "a:1").count(), 0);
    }
}
