//! A WebSocket as a client that looks at every byte.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Buf as _;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use longwire_wire::frame::{Header, MAX_HEADER, OpCode, apply_mask};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use super::dial::{Stream, end_of};
use crate::doctor::facts::{End, Ending};

/// The longest message that is taken.
const MAX_MESSAGE: usize = 8 * 1024 * 1024;
/// Last bytes that are kept for the report.
const KEPT: usize = 32;
/// How long a frame may take to leave.
const SEND_LIMIT: Duration = Duration::from_secs(3);
/// RSV1: the message is compressed (RFC 7692).
pub const COMPRESSED: u8 = 0b100;

/// What came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A message, decompressed.
    Message {
        /// Text or binary.
        opcode: OpCode,
        /// Its payload.
        data: Vec<u8>,
    },
    /// A Ping, which was answered.
    Ping,
    /// A Pong.
    Pong(Vec<u8>),
    /// A Close frame.
    Close {
        /// Its code.
        code: Option<u16>,
        /// Its reason.
        reason: String,
    },
    /// The connection ended.
    End(End),
    /// The bytes that came are no WebSocket.
    Violation(String),
    /// Nothing came in time.
    Timeout,
}

/// An open WebSocket.
pub struct WebSocket {
    stream: Stream,
    input: Vec<u8>,
    /// A message of which parts have come: opcode, compressed or not, payload.
    message: Option<(OpCode, bool, Vec<u8>)>,
    inflate: Option<Decompress>,
    received: u64,
    last: VecDeque<u8>,
    began: Instant,
    ending: Ending,
    over: Option<Event>,
}

impl WebSocket {
    /// Takes over after a good handshake, with what came behind its head.
    pub fn new(stream: Stream, early: Vec<u8>, deflate: bool) -> WebSocket {
        let mut socket = WebSocket {
            stream,
            input: Vec::new(),
            message: None,
            inflate: deflate.then(|| Decompress::new(false)),
            received: 0,
            last: VecDeque::new(),
            began: Instant::now(),
            ending: Ending::default(),
            over: None,
        };
        socket.note(&early);
        socket.input = early;
        socket
    }

    /// Bytes received after the handshake.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Since the handshake.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Whether permessage-deflate was agreed on.
    pub fn has_deflate(&self) -> bool {
        self.inflate.is_some()
    }

    /// How it ended, as far as it did.
    pub fn ending(&self) -> Ending {
        let last_bytes = self.last.iter().map(|byte| format!("{byte:02x}")).collect();
        Ending { received: self.received, last_bytes, ..self.ending.clone() }
    }

    /// Sends a whole message or a control frame.
    pub async fn send(&mut self, opcode: OpCode, payload: &[u8]) -> Result<(), End> {
        self.send_frame(true, 0, opcode, payload).await
    }

    /// Sends a text message compressed by RFC 7692.
    pub async fn send_compressed(&mut self, text: &[u8]) -> Result<(), End> {
        let mut deflate = Compress::new(Compression::default(), false);
        let mut packed = Vec::with_capacity(text.len() + 64);
        // Into a buffer that is large enough this cannot fail; if it did, the frame would be empty and say nothing.
        let _ = deflate.compress_vec(text, &mut packed, FlushCompress::Sync);
        let tail = packed.len().saturating_sub(4);
        packed.truncate(tail);
        self.send_frame(true, COMPRESSED, OpCode::Text, &packed).await
    }

    /// Sends one frame, masked. What comes meanwhile is taken in, so that two ends that write cannot wait for each other.
    pub async fn send_frame(
        &mut self,
        fin: bool,
        rsv: u8,
        opcode: OpCode,
        payload: &[u8],
    ) -> Result<(), End> {
        let mut key = [0; 4];
        let _ = getrandom::fill(&mut key);
        let mut out = [0; MAX_HEADER];
        let size = Header { fin, rsv, opcode, mask: Some(key), len: payload.len() as u64 }.write(&mut out);
        let mut frame = out.get(..size).unwrap_or_default().to_vec();
        frame.extend_from_slice(payload);
        apply_mask(key, 0, frame.get_mut(size..).unwrap_or_default());
        let until = Instant::now() + SEND_LIMIT;
        let mut rest = frame.as_slice();
        let mut incoming = Vec::new();
        let mut readable = self.over.is_none();
        let (mut reader, mut writer) = tokio::io::split(&mut self.stream);
        let mut outcome = Ok(());
        while rest.has_remaining() {
            tokio::select! {
                wrote = timeout_at(until, writer.write_buf(&mut rest)) => match wrote {
                    Ok(Ok(count)) if count > 0 => {}
                    Ok(Ok(_)) => { outcome = Err(End::Error); break }
                    Ok(Err(error)) => { outcome = Err(end_of(&error)); break }
                    Err(_) => { outcome = Err(End::Error); break }
                },
                read = reader.read_buf(&mut incoming), if readable && incoming.len() < MAX_MESSAGE => {
                    // The end is met again by whoever reads next.
                    readable = matches!(read, Ok(count) if count > 0);
                }
            }
        }
        if outcome.is_ok() {
            let _ = timeout_at(until, writer.flush()).await;
        }
        self.note(&incoming);
        self.input.extend_from_slice(&incoming);
        outcome
    }

