//! Who may: the checks of access, in nginx's order, before anything is looked for.

use http::header;
use longwire_conf::model::{Satisfy, Server};

use super::exchange::{Exchange, Step};
use super::guard;
use crate::metrics::HandshakeFault;
use crate::route::uri::text;
use crate::snapshot::Snapshot;

/// What a check says.
pub(super) enum Verdict {
    /// Nothing: it is not set here.
    Silent,
    /// The request may pass.
    Granted,
    /// It may not, with this status (401 or 403).
    Refused(u16),
    /// It cannot be told, with this status.
    Failed(u16),
}

/// The checks, in nginx's order.
const CHECKS: [Check; 3] = [Check::Addresses, Check::Password, Check::AuthRequest];

enum Check {
    /// `allow` and `deny`.
    Addresses,
    /// `auth_basic`.
    Password,
    /// `auth_request`.
    AuthRequest,
}

/// Asks every check that is set here. The error is the status for a request that may not pass.
pub(super) async fn check(x: &mut Exchange, snapshot: &Snapshot, server: &Server) -> Result<(), u16> {
    if x.subrequest {
        return Ok(());
    }
    let passed = permit(x, snapshot, server).await;
    if passed == Err(401) {
        tokio::time::sleep(x.settings.guard.auth_delay).await;
    }
    passed.and_then(|()| guard::origin(x))
}

async fn permit(x: &mut Exchange, snapshot: &Snapshot, server: &Server) -> Result<(), u16> {
    let mut refused = None;
    for check in CHECKS {
        let verdict = match check {
            Check::Addresses => guard::addresses(x),
            Check::Password => guard::password(x).await,
            Check::AuthRequest => auth_request(x, snapshot, server).await,
        };
        match (verdict, x.settings.satisfy) {
            (Verdict::Silent, _) | (Verdict::Granted, Satisfy::All) => {}
            (Verdict::Granted, Satisfy::Any) => {
                x.extra.remove(header::WWW_AUTHENTICATE);
                x.overcome();
                return Ok(());
            }
            (Verdict::Refused(status), Satisfy::Any) => {
                // A client that may try again with a password is told so.
                refused = refused.filter(|known| *known == 401).or(Some(status));
            }
            (Verdict::Refused(status), Satisfy::All) | (Verdict::Failed(status), _) => {
                return Err(status);
            }
        }
    }
    if refused == Some(403) {
        guard::tell_rule(x);
    }
    refused.map_or(Ok(()), Err)
}

/// `auth_request`: another location says whether the request may pass.
async fn auth_request(x: &mut Exchange, snapshot: &Snapshot, server: &Server) -> Verdict {
    let Some(rule) = x.settings.auth_request.clone() else { return Verdict::Silent };
    let mut sub = x.subrequest(rule.uri.clone());
    // Boxed, because it runs through the same phases.
    let step = Box::pin(sub.run(snapshot, server)).await;
    let (status, headers) = match &step {
        Step::Response(answer) => (answer.status().as_u16(), Some(answer.headers())),
        _ => (444, None),
    };
    sub.facts.outcome.status = status;
    x.facts.named = std::mem::take(&mut sub.facts.named);
    for (name, value) in x.settings.auth_request_set.clone().iter() {
        let value = text(sub.scope().render(value));
        x.facts.set(name, value);
    }
    if let 200..=299 = status {
        return Verdict::Granted;
    }
    let said = format!("auth_request \"{}\" in {} was answered {status}", rule.uri, rule.at);
    match status {
        401 | 403 => {
            x.blame(HandshakeFault::AuthRefused, format_args!("{said}"));
            if status == 401 {
                for value in headers.iter().flat_map(|headers| headers.get_all(header::WWW_AUTHENTICATE)) {
                    x.extra.append(header::WWW_AUTHENTICATE, value.clone());
                }
            }
            Verdict::Refused(status)
        }
        _ => {
            x.trouble(
                HandshakeFault::AuthFailed,
                format_args!("auth request unexpected status: {status} ({said})"),
            );
            Verdict::Failed(500)
        }
    }
}
