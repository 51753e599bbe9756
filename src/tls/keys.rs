//! Pure: what one direction of a TLS connection is protected with, as plain data: version, suite, key, sequence number.

use aws_lc_rs::aead::{self, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, HKDF_SHA384, KeyType, Prk};
use zeroize::Zeroizing;

use super::fault::Fault;

/// The longest secret: an output of SHA-384.
const MAX_SECRET: usize = 48;

/// A version of TLS that the record layer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// RFC 5246, with AEAD suites alone.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// What protects records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// RFC 5288, RFC 8446.
    Aes128Gcm,
    /// Same with a longer key, and SHA-384 in TLS 1.3.
    Aes256Gcm,
    /// RFC 7905, RFC 8446.
    Chacha20Poly1305,
}

impl Suite {
    fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Suite::Aes128Gcm => &aead::AES_128_GCM,
            Suite::Aes256Gcm => &aead::AES_256_GCM,
            Suite::Chacha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }
}

/// A key or a traffic secret; wiped when it is dropped. It stays in one place, so that moving it leaves no copies.
#[derive(Clone)]
pub struct Secret {
    bytes: Box<Zeroizing<[u8; MAX_SECRET]>>,
    len: usize,
}

impl Secret {
    /// A copy of these bytes; `None` when no hash of TLS gives that many.
    pub fn new(from: &[u8]) -> Option<Secret> {
        let mut bytes = Box::new(Zeroizing::new([0; MAX_SECRET]));
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Secret { bytes, len: from.len() })
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({} bytes)", self.len)
    }
}

/// A number of bytes, as HKDF wants to be told.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label (RFC 8446 section 7.1) with an empty context.
fn expand(suite: Suite, secret: &Secret, label: &[u8], out: &mut [u8]) -> Result<(), Fault> {
    let algorithm = if suite == Suite::Aes256Gcm { HKDF_SHA384 } else { HKDF_SHA256 };
    let length = (out.len() as u16).to_be_bytes();
    let info = [&length[..], &[label.len() as u8 + 6], b"tls13 ", label, &[0]];
    let prk = Prk::new_less_safe(algorithm, secret.as_bytes());
    prk.expand(&info, Length(out.len())).and_then(|okm| okm.fill(out)).map_err(|_| Fault::Internal)
}

/// Key and sequence number of one direction.
///
/// The cipher's own state can be made again from the rest, which is plain data.
pub struct Keys {
    version: Version,
    suite: Suite,
    /// The traffic secret in TLS 1.3, from which the key follows; in TLS 1.2 the key.
    root: Secret,
    iv: [u8; NONCE_LEN],
    seq: u64,
    cipher: LessSafeKey,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?} #{}", self.version, self.suite, self.seq)
    }
}

fn cipher(suite: Suite, key: &[u8]) -> Result<LessSafeKey, Fault> {
    UnboundKey::new(suite.algorithm(), key).map(LessSafeKey::new).map_err(|_| Fault::Internal)
}

impl Keys {
    /// Keys of TLS 1.2. The IV is the nonce for sequence number zero.
    pub fn tls12(suite: Suite, key: &[u8], iv: [u8; NONCE_LEN], seq: u64) -> Result<Keys, Fault> {
        let root = Secret::new(key).ok_or(Fault::Internal)?;
        Ok(Keys { version: Version::Tls12, suite, root, iv, seq, cipher: cipher(suite, key)? })
    }

    /// Keys of TLS 1.3: key and IV follow from the traffic secret (RFC 8446 section 7.3).
    pub fn tls13(suite: Suite, secret: Secret, seq: u64) -> Result<Keys, Fault> {
        let mut key = Zeroizing::new([0; 32]);
        let key = &mut key[..suite.algorithm().key_len()];
        expand(suite, &secret, b"key", key)?;
        let mut iv = [0; NONCE_LEN];
        expand(suite, &secret, b"iv", &mut iv)?;
        Ok(Keys { version: Version::Tls13, suite, root: secret, iv, seq, cipher: cipher(suite, key)? })
    }

