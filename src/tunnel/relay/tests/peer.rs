//! An end of a tunnel with its application: it speaks frames, listens, answers, and ends in one of many ways.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use super::stream::Broken;
use crate::tunnel::speech::{frame, frames, is_our_ping};
use fastrand::Rng;
use longwire_wire::Side;
use longwire_wire::frame::{Header, MAX_HEADER, OpCode, apply_mask};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, split};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

/// What an application does when it has said all.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(super) enum Finish {
    /// Waits for the other one to end it.
    Stay,
    /// Sends a Close and waits for the answer.
    Close,
    /// Sends a Close and ends its stream at once.
    CloseThenFin,
    Fin,
    /// Ends its stream inside a frame.
    HalfFrame,
    Reset,
    /// What is written to it fails; it says nothing more.
    Deaf,
    /// Neither speaks nor reads any more.
    Vanish,
    /// Sends a reserved opcode.
    Violate,
    /// Announces more than [`MAX_MESSAGE`].
    TooBig,
}

pub(super) const MAX_MESSAGE: u64 = 10_000_000;

/// What makes one application unlike another.
#[derive(Clone, Debug)]
pub(super) struct Manners {
    pub(super) finish: Finish,
    pub(super) answers_pings: bool,
    pub(super) answers_close: bool,
    /// Ends TCP when it is time, instead of waiting for us to do so.
    pub(super) ends_tcp: bool,
    /// The longest pause between frames, in milliseconds.
    pub(super) pause_ms: u64,
    /// It reads at most so many bytes, then rests for so many milliseconds.
    pub(super) reads: (usize, u64),
}

/// An application, as the test sees it afterwards and its two halves all the while.
pub(super) struct Peer {
    pub(super) side: Side,
    pub(super) manners: Manners,
    /// All that it said, without answers to our pings and what must not pass.
    pub(super) said: RefCell<Vec<u8>>,
    /// Where in `said` its answer to a Close begins, which passes only when the Close was not ours.
    pub(super) answer_at: Cell<Option<usize>>,
    /// All that arrived.
    pub(super) wire: RefCell<Vec<u8>>,
    /// What fails of the stream that ends here.
    pub(super) broken: Rc<Cell<Broken>>,
    /// Frames that answer our pings, to be sent between two others.
    pongs: RefCell<Vec<Vec<u8>>>,
    answered: Cell<bool>,
    heard_close: Cell<bool>,
    heard_eof: Cell<bool>,
    changed: Notify,
}

impl Peer {
    pub(super) fn new(side: Side, manners: Manners) -> Peer {
        Peer {
            side,
            manners,
            said: RefCell::default(),
            answer_at: Cell::default(),
            wire: RefCell::default(),
            broken: Rc::default(),
            pongs: RefCell::default(),
            answered: Cell::default(),
            heard_close: Cell::default(),
            heard_eof: Cell::default(),
            changed: Notify::new(),
        }
    }

    /// Lives until its stream has ended both ways. The first `early` bytes it is taken to have said already.
    pub(super) async fn live(
        self: Rc<Self>,
        pipe: DuplexStream,
        script: Vec<Vec<u8>>,
        early: usize,
        rng: Rng,
    ) {
        let (input, output) = split(pipe);
        let ear = tokio::task::spawn_local(self.clone().listen(input, rng.clone()));
        let mut mouth = Mouth { output, skip: early, rng, open: true };
        self.speak(&mut mouth, script).await;
        if self.stays_mute() {
            pending().await
        }
        let _ = ear.await;
    }

    async fn speak(&self, mouth: &mut Mouth, script: Vec<Vec<u8>>) {
        for frame in script {
            if mouth.skip == 0 {
                let pause = mouth.rng.u64(..=self.manners.pause_ms);
                self.pause(mouth, pause).await;
                if self.is_over() {
                    break;
                }
            }
            self.say(mouth, &frame).await;
        }
        if !self.is_over() {
            self.finish(mouth).await;
        }
        if !self.stays_mute() {
            while !self.is_over() {
                self.pause(mouth, 60_000).await;
            }
            self.part(mouth).await;
        }
    }

    async fn finish(&self, mouth: &mut Mouth) {
        match self.manners.finish {
            Finish::Stay => {}
            Finish::Close => self.say_close(mouth).await,
            Finish::CloseThenFin => {
                self.say_close(mouth).await;
                mouth.shut().await;
            }
            Finish::Fin => mouth.shut().await,
            Finish::HalfFrame => {
                self.say_half(mouth).await;
                mouth.shut().await;
            }
            Finish::Reset => {
                self.broken.set(Broken::All);
                mouth.shut().await;
            }
            Finish::Deaf => {
                if mouth.rng.bool() {
                    self.say_half(mouth).await;
                }
                self.broken.set(Broken::Writing);
            }
            Finish::Vanish => {
                while !self.answered.get() && self.manners.answers_pings && !self.is_over() {
                    self.pause(mouth, 1000).await;
                }
            }
            Finish::Violate => mouth.write(&[0x83]).await,
            Finish::TooBig => {
                let mask = (self.side == Side::Client).then_some([0; 4]);
                let mut head = [0; MAX_HEADER];
                let header = Header { fin: true, rsv: 0, opcode: OpCode::Binary, mask, len: MAX_MESSAGE + 1 };
                let size = header.write(&mut head);
                mouth.write(&head[..size]).await;
            }
        }
    }

