//! Pure: ciphers that are ready to use. A cipher's state is ten times its key and follows from it: each thread keeps
//! those that it used within the last second or two, and connections keep keys alone.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aws_lc_rs::aead::LessSafeKey;
use slab::Slab;

use super::fault::Fault;

/// How often a thread looks for ciphers that were not used since it last did, in microseconds.
const LOOK_US: u64 = 1_000_000;

/// The ciphers of one thread.
struct Warm {
    ciphers: Slab<Entry>,
    look_us: u64,
}

struct Entry {
    owner: u64,
    used: bool,
    cipher: LessSafeKey,
}

thread_local! {
    static WARM: RefCell<Warm> = const { RefCell::new(Warm { ciphers: Slab::new(), look_us: 0 }) };
}

/// The cipher of one key: built by the first use, dropped when it is not used for a while. It may be used on any
/// thread.
#[derive(Debug)]
pub(super) struct Cipher {
    /// Told apart from all others of the process: a place may have another owner by now.
    owner: u64,
    place: u32,
}

impl Cipher {
    /// One that is not built.
    pub(super) fn new() -> Cipher {
        static OWNERS: AtomicU64 = AtomicU64::new(0);
        Cipher { owner: OWNERS.fetch_add(1, Relaxed), place: 0 }
    }

    /// Does some work with the cipher. `build` makes it where this thread has none.
    #[inline]
    pub(super) fn with<T>(
        &mut self,
        build: impl FnOnce() -> Result<LessSafeKey, Fault>,
        work: impl FnOnce(&LessSafeKey) -> T,
    ) -> Result<T, Fault> {
        WARM.with_borrow_mut(|warm| {
            let place = self.place as usize;
            if warm.ciphers.get(place).is_none_or(|entry| entry.owner != self.owner) {
                self.place = warm.insert(self.owner, build)?;
            }
            let entry = warm.ciphers.get_mut(self.place as usize).ok_or(Fault::Internal)?;
            entry.used = true;
            Ok(work(&entry.cipher))
        })
    }
}

impl Warm {
    /// Builds a cipher and gives its place.
    #[cold]
    fn insert(
        &mut self,
        owner: u64,
        build: impl FnOnce() -> Result<LessSafeKey, Fault>,
    ) -> Result<u32, Fault> {
        Ok(self.ciphers.insert(Entry { owner, used: true, cipher: build()? }) as u32)
    }
}

impl Drop for Cipher {
    fn drop(&mut self) {
        // A thread that ends has dropped its ciphers; another one may keep this one until it looks next.
        let _ = WARM.try_with(|warm| {
            let Ok(mut warm) = warm.try_borrow_mut() else { return };
            let place = self.place as usize;
            if warm.ciphers.get(place).is_some_and(|entry| entry.owner == self.owner) {
                warm.ciphers.remove(place);
            }
        });
    }
}

/// Drops the ciphers of this thread that were not used since the last look, a second ago or more. To be called now
/// and then, with the process's clock in microseconds.
pub fn cool(now_us: u64) {
    WARM.with_borrow_mut(|warm| {
        if now_us < warm.look_us {
            return;
        }
        warm.look_us = now_us + LOOK_US;
        warm.ciphers.retain(|_, entry| std::mem::replace(&mut entry.used, false));
        if warm.ciphers.capacity() > 2 * warm.ciphers.len() + 64 {
            warm.ciphers.shrink_to_fit();
        }
    });
}

/// How many ciphers this thread has ready.
#[cfg(test)]
pub(super) fn count() -> usize {
    WARM.with_borrow(|warm| warm.ciphers.len())
}