    /// The traffic secret whose key is this one: `secret` or one of those that follow it by `updates` KeyUpdates.
    pub fn find(suite: Suite, mut secret: Secret, key: &[u8], updates: usize) -> Option<Secret> {
        let mut derived = Zeroizing::new([0; 32]);
        let derived = derived.get_mut(..key.len())?;
        for _ in 0..=updates {
            expand(suite, &secret, b"key", derived).ok()?;
            if derived == key {
                return Some(secret);
            }
            secret = next(suite, &secret).ok()?;
        }
        None
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The suite.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The number of the next record.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Moves on to the next generation of TLS 1.3 keys (RFC 8446 section 7.2).
    pub fn update(&mut self) -> Result<(), Fault> {
        *self = Keys::tls13(self.suite, next(self.suite, &self.root)?, 0)?;
        Ok(())
    }

    /// Bytes of a record's payload in front of the ciphertext: the explicit nonce of AES-GCM in TLS 1.2.
    pub(super) fn prefix(&self) -> usize {
        if self.version == Version::Tls12 && self.suite != Suite::Chacha20Poly1305 { 8 } else { 0 }
    }

    /// The IV combined with the sequence number (RFC 8446 section 5.3, RFC 7905 section 2).
    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        for (byte, seq) in nonce[4..].iter_mut().zip(self.seq.to_be_bytes()) {
            *byte ^= seq;
        }
        nonce
    }

    /// Additional data: the header in TLS 1.3 (RFC 8446 section 5.2); in TLS 1.2 the sequence number, and the header
    /// with the length of what is protected (RFC 5246 section 6.2.3.3).
    fn aad(&self, header: [u8; 5], content: usize) -> ([u8; 13], usize) {
        let mut aad = [0; 13];
        if self.version == Version::Tls13 {
            aad[8..].copy_from_slice(&header);
            return (aad, 8);
        }
        aad[..8].copy_from_slice(&self.seq.to_be_bytes());
        aad[8..11].copy_from_slice(&header[..3]);
        aad[11..].copy_from_slice(&(content as u16).to_be_bytes());
        (aad, 0)
    }

    /// Opens the payload of a record in place. What it held begins at [`Keys::prefix`] and has the length that is
    /// given back.
    pub(super) fn open(&mut self, header: [u8; 5], payload: &mut [u8]) -> Result<usize, Fault> {
        let prefix = self.prefix();
        let overhead = prefix + self.suite.algorithm().tag_len();
        let content = payload.len().checked_sub(overhead).ok_or(Fault::BadRecord)?;
        let mut nonce = self.nonce();
        let (explicit, sealed) = payload.split_at_mut(prefix);
        if prefix > 0 {
            // The peer chose it (RFC 5288 section 3).
            nonce[4..].copy_from_slice(explicit);
        }
        let (aad, from) = self.aad(header, content);
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.cipher.open_in_place(nonce, Aad::from(&aad[from..]), sealed).map_err(|_| Fault::BadRecord)?;
        self.seq = self.seq.checked_add(1).ok_or(Fault::Exhausted)?;
        Ok(content)
    }

    /// Length of a payload with so much in it.
    pub(super) fn sealed_len(&self, content: usize) -> usize {
        self.prefix() + content + self.suite.algorithm().tag_len()
    }

    /// Appends a payload with this content, which comes in two pieces.
    pub(super) fn seal(
        &mut self,
        header: [u8; 5],
        content: [&[u8]; 2],
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        // First of all, for a nonce that is used twice gives the key away.
        let next = self.seq.checked_add(1).ok_or(Fault::Exhausted)?;
        let nonce = self.nonce();
        out.extend_from_slice(&nonce[NONCE_LEN - self.prefix()..]);
        let start = out.len();
        content.iter().for_each(|piece| out.extend_from_slice(piece));
        let (aad, from) = self.aad(header, out.len() - start);
        self.seq = next;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.cipher.seal_in_place_separate_tag(nonce, Aad::from(&aad[from..]), &mut out[start..]);
        out.extend_from_slice(tag.map_err(|_| Fault::Internal)?.as_ref());
        Ok(())
    }
}

/// The traffic secret after a KeyUpdate.
fn next(suite: Suite, secret: &Secret) -> Result<Secret, Fault> {
    let mut bytes = Box::new(Zeroizing::new([0; MAX_SECRET]));
    expand(suite, secret, b"traffic upd", &mut bytes[..secret.len])?;
    Ok(Secret { bytes, len: secret.len })
}
