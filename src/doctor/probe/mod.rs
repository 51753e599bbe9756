//! The prober: takes the road step by step and notes what it sees. It judges nothing.

mod alpn;
mod chain;
pub mod dial;
pub mod exchange;
pub mod request;
pub mod road;
pub mod socket;
mod talk;
mod vary;

use std::time::Duration;

use futures_util::future::{join, join3};
use tokio::time::Instant;

pub use dial::Dialer;
pub use request::Request;
pub use socket::{Event, WebSocket};

use super::facts::{Alpn, Facts, OtherWay, TlsError};
use super::options::Options;
use super::sticky::packet;
use super::target::Target;
use dial::Failure;

/// How long the whole may take, apart from what is asked to last (an idle run).
pub const WHOLE: Duration = Duration::from_millis(9_000);

/// How long asking the same port in another way may take.
const OTHER_LIMIT: Duration = Duration::from_millis(2_000);

/// The time that is left.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    began: Instant,
    step: Duration,
}

impl Budget {
    /// Begins now.
    pub fn new(options: &Options) -> Budget {
        Budget { began: Instant::now(), step: options.timeout }
    }

    /// How long a step may take that should take at most `most`.
    pub fn step(&self, most: Duration) -> Duration {
        most.min(self.step).min(self.left())
    }

    /// What is left of the whole.
    pub fn left(&self) -> Duration {
        WHOLE.saturating_sub(self.began.elapsed())
    }
}

/// Takes the road to a URL. Fails only on what the caller gave besides (a file of certificates that is none).
pub async fn collect(url: &str, options: &Options) -> Result<(Facts, Option<Dialer>), String> {
    let budget = Budget::new(options);
    let mut facts = Facts { url: url.to_owned(), insecure: options.insecure, ..Facts::default() };
    let dialer = match Target::parse(url) {
        Err(error) => {
            facts.url_error = Some(error);
            None
        }
        Ok(mut target) => {
            target.path = packet::handshake_path(&target.path);
            facts.target = Some(target.clone());
            walk(&target, options, budget, &mut facts).await?
        }
    };
    facts.elapsed_ms = budget.began.elapsed().as_millis() as u64;
    Ok((facts, dialer))
}

/// The steps, each of which needs the one before.
async fn walk(
    target: &Target,
    options: &Options,
    budget: Budget,
    facts: &mut Facts,
) -> Result<Option<Dialer>, String> {
    let Some(dialer) = road::reach(target, options, budget, facts).await? else {
        facts.other_way = other_way(target, options, budget, facts).await;
        return Ok(None);
    };
    let request = Request::handshake(target, options);
    facts.origin = request.header("origin").map(str::to_owned);
    facts.own_origin = facts.origin.as_deref() == Some(target.origin().as_str());
    facts.head_bytes = request.bytes().len();
    facts.subprotocols.clone_from(&options.subprotocols);
    let (exchange, socket) = dialer.open(&request).await;
    facts.handshake = Some(exchange.clone());
    if let Some(socket) = socket {
        let session = talk::talk(&dialer, options, budget, &exchange, socket);
        let (session, alpn) = join(session, negotiated(&dialer, options, budget)).await;
        (facts.session, facts.alpn) = (Some(session), alpn);
        if facts.session.as_ref().is_some_and(|session| session.closed_at_once.is_none()) {
            facts.variations = vary::in_other_words(&dialer, options, budget.step(OTHER_LIMIT)).await;
        }
    } else {
        let aside = facts.clone();
        let (other, alpn) =
            (other_way(target, options, budget, &aside), negotiated(&dialer, options, budget));
        let around = vary::look_around(&dialer, options, budget, facts);
        let ((), other, alpn) = join3(around, other, alpn).await;
        (facts.other_way, facts.alpn) = (other, alpn);
    }
    Ok(Some(dialer))
}

/// Other ways to negotiate TLS, where there is TLS.
async fn negotiated(dialer: &Dialer, options: &Options, budget: Budget) -> Vec<Alpn> {
    if dialer.target.secure { alpn::ask(dialer, options, budget.step(OTHER_LIMIT)).await } else { Vec::new() }
}

/// The same port the other way, where what came suggests that the URL has the wrong scheme.
async fn other_way(target: &Target, options: &Options, budget: Budget, facts: &Facts) -> Option<OtherWay> {
    let limit = budget.step(OTHER_LIMIT);
    let connected = facts.addresses.iter().find(|address| address.error.is_none())?;
    let address = connected.address.parse().ok()?;
    if target.secure {
        let error = facts.tls.as_ref()?.error?;
        if matches!(error, TlsError::VersionOld | TlsError::CertificateRequired | TlsError::NoProtocol) {
            return None;
        }
        let plain = Dialer { target: Target { secure: false, ..target.clone() }, address, limit };
        let answer = plain.ask(&Request::handshake(&plain.target, options)).await;
        // A TLS port may answer plain text in plain text: to say that it does not take it.
        let works = answer.status.is_some()
            && !answer.body.contains("HTTPS port")
            && !answer.body.contains("HTTPS server");
        return Some(OtherWay { tls: false, works, answer: Some(answer) });
    }
    let answer = facts.handshake.as_ref()?;
    let doubtful = answer.status.is_none() || (answer.status == Some(400) && answer.body.contains("HTTP"));
    if !doubtful {
        return None;
    }
    let stream = dial::tcp(address, limit).await.ok()?;
    let (_, outcome) = dial::tls(stream, &target.host, &["http/1.1"], limit).await;
    let works = match &outcome {
        Ok(_) => true,
        // These are said by somebody who speaks TLS.
        Err(Failure::Tls(error, _)) => {
            matches!(
                error,
                TlsError::Alert | TlsError::UnknownName | TlsError::VersionOld | TlsError::NoProtocol
            )
        }
        Err(Failure::Tcp(..)) => false,
    };
    Some(OtherWay { tls: true, works, answer: None })
}
