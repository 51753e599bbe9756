//! The world around a pump: a kernel, a clock, applications at the far ends of its sockets, and other threads. All of
//! it moves only inside the pump's calls, at places that the seed chooses.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use longwire_wire::{Cause, CloseCode};

use super::parking::Parking;
use super::pipe::{NEVER, Pipe};
use crate::tunnel::drain::{Drain, Round, Verdict};
use crate::tunnel::pump::kernel::{Edge, Fd, Kernel};
use crate::tunnel::pump::thread::Slot;
use crate::tunnel::pump::{Inbox, Message};
use crate::tunnel::table::{self, Wish};

/// What another thread does to a tunnel.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(super) enum Errand {
    Place,
    Close,
    Cut,
    /// Some tunnels are to be taken out; which one it is said of means nothing.
    Park,
    /// They are to come back.
    Unpark,
    /// To all tunnels.
    Drain,
}

/// A tunnel as other threads know it.
pub(super) struct Known {
    /// Until it is placed.
    pub(super) slot: Option<Box<Slot<Sim>>>,
    pub(super) ended: bool,
    /// What was asked of it before it ended.
    pub(super) asked: Vec<Errand>,
    /// A cut was among that after it was placed.
    pub(super) cut: bool,
    /// The longest time in which no byte of either end was read.
    pub(super) quiet_us: u64,
    pub(super) read_us: u64,
    /// When somebody first did what ends it.
    pub(super) trigger_us: Option<u64>,
}

impl Known {
    pub(super) fn new(slot: Box<Slot<Sim>>) -> Known {
        Known {
            slot: Some(slot),
            ended: false,
            asked: Vec::new(),
            cut: false,
            quiet_us: 0,
            read_us: 0,
            trigger_us: None,
        }
    }
}

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) now_us: u64,
    /// Two for each tunnel.
    pub(super) pipes: Vec<Pipe>,
    pub(super) known: Vec<Known>,
    pub(super) errands: Vec<(u64, usize, Errand)>,
    pub(super) inbox: Option<Arc<Inbox<Sim>>>,
    /// Who has asked for tunnels, and has them until it is time.
    pub(super) parking: Vec<Parking>,
    /// The process is stopped for a while now and then.
    pub(super) pauses: bool,
    /// All such whiles together.
    pub(super) paused_us: u64,
    /// Waits in a row that were to be short and led to nothing.
    pub(super) idle_waits: u32,
    /// What happened, as one number.
    pub(super) trace: u64,
    /// To print what happens.
    pub(super) loud: bool,
}

impl World {
    pub(super) fn new(rng: Rng, now_us: u64) -> World {
        World {
            rng,
            now_us,
            pipes: Vec::new(),
            known: Vec::new(),
            errands: Vec::new(),
            inbox: None,
            parking: Vec::new(),
            pauses: false,
            paused_us: 0,
            idle_waits: 0,
            trace: 0,
            loud: false,
        }
    }

    pub(super) fn note(&self, what: std::fmt::Arguments<'_>) {
        if self.loud {
            println!("{:>12} {what}", self.now_us);
        }
    }

    fn mix(&mut self, number: u64) {
        self.trace = (self.trace ^ number).wrapping_mul(0x100_0000_01b3).rotate_left(5);
    }

    /// When something happens next.
    pub(super) fn next_us(&self) -> u64 {
        let pipes = self.pipes.iter().map(|pipe| pipe.speak_us.min(pipe.listen_us)).min();
        let errands = self.errands.iter().map(|(at, ..)| *at).min();
        pipes.unwrap_or(NEVER).min(errands.unwrap_or(NEVER))
    }

    /// Does what is next.
    pub(super) fn step(&mut self) {
        let next = self.next_us();
        let World { rng, now_us, pipes, .. } = self;
        *now_us = next.max(*now_us);
        let now = *now_us;
        if let Some(at) = self.errands.iter().position(|(at, ..)| *at == next) {
            let (_, tunnel, errand) = self.errands.swap_remove(at);
            return self.run(tunnel, errand);
        }
        let Some(at) = pipes.iter().position(|pipe| pipe.speak_us.min(pipe.listen_us) == next) else {
            return;
        };
        let pipe = &mut pipes[at];
        let before = (pipe.inbound.len(), pipe.outbound.len());
        if pipe.speak_us == next {
            pipe.speak(now, rng)
        } else {
            pipe.listen(now, rng)
        }
        let after = (pipe.inbound.len(), pipe.outbound.len(), pipe.tongue.len());
        self.note(format_args!("peer {at}: {before:?} to {after:?}"));
        let pipe = &self.pipes[at];
        if pipe.fin || pipe.broken || pipe.peer.sent_close || pipe.peer.violated {
            self.known[at / 2].trigger_us.get_or_insert(now);
        }
    }

