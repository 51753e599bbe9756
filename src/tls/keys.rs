//! Pure: what one direction of a TLS connection is protected with, as plain data: version, suite, key, sequence number.

use aws_lc_rs::aead::{self, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, HKDF_SHA384, KeyType, Prk};
use zeroize::Zeroizing;

use super::cipher::Cipher;
use super::fault::Fault;

/// The longest key.
const MAX_KEY: usize = 32;
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
    /// Bytes of a key.
    pub(super) fn key_len(self) -> usize {
        self.algorithm().key_len()
    }

    /// Bytes of a traffic secret in TLS 1.3: what the suite's hash gives.
    pub(super) fn secret_len(self) -> usize {
        if self == Suite::Aes256Gcm { 48 } else { 32 }
    }

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
    len: u8,
}

impl Secret {
    /// A copy of these bytes; `None` when no hash of TLS gives that many.
    pub fn new(from: &[u8]) -> Option<Secret> {
        let mut bytes = Box::new(Zeroizing::new([0; MAX_SECRET]));
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Secret { bytes, len: from.len() as u8 }) // fits: it is not longer than the array
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
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
fn expand(suite: Suite, secret: &[u8], label: &[u8], out: &mut [u8]) -> Result<(), Fault> {
    let algorithm = if suite == Suite::Aes256Gcm { HKDF_SHA384 } else { HKDF_SHA256 };
    let length = (out.len() as u16).to_be_bytes();
    let info = [&length[..], &[label.len() as u8 + 6], b"tls13 ", label, &[0]];
    let prk = Prk::new_less_safe(algorithm, secret);
    prk.expand(&info, Length(out.len())).and_then(|okm| okm.fill(out)).map_err(|_| Fault::Internal)
}

/// Key and sequence number of one direction, as plain data.
pub struct Keys {
    version: Version,
    suite: Suite,
    /// The key, and behind it the traffic secret in TLS 1.3; wiped when dropped, and in one place, as a [`Secret`] is.
    secrets: Box<Zeroizing<[u8; MAX_KEY + MAX_SECRET]>>,
    iv: [u8; NONCE_LEN],
    seq: u64,
    /// Made of the key when it is needed.
    cipher: Cipher,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?} #{}", self.version, self.suite, self.seq)
    }
}

impl Keys {
    /// Keys of TLS 1.2. The IV is the nonce for sequence number zero.
    pub fn tls12(suite: Suite, key: &[u8], iv: [u8; NONCE_LEN], seq: u64) -> Result<Keys, Fault> {
        if key.len() != suite.key_len() {
            return Err(Fault::Internal);
        }
        let mut secrets = Box::new(Zeroizing::new([0; MAX_KEY + MAX_SECRET]));
        secrets[..key.len()].copy_from_slice(key);
        Ok(Keys { version: Version::Tls12, suite, secrets, iv, seq, cipher: Cipher::new() })
    }

    /// Keys of TLS 1.3: key and IV follow from the traffic secret (RFC 8446 section 7.3).
    pub fn tls13(suite: Suite, secret: &Secret, seq: u64) -> Result<Keys, Fault> {
        let secret = secret.as_bytes();
        if secret.len() != suite.secret_len() {
            return Err(Fault::Internal);
        }
        let mut secrets = Box::new(Zeroizing::new([0; MAX_KEY + MAX_SECRET]));
        expand(suite, secret, b"key", &mut secrets[..suite.key_len()])?;
        secrets[MAX_KEY..MAX_KEY + secret.len()].copy_from_slice(secret);
        let mut iv = [0; NONCE_LEN];
        expand(suite, secret, b"iv", &mut iv)?;
        Ok(Keys { version: Version::Tls13, suite, secrets, iv, seq, cipher: Cipher::new() })
    }

    /// The traffic secret whose key is this one: `secret` or one of those that follow it by `updates` KeyUpdates.
    pub fn find(suite: Suite, mut secret: Secret, key: &[u8], updates: usize) -> Option<Secret> {
        let mut derived = Zeroizing::new([0; 32]);
        let derived = derived.get_mut(..key.len())?;
        for _ in 0..=updates {
            expand(suite, secret.as_bytes(), b"key", derived).ok()?;
            if derived == key {
                return Some(secret);
            }
            secret = next(suite, secret.as_bytes()).ok()?;
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

    /// What all of it follows from, to be saved: in TLS 1.2 key and IV, in TLS 1.3 the traffic secret alone.
    pub(super) fn root(&self) -> (&[u8], &[u8]) {
        match self.version {
            Version::Tls12 => (&self.secrets[..self.suite.key_len()], &self.iv),
            Version::Tls13 => (self.secret(), &[]),
        }
    }

    /// Moves on to the next generation of TLS 1.3 keys (RFC 8446 section 7.2).
    pub fn update(&mut self) -> Result<(), Fault> {
        *self = Keys::tls13(self.suite, &next(self.suite, self.secret())?, 0)?;
        Ok(())
    }

    /// Bytes of a record's payload in front of the ciphertext: the explicit nonce of AES-GCM in TLS 1.2.
    pub(super) fn prefix(&self) -> usize {
        if self.version == Version::Tls12 && self.suite != Suite::Chacha20Poly1305 { 8 } else { 0 }
    }

    /// The IV combined with the sequence number (RFC 8446 section 5.3, RFC 7905 section 2).
    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        if let Some(last) = nonce.last_chunk_mut::<8>() {
            *last = (u64::from_be_bytes(*last) ^ self.seq).to_be_bytes();
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
        let aad = Aad::from(&aad[from..]);
        let open = |cipher: &LessSafeKey| cipher.open_in_place(nonce, aad, sealed).is_ok();
        if !self.with_cipher(open)? {
            return Err(Fault::BadRecord);
        }
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
        let aad = Aad::from(&aad[from..]);
        let seal = |cipher: &LessSafeKey| {
            let tag = cipher.seal_in_place_separate_tag(nonce, aad, &mut out[start..]);
            tag.is_ok_and(|tag| {
                out.extend_from_slice(tag.as_ref());
                true
            })
        };
        if self.with_cipher(seal)? { Ok(()) } else { Err(Fault::Internal) }
    }

    #[inline]
    fn with_cipher<T>(&mut self, work: impl FnOnce(&LessSafeKey) -> T) -> Result<T, Fault> {
        let build = || {
            let key = UnboundKey::new(self.suite.algorithm(), &self.secrets[..self.suite.key_len()]);
            key.map(LessSafeKey::new).map_err(|_| Fault::Internal)
        };
        self.cipher.with(build, work)
    }

    /// The traffic secret.
    fn secret(&self) -> &[u8] {
        &self.secrets[MAX_KEY..MAX_KEY + self.suite.secret_len()]
    }
}

/// The traffic secret after a KeyUpdate.
fn next(suite: Suite, secret: &[u8]) -> Result<Secret, Fault> {
    let mut bytes = Box::new(Zeroizing::new([0; MAX_SECRET]));
    expand(suite, secret, b"traffic upd", &mut bytes[..secret.len()])?;
    Ok(Secret { bytes, len: secret.len() as u8 }) // fits: it is an output of the hash
}
