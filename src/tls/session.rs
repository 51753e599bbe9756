//! Sessions that can be resumed: by tickets or kept here, and not for longer than `ssl_session_timeout`.

use std::sync::Arc;

use longwire_conf::model::Tls;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions,
};

use crate::clock;

/// Lets sessions of this server be resumed as its settings say.
pub(super) fn resume(config: &mut ServerConfig, tls: &Tls) -> Result<(), String> {
    let seconds = u32::try_from(tls.session_timeout.as_secs()).unwrap_or(u32::MAX);
    config.session_storage = match tls.session_cache {
        Some(sessions) => Arc::new(Kept { inner: ServerSessionMemoryCache::new(sessions), seconds }),
        None => Arc::new(NoServerSessionStorage {}),
    };
    if tls.session_tickets {
        let inner = Ticketer::new().map_err(|error| error.to_string())?;
        config.ticketer = Arc::new(Tickets { inner, seconds });
    } else if tls.session_cache.is_none() {
        config.send_tls13_tickets = 0;
    }
    Ok(())
}

/// What is kept, behind the second it was made in.
fn dated(session: &[u8]) -> Vec<u8> {
    [&now().to_be_bytes(), session].concat()
}

/// The session, unless it is too old.
fn fresh(dated: Vec<u8>, seconds: u32) -> Option<Vec<u8>> {
    let (made, session) = dated.split_first_chunk()?;
    let age = now().checked_sub(u64::from_be_bytes(*made))?;
    (age <= u64::from(seconds)).then(|| session.to_vec())
}

fn now() -> u64 {
    clock::unix_us() / 1_000_000
}

/// Tickets that end.
#[derive(Debug)]
struct Tickets {
    inner: Arc<dyn ProducesTickets>,
    seconds: u32,
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.inner.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.seconds
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.inner.encrypt(&dated(plain))
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        fresh(self.inner.decrypt(cipher)?, self.seconds)
    }
}

/// Sessions in memory that end.
#[derive(Debug)]
struct Kept {
    inner: Arc<ServerSessionMemoryCache>,
    seconds: u32,
}

impl StoresServerSessions for Kept {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.inner.put(key, dated(&value))
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        fresh(self.inner.get(key)?, self.seconds)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        fresh(self.inner.take(key)?, self.seconds)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_end() {
        assert_eq!(fresh(dated(b"session"), 300).as_deref(), Some(&b"session"[..]));
        let old = [&(now() - 301).to_be_bytes(), &b"session"[..]].concat();
        assert_eq!(fresh(old.clone(), 300), None);
        assert_eq!(fresh(old, 400).as_deref(), Some(&b"session"[..]));
        assert_eq!(fresh(b"short".to_vec(), 300), None);
    }
}
