//! Who comes: the client behind proxies, addresses, passwords, and whose page opens a WebSocket.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;
use longwire_conf::model::{AccessRule, Level, Satisfy};
use tokio::sync::Semaphore;

use super::access::Verdict;
use super::exchange::Exchange;
use crate::guard::{Refusal, admit};
use crate::metrics::HandshakeFault;
use crate::net::os_text;
use crate::route::facts::ConnectionFacts;
use crate::route::fields::credentials;
use crate::route::origin::foreign;
use crate::route::realip::{is_from, real_address};

/// Passwords that are hashed at once, each on a thread of its own; others wait.
static HASHING: Semaphore = Semaphore::const_new(8);

/// Takes the client for the one that a trusted proxy names, once for a request.
pub(super) fn know_client(x: &mut Exchange) {
    let guard = &x.settings.guard;
    if guard.real_ip_from.is_empty() || x.facts.connection.came_from.is_some() {
        return;
    }
    let Some(real) = real_address(guard, &x.facts) else { return };
    let known = &x.facts.connection;
    let came_from = Some(known.remote.clone());
    x.facts.connection = Arc::new(ConnectionFacts { remote: real, came_from, ..(**known).clone() });
}

/// `allow` and `deny`.
pub(super) fn addresses(x: &Exchange) -> Verdict {
    match rule(x) {
        None => Verdict::Silent,
        Some(AccessRule { deny: false, .. }) => Verdict::Granted,
        Some(_) => {
            // With `satisfy any` it is not decided yet.
            if x.settings.satisfy == Satisfy::All {
                tell_rule(x);
            }
            Verdict::Refused(403)
        }
    }
}

/// Says which rule keeps the client out.
pub(super) fn tell_rule(x: &Exchange) {
    if let Some(rule) = rule(x) {
        x.trouble(
            HandshakeFault::AddressDenied,
            format_args!("access forbidden by rule (deny in {})", rule.at),
        );
    }
}

/// The first rule that is about the client.
fn rule(x: &Exchange) -> Option<&AccessRule> {
    let client = &x.facts.connection.remote;
    x.settings.guard.rules.iter().find(|rule| is_from(&rule.source, client))
}

/// `auth_basic`.
pub(super) async fn password(x: &mut Exchange) -> Verdict {
    let guard = x.settings.guard.clone();
    let (Some((realm, at)), Some(file)) = (&guard.auth_basic, &guard.auth_basic_user_file) else {
        return Verdict::Silent;
    };
    let (realm, file) = (x.scope().render(realm), x.scope().render(file));
    if realm == b"off" {
        return Verdict::Silent;
    }
    let Some((user, password)) = credentials(&x.facts.headers) else {
        let told = "no user/password was provided for basic authentication";
        x.trouble(HandshakeFault::Password, format_args!("{told} (auth_basic in {at})"));
        return ask(x, &realm);
    };
    let path = PathBuf::from(OsString::from_vec(file));
    let (name, shown) = (String::from_utf8_lossy(&user).into_owned(), path.display().to_string());
    let turn = HASHING.acquire().await;
    #[expect(clippy::disallowed_methods, reason = "no more than eight at once, see above")]
    let asked = tokio::task::spawn_blocking(move || admit(&path, &user, &password)).await;
    drop(turn);
    match asked {
        Ok(Ok(())) => return Verdict::Granted,
        Ok(Err(Refusal::Unknown)) => {
            x.trouble(
                HandshakeFault::Password,
                format_args!("user \"{name}\" was not found in \"{shown}\" (auth_basic in {at})"),
            );
        }
        Ok(Err(Refusal::Wrong)) => {
            x.trouble(
                HandshakeFault::Password,
                format_args!("user \"{name}\": password mismatch (auth_basic in {at})"),
            );
        }
        Ok(Err(Refusal::BadHash)) => {
            let told = "its hash is of a form that Longwire does not know: make a new one with htpasswd -B";
            x.trouble(
                HandshakeFault::Configuration,
                format_args!("user \"{name}\" in \"{shown}\" cannot come in: {told}"),
            );
        }
        Ok(Err(Refusal::Unreadable(error))) => {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let level = if missing { Level::Error } else { Level::Crit };
            let told = format_args!("open() \"{shown}\" failed ({}) (auth_basic_user_file)", os_text(&error));
            x.refused(HandshakeFault::Configuration, level, told);
            return if missing { Verdict::Refused(403) } else { Verdict::Failed(500) };
        }
        // Only when the process is ending.
        Err(_) => return Verdict::Failed(500),
    }
    ask(x, &realm)
}

/// Has the client asked for a password.
fn ask(x: &mut Exchange, realm: &[u8]) -> Verdict {
    let value = [b"Basic realm=\"", realm, b"\""].concat();
    match HeaderValue::from_bytes(&value) {
        Ok(value) => {
            x.extra.insert(WWW_AUTHENTICATE, value);
            Verdict::Refused(401)
        }
        Err(_) => Verdict::Failed(500),
    }
}

/// `websocket_origins`: whether the page that opens this WebSocket may.
pub(super) fn origin(x: &Exchange) -> Result<(), u16> {
    let Some(origins) = x.settings.guard.websocket_origins.as_ref().filter(|_| x.websocket) else {
        return Ok(());
    };
    let Some(origin) = foreign(origins, &x.facts.headers) else { return Ok(()) };
    x.trouble(
        HandshakeFault::OriginRefused,
        format_args!(
            "its Origin \"{}\" is not among websocket_origins in {}",
            origin.escape_debug(),
            origins.at
        ),
    );
    Err(403)
}
