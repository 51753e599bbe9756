//! What else answers there: pages, the same handshake with one thing changed, other paths, redirects.

use std::time::Duration;

use futures_util::future::join;
use futures_util::stream::{self, StreamExt as _};

use super::{Budget, Dialer, Request, road};
use crate::doctor::facts::{Exchange, Facts, Page, Redirect, Variation};
use crate::doctor::options::Options;

/// How many requests are under way at once.
const AT_ONCE: usize = 12;
/// How long each may take.
const LIMIT: Duration = Duration::from_millis(2_000);
/// How many redirects are followed.
const MAX_REDIRECTS: usize = 4;

/// The same where the first handshake was not answered.
const LIMIT_IN_SILENCE: Duration = Duration::from_millis(1_200);

/// The same where the server answers nothing: all that wait may wait together.
const AT_ONCE_IN_SILENCE: usize = 32;

/// Paths that applications and libraries open WebSockets at.
const PATHS: [&str; 16] = [
    "/",
    "/ws",
    "/ws/",
    "/websocket",
    "/socket.io/?EIO=4&transport=websocket",
    "/sockjs/websocket",
    "/sockjs-node",
    "/cable",
    "/app",
    "/graphql",
    "/_blazor",
    "/hub",
    "/live/websocket",
    "/socket/websocket?vsn=2.0.0",
    "/mqtt",
    "/chat",
];

/// Subprotocols that servers ask for.
pub(super) const SUBPROTOCOLS: &str = "graphql-transport-ws, graphql-ws, actioncable-v1-json, mqtt, wamp.2.json, v12.stomp, \
                            ocpp1.6, ocpp2.0.1, xmpp, sip, binary, json, chat";

/// A browser's name, for filters that know names.
const BROWSER: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";

/// What Firefox sends as `Connection`.
const FIREFOX: &str = "keep-alive, Upgrade";

/// A site that no server knows.
const FOREIGN: &str = "https://longwire-doctor.invalid";

/// A path that nothing can be at.
const MADE_UP: &str = "/longwire-doctor-4f1c9a27";

/// Looks around where the handshake did not give a WebSocket, as far as its answer leaves questions open.
pub(super) async fn look_around(dialer: &Dialer, options: &Options, budget: Budget, facts: &mut Facts) {
    let Some(answer) = facts.handshake.clone() else { return };
    let limit = if answer.timed_out { LIMIT_IN_SILENCE } else { LIMIT };
    let dialer = Dialer { limit: budget.step(limit), ..dialer.clone() };
    match answer.status {
        Some(101) => {}
        Some(300..=399) if answer.header("location").is_some() => {
            facts.redirects = follow(&dialer, options, budget, &answer).await;
        }
        // These say what they mean; more requests would only do harm.
        Some(401 | 407 | 429 | 502..=599) => facts.pages = pages(&dialer, options).await,
        _ => {
            let at_once = if answer.timed_out { AT_ONCE_IN_SILENCE } else { AT_ONCE };
            let (pages, handshakes) =
                join(pages(&dialer, options), handshakes(&dialer, options, at_once)).await;
            facts.pages = pages;
            (facts.variations, facts.paths) = handshakes;
        }
    }
}

/// Where the handshake works: whether it does in the form of another browser, and for a page of another site.
pub(super) async fn in_other_words(dialer: &Dialer, options: &Options, limit: Duration) -> Vec<Variation> {
    let dialer = Dialer { limit, ..dialer.clone() };
    let base = Request::handshake(&dialer.target, options);
    let mut firefox = base.clone();
    firefox.set("Connection", FIREFOX);
    let mut foreign = base;
    foreign.set("Origin", FOREIGN);
    let (firefox, foreign) = join(dialer.ask(&firefox), dialer.ask(&foreign)).await;
    vec![
        Variation { id: "keep-alive".into(), what: format!("with Connection: {FIREFOX}"), answer: firefox },
        Variation { id: "foreign-origin".into(), what: format!("with Origin: {FOREIGN}"), answer: foreign },
    ]
}

/// Plain requests at the path, and at one where nothing is.
async fn pages(dialer: &Dialer, options: &Options) -> Vec<Page> {
    let request = Request::page(&dialer.target, options);
    let (here, nowhere) = (request.clone(), request.at(MADE_UP));
    let (here, nowhere) = join(dialer.ask(&here), dialer.ask(&nowhere)).await;
    vec![
        Page { path: dialer.target.path.clone(), made_up: false, answer: here },
        Page { path: MADE_UP.into(), made_up: true, answer: nowhere },
    ]
}

