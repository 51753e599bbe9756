//! Pure: a TLS connection without its socket as bytes, for a successor process or a successor of the code.
//!
//! One version byte, then every field in order, numbers little-endian. A new field means a new version; whoever reads
//! it still reads the old ones. Version 1:
//!
//! | field | bytes |
//! |---|---|
//! | keys of what comes | version (0: TLS 1.2, 1: TLS 1.3), suite (0: AES-128-GCM, 1: AES-256-GCM, 2: ChaCha20-Poly1305), TLS 1.2: key and 12 bytes of IV, TLS 1.3: traffic secret; u64 number of the next record |
//! | the peer is the server | flag |
//! | handshake message that is cut | its first 4 bytes, u8 how many of these are there, u32 bytes to ignore |
//! | records in a row without data | u8 |
//! | keys of what is sent | as above |
//! | a KeyUpdate is owed | flag |
//! | blocks that the key has protected | u64 |
//! | the end was told | flag |
//! | received, not opened | u32 length, bytes |
//! | sealed, not sent | u32 length, bytes |
//! | the peer's end | 0: none, 1: in order, 2: a fault, as its number and the code of an alert |
//!
//! The bytes hold secrets: they are wiped when dropped, and belong on no disk. Whoever has saved a connection seals
//! nothing any more unless nobody restores it: a number that is used twice gives the key away.

use std::fmt;

use zeroize::Zeroizing;

use super::fault::Fault;
use super::keys::{Keys, Secret, Suite, Version};
use super::record::{MAX_RECORD, Opener, Sealer};
use crate::saved::{Malformed, Reader, Writer};

/// The version that is written.
const VERSION: u8 = 1;
/// Most bytes received and not opened: a record that is cut, and what was read with it.
const MAX_RECEIVED: usize = 2 * MAX_RECORD;
/// Most bytes sealed and not sent.
const MAX_UNSENT: usize = 256 * 1024;

/// A connection without its socket.
#[derive(Debug)]
pub struct State {
    /// For what the peer sends.
    pub opener: Opener,
    /// For what is sent to it.
    pub sealer: Sealer,
    /// Received, not opened.
    pub received: Vec<u8>,
    /// Sealed, not sent.
    pub unsent: Vec<u8>,
    /// Nothing more will come.
    pub end: Option<Result<(), Fault>>,
}

/// Why saved bytes are not a TLS connection.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum RestoreError {
    /// Written by a version that this one does not know.
    Version(u8),
    /// The bytes end too early.
    Truncated,
    /// Bytes follow the connection.
    Excess,
    /// A value that no connection has; says which.
    Invalid(&'static str),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestoreError::Version(found) => {
                write!(f, "TLS connection was saved in format {found}, this program reads format {VERSION}")
            }
            RestoreError::Truncated => f.write_str("saved TLS connection ends too early"),
            RestoreError::Excess => {
                f.write_str("saved TLS connection is followed by bytes that belong to nothing")
            }
            RestoreError::Invalid(what) => write!(f, "saved TLS connection has an impossible {what}"),
        }
    }
}

impl std::error::Error for RestoreError {}

impl From<Malformed> for RestoreError {
    fn from(fault: Malformed) -> RestoreError {
        match fault {
            Malformed::Truncated => RestoreError::Truncated,
            Malformed::Excess => RestoreError::Excess,
            Malformed::Invalid(what) => RestoreError::Invalid(what),
        }
    }
}

/// A connection as bytes; the arguments are the fields of [`State`].
pub fn save(
    opener: &Opener,
    sealer: &Sealer,
    received: &[u8],
    unsent: &[u8],
    end: Option<Result<(), Fault>>,
) -> Zeroizing<Vec<u8>> {
    // Enough for all, so that no part of a secret stays behind in a smaller buffer.
    let mut w = Writer::with_capacity(256 + received.len() + unsent.len());
    w.u8(VERSION);
    opener.write(&mut w);
    sealer.write(&mut w);
    w.bytes(received);
    w.bytes(unsent);
    match end {
        None => w.u8(0),
        Some(Ok(())) => w.u8(1),
        Some(Err(fault)) => {
            w.u8(2);
            w.raw(&fault.to_bytes());
        }
    }
    w.finish()
}

/// A connection from bytes that [`save`] wrote.
pub fn restore(bytes: &[u8]) -> Result<State, RestoreError> {
    let mut r = Reader::new(bytes);
    match r.u8()? {
        VERSION => {}
        other => return Err(RestoreError::Version(other)),
    }
    let opener = Opener::read(&mut r)?;
    let sealer = Sealer::read(&mut r)?;
    let kind = |keys: &Keys| (keys.version(), keys.suite());
    if kind(opener.keys()) != kind(sealer.keys()) {
        return Err(RestoreError::Invalid("pair of keys"));
    }
    let received = bounded(&mut r, MAX_RECEIVED)?.to_vec();
    let unsent = bounded(&mut r, MAX_UNSENT)?.to_vec();
    let end = match r.u8()? {
        0 => None,
        1 => Some(Ok(())),
        2 => Some(Err(Fault::from_bytes(r.array()?).ok_or(RestoreError::Invalid("fault"))?)),
        _ => return Err(RestoreError::Invalid("end")),
    };
    r.end()?;
    Ok(State { opener, sealer, received, unsent, end })
}

/// Bytes behind their length, of which there may be so many.
fn bounded<'a>(r: &mut Reader<'a>, most: usize) -> Result<&'a [u8], RestoreError> {
    let length = r.u32()? as usize;
    if length > most {
        return Err(RestoreError::Invalid("length"));
    }
    Ok(r.raw(length)?)
}

pub(super) fn write_keys(w: &mut Writer, keys: &Keys) {
    w.u8(match keys.version() {
        Version::Tls12 => 0,
        Version::Tls13 => 1,
    });
    w.u8(match keys.suite() {
        Suite::Aes128Gcm => 0,
        Suite::Aes256Gcm => 1,
        Suite::Chacha20Poly1305 => 2,
    });
    let (root, iv) = keys.root();
    w.raw(root);
    w.raw(iv);
    w.u64(keys.seq());
}

pub(super) fn read_keys(r: &mut Reader<'_>) -> Result<Keys, RestoreError> {
    let version = match r.u8()? {
        0 => Version::Tls12,
        1 => Version::Tls13,
        _ => return Err(RestoreError::Invalid("version of TLS")),
    };
    let suite = match r.u8()? {
        0 => Suite::Aes128Gcm,
        1 => Suite::Aes256Gcm,
        2 => Suite::Chacha20Poly1305,
        _ => return Err(RestoreError::Invalid("suite")),
    };
    let keys = match version {
        Version::Tls12 => {
            let key = r.raw(suite.key_len())?;
            let iv = r.array()?;
            Keys::tls12(suite, key, iv, r.u64()?)
        }
        Version::Tls13 => {
            let secret = Secret::new(r.raw(suite.secret_len())?);
            let secret = secret.ok_or(RestoreError::Invalid("secret"))?;
            Keys::tls13(suite, &secret, r.u64()?)
        }
    };
    keys.map_err(|_| RestoreError::Invalid("key"))
}

#[cfg(test)]
mod tests;