    /// What comes next, within `wait`. After its end it says so again.
    pub async fn next(&mut self, wait: Duration) -> Event {
        let until = Instant::now() + wait;
        loop {
            if let Some(event) = self.take().await {
                return event;
            }
            if let Some(over) = &self.over {
                return over.clone();
            }
            let mut chunk = Vec::with_capacity(64 * 1024);
            let event = match timeout_at(until, self.stream.read_buf(&mut chunk)).await {
                Err(_) => return Event::Timeout,
                Ok(Ok(0)) => End::Fin,
                Ok(Ok(_)) => {
                    self.note(&chunk);
                    self.input.extend_from_slice(&chunk);
                    continue;
                }
                Ok(Err(error)) => end_of(&error),
            };
            self.ending.end = Some(event);
            self.ending.ms = self.age().as_millis() as u64;
            self.over = Some(Event::End(event));
        }
    }

    /// Ends it in order: sends a Close and waits a moment for the answer.
    pub async fn close(mut self, wait: Duration) {
        if self.send(OpCode::Close, &1000_u16.to_be_bytes()).await.is_ok() {
            let answered = async {
                loop {
                    if let Event::End(_) | Event::Close { .. } | Event::Violation(_) | Event::Timeout =
                        self.next(wait).await
                    {
                        break;
                    }
                }
            };
            let _ = timeout(wait, answered).await;
        }
        let _ = timeout(wait, self.stream.shutdown()).await;
    }

    fn note(&mut self, bytes: &[u8]) {
        self.received += bytes.len() as u64;
        let from = bytes.len().saturating_sub(KEPT);
        self.last.extend(bytes.get(from..).unwrap_or_default());
        let excess = self.last.len().saturating_sub(KEPT);
        self.last.drain(..excess);
    }

    /// The next thing that is whole in what was read.
    async fn take(&mut self) -> Option<Event> {
        loop {
            let (header, size) = match Header::parse(&self.input) {
                Ok(Some(found)) => found,
                Ok(None) => return None,
                Err(violation) => {
                    let start = self.input.get(..self.input.len().min(40)).unwrap_or_default();
                    let text = format!("{}, in \"{}\"", violation.sentence(), start.escape_ascii());
                    return Some(self.broken(text));
                }
            };
            if header.mask.is_some() {
                return Some(self.broken("a masked frame from a server".into()));
            }
            let Some(len) = usize::try_from(header.len).ok().filter(|len| *len <= MAX_MESSAGE) else {
                return Some(self.broken(format!("a frame of {} bytes", header.len)));
            };
            let payload = self.input.get(size..size + len)?.to_vec();
            self.input.drain(..size + len);
            if let Some(event) = self.frame(&header, payload).await {
                return Some(event);
            }
        }
    }

    async fn frame(&mut self, header: &Header, payload: Vec<u8>) -> Option<Event> {
        let compressed = header.rsv == COMPRESSED && self.inflate.is_some();
        if header.rsv != 0 && !(compressed && matches!(header.opcode, OpCode::Text | OpCode::Binary)) {
            return Some(self.broken("a reserved bit that nothing was agreed about".into()));
        }
        match header.opcode {
            OpCode::Ping => {
                let _ = self.send(OpCode::Pong, &payload).await;
                return Some(Event::Ping);
            }
            OpCode::Pong => return Some(Event::Pong(payload)),
            OpCode::Close => {
                let code = payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code));
                let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
                let _ = self.send(OpCode::Close, payload.get(..2).unwrap_or_default()).await;
                (self.ending.code, self.ending.reason) = (code, reason.clone());
                self.ending.ms = self.age().as_millis() as u64;
                return Some(Event::Close { code, reason });
            }
            OpCode::Text | OpCode::Binary if self.message.is_some() => {
                return Some(self.broken("a new message inside another".into()));
            }
            OpCode::Text | OpCode::Binary => self.message = Some((header.opcode, compressed, payload)),
            OpCode::Continuation => match &mut self.message {
                None => return Some(self.broken("a continuation of no message".into())),
                Some((_, _, data)) if data.len() + payload.len() > MAX_MESSAGE => {
                    return Some(self.broken("a message without end".into()));
                }
                Some((_, _, data)) => data.extend(payload),
            },
        }
        if !header.fin {
            return None;
        }
        let (opcode, compressed, data) = self.message.take()?;
        if !compressed {
            return Some(Event::Message { opcode, data });
        }
        match self.inflated(data) {
            Ok(data) => Some(Event::Message { opcode, data }),
            Err(text) => Some(self.broken(text)),
        }
    }

    fn inflated(&mut self, mut data: Vec<u8>) -> Result<Vec<u8>, String> {
        let Some(inflate) = &mut self.inflate else { return Ok(data) };
        data.extend_from_slice(&[0, 0, 0xFF, 0xFF]);
        let mut out = Vec::with_capacity(data.len() * 4 + 1024);
        let began = inflate.total_in();
        loop {
            let at = usize::try_from(inflate.total_in() - began).unwrap_or(data.len());
            let rest = data.get(at..).unwrap_or_default();
            let before = (inflate.total_in(), inflate.total_out());
            if inflate.decompress_vec(rest, &mut out, FlushDecompress::Sync).is_err() {
                return Err("a compressed message that does not decompress".into());
            }
            let moved = before != (inflate.total_in(), inflate.total_out());
            if out.len() < out.capacity() || !moved {
                return Ok(out);
            }
            if out.len() > MAX_MESSAGE {
                return Err("a message without end".into());
            }
            out.reserve(out.len());
        }
    }

    fn broken(&mut self, text: String) -> Event {
        self.input.clear();
        let event = Event::Violation(text);
        self.ending.ms = self.age().as_millis() as u64;
        self.over = Some(event.clone());
        event
    }
}