/// The handshake changed, and the handshake elsewhere.
async fn handshakes(dialer: &Dialer, options: &Options, at_once: usize) -> (Vec<Variation>, Vec<Page>) {
    let base = Request::handshake(&dialer.target, options);
    let own = dialer.target.bare_path();
    let paths = PATHS.iter().filter(|path| path.split('?').next() != Some(own)).map(|path| base.at(path));
    let mut paths: Vec<Request> = paths.collect();
    if let Some(other) = slash_changed(own).filter(|other| !PATHS.contains(&other.as_str())) {
        paths.push(base.at(&other));
    }
    let changed = variations(dialer, &base);
    let all: Vec<Request> = changed.iter().map(|(_, _, request)| request.clone()).chain(paths).collect();
    // What matters most goes first: the changed handshakes.
    let answers: Vec<Exchange> =
        stream::iter(all.iter()).map(|request| dialer.ask(request)).buffered(at_once).collect().await;
    let mut answers = answers.into_iter();
    let variations = changed
        .into_iter()
        .zip(answers.by_ref())
        .map(|((id, what, _), answer)| Variation { id: id.into(), what, answer })
        .collect();
    let pages = answers.map(|answer| Page { path: answer.path.clone(), made_up: false, answer }).collect();
    (variations, pages)
}

/// The path with a slash at its end, or without.
fn slash_changed(path: &str) -> Option<String> {
    match path.strip_suffix('/') {
        Some("") => None,
        Some(bare) => Some(bare.to_owned()),
        None => Some(format!("{path}/")),
    }
}

/// The handshake with one thing changed: identifier, words, request.
fn variations(dialer: &Dialer, base: &Request) -> Vec<(&'static str, String, Request)> {
    let with = |change: &dyn Fn(&mut Request)| {
        let mut request = base.clone();
        change(&mut request);
        request
    };
    let port = dialer.target.port;
    let scheme = if dialer.target.secure { "https" } else { "http" };
    let localhost = |request: &mut Request| {
        request.set("Host", &format!("localhost:{port}"));
        if base.header("origin").is_some() {
            request.set("Origin", &format!("{scheme}://localhost:{port}"));
        }
    };
    let mut all = vec![
        (
            "version-8",
            "with version 8 of the protocol".into(),
            with(&|r| r.set("Sec-WebSocket-Version", "8")),
        ),
        ("no-extensions", "without extensions".into(), with(&|r| r.remove("Sec-WebSocket-Extensions"))),
        ("browser-name", "with a browser's User-Agent".into(), with(&|r| r.set("User-Agent", BROWSER))),
        ("keep-alive", format!("with Connection: {FIREFOX}"), with(&|r| r.set("Connection", FIREFOX))),
        ("host-localhost", "with Host: localhost".into(), with(&localhost)),
    ];
    if base.header("origin").is_some() {
        all.insert(0, ("no-origin", "without Origin".into(), with(&|r| r.remove("Origin"))));
    }
    if base.header("sec-websocket-protocol").is_some() {
        all.push((
            "no-subprotocol",
            "without a subprotocol".into(),
            with(&|r| r.remove("Sec-WebSocket-Protocol")),
        ));
    } else {
        all.push((
            "subprotocols",
            "with subprotocols".into(),
            with(&|r| r.set("Sec-WebSocket-Protocol", SUBPROTOCOLS)),
        ));
    }
    all
}

/// Follows redirects as a patient client would; browsers follow none.
async fn follow(dialer: &Dialer, options: &Options, budget: Budget, first: &Exchange) -> Vec<Redirect> {
    let mut found: Vec<Redirect> = Vec::new();
    let (mut dialer, mut answer) = (dialer.clone(), first.clone());
    let mut been = vec![dialer.target.to_string()];
    while let (Some(status @ 300..=399), Some(location)) = (answer.status, answer.header("location"))
        && found.len() < MAX_REDIRECTS
    {
        let mut hop = Redirect { status, location: location.to_owned(), ..Redirect::default() };
        let Ok(target) = dialer.target.join(location) else {
            found.push(hop);
            break;
        };
        hop.url = target.to_string();
        if been.contains(&hop.url) {
            found.push(hop);
            break;
        }
        been.push(hop.url.clone());
        let mut aside = Facts::default();
        // A road that breaks there is told by its own words.
        let next = road::reach(&target, options, budget, &mut aside).await.ok().flatten();
        let Some(next) = next else {
            let failure = Some("no connection, or a certificate that is not trusted".into());
            hop.answer = Some(Exchange { failure, ..Exchange::default() });
            found.push(hop);
            break;
        };
        dialer = Dialer { limit: budget.step(LIMIT), ..next };
        answer = dialer.ask(&Request::handshake(&target, options)).await;
        hop.answer = Some(answer.clone());
        found.push(hop);
    }
    found
}
