//! One end of a tunnel: it speaks in one direction and listens in the other, until it is told to close.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;

use super::super::frames::{CLOSE, Frame, PING, PONG, close};
use super::Shared;
use super::cut::place;
use super::flow::{Flow, Receiver, Sender, now};

/// What carries the bytes of an end.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// An end after the handshake.
pub struct End {
    pub shared: Arc<Shared>,
    pub tunnel: usize,
    /// Whether this is the client's.
    pub client: bool,
    pub stream: Box<dyn Stream>,
    /// What was read behind the head.
    pub early: Vec<u8>,
    /// When its socket held something back for the last time.
    pub since: Arc<AtomicU64>,
    pub random: fastrand::Rng,
}

/// What the half that listens tells the half that speaks.
#[derive(Default)]
struct Told {
    pongs: Mutex<Vec<Vec<u8>>>,
    closed: AtomicBool,
    bell: Notify,
}

impl End {
    /// Lives until both directions are closed, and tells at once what goes wrong.
    pub async fn live(self) {
        let End { shared, tunnel, client, stream, early, since, random } = self;
        let told = Told::default();
        let (read, write) = tokio::io::split(stream);
        let flows = &shared.tunnels[tunnel];
        let (out, into) = if client { (&flows.up, &flows.down) } else { (&flows.down, &flows.up) };
        let mut ear = Ear { read, buffer: early, masked: !client, message: Vec::new() };
        let mut mouth = Mouth { write, flow: out, client, since, hold: shared.plan.hold, random };
        let tell = |fault: String| {
            let who = if client { "client" } else { "backend" };
            shared.fault(format!("tunnel {tunnel}, its {who}: {fault}"));
        };
        let listening = async {
            ear.listen(into, &shared, &told).await.unwrap_or_else(tell);
            told.closed.store(true, SeqCst);
            told.bell.notify_one();
        };
        let speaking = async { mouth.speak(&shared, &told).await.unwrap_or_else(tell) };
        tokio::join!(listening, speaking);
        shared.over.fetch_add(1, SeqCst);
    }
}

/// The half that listens.
struct Ear<R> {
    read: R,
    buffer: Vec<u8>,
    masked: bool,
    message: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Ear<R> {
    async fn listen(&mut self, flow: &Flow, shared: &Shared, told: &Told) -> Result<(), String> {
        let mut receiver = Receiver::default();
        loop {
            let frame = self.frame().await.map_err(|e| format!("after {} messages: {e}", flow.received()))?;
            match frame.opcode {
                CLOSE if shared.closing.load(SeqCst) => return Ok(()),
                CLOSE => {
                    return Err(format!("Close frame {:?}, and nobody was to close", frame.close_code()));
                }
                PING => {
                    told.pongs.lock().unwrap().push(frame.payload);
                    told.bell.notify_one();
                }
                PONG => {}
                _ => {
                    self.message.extend(frame.payload);
                    if frame.fin {
                        receiver.take(flow, &std::mem::take(&mut self.message))?;
                    }
                }
            }
        }
    }

    async fn frame(&mut self) -> Result<Frame, String> {
        loop {
            if let Some((frame, len)) = parse(&self.buffer)? {
                if frame.mask.is_some() != self.masked {
                    return Err("masking is wrong for this direction".into());
                }
                self.buffer.drain(..len);
                return Ok(frame);
            }
            self.buffer.reserve(8 * 1024);
            let within = if self.buffer.is_empty() { "" } else { " within a frame" };
            match self.read.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(format!("the stream ended{within}, and no Close came")),
                Ok(_) => {}
                Err(error) => return Err(format!("the stream broke{within}: {error}")),
            }
        }
    }
}

