//! Pure: the record layer of TLS 1.3 (RFC 8446 section 5) and 1.2 (RFC 5246 section 6) after the handshake.
//!
//! Bytes in, bytes out. An [`Opener`] turns records into what they hold, in place; a [`Sealer`] makes records. Neither
//! holds any bytes of the stream: whoever reads keeps a record that is cut until the rest of it is there.

use super::fault::Fault;
use super::keys::{Keys, Suite, Version};
use super::save::{RestoreError, read_keys, write_keys};
use crate::saved::{Reader, Writer};

/// Most bytes of data in a record.
const MAX_DATA: usize = 1 << 14;
/// Bytes of a record's header.
const HEADER: usize = 5;
/// The longest record: its header, and what TLS 1.2 allows for its payload.
pub const MAX_RECORD: usize = HEADER + MAX_DATA + 2048;
/// Records in a row that bring no data. Nobody needs that many; each costs work.
const MAX_DRY: u8 = 32;
/// Blocks of 16 bytes that one key of AES-GCM may protect: 2^24.5 full records (RFC 8446 section 5.5), rounded down.
const MAX_BLOCKS: u64 = 1 << 34;
/// Blocks of a full record, with those that the mode itself uses.
const RECORD_BLOCKS: u64 = 1 + (MAX_DATA as u64).div_ceil(16) + 2;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

const WARNING: u8 = 1;
const FATAL: u8 = 2;
const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;

/// What became of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Bytes of whole records at its front that are dealt with. What follows is a record that is cut.
    pub used: usize,
    /// Bytes of data that stand at its front now.
    pub data: usize,
    /// The peer wants us to move on to new keys: see [`Sealer::owe_update`].
    pub update_requested: bool,
    /// No more will come: the peer said so, or the connection is broken.
    pub end: Option<Result<(), Fault>>,
}

/// Opens records.
#[derive(Debug)]
pub struct Opener {
    keys: Keys,
    /// The peer is the server: it may send tickets.
    from_server: bool,
    message: Message,
    dry: u8,
}

/// A handshake message, which may be spread over records.
#[derive(Debug, Default)]
struct Message {
    head: [u8; 4],
    have: u8,
    /// Bytes still to be ignored.
    skip: u32,
}

impl Message {
    fn is_cut(&self) -> bool {
        self.have > 0
    }

    fn is_ticket(&self) -> bool {
        self.head[0] == NEW_SESSION_TICKET
    }

    /// Whether it can stand between two records of such a connection.
    fn is_possible(&self, version: Version, from_server: bool) -> bool {
        if !self.is_cut() {
            return true;
        }
        let begun =
            version == Version::Tls13 && (self.head[0] == KEY_UPDATE || self.is_ticket() && from_server);
        begun
            && match (self.have, self.is_ticket()) {
                (1..4, _) => true,
                (4, true) => (1..1 << 24).contains(&self.skip),
                (4, false) => self.skip == 1,
                _ => false,
            }
    }
}

/// What a record held.
enum Content {
    /// So many bytes of data.
    Data(usize),
    Nothing,
    UpdateRequested,
    Close,
}

/// The length of the payload of the record that begins here; `None` when the header is cut.
fn payload_len(bytes: &[u8]) -> Result<Option<usize>, Fault> {
    let Some(header) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
    let [kind, major, _, high, low] = *header;
    if !(CHANGE_CIPHER_SPEC..=DATA).contains(&kind) {
        return Err(Fault::Unexpected);
    }
    if major != 3 {
        return Err(Fault::WrongVersion);
    }
    let len = usize::from(u16::from_be_bytes([high, low]));
    if HEADER + len > MAX_RECORD { Err(Fault::TooLong) } else { Ok(Some(len)) }
}

/// The length of the record at the front of these bytes, when all of it is there, or when it can only be refused.
pub fn whole_record(bytes: &[u8]) -> Option<usize> {
    match payload_len(bytes) {
        Ok(Some(len)) => Some(HEADER + len).filter(|len| *len <= bytes.len()),
        Ok(None) => None,
        Err(_) => Some(bytes.len()),
    }
}

impl Opener {
    /// Opens what a peer sends with these keys.
    pub fn new(keys: Keys, from_server: bool) -> Opener {
        Opener { keys, from_server, message: Message::default(), dry: 0 }
    }

