//! Sessions that can be resumed: by tickets or kept here, and not for longer than `ssl_session_timeout`.

use std::sync::Arc;

use longwire_conf::model::Tls;
use rustls::ServerConfig;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions,
};

use super::tickets::{Keys, Rules};
use crate::clock;

/// The sessions that a server keeps.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    inner: Arc<ServerSessionMemoryCache>,
    most: usize,
    rules: Rules,
}

/// Lets sessions of this server be resumed as its settings say, with `keys` for tickets. Gives the sessions that are
/// kept: those of `previous`, if it is like this.
pub(super) fn resume(
    config: &mut ServerConfig,
    tls: &Tls,
    keys: Keys,
    rules: Rules,
    previous: Option<&Cache>,
) -> Option<Cache> {
    let seconds = u32::try_from(tls.session_timeout.as_secs()).unwrap_or(u32::MAX);
    let cache = tls.session_cache.map(|most| {
        let same = previous.filter(|previous| previous.most == most && previous.rules == rules);
        same.cloned().unwrap_or_else(|| Cache { inner: ServerSessionMemoryCache::new(most), most, rules })
    });
    config.session_storage = match &cache {
        Some(Cache { inner, .. }) => Arc::new(Kept { inner: inner.clone(), seconds }),
        None => Arc::new(NoServerSessionStorage {}),
    };
    if tls.session_tickets {
        config.ticketer = Arc::new(Tickets { keys, rules, seconds });
    } else if cache.is_none() {
        config.send_tls13_tickets = 0;
    }
    cache
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
    keys: Keys,
    rules: Rules,
    seconds: u32,
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.seconds
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.seal(&dated(plain), &self.rules)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        fresh(self.keys.open(cipher, &self.rules)?, self.seconds)
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
