//! The table of live tunnels: who is connected, how it does, and the way to end it from outside.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use longwire_wire::{Cause, CloseCode, Side, Stats};

/// All tunnels of the process.
#[derive(Debug, Default)]
pub struct Tunnels {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    live: BTreeMap<u64, Arc<Live>>,
    /// Every tunnel is being closed, those that open now as well.
    closing: Option<(CloseCode, Cause)>,
}

/// One tunnel, as others see it while its driver works.
#[derive(Debug)]
pub struct Live {
    /// Serial number of the client's connection; `$connection`.
    pub connection: u64,
    /// When it opened, microseconds of the process's clock.
    pub opened_us: u64,
    pings: [AtomicU64; 2],
    rtt_us: [AtomicU64; 2],
    command: Mutex<Command>,
}

/// What somebody wishes of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// A Close frame to both ends at the next frame boundary.
    Close(CloseCode, Cause),
    /// Its end, now.
    Cut,
}

#[derive(Debug, Default)]
struct Command {
    wish: Option<Wish>,
    driver: Option<Waker>,
}

impl Tunnels {
    /// Enters a tunnel; it leaves when the guard is dropped.
    pub fn enter(self: &Arc<Self>, connection: u64, opened_us: u64) -> Entry {
        let live = Arc::new(Live {
            connection,
            opened_us,
            pings: Default::default(),
            rtt_us: Default::default(),
            command: Mutex::default(),
        });
        let mut inner = lock(&self.inner);
        inner.live.insert(connection, live.clone());
        if let Some((code, cause)) = inner.closing {
            live.close(code, cause);
        }
        drop(inner);
        Entry { live, table: self.clone() }
    }

    /// The tunnel of a connection.
    pub fn find(&self, connection: u64) -> Option<Arc<Live>> {
        lock(&self.inner).live.get(&connection).cloned()
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        lock(&self.inner).live.len()
    }

    /// Asks every tunnel, also those that open later, to end with a Close frame at the next frame boundary.
    pub fn close_all(&self, code: CloseCode, cause: Cause) {
        let mut inner = lock(&self.inner);
        inner.closing = Some((code, cause));
        let all: Vec<_> = inner.live.values().cloned().collect();
        drop(inner);
        for live in all {
            live.close(code, cause);
        }
    }

    /// Ends every tunnel now, where the time for Close frames is up.
    pub fn cut_all(&self) {
        let all: Vec<_> = lock(&self.inner).live.values().cloned().collect();
        all.iter().for_each(|live| live.wish(Wish::Cut));
    }
}

/// Keeps a tunnel in the table.
#[derive(Debug)]
pub struct Entry {
    /// The tunnel.
    pub live: Arc<Live>,
    table: Arc<Tunnels>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.table.inner).live.remove(&self.live.connection);
    }
}

impl Live {
    /// Asks for a Close frame with this code to both ends.
    pub fn close(&self, code: CloseCode, cause: Cause) {
        self.wish(Wish::Close(code, cause));
    }

    fn wish(&self, wish: Wish) {
        let mut command = lock(&self.command);
        command.wish = Some(wish);
        if let Some(driver) = command.driver.take() {
            driver.wake();
        }
    }

    /// Pings sent to an end so far.
    pub fn pings(&self, side: Side) -> u64 {
        self.pings[side.index()].load(Relaxed)
    }

    /// The latest round trip to an end in microseconds; `None` before the first answer.
    pub fn rtt_us(&self, side: Side) -> Option<u64> {
        Some(self.rtt_us[side.index()].load(Relaxed)).filter(|rtt| *rtt > 0)
    }

    /// The driver takes what was asked of it, and is woken at the next wish.
    pub(super) fn take_command(&self, driver: &Waker) -> Option<Wish> {
        let mut command = lock(&self.command);
        if !command.driver.as_ref().is_some_and(|d| d.will_wake(driver)) {
            command.driver = Some(driver.clone());
        }
        command.wish.take()
    }

    /// The driver shows its figures.
    pub(super) fn publish(&self, stats: &Stats) {
        for side in Side::BOTH {
            self.pings[side.index()].store(stats[side].pings.into(), Relaxed);
            // A round trip under a microsecond still is one.
            let rtt = if stats[side].rtt.count == 0 { 0 } else { stats[side].rtt.last.max(1) };
            self.rtt_us[side.index()].store(rtt.into(), Relaxed);
        }
    }
}

/// A panic while the lock was held cannot leave these half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_is_in_the_table_while_its_entry_lives() {
        let tunnels = Arc::new(Tunnels::default());
        let entry = tunnels.enter(7, 0);
        assert_eq!(tunnels.count(), 1);
        assert_eq!(tunnels.find(7).map(|t| t.connection), Some(7));
        drop(entry);
        assert_eq!(tunnels.count(), 0);
    }

    #[test]
    fn a_wish_reaches_the_driver_once() {
        let tunnels = Arc::new(Tunnels::default());
        let entry = tunnels.enter(1, 0);
        tunnels.close_all(CloseCode::GOING_AWAY, Cause::Shutdown);
        let driver = Waker::noop();
        assert_eq!(
            entry.live.take_command(driver),
            Some(Wish::Close(CloseCode::GOING_AWAY, Cause::Shutdown))
        );
        assert_eq!(entry.live.take_command(driver), None);
    }
}
