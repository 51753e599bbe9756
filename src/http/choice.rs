//! What of a request decides which server of a group it goes to: keys, addresses, sessions that stick.

use core::net::IpAddr;

use http::{HeaderValue, Response};
use hyper::body::Incoming;
use longwire_conf::model::{Balance, Sticky};
use longwire_conf::template::Template;

use super::exchange::Exchange;
use crate::clock;
use crate::route::facts::Peer;
use crate::upstream::balance::Ask;
use crate::upstream::{Group, Server, set_cookie};

/// What a request brings along, found out once for all its tries.
pub(super) struct Choice {
    key: Vec<u8>,
    stick: Option<String>,
    /// The session that it belongs to, where those are learned.
    session: Option<Vec<u8>>,
    /// It begins what stays at a server: a tunnel, or a session of Engine.IO.
    begins: bool,
    chance: u64,
}

impl Choice {
    /// `websocket`: it asks for a tunnel.
    pub(super) fn new(x: &Exchange, group: &Group, websocket: bool) -> Choice {
        let key = match (&group.balance, group.key()) {
            (Balance::IpHash, _) => network(&x.facts.connection.remote),
            (_, Some(key)) => x.scope().render(key),
            _ => Vec::new(),
        };
        // No system is without chance; where it is, the first server is as good as any.
        let chance = getrandom::u64().unwrap_or_default();
        // A session of Engine.IO that lives at a server that drains goes on there, whatever carries it: no other
        // server knows it. One that begins goes elsewhere also where it begins by polling, or it would never end.
        let begins = engine_io(&x.facts.args).map_or(websocket, |known| !known);
        let mut choice = Choice { key, stick: None, session: None, begins, chance };
        match &group.sticky {
            None => {}
            Some(Sticky::Cookie(cookie)) => {
                let value = text(x.scope().render(&cookie.lookup));
                choice.stick = match &group.seal {
                    None => Some(value),
                    Some(seal) => seal.open(&value).map(str::to_owned),
                };
            }
            Some(Sticky::Route(routes)) => choice.stick = first(x, routes).map(text),
            Some(Sticky::Learn(learn)) => {
                choice.session = first(x, &learn.lookup);
                let known = choice.session.as_deref().and_then(|session| group.session(session));
                choice.stick = known.map(|sid| sid.to_string());
            }
        }
        choice.stick = choice.stick.filter(|stick| !stick.is_empty());
        choice
    }

    /// The question for the balancer.
    pub(super) fn ask(&self) -> Ask<'_> {
        Ask {
            now_us: clock::now_us(),
            key: &self.key,
            stick: self.stick.as_deref(),
            begins: self.begins,
            chance: self.chance,
        }
    }

    /// The head of an answer is here: remembers the session, and gives the cookie that leads back to this server.
    pub(super) fn settle(&self, x: &Exchange, group: &Group, server: &Server) -> Option<HeaderValue> {
        match group.sticky.as_ref()? {
            Sticky::Route(_) => None,
            Sticky::Cookie(cookie) => {
                let value = group.seal.as_ref().map(|seal| seal.close(&server.sid));
                let value = value.as_deref().unwrap_or(&server.sid);
                let render = |template: Option<&Template>| {
                    text(template.map_or_else(Vec::new, |t| x.scope().render(t)))
                };
                let (domain, samesite) = (render(cookie.domain.as_ref()), render(cookie.samesite.as_ref()));
                let line = set_cookie(cookie, value, &domain, &samesite, clock::unix_us() / 1_000_000);
                HeaderValue::from_str(&line).ok()
            }
            Sticky::Learn(learn) => {
                if let Some(session) = first(x, &learn.create) {
                    group.learn(&session, server, true);
                } else if let Some(session) = &self.session {
                    group.learn(session, server, false);
                }
                None
            }
        }
    }
}

/// Whether an answer says that a session of Engine.IO is unknown, which every other instance but its own does.
pub(super) fn may_miss_session(x: &Exchange, response: &Response<Incoming>) -> bool {
    response.status().as_u16() == 400 && engine_io(&x.facts.args) == Some(true)
}

/// Whether a query is one of Engine.IO, which socket.io stands on, and if so whether it names a session.
fn engine_io(args: &str) -> Option<bool> {
    let has = |name| args.split('&').any(|arg| arg.strip_prefix(name).is_some_and(|value| !value.is_empty()));
    has("EIO=").then(|| has("sid="))
}

/// The part of a client's address that `ip_hash` hashes.
fn network(peer: &Peer) -> Vec<u8> {
    match peer {
        Peer::Ip(IpAddr::V4(ip), _) => ip.octets()[..3].to_vec(),
        Peer::Ip(IpAddr::V6(ip), _) => ip.octets().to_vec(),
        Peer::Unix(_) => vec![0; 3],
    }
}

/// The first value that is not empty.
fn first(x: &Exchange, templates: &[Template]) -> Option<Vec<u8>> {
    templates.iter().map(|template| x.scope().render(template)).find(|value| !value.is_empty())
}

fn text(value: Vec<u8>) -> String {
    String::from_utf8(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_engine_io_are_told_from_other_requests() {
        for (args, found) in [
            ("EIO=4&transport=websocket&sid=abc", Some(true)),
            ("sid=abc&EIO=4", Some(true)),
            ("EIO=4&transport=polling&t=x", Some(false)),
            ("EIO=4&transport=websocket&sid=", Some(false)),
            ("sid=abc", None),
            ("XEIO=4&sid=a", None),
            ("", None),
        ] {
            assert_eq!(engine_io(args), found, "{args}");
        }
    }
}