/// The frame that a buffer begins with, unmasked, and its length there.
pub fn parse(buffer: &[u8]) -> Result<Option<(Frame, usize)>, String> {
    let Some(head) = buffer.get(..2) else { return Ok(None) };
    let more = match head[1] & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask_len = if head[1] & 0x80 != 0 { 4 } else { 0 };
    let start = 2 + more + mask_len;
    if buffer.len() < start {
        return Ok(None);
    }
    let length = match more {
        0 => usize::from(head[1] & 0x7f),
        _ => buffer[2..2 + more].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
    };
    if length > 1 << 20 || head[0] & 0x70 != 0 {
        return Err(format!("no frame of ours: {:02x?}", &buffer[..start]));
    }
    let Some(payload) = buffer.get(start..start + length) else { return Ok(None) };
    let mut payload = payload.to_vec();
    let mask: Option<[u8; 4]> = buffer[2 + more..start].try_into().ok();
    if let Some(mask) = mask {
        xor(&mut payload, mask);
    }
    let frame = Frame { fin: head[0] & 0x80 != 0, rsv: 0, opcode: head[0] & 15, mask, payload };
    Ok(Some((frame, start + length)))
}

/// Masks, eight bytes at a time: a test must leave the processor to the program.
fn xor(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([mask, mask].concat().try_into().unwrap());
    let (words, rest) = payload.as_chunks_mut::<8>();
    words.iter_mut().for_each(|word| *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes());
    rest.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
}

/// The half that speaks.
struct Mouth<'a, W> {
    write: W,
    flow: &'a Flow,
    client: bool,
    since: Arc<AtomicU64>,
    hold: Duration,
    random: fastrand::Rng,
}

impl<W: AsyncWrite + Unpin> Mouth<'_, W> {
    async fn speak(&mut self, shared: &Shared, told: &Told) -> Result<(), String> {
        let mut sender = Sender::default();
        loop {
            let pause = shared.plan.every.mul_f32(self.random.f32() + 0.5);
            // sleep is the promise: messages go out at random moments.
            let _ = tokio::time::timeout(pause, told.bell.notified()).await;
            let pongs = std::mem::take(&mut *told.pongs.lock().unwrap());
            for payload in pongs {
                self.send(&[Frame::new(PONG, payload)]).await?;
            }
            let closing = shared.closing.load(SeqCst);
            if told.closed.load(SeqCst) || closing && self.client {
                let _ = self.send(&[close(1000, "")]).await;
                if !self.client {
                    let _ = self.write.shutdown().await;
                }
                return Ok(());
            }
            if !shared.quiet.load(SeqCst) {
                let frames = sender.next(self.flow, &mut self.random);
                self.since.store(now(), SeqCst);
                self.send(&frames).await?;
                self.flow.note_sent(sender.last(), self.since.load(SeqCst));
            }
        }
    }

    /// Sends frames, and now and then only a part of one, and the rest later.
    async fn send(&mut self, frames: &[Frame]) -> Result<(), String> {
        let mut bytes = Vec::new();
        let mut cut = None;
        for frame in frames {
            let mask = self.client.then(|| self.random.u32(..).to_ne_bytes());
            let begin = bytes.len();
            bytes.extend(encode(frame, mask));
            if cut.is_none() && self.random.u8(..6) == 0 {
                cut = Some(begin + place(&mut self.random, bytes.len() - begin));
            }
        }
        let (first, rest) = bytes.split_at(cut.unwrap_or_default());
        if !first.is_empty() {
            self.write(first).await?;
            // sleep is the promise: a frame or its header is under way.
            tokio::time::sleep(self.hold.mul_f32(self.random.f32())).await;
            self.since.store(now(), SeqCst);
        }
        self.write(rest).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let said = |e| format!("what was sent is not taken: {e}");
        self.write.write_all(bytes).await.map_err(said)?;
        self.write.flush().await.map_err(said)
    }
}

/// The bytes of a frame, masked by [`xor`].
pub fn encode(frame: &Frame, mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut bytes = frame.bytes(None);
    if let Some(mask) = mask {
        let start = bytes.len() - frame.payload.len();
        xor(&mut bytes[start..], mask);
        bytes[1] |= 0x80;
        bytes.splice(start..start, mask);
    }
    bytes
}
