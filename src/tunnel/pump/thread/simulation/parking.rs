//! Other threads that take tunnels out of the pump: they come back as they are, or by way of another process, or that
//! process dies before it has begun.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::world::{Errand, Port, Sim, World, lock};
use super::{Watch, one, within};
use crate::tunnel::pump::kernel::Kernel;
use crate::tunnel::pump::parcel::{Park, Parked};
use crate::tunnel::pump::{Handle, Message};
use crate::tunnel::table::Keeper;

/// Somebody who has asked for tunnels.
pub(super) struct Parking {
    answer: oneshot::Receiver<Vec<Parked<Sim>>>,
    since_us: u64,
    until_us: u64,
}

impl World {
    /// Somebody asks for some tunnels.
    pub(super) fn park(&mut self) -> Message<Sim> {
        let (to, answer) = oneshot::channel();
        let (rng, now) = (&mut self.rng, self.now_us);
        let room = Arc::new(AtomicUsize::new(one(rng, &[1, 3, usize::MAX])));
        let except: HashSet<u64> = (0..self.known.len() as u64).filter(|_| rng.u8(..8) == 0).collect();
        let until_us = now + within(rng, &[2, 1000, 300_000, 300_000, 9_000_000]);
        self.parking.push(Parking { answer, since_us: now, until_us });
        self.errands.push((until_us, 0, Errand::Unpark));
        Message::Park(Park { room, except: Arc::new(except), to })
    }

    /// Those whose time is over.
    fn over(&mut self) -> Vec<Parking> {
        let now = self.now_us;
        self.parking.extract_if(.., |parking| parking.until_us <= now).collect()
    }
}

/// Brings back what was parked long enough. What is done here is done by other threads, between two rounds of the pump.
pub(super) fn unpark(world_of: &Mutex<World>, home: &Handle<Sim>, watch: impl Fn(usize) -> Watch) {
    let over = lock(world_of).over();
    for mut parking in over {
        match parking.answer.try_recv() {
            Ok(parcels) => {
                let mut world = lock(world_of);
                world.note(format_args!("{} were parked", parcels.len()));
                // What had to be done meanwhile is late, as when the process is stopped.
                world.paused_us += world.now_us - parking.since_us;
                drop(world);
                parcels.into_iter().for_each(|parcel| bring_back(parcel, world_of, home, &watch));
            }
            Err(oneshot::error::TryRecvError::Empty) => {
                // The pump has not been there yet.
                let mut world = lock(world_of);
                parking.until_us = world.now_us + 1000;
                world.errands.push((parking.until_us, 0, Errand::Unpark));
                world.parking.push(parking);
            }
            Err(error) => panic!("nobody answers: {error}"),
        }
    }
    if !home.inbox.messages.lock().unwrap().is_empty() {
        Sim::wake(&home.inbox.waker);
    }
}

fn bring_back(
    parcel: Parked<Sim>,
    world: &Mutex<World>,
    home: &Handle<Sim>,
    watch: &impl Fn(usize) -> Watch,
) {
    let how = lock(world).rng.u8(..5);
    if how == 0 {
        // Whoever had it forgot it.
        return drop(parcel);
    }
    let now_us = lock(world).now_us;
    let bytes = parcel.pack(now_us).expect("it can go");
    let ports: Vec<Port> = parcel.sockets().into_iter().map(Port::twin).collect();
    let keeper = |bytes: &[u8]| {
        let number = usize::from_le_bytes(bytes.try_into().map_err(|_| "a number".to_owned())?);
        Ok(Box::new(watch(number)) as Box<dyn Keeper>)
    };
    let other = Parked::<Sim>::unpack(&bytes, ports, now_us, keeper).expect("what was packed");
    if how == 1 {
        // The other process dies before it begins.
        drop(other);
        assert!(parcel.resume().is_none(), "it has a home");
        return;
    }
    let again = other.pack(now_us).expect("it can go on");
    assert!(*again == *bytes, "nothing changes on the way");
    let slot = other.resume().expect("it has no home yet");
    home.tunnels.fetch_add(1, Relaxed);
    home.inbox.leave(Message::Take(slot));
    parcel.given_away();
}
