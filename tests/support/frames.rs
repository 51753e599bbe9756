//! WebSocket by hand: handshakes and frames, right and wrong ones. It shares no code with the program under test.

use std::net::SocketAddr;

use base64::Engine as _;
use sha1::{Digest as _, Sha1};

use super::conn::{Conn, Head};

/// The key of every test's handshake.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// `Sec-WebSocket-Accept` for a key.
pub fn accept_key(key: &str) -> String {
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
    base64::engine::general_purpose::STANDARD.encode(digest)
}

/// A frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    pub fin: bool,
    /// RSV1 to RSV3 as three bits.
    pub rsv: u8,
    pub opcode: u8,
    /// The masking key it came with.
    pub mask: Option<[u8; 4]>,
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let payload = String::from_utf8_lossy(&self.payload[..self.payload.len().min(80)]);
        let (opcode, length, masked) = (self.opcode, self.payload.len(), self.mask.is_some());
        write!(
            f,
            "opcode {opcode} fin {} rsv {} masked {masked} {length} bytes {payload:?}",
            self.fin, self.rsv
        )
    }
}

impl Frame {
    pub fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
        Frame { fin: true, rsv: 0, opcode, mask: None, payload: payload.as_ref().to_vec() }
    }

    /// Code and reason of a Close frame.
    pub fn close_code(&self) -> Option<u16> {
        assert_eq!(self.opcode, CLOSE, "a Close frame expected: {self:?}");
        (self.payload.len() >= 2).then(|| u16::from_be_bytes([self.payload[0], self.payload[1]]))
    }

    pub fn text(&self) -> &str {
        assert_eq!(self.opcode, TEXT, "a text frame expected: {self:?}");
        std::str::from_utf8(&self.payload).unwrap()
    }

    /// Its bytes, masked when `mask` says so.
    pub fn bytes(&self, mask: Option<[u8; 4]>) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.fin) << 7 | self.rsv << 4 | self.opcode];
        let bit = if mask.is_some() { 0x80 } else { 0 };
        match self.payload.len() {
            n @ 0..=125 => bytes.push(bit | n as u8),
            n @ 126..=0xffff => {
                bytes.push(bit | 126);
                bytes.extend((n as u16).to_be_bytes());
            }
            n => {
                bytes.push(bit | 127);
                bytes.extend((n as u64).to_be_bytes());
            }
        }
        let Some(mask) = mask else {
            bytes.extend(&self.payload);
            return bytes;
        };
        bytes.extend(mask);
        bytes.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
        bytes
    }
}

pub fn text(payload: &str) -> Frame {
    Frame::new(TEXT, payload)
}

pub fn close(code: u16, reason: &str) -> Frame {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend(reason.as_bytes());
    Frame::new(CLOSE, payload)
}

/// The head of a good handshake, with more header lines.
pub fn upgrade_request(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{more}\r\n"
    )
}

impl Conn {
    /// A client whose handshake has been sent, and not yet answered.
    pub fn knock(addr: SocketAddr, more: &str) -> Conn {
        let mut conn = Conn::connect(addr);
        conn.send(upgrade_request("/", more));
        conn
    }

    /// Reads the answer to the handshake and asserts that it is a good 101.
    pub fn expect_tunnel(&mut self) -> Head {
        let head = self.read_head();
        assert_eq!(head.status(), 101, "{head:#?}");
        assert_eq!(head.get("sec-websocket-accept"), accept_key(KEY));
        assert!(head.get("upgrade").eq_ignore_ascii_case("websocket"), "{head:#?}");
        assert!(head.get("connection").eq_ignore_ascii_case("upgrade"), "{head:#?}");
        head
    }

    /// A client in a tunnel, where the backend answers by itself.
    pub fn open(addr: SocketAddr) -> Conn {
        let mut conn = Conn::knock(addr, "");
        conn.expect_tunnel();
        conn
    }

    /// As a backend: answers a handshake with 101. False without a key or when the client is gone.
    pub fn try_upgrade(&mut self, head: &Head) -> bool {
        let key = head.get("sec-websocket-key").to_string();
        !key.is_empty() && self.try_send(super::backend::switching(&key, "").as_bytes()).is_ok()
    }

    pub fn send_frame(&mut self, frame: &Frame) {
        let bytes = frame.bytes(self.mask());
        self.send(bytes);
    }

    pub fn send_text(&mut self, payload: &str) {
        self.send_frame(&text(payload));
    }

    /// The mask for the next frame from here. One key for all: the proxy must not care.
    pub fn mask(&self) -> Option<[u8; 4]> {
        self.masks.then_some([0x37, 0xfa, 0x21, 0x3d])
    }

    /// The next frame as it comes, unmasked; `None` when the stream ends at a frame boundary.
    pub fn try_read_raw_frame(&mut self) -> Option<Frame> {
        let head = self.try_read(2)?;
        let length = match head[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes(self.read(2).try_into().unwrap())),
            127 => u64::from_be_bytes(self.read(8).try_into().unwrap()),
            n => u64::from(n),
        };
        let mask: Option<[u8; 4]> = (head[1] & 0x80 != 0).then(|| self.read(4).try_into().unwrap());
        let mut payload = self.read(length as usize);
        if let Some(mask) = mask {
            payload.iter_mut().zip(mask.iter().cycle()).for_each(|(b, m)| *b ^= m);
        }
        assert_eq!(mask.is_some(), !self.masks, "masking is wrong for this direction");
        Some(Frame { fin: head[0] & 0x80 != 0, rsv: head[0] >> 4 & 7, opcode: head[0] & 15, mask, payload })
    }

    /// The next frame that is not a ping; pings are counted, and answered unless told otherwise.
    pub fn try_read_frame(&mut self) -> Option<Frame> {
        loop {
            let frame = self.try_read_raw_frame()?;
            if frame.opcode != PING {
                return Some(frame);
            }
            self.pings += 1;
            if self.answers_pings {
                let pong = Frame::new(PONG, &frame.payload).bytes(self.mask());
                // The peer may be gone already; what was read says so better than this write.
                let _ = self.try_send(&pong);
            }
        }
    }

    /// Stays silent but for pongs until this many more pings were answered.
    pub fn answer_pings(&mut self, count: usize) {
        for _ in 0..count {
            let frame = self.try_read_raw_frame().expect("a ping, not the end of the stream");
            assert_eq!(frame.opcode, PING, "{frame:?}");
            self.send_frame(&Frame::new(PONG, &frame.payload));
        }
    }

    pub fn read_frame(&mut self) -> Frame {
        self.try_read_frame().expect("a frame, not the end of the stream")
    }

    /// Reads a Close frame with this code, echoes it, reads the end of the stream, and ends too.
    pub fn expect_close(&mut self, code: u16) -> Frame {
        let frame = self.read_frame();
        assert_eq!(frame.close_code(), Some(code), "{frame:?}");
        let echo = Frame::new(CLOSE, &frame.payload[..2]).bytes(self.mask());
        let _ = self.try_send(&echo);
        self.expect_end();
        self.end();
        frame
    }

    /// Sends back every frame until the stream ends or closes.
    pub fn echo(&mut self) {
        while let Some(mut frame) = self.try_read_frame() {
            frame.mask = None;
            let bytes = frame.bytes(self.mask());
            if self.try_send(&bytes).is_err() || frame.opcode == CLOSE {
                break;
            }
        }
    }

    /// Sends a text and asserts that it comes back.
    pub fn expect_echo(&mut self, payload: &str) {
        self.send_text(payload);
        assert_eq!(self.read_frame().text(), payload);
    }
}