    /// The keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(super) fn write(&self, w: &mut Writer) {
        write_keys(w, &self.keys);
        w.flag(self.from_server);
        w.raw(&self.message.head);
        w.u8(self.message.have);
        w.u32(self.message.skip);
        w.u8(self.dry);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Opener, RestoreError> {
        let (keys, from_server) = (read_keys(r)?, r.flag()?);
        let message = Message { head: r.array()?, have: r.u8()?, skip: r.u32()? };
        if !message.is_possible(keys.version(), from_server) {
            return Err(RestoreError::Invalid("message"));
        }
        let dry = r.u8()?;
        if dry > MAX_DRY {
            return Err(RestoreError::Invalid("number of records"));
        }
        Ok(Opener { keys, from_server, message, dry })
    }

    /// Opens all whole records at the front of a buffer, in place, and moves their data together.
    pub fn open(&mut self, buffer: &mut [u8]) -> Opened {
        let mut opened = Opened { used: 0, data: 0, update_requested: false, end: None };
        while opened.end.is_none() {
            let rest = &mut buffer[opened.used..];
            let len = match payload_len(rest) {
                Ok(Some(len)) if rest.len() >= HEADER + len => len,
                Ok(_) => break,
                Err(fault) => {
                    opened.end = Some(Err(fault));
                    break;
                }
            };
            let start = opened.used + HEADER + self.keys.prefix();
            match self.record(&mut rest[..HEADER + len]) {
                Ok(Content::Data(count)) => {
                    buffer.copy_within(start..start + count, opened.data);
                    opened.data += count;
                }
                Ok(Content::Nothing) => {}
                Ok(Content::UpdateRequested) => opened.update_requested = true,
                Ok(Content::Close) => opened.end = Some(Ok(())),
                Err(fault) => opened.end = Some(Err(fault)),
            }
            opened.used += HEADER + len;
        }
        opened
    }

    /// Opens a record that is whole. Data begin behind the header and the cipher's prefix.
    fn record(&mut self, record: &mut [u8]) -> Result<Content, Fault> {
        let Some((header, payload)) = record.split_first_chunk_mut::<HEADER>() else {
            return Err(Fault::Malformed);
        };
        let tls13 = self.keys.version() == Version::Tls13;
        if tls13 && header[0] != DATA {
            // Every record is protected now. RFC 8446 section 5 lets change_cipher_spec pass only before Finished.
            return Err(Fault::Unexpected);
        }
        if tls13 && payload.len() > MAX_DATA + 256 {
            return Err(Fault::TooLong);
        }
        if !tls13 && header[2] != 3 {
            return Err(Fault::WrongVersion);
        }
        let prefix = self.keys.prefix();
        let mut len = self.keys.open(*header, payload)?;
        let mut kind = header[0];
        if tls13 {
            // The content, its type, and zeros (RFC 8446 section 5.2).
            let last = payload[..len].iter().rposition(|byte| *byte != 0).ok_or(Fault::Unexpected)?;
            (kind, len) = (payload[last], last);
        }
        if len > MAX_DATA {
            return Err(Fault::TooLong);
        }
        self.content(kind, &payload[prefix..prefix + len])
    }

    fn content(&mut self, kind: u8, content: &[u8]) -> Result<Content, Fault> {
        if self.message.is_cut() && kind != HANDSHAKE {
            // RFC 8446 section 5.1: nothing comes between the parts of a message.
            return Err(Fault::Unexpected);
        }
        if kind == DATA && !content.is_empty() {
            self.dry = 0;
            return Ok(Content::Data(content.len()));
        }
        self.dry += 1;
        if self.dry > MAX_DRY {
            return Err(Fault::Empty);
        }
        match kind {
            DATA => Ok(Content::Nothing),
            ALERT => self.alert(content),
            HANDSHAKE if self.keys.version() == Version::Tls12 => Err(Fault::Renegotiation),
            HANDSHAKE => self.handshake(content),
            _ => Err(Fault::Unexpected),
        }
    }

    /// RFC 8446 section 6; in TLS 1.2 some alerts are warnings (RFC 5246 section 7.2).
    fn alert(&self, content: &[u8]) -> Result<Content, Fault> {
        let [level, code] = *content else { return Err(Fault::Malformed) };
        match (self.keys.version(), level, code) {
            (_, _, CLOSE_NOTIFY) => Ok(Content::Close),
            (Version::Tls13, _, USER_CANCELED) | (Version::Tls12, WARNING, _) => Ok(Content::Nothing),
            _ => Err(Fault::Alert(code)),
        }
    }

