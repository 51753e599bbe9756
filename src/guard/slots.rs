//! Pure: `limit_conn`. How many requests and tunnels of a key are open at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use longwire_conf::model::ConnZone;

use super::{cost, room};

/// What is open of a `limit_conn_zone`.
#[derive(Debug)]
pub struct SlotZone {
    name: String,
    room: u64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    open: HashMap<Arc<[u8]>, u32>,
    used: u64,
}

/// Why there is no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// As many as allowed are open.
    Full,
    /// The zone is too small for one key more.
    NoRoom,
}

/// One that is open; it ends with this.
#[derive(Debug)]
pub struct Slot {
    zone: Arc<SlotZone>,
    key: Arc<[u8]>,
}

impl SlotZone {
    /// A zone in which nothing is open yet.
    pub fn new(zone: &ConnZone) -> SlotZone {
        SlotZone { name: zone.name.clone(), room: room(zone.size, 64), inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot of a key, of which at most so many may be open.
    pub fn take(self: &Arc<Self>, key: &[u8], most: u32) -> Result<Slot, Denied> {
        let mut inner = self.lock();
        if let Some((known, open)) = inner.open.get_key_value(key) {
            if *open >= most {
                return Err(Denied::Full);
            }
            let (known, open) = (known.clone(), *open + 1);
            inner.open.insert(known.clone(), open);
            return Ok(Slot { zone: self.clone(), key: known });
        }
        let needed = cost(36 + key.len());
        if inner.used + needed > self.room {
            return Err(Denied::NoRoom);
        }
        let known: Arc<[u8]> = key.into();
        inner.used += needed;
        inner.open.insert(known.clone(), 1);
        Ok(Slot { zone: self.clone(), key: known })
    }
}

impl Slot {
    /// The name of its zone.
    pub fn zone(&self) -> &str {
        &self.zone.name
    }

    /// What it is counted by.
    pub fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut inner = self.zone.lock();
        let Some(open) = inner.open.get_mut(&self.key) else { return };
        *open -= 1;
        if *open == 0 {
            inner.open.remove(&self.key);
            inner.used -= cost(36 + self.key.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use longwire_conf::template::Template;

    use super::*;

    fn zone(size: u64) -> Arc<SlotZone> {
        Arc::new(SlotZone::new(&ConnZone { name: "z".into(), size, key: Template::default() }))
    }

    #[test]
    fn a_slot_is_free_again_when_its_holder_ends() {
        let zone = zone(1 << 20);
        let mut held: Vec<Slot> = (0..10).map(|_| zone.take(b"a", 10).unwrap()).collect();
        assert_eq!(zone.take(b"a", 10).unwrap_err(), Denied::Full);
        assert!(zone.take(b"b", 10).is_ok());
        held.pop();
        held.push(zone.take(b"a", 10).unwrap());
        // Another limit may allow more of the same zone.
        held.push(zone.take(b"a", 11).unwrap());
        drop(held);
        let inner = zone.lock();
        assert_eq!((inner.open.len(), inner.used), (0, 0));
    }

    #[test]
    fn a_zone_that_is_full_lets_nobody_in() {
        let zone = zone(32 << 10);
        let take = |number: u32| zone.take(&number.to_be_bytes(), 1);
        let held: Vec<Slot> = (0..383).map(|number| take(number).unwrap()).collect();
        assert_eq!(take(383).unwrap_err(), Denied::NoRoom);
        drop(held);
        assert!(take(383).is_ok());
    }
}
