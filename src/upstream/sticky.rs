//! Pure: what leads a client back to its server: names of servers, cookies that carry them, sessions that were learned.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use longwire_conf::model::{CookieExpires, StickyCookie};
use md5::{Digest, Md5};

use crate::route::calendar::Moment;

/// The name of a server that has no `route`: MD5 of `address:port` (or `unix:path`) in hex, as in nginx.
pub(super) fn sid(address: &str) -> String {
    Md5::digest(address).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Signs the names of servers, so that no client makes one up: the name, a dot, and half an HMAC-SHA-256 of group and
/// name in base64.
#[derive(Debug)]
pub struct Seal {
    keys: Vec<hmac::Key>,
    group: String,
}

impl Seal {
    /// With these secrets, of which the first signs. `None` without any: then names go bare, as in nginx.
    pub fn new(group: &str, secrets: &[String]) -> Option<Seal> {
        let key = |secret: &String| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let keys: Vec<_> = secrets.iter().map(key).collect();
        (!keys.is_empty()).then(|| Seal { keys, group: group.to_owned() })
    }

    /// The value for a server.
    pub fn close(&self, sid: &str) -> String {
        match self.keys.first() {
            Some(key) => format!("{sid}.{}", URL_SAFE_NO_PAD.encode(self.tag(key, sid))),
            None => sid.to_owned(),
        }
    }

    /// The server that a value names, if one of the secrets signed it.
    pub fn open<'a>(&self, value: &'a str) -> Option<&'a str> {
        let (sid, tag) = value.rsplit_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        let is_ours =
            |key| aws_lc_rs::constant_time::verify_slices_are_equal(&self.tag(key, sid), &tag).is_ok();
        self.keys.iter().any(is_ours).then_some(sid)
    }

    fn tag(&self, key: &hmac::Key, sid: &str) -> [u8; 16] {
        let mut context = hmac::Context::with_key(key);
        context.update(self.group.as_bytes());
        context.update(&[0]);
        context.update(sid.as_bytes());
        let mut tag = [0; 16];
        tag.copy_from_slice(&context.sign().as_ref()[..16]);
        tag
    }
}

/// A `Set-Cookie`, its attributes in nginx's order. `unix`: now, in seconds; `domain` and `samesite` as rendered.
pub fn set_cookie(cookie: &StickyCookie, value: &str, domain: &str, samesite: &str, unix: u64) -> String {
    let mut line = format!("{}={value}", cookie.name);
    match cookie.expires {
        Some(CookieExpires::Max) => {
            line.push_str("; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000");
        }
        Some(CookieExpires::After(seconds)) => {
            let moment = Moment::new(unix.saturating_add(seconds), 0);
            line.push_str(&format!("; expires={}; max-age={seconds}", moment.cookie()));
        }
        None => {}
    }
    if !domain.is_empty() {
        line.push_str(&format!("; domain={domain}"));
    }
    if cookie.httponly {
        line.push_str("; httponly");
    }
    if cookie.secure {
        line.push_str("; secure");
    }
    if !samesite.is_empty() {
        let is_known = ["strict", "lax", "none"].iter().any(|known| samesite.eq_ignore_ascii_case(known));
        line.push_str(&format!("; samesite={}", if is_known { samesite } else { "strict" }));
    }
    if let Some(path) = &cookie.path {
        line.push_str(&format!("; path={path}"));
    }
    line
}

/// Sessions that were learned: which server each is at. The one that nobody asked for the longest goes when there are
/// too many.
#[derive(Debug)]
pub(super) struct Sessions {
    most: usize,
    timeout_us: u64,
    /// By the hash of the session's name.
    all: HashMap<[u8; 16], Session>,
    /// By when they were asked for last.
    order: BTreeMap<(u64, u64), [u8; 16]>,
    serial: u64,
}

#[derive(Debug)]
struct Session {
    sid: Arc<str>,
    place: (u64, u64),
}

impl Sessions {
    /// At most this many, each kept for `timeout_us` after it was asked for last.
    pub(super) fn new(most: usize, timeout_us: u64) -> Sessions {
        Sessions { most, timeout_us, all: HashMap::new(), order: BTreeMap::new(), serial: 0 }
    }

    /// Takes over what was learned before; `rename` says what a server is named now, if it is still there.
    pub(super) fn succeed(&mut self, previous: Sessions, rename: impl Fn(&str) -> Option<Arc<str>>) {
        let mut all = previous.all;
        for (place, key) in previous.order.into_iter().rev().take(self.most) {
            let Some(sid) = all.remove(&key).and_then(|session| rename(&session.sid)) else { continue };
            self.order.insert(place, key);
            self.all.insert(key, Session { sid, place });
        }
        self.serial = self.serial.max(previous.serial);
    }

    /// The server of a session.
    pub(super) fn find(&mut self, name: &[u8], now_us: u64) -> Option<Arc<str>> {
        self.expire(now_us);
        self.all.get(&key(name)).map(|session| session.sid.clone())
    }

    /// A session is at a server; one that is not known is noted only where `begins`.
    pub(super) fn learn(&mut self, name: &[u8], sid: &Arc<str>, begins: bool, now_us: u64) {
        self.expire(now_us);
        let key = key(name);
        let known = self.all.remove(&key);
        if let Some(session) = &known {
            self.order.remove(&session.place);
        } else if !begins {
            return;
        }
        if self.all.len() >= self.most
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.all.remove(&oldest);
        }
        self.serial += 1;
        let place = (now_us, self.serial);
        self.order.insert(place, key);
        self.all.insert(key, Session { sid: sid.clone(), place });
    }

    fn expire(&mut self, now_us: u64) {
        while let Some(first) = self.order.first_entry() {
            if first.key().0.saturating_add(self.timeout_us) > now_us {
                return;
            }
            self.all.remove(&first.remove());
        }
    }
}

fn key(name: &[u8]) -> [u8; 16] {
    Md5::digest(name).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_believes_what_it_signed() {
        let secrets = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let old = Seal::new("app", &secrets(&["old"])).unwrap();
        let both = Seal::new("app", &secrets(&["new", "old"])).unwrap();
        let value = old.close("abc.d");
        assert_eq!(old.open(&value), Some("abc.d"));
        assert_eq!(both.open(&value), Some("abc.d"), "a secret that is being replaced still holds");
        assert_eq!(old.open(&both.close("abc.d")), None);
        assert_eq!(both.open("abc.d"), None);
        assert_eq!(both.open(&value.replace("abc", "abd")), None);
        assert_eq!(Seal::new("other", &secrets(&["old"])).unwrap().open(&value), None);
        assert!(Seal::new("app", &[]).is_none());
    }

    #[test]
    fn sessions_end_and_are_bounded() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut sessions = Sessions::new(2, 100);
        sessions.learn(b"1", &a, false, 0);
        assert_eq!(sessions.find(b"1", 0), None, "only what begins is learned");
        sessions.learn(b"1", &a, true, 0);
        sessions.learn(b"2", &b, true, 10);
        sessions.learn(b"1", &b, false, 20);
        sessions.learn(b"3", &a, true, 30);
        assert_eq!(sessions.find(b"2", 40), None, "the oldest went");
        assert_eq!(sessions.find(b"1", 40).as_deref(), Some("b"));
        assert_eq!(sessions.find(b"1", 120), None);
        assert_eq!(sessions.find(b"3", 129).as_deref(), Some("a"));
        assert_eq!((sessions.all.len(), sessions.order.len()), (1, 1));
    }
}