    fn run(&mut self, tunnel: usize, errand: Errand) {
        self.note(format_args!("{errand:?} {tunnel}"));
        if errand == Errand::Drain {
            return self.drain();
        }
        let ends = matches!(errand, Errand::Close | Errand::Cut);
        if ends && !self.parking.is_empty() {
            // It may not be found now, and would not be asked.
            return self.errands.push((self.now_us + 1000, tunnel, errand));
        }
        let (known, now) = (&mut self.known[tunnel], self.now_us);
        let message = match errand {
            Errand::Park => self.park(),
            // The pump stops for a moment, and others do their work.
            Errand::Unpark => return Sim::wake(&self.inbox().waker),
            Errand::Place => {
                known.read_us = now;
                known.trigger_us = known.trigger_us.map(|_| now);
                Message::Take(known.slot.take().expect("placed once"))
            }
            Errand::Close | Errand::Cut | Errand::Drain => {
                // Whoever asks too late asks for nothing; too early, perhaps.
                known.asked.extend((!known.ended).then_some(errand));
                if known.slot.is_none() && !known.ended {
                    known.cut |= errand == Errand::Cut;
                    known.trigger_us.get_or_insert(now);
                }
                let close = Wish::Close((CloseCode::GOING_AWAY, Cause::Operator).into());
                let wish = Some(if errand == Errand::Cut { Wish::Cut } else { close });
                Message::Run(Box::new(table::Errand::new(Some(tunnel as u64), wish)))
            }
        };
        self.inbox().leave(message);
    }

    fn inbox(&self) -> Arc<Inbox<Sim>> {
        self.inbox.clone().expect("an inbox")
    }

    fn drain(&mut self) {
        // Those that are placed later go as well.
        for known in self.known.iter_mut().filter(|known| !known.ended) {
            known.asked.push(Errand::Drain);
        }
        let over_us = self.rng.u64(1..60_000_000);
        let goes = self.rng.bool();
        let drain = Drain {
            code: CloseCode::SERVICE_RESTART,
            cause: Cause::Drain,
            begun_us: self.now_us,
            chance: self.rng.u64(..),
            verdict: Box::new(move |_| if goes { Verdict::Go(over_us) } else { Verdict::Stay }),
        };
        let (to, _) = tokio::sync::oneshot::channel();
        let round = Some((Box::new(Round::new(Arc::new(drain))), to));
        let errand = table::Errand { drain: round, ..table::Errand::new(None, None) };
        self.inbox.as_ref().expect("an inbox").leave(Message::Run(Box::new(errand)));
    }

    /// All that happens until now.
    fn catch_up(&mut self) {
        while self.next_us() <= self.now_us {
            self.step();
        }
    }

    /// Every call takes time, in which others may do something. `fd`: whose socket it is.
    fn call(&mut self, fd: usize) -> io::Result<()> {
        self.now_us += self.rng.u64(..3);
        if self.rng.u8(..4) == 0 {
            self.catch_up();
        }
        let pipe = &mut self.pipes[fd];
        pipe.calls += 1;
        if pipe.peer.manners.reset_at == Some(pipe.calls) {
            pipe.reset(self.rng.bool());
        }
        if self.rng.u8(..32) == 0 { Err(ErrorKind::Interrupted.into()) } else { Ok(()) }
    }

    /// The pump got something, or was told that there is nothing.
    fn outcome(&mut self, what: &str, fd: usize, result: &io::Result<usize>) {
        self.note(format_args!("{what} {fd} {result:?}"));
        self.mix(fd as u64);
        self.mix(result.as_ref().map_or(77, |count| *count as u64));
        if !matches!(result, Err(error) if error.kind() == ErrorKind::WouldBlock) {
            self.idle_waits = 0;
        }
    }

    fn read(&mut self, fd: usize, buf: &mut [u8]) -> io::Result<usize> {
        self.call(fd)?;
        let result = self.pipes[fd].read(buf, self.now_us, &mut self.rng);
        if matches!(result, Ok(1..)) {
            let known = &mut self.known[fd / 2];
            known.quiet_us = known.quiet_us.max(self.now_us - known.read_us);
            known.read_us = self.now_us;
        }
        self.outcome("read", fd, &result);
        if self.rng.bool() {
            self.catch_up();
        }
        result
    }

    fn write(&mut self, fd: usize, buf: &[u8]) -> io::Result<usize> {
        self.call(fd)?;
        let result = self.pipes[fd].write(buf, self.now_us, &mut self.rng);
        self.outcome("write", fd, &result);
        result
    }

    /// Whether anybody waits to be told of.
    fn is_ready(&self, woken: &AtomicBool) -> bool {
        woken.load(Relaxed) || self.pipes.iter().any(|pipe| pipe.queued)
    }

    /// Lets time pass until there is something to tell or patience is over. True when the process was stopped.
    fn pass(&mut self, patience: Option<Duration>, woken: &AtomicBool) -> bool {
        // epoll counts in milliseconds, and is late.
        let late = [0, 100, 20_000][self.rng.usize(..3)];
        let until = patience.map_or(NEVER, |patience| {
            self.now_us + (patience.as_micros() as u64).next_multiple_of(1000) + self.rng.u64(..=late)
        });
        while !self.is_ready(woken) {
            let next = self.next_us();
            if next > until || next == NEVER {
                if until == NEVER {
                    let over = self.pipes.iter().all(|pipe| pipe.closed);
                    assert!(over, "it waits for ever, and nothing will come");
                    return false;
                }
                self.now_us = self.now_us.max(until);
                break;
            }
            self.step();
        }
        if self.rng.u8(..4) == 0 {
            // It is told late, of more.
            let until = self.now_us + self.rng.u64(..1000);
            while self.next_us() < until {
                self.step();
            }
        }
        let pauses = self.pauses && self.rng.u8(..100) == 0;
        if pauses {
            self.pause();
        }
        self.catch_up();
        pauses
    }