    /// The other side has ended, or a Close was answered.
    async fn part(&self, mouth: &mut Mouth) {
        let answers = matches!(self.manners.finish, Finish::Stay) && self.manners.answers_close;
        if self.heard_close.get() && answers {
            self.answer_at.set(Some(self.said.borrow().len()));
            self.say_close(mouth).await;
        }
        if self.manners.ends_tcp || self.heard_eof.get() {
            mouth.shut().await;
        }
    }

    async fn say_close(&self, mouth: &mut Mouth) {
        let code = mouth.rng.u16(3000..5000).to_be_bytes();
        let frame = frame(&mut mouth.rng, self.side, true, OpCode::Close, code.to_vec());
        self.say(mouth, &frame).await;
    }

    async fn say_half(&self, mouth: &mut Mouth) {
        let frame = frame(&mut mouth.rng, self.side, true, OpCode::Ping, b"half".to_vec());
        self.say(mouth, &frame[..frame.len() - 1]).await;
    }

    async fn say(&self, mouth: &mut Mouth, bytes: &[u8]) {
        self.said.borrow_mut().extend(bytes);
        mouth.write(bytes).await;
    }

    /// Waits, answering pings, until time is over or something has happened.
    async fn pause(&self, mouth: &mut Mouth, ms: u64) {
        let until = Instant::now() + Duration::from_millis(ms);
        loop {
            for pong in self.pongs.take() {
                mouth.write(&pong).await;
                self.answered.set(true);
            }
            if self.is_over() {
                return;
            }
            tokio::select! {
                () = self.changed.notified() => {}
                () = sleep_until(until) => return,
            }
        }
    }

    /// Nothing comes from it any more, not even the end of its stream.
    fn stays_mute(&self) -> bool {
        matches!(self.manners.finish, Finish::Deaf | Finish::Vanish)
    }

    fn is_over(&self) -> bool {
        self.heard_close.get() || self.heard_eof.get()
    }

    async fn listen(self: Rc<Self>, mut input: ReadHalf<DuplexStream>, mut rng: Rng) {
        let (most, rest_ms) = self.manners.reads;
        let mut buffer = vec![0; most];
        let mut seen = 0;
        loop {
            let most = rng.usize(1..=most);
            let Ok(count @ 1..) = input.read(&mut buffer[..most]).await else { break };
            self.wire.borrow_mut().extend(&buffer[..count]);
            self.hear(&mut seen, &mut rng);
            if rest_ms > 0 {
                sleep(Duration::from_millis(rng.u64(..=rest_ms))).await;
            }
            if self.manners.finish == Finish::Vanish && self.answered.get() {
                pending().await
            }
        }
        self.heard_eof.set(true);
        self.changed.notify_one();
    }

    /// Looks at the frames from `seen` on.
    fn hear(&self, seen: &mut usize, rng: &mut Rng) {
        let wire = self.wire.borrow();
        for (header, raw) in frames(&wire[*seen..]).0 {
            *seen += raw.len();
            self.heard_close.set(self.heard_close.get() || header.opcode == OpCode::Close);
            if is_our_ping(&header) && self.manners.answers_pings {
                let mut payload = raw[raw.len() - 8..].to_vec();
                apply_mask(header.mask.unwrap_or_default(), 0, &mut payload);
                self.pongs.borrow_mut().push(frame(rng, self.side, true, OpCode::Pong, payload));
            }
        }
        self.changed.notify_one();
    }
}

/// What an application speaks with.
struct Mouth {
    output: WriteHalf<DuplexStream>,
    /// Bytes that are taken to be said already.
    skip: usize,
    rng: Rng,
    open: bool,
}

impl Mouth {
    /// Writes, cut anywhere. A stream that fails is the listener's to notice.
    async fn write(&mut self, bytes: &[u8]) {
        let skip = self.skip.min(bytes.len());
        self.skip -= skip;
        let mut bytes = &bytes[skip..];
        while !bytes.is_empty() && self.open {
            let cut = self.rng.usize(1..=bytes.len());
            self.open = self.output.write_all(&bytes[..cut]).await.is_ok();
            bytes = &bytes[cut..];
            if self.rng.u8(..8) == 0 {
                sleep(Duration::from_millis(self.rng.u64(..50))).await;
            }
        }
    }

    async fn shut(&mut self) {
        self.open = false;
        let _ = self.output.shutdown().await;
    }
}
