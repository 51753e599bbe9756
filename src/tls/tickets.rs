//! Keys of session tickets: those of files (`ssl_session_ticket_key`), or else those of the process, which change by
//! themselves and go on through reloads and upgrades.
//!
//! A ticket is made as RFC 5077 section 4 recommends: name of the key, IV, the session in AES-CBC, and an HMAC-SHA-256
//! over all of it. The HMAC covers the rules for clients' certificates, too, which are not in the ticket: one that was
//! made under other rules is as good as none.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::cipher::{
    AES_128, AES_256, DecryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::{hmac, iv};
use longwire_conf::Span;
use longwire_conf::model::Spanned;
use zeroize::Zeroizing;

use super::certificate::{Look, look};
use crate::clock::{self, micros};

/// How long a key of the process makes tickets; for as long again it is known.
const TERM: Duration = Duration::from_secs(6 * 3600);
/// Bytes of a key: its name, the HMAC's key, that of AES-256.
const LONG: usize = 80;
/// The same with AES-128: its name, the key of AES, the HMAC's.
const SHORT: usize = 48;
const NAME: usize = 16;
const IV: usize = 16;
const MAC: usize = 32;
/// First byte of what [`export`] gives.
const VERSION: u8 = 1;

/// What the rules for clients' certificates are, as a digest; zeros where none is asked for.
pub(super) type Rules = [u8; 32];

/// The keys of a server.
#[derive(Clone, Default)]
pub enum Keys {
    /// Those of the process.
    #[default]
    Own,
    /// Those of files: the first makes tickets, all are known.
    Files(Vec<Arc<Key>>),
}

/// Keys that were read, by their files, with how these looked.
#[derive(Default)]
pub struct Known(HashMap<PathBuf, (Arc<Key>, Option<Look>)>);

/// One key.
pub struct Key {
    name: [u8; NAME],
    encrypting: PaddedBlockEncryptingKey,
    decrypting: PaddedBlockDecryptingKey,
    mac: hmac::Key,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What they are is nobody's business.
        f.write_str(match self {
            Keys::Own => "keys of the process",
            Keys::Files(_) => "keys of files",
        })
    }
}

impl Known {
    /// Reads the files of `ssl_session_ticket_key`; without any, the keys are those of the process. The error has the
    /// place of the file.
    ///
    /// A process that gave up its rights may not be able to read them again: then what `before` has stays in force,
    /// unless the files are seen to have changed.
    pub fn keys(
        &mut self,
        files: &[Spanned<PathBuf>],
        before: Option<&Known>,
    ) -> Result<Keys, (Span, String)> {
        let mut keys = Vec::new();
        for file in files {
            let path = file.value.display();
            // Before it is read: what is changed meanwhile looks changed the next time.
            let mut seen = look(&file.value);
            let key = match std::fs::read(&file.value).map(Zeroizing::new) {
                Ok(bytes) => Key::new(&bytes).map(Arc::new).ok_or_else(|| {
                    format!(
                        "\"{path}\" must be {SHORT} or {LONG} bytes: openssl rand {LONG} > FILE makes one"
                    )
                }),
                Err(error) => {
                    let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
                    let known = before.filter(|_| is_denied).and_then(|before| before.0.get(&file.value));
                    match known.filter(|(_, then)| seen.is_none() || then.is_none() || seen == *then) {
                        Some((key, then)) => {
                            seen = seen.or(*then);
                            Ok(key.clone())
                        }
                        None => Err(format!("{path}: cannot load the ticket key: {error}")),
                    }
                }
            };
            let key = key.map_err(|reason| (file.span, reason))?;
            self.0.insert(file.value.clone(), (key.clone(), seen));
            keys.push(key);
        }
        Ok(if keys.is_empty() { Keys::Own } else { Keys::Files(keys) })
    }
}

impl Keys {
    /// A ticket that holds `session`.
    pub(super) fn seal(&self, session: &[u8], rules: &Rules) -> Option<Vec<u8>> {
        match self {
            Keys::Files(keys) => keys.first()?.seal(session, rules),
            Keys::Own => own()?.first()?.seal(session, rules),
        }
    }

    /// What a ticket holds, if one of these keys made it under the same rules.
    pub(super) fn open(&self, ticket: &[u8], rules: &Rules) -> Option<Vec<u8>> {
        match self {
            Keys::Files(keys) => open(keys, ticket, rules),
            Keys::Own => open(&own()?, ticket, rules),
        }
    }
}

fn open(keys: &[Arc<Key>], ticket: &[u8], rules: &Rules) -> Option<Vec<u8>> {
    let name = ticket.get(..NAME)?;
    keys.iter().find(|key| key.name == *name)?.open(ticket, rules)
}