    /// Messages of TLS 1.3 after the handshake (RFC 8446 section 4.6).
    fn handshake(&mut self, mut content: &[u8]) -> Result<Content, Fault> {
        if content.is_empty() {
            return Err(Fault::Unexpected);
        }
        let message = &mut self.message;
        while !content.is_empty() {
            if message.have < 4 {
                message.head[usize::from(message.have)] = content[0];
                message.have += 1;
                content = &content[1..];
                let [kind, high, middle, low] = message.head;
                message.skip = u32::from_be_bytes([0, high, middle, low]);
                let good = match (message.have, kind) {
                    (4, KEY_UPDATE) => message.skip == 1,
                    (_, NEW_SESSION_TICKET) => self.from_server,
                    (_, KEY_UPDATE) => true,
                    _ => false,
                };
                if !good {
                    return Err(Fault::Unexpected);
                }
            } else if message.head[0] == KEY_UPDATE {
                *message = Message::default();
                return self.key_update(content);
            }
            if message.have == 4 && message.head[0] != KEY_UPDATE {
                let ignored = content.len().min(message.skip as usize);
                content = &content[ignored..];
                message.skip -= ignored as u32; // fits: it is no more than that
                if message.skip == 0 {
                    *message = Message::default();
                }
            }
        }
        Ok(Content::Nothing)
    }

    /// RFC 8446 section 4.6.3. The new keys hold from the next record on, so nothing may follow in this one.
    fn key_update(&mut self, body: &[u8]) -> Result<Content, Fault> {
        let content = match *body {
            [0] => Content::Nothing,
            [1] => Content::UpdateRequested,
            [_] => return Err(Fault::Malformed),
            _ => return Err(Fault::Unexpected),
        };
        self.keys.update()?;
        Ok(content)
    }
}

/// Makes records.
#[derive(Debug)]
pub struct Sealer {
    keys: Keys,
    owes_update: bool,
    /// Blocks that the key has protected.
    blocks: u64,
    closed: bool,
}

impl Sealer {
    /// Makes records with these keys.
    pub fn new(keys: Keys) -> Sealer {
        // What was sent before is not known in bytes: taken to be full records.
        let blocks = keys.seq().saturating_mul(RECORD_BLOCKS);
        Sealer { keys, owes_update: false, blocks, closed: false }
    }

    /// The keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(super) fn write(&self, w: &mut Writer) {
        write_keys(w, &self.keys);
        w.flag(self.owes_update);
        w.u64(self.blocks);
        w.flag(self.closed);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Sealer, RestoreError> {
        let keys = read_keys(r)?;
        let owes_update = r.flag()?;
        let blocks = r.u64()?;
        Ok(Sealer { keys, owes_update, blocks, closed: r.flag()? })
    }

    /// The peer asked for new keys: a KeyUpdate goes out before the next data, one for all that were asked for
    /// (RFC 8446 section 4.6.3).
    pub fn owe_update(&mut self) {
        self.owes_update = true;
    }

    /// Appends records with these data.
    pub fn seal(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        for piece in data.chunks(MAX_DATA) {
            if self.closed {
                return Err(Fault::Unexpected);
            }
            self.renew(out)?;
            self.record(DATA, piece, out)?;
        }
        Ok(())
    }

    /// Appends a close_notify (RFC 8446 section 6.1), once. Nothing may follow it.
    pub fn close(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.last(WARNING, CLOSE_NOTIFY, out)
    }

    /// Appends a fatal alert, unless the end was told already.
    pub fn fail(&mut self, code: u8, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.last(FATAL, code, out)
    }

    fn last(&mut self, level: u8, code: u8, out: &mut Vec<u8>) -> Result<(), Fault> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        self.record(ALERT, &[level, code], out)
    }

    /// Moves on to new keys when the peer asked for it, or before the cipher's limit (RFC 8446 section 5.5). TLS 1.2
    /// cannot do that: its connection ends there.
    fn renew(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let worn = self.keys.suite() != Suite::Chacha20Poly1305 && self.blocks >= MAX_BLOCKS;
        match self.keys.version() {
            Version::Tls12 if worn => Err(Fault::Exhausted),
            Version::Tls13 if worn || self.owes_update => {
                self.record(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0], out)?;
                self.keys.update()?;
                self.owes_update = false;
                self.blocks = 0;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Appends a record of any kind: what no peer should send, tests have to.
    #[doc(hidden)]
    #[inline]
    pub fn record(&mut self, kind: u8, content: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let inner = [kind];
        let (kind, tail) = match self.keys.version() {
            Version::Tls12 => (kind, &[][..]),
            Version::Tls13 => (DATA, &inner[..]),
        };
        let [high, low] = (self.keys.sealed_len(content.len() + tail.len()) as u16).to_be_bytes();
        let header = [kind, 3, 3, high, low];
        let start = out.len();
        out.extend_from_slice(&header);
        self.blocks = self.blocks.saturating_add((content.len() as u64).div_ceil(16) + 3);
        // What is not sealed must not be sent.
        self.keys.seal(header, [content, tail], out).inspect_err(|_| out.truncate(start))
    }
}

#[cfg(test)]
pub(super) mod tests;