    /// The process is stopped, and the world goes on.
    fn pause(&mut self) {
        let longest = [100_000, 2_000_000, 8_000_000, 100_000_000][self.rng.usize(..4)];
        let pause = self.rng.u64(..longest);
        self.note(format_args!("pause of {pause}"));
        let until = self.now_us + pause;
        while self.next_us() <= until {
            self.step();
        }
        self.now_us = self.now_us.max(until);
        self.paused_us += pause;
    }

    /// Those that wait to be told of, in any order; not always `all` at once.
    fn edges(&mut self, all: bool) -> Vec<(usize, Edge)> {
        let mut found: Vec<_> = (0..self.pipes.len()).filter(|fd| self.pipes[*fd].queued).collect();
        self.rng.shuffle(&mut found);
        if !all && self.rng.u8(..4) == 0 {
            found.truncate(self.rng.usize(..=found.len()));
        }
        let mut edges = Vec::new();
        for fd in found {
            let Some(token) = self.pipes[fd].token else { continue };
            if let Some(edge) = self.pipes[fd].look() {
                self.note(format_args!("edge {fd} {edge:?}"));
                self.mix(token as u64);
                self.idle_waits = 0;
                edges.push((token, edge));
            }
        }
        if self.rng.u8(..64) == 0 {
            // One that says nothing, for whoever has the place now.
            let token = self.rng.usize(..self.pipes.len());
            let edge = Edge { readable: self.rng.bool(), writable: true, ended: false };
            self.idle_waits = 0;
            self.pipes.iter_mut().for_each(|pipe| pipe.dry_reads = 0);
            edges.push((token, edge));
        }
        edges
    }
}

/// The kernel that a pump is given.
pub(super) struct Sim {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) woken: Arc<AtomicBool>,
}

pub(super) fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Kernel for Sim {
    type Fd = Port;
    type Waker = Arc<AtomicBool>;

    fn now_us(&self) -> u64 {
        lock(&self.world).now_us
    }

    fn register(&mut self, fd: RawFd, token: usize) -> io::Result<()> {
        let pipe = &mut lock(&self.world).pipes[fd as usize];
        // Whoever takes it over does not know what others have tried.
        pipe.dry_reads = 0;
        if pipe.unwatched {
            return Err(ErrorKind::OutOfMemory.into());
        }
        pipe.token = Some(token);
        // It is writable at the least.
        pipe.queued = true;
        Ok(())
    }

    fn deregister(&mut self, fd: RawFd) {
        let pipe = &mut lock(&self.world).pipes[fd as usize];
        pipe.token = None;
        pipe.queued = false;
    }

    fn wait(&mut self, patience: Option<Duration>, mut event: impl FnMut(usize, Edge)) -> io::Result<bool> {
        let mut world = lock(&self.world);
        let hurries = patience.is_some_and(|patience| patience < Duration::from_millis(1));
        world.idle_waits = if hurries { world.idle_waits + 1 } else { 0 };
        let paused = world.pass(patience, &self.woken);
        // The kernel holds nothing back where there is room, so nobody is blamed for what came during a pause.
        let edges = world.edges(paused);
        drop(world);
        for (token, edge) in edges {
            event(token, edge);
        }
        Ok(self.woken.swap(false, Relaxed))
    }

    fn wake(waker: &Arc<AtomicBool>) {
        waker.store(true, Relaxed);
    }
}

/// A socket that a pump is given.
pub(super) struct Port {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) fd: usize,
}

impl Port {
    /// Another descriptor of the same socket.
    pub(super) fn twin(&self) -> Port {
        lock(&self.world).pipes[self.fd].twins += 1;
        Port { world: self.world.clone(), fd: self.fd }
    }
}

impl AsRawFd for Port {
    fn as_raw_fd(&self) -> RawFd {
        self.fd as RawFd
    }
}

impl Read for Port {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        lock(&self.world).read(self.fd, buf)
    }
}

impl Write for Port {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        lock(&self.world).write(self.fd, buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Fd for Port {
    fn shut_write(&self) -> io::Result<()> {
        let world = &mut *lock(&self.world);
        world.note(format_args!("shut {}", self.fd));
        world.pipes[self.fd].shut(world.now_us, &mut world.rng)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let world = &mut *lock(&self.world);
        world.note(format_args!("close {}", self.fd));
        let pipe = &mut world.pipes[self.fd];
        pipe.twins = match pipe.twins.checked_sub(1) {
            None => return pipe.close(world.now_us, &mut world.rng),
            // The kernel would go on to tell of it, whoever has its place by then.
            Some(_) if pipe.token.is_some() => panic!("{} is closed and still registered", self.fd),
            Some(twins) => twins,
        };
    }
}