impl Key {
    /// Of the bytes of a file, which are divided as in nginx.
    fn new(bytes: &[u8]) -> Option<Key> {
        let (name, rest) = bytes.split_first_chunk::<NAME>()?;
        let (algorithm, aes, mac) = match bytes.len() {
            SHORT => (&AES_128, rest.get(..16)?, rest.get(16..)?),
            LONG => (&AES_256, rest.get(32..)?, rest.get(..32)?),
            _ => return None,
        };
        let unbound = || UnboundCipherKey::new(algorithm, aes).ok();
        Some(Key {
            name: *name,
            encrypting: PaddedBlockEncryptingKey::cbc_pkcs7(unbound()?).ok()?,
            decrypting: PaddedBlockDecryptingKey::cbc_pkcs7(unbound()?).ok()?,
            mac: hmac::Key::new(hmac::HMAC_SHA256, mac),
        })
    }

    fn seal(&self, session: &[u8], rules: &Rules) -> Option<Vec<u8>> {
        let mut state = session.to_vec();
        let context = self.encrypting.encrypt(&mut state).ok()?;
        let iv: &[u8] = (&context).try_into().ok()?;
        let mut ticket = [&self.name, iv, &state].concat();
        let mac = self.mac(&ticket, rules)?.sign();
        ticket.extend_from_slice(mac.as_ref());
        Some(ticket)
    }

    fn open(&self, ticket: &[u8], rules: &Rules) -> Option<Vec<u8>> {
        let (signed, mac) = ticket.split_at_checked(ticket.len().checked_sub(MAC)?)?;
        let (head, state) = signed.split_at_checked(NAME + IV)?;
        let tag = self.mac(signed, rules)?.sign();
        aws_lc_rs::constant_time::verify_slices_are_equal(tag.as_ref(), mac).ok()?;
        let iv = iv::FixedLength::try_from(head.get(NAME..)?).ok()?;
        let mut state = state.to_vec();
        let session = self.decrypting.decrypt(&mut state, DecryptionContext::Iv128(iv)).ok()?;
        Some(session.to_vec())
    }

    fn mac(&self, signed: &[u8], rules: &Rules) -> Option<hmac::Context> {
        let (head, state) = signed.split_at_checked(NAME + IV)?;
        let mut context = hmac::Context::with_key(&self.mac);
        context.update(head);
        context.update(&u16::try_from(state.len()).ok()?.to_be_bytes());
        context.update(state);
        context.update(rules);
        Some(context)
    }
}

/// The keys of the process.
struct Own {
    /// The one that makes tickets, and the one before it, with the bytes they are made of.
    keys: Vec<(Arc<Key>, Zeroizing<Vec<u8>>)>,
    /// Until when the first makes tickets.
    until_us: u64,
}

static OWN: Mutex<Option<Own>> = Mutex::new(None);

/// The keys of the process at the moment. `None`: no chance could be had.
fn own() -> Option<Vec<Arc<Key>>> {
    with_own(|own| own.keys.iter().map(|(key, _)| key.clone()).collect())
}

fn with_own<T>(read: impl FnOnce(&Own) -> T) -> Option<T> {
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    let now = clock::now_us();
    let own = match &mut *own {
        Some(own) => own,
        empty => empty.insert(Own { keys: Vec::new(), until_us: 0 }),
    };
    own.turn(now)?;
    Some(read(own))
}

impl Own {
    /// Another key makes tickets when the time of the first is over.
    fn turn(&mut self, now_us: u64) -> Option<()> {
        if !self.keys.is_empty() && now_us < self.until_us {
            return Some(());
        }
        let mut bytes = Zeroizing::new(vec![0; LONG]);
        getrandom::fill(&mut bytes).ok()?;
        // One that nobody used for so long is not needed any more.
        let is_old = now_us >= self.until_us.saturating_add(micros(TERM));
        self.keys.truncate(usize::from(!is_old));
        self.keys.insert(0, (Arc::new(Key::new(&bytes)?), bytes));
        self.until_us = now_us.saturating_add(micros(TERM));
        Some(())
    }
}

/// The keys of the process, for the process that takes its place: a version, the seconds for which the first still
/// makes tickets, and the keys. Secret: whoever has it can read what sessions of TLS 1.2 said.
pub fn export() -> Zeroizing<Vec<u8>> {
    let all = with_own(|own| {
        let left = own.until_us.saturating_sub(clock::now_us()) / 1_000_000;
        let mut all = Zeroizing::new(Vec::with_capacity(9 + own.keys.len() * LONG));
        all.push(VERSION);
        all.extend_from_slice(&left.to_be_bytes());
        own.keys.iter().for_each(|(_, bytes)| all.extend_from_slice(bytes));
        all
    });
    all.unwrap_or_default()
}

/// Goes on with the keys of the process before. The error says why that cannot be; then there are new ones, and its
/// sessions are not resumed.
pub fn import(bytes: &[u8]) -> Result<(), String> {
    let taken = read(bytes, clock::now_us())?;
    *OWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
    Ok(())
}

fn read(bytes: &[u8], now_us: u64) -> Result<Own, String> {
    let broken = || "the keys of session tickets cannot be read".to_owned();
    let (version, rest) = bytes.split_first().ok_or_else(broken)?;
    if *version != VERSION {
        return Err(format!("the keys of session tickets are of version {version}, which is not known here"));
    }
    let (left, rest) = rest.split_first_chunk().ok_or_else(broken)?;
    let chunks = rest.chunks_exact(LONG);
    if rest.is_empty() || !chunks.remainder().is_empty() || chunks.len() > 2 {
        return Err(broken());
    }
    let key = |bytes: &[u8]| Some((Arc::new(Key::new(bytes)?), Zeroizing::new(bytes.to_vec())));
    let keys = chunks.map(key).collect::<Option<Vec<_>>>().ok_or_else(broken)?;
    let left_us = u64::from_be_bytes(*left).saturating_mul(1_000_000).min(micros(TERM));
    Ok(Own { keys, until_us: now_us.saturating_add(left_us) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = [0; 32];

    fn key(seed: u8, length: usize) -> Key {
        Key::new(&(0..length).map(|at| seed.wrapping_add(at as u8)).collect::<Vec<_>>()).unwrap()
    }

    fn files(keys: Vec<Key>) -> Keys {
        Keys::Files(keys.into_iter().map(Arc::new).collect())
    }

    #[test]
    fn the_first_key_makes_tickets_and_all_are_known() {
        for length in [SHORT, LONG] {
            let old = files(vec![key(1, length)]);
            let both = files(vec![key(2, LONG), key(1, length)]);
            let ticket = old.seal(b"session", &RULES).unwrap();
            assert_eq!(ticket[..NAME], key(1, length).name);
            assert_eq!(both.open(&ticket, &RULES).as_deref(), Some(&b"session"[..]));
            let new = both.seal(b"session", &RULES).unwrap();
            assert_eq!(new[..NAME], key(2, LONG).name);
            assert_eq!(old.open(&new, &RULES), None);
            assert_ne!(new, both.seal(b"session", &RULES).unwrap(), "each has an IV of its own");
        }
        for length in [0, 47, 49, 79, 81] {
            assert!(Key::new(&vec![0; length]).is_none(), "{length}");
        }
    }

    #[test]
    fn a_ticket_that_was_changed_or_made_under_other_rules_is_none() {
        let keys = files(vec![key(1, LONG)]);
        let ticket = keys.seal(b"session", &RULES).unwrap();
        assert_eq!(keys.open(&ticket, &[1; 32]), None);
        for at in 0..ticket.len() {
            let mut other = ticket.clone();
            other[at] ^= 1;
            assert_eq!(keys.open(&other, &RULES), None, "{at}");
            assert_eq!(keys.open(&ticket[..at], &RULES), None, "{at}");
        }
    }

    #[test]
    fn keys_of_the_process_change_and_the_one_before_is_known() {
        let mut own = Own { keys: Vec::new(), until_us: 0 };
        let names = |own: &Own| own.keys.iter().map(|(key, _)| key.name).collect::<Vec<_>>();
        let term = micros(TERM);
        own.turn(1).unwrap();
        let first = names(&own);
        own.turn(term).unwrap();
        assert_eq!((first.len(), names(&own)), (1, first.clone()));
        own.turn(1 + term).unwrap();
        let second = names(&own);
        assert_eq!((second.len(), second[1]), (2, first[0]));
        own.turn(1 + 2 * term).unwrap();
        assert_eq!((names(&own).len(), names(&own)[1]), (2, second[0]));
        own.turn(9 * term).unwrap();
        assert_eq!(names(&own).len(), 1, "nobody came for hours");
    }

    #[test]
    fn another_process_goes_on_with_the_keys() {
        let ticket = Keys::Own.seal(b"session", &RULES).unwrap();
        let bytes = export();
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length], 0).is_err(), "{length}");
        }
        assert!(read(&[&bytes[..], &[0; 2 * LONG]].concat(), 0).is_err());
        assert!(read(&[&[VERSION + 1], &bytes[1..]].concat(), 0).err().unwrap().contains("version 2"));
        let taken = read(&bytes, 7).unwrap();
        let keys: Vec<_> = taken.keys.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!(open(&keys, &ticket, &RULES).as_deref(), Some(&b"session"[..]));
        assert!(taken.until_us > 7 + micros(TERM) - 60_000_000 && taken.until_us <= 7 + micros(TERM));
        // Here it changes nothing but where they came from.
        import(&bytes).unwrap();
        assert_eq!(Keys::Own.open(&ticket, &RULES).as_deref(), Some(&b"session"[..]));
    }
}
