//! Verdicts over facts that were made up: what must not be mistaken for each other.

use super::*;
use crate::doctor::facts::*;
use crate::doctor::target::Target;

/// Facts of a handshake with this answer.
fn handshake(status: u16, headers: &[(&str, &str)], body: &str) -> Facts {
    let target = Target::parse("ws://app.test/ws").unwrap();
    Facts { target: Some(target), handshake: Some(exchange(status, headers, body)), ..Facts::default() }
}

fn exchange(status: u16, headers: &[(&str, &str)], body: &str) -> Exchange {
    Exchange {
        path: "/ws".into(),
        status: Some(status),
        minor: Some(1),
        headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        body: body.into(),
        ..Exchange::default()
    }
}

fn page(path: &str, made_up: bool, answer: Exchange) -> Page {
    Page { path: path.into(), made_up, answer }
}

fn varied(id: &str, status: u16) -> Variation {
    Variation { id: id.into(), what: id.into(), answer: exchange(status, &[], "") }
}

/// Facts of an open socket with these trials: id, outcome, code of the Close frame.
fn session(trials: &[(&str, Outcome, Option<u16>)]) -> Facts {
    let trial = |(id, outcome, code): &(&str, Outcome, Option<u16>)| Trial {
        id: (*id).into(),
        outcome: *outcome,
        ending: (*outcome == Outcome::Ended).then(|| Ending { code: *code, ..Ending::default() }),
        ..Trial::default()
    };
    let session = Session { trials: trials.iter().map(trial).collect(), ..Session::default() };
    Facts { session: Some(session), ..handshake(101, &[], "") }
}

fn id(facts: &Facts) -> &'static str {
    judge(facts).verdict.id
}

const NGINX: &[(&str, &str)] = &[("Server", "nginx/1.22.1")];
const HTML: &[(&str, &str)] = &[("Server", "nginx/1.22.1"), ("Content-Type", "text/html")];

#[test]
fn the_same_answer_to_a_plain_request_means_different_things() {
    let alike = |headers, status, body: &str, nowhere: Exchange| {
        let mut facts = handshake(status, headers, body);
        facts.pages = vec![page("/ws", false, exchange(status, headers, body)), page("/x", true, nowhere)];
        facts
    };
    let missing = || exchange(404, &[], "no");
    assert_eq!(
        id(&alike(HTML, 200, "<html>chat", missing())),
        "upgrade-stripped",
        "the server has a page there"
    );
    assert_eq!(id(&alike(HTML, 200, "<html>app", exchange(200, HTML, "<html>app"))), "page-fallback");
    assert_eq!(
        id(&alike(NGINX, 404, "Cannot GET /ws", missing())),
        "upgrade-stripped",
        "of an application behind nginx"
    );
    assert_eq!(id(&alike(&[], 404, "Cannot GET /ws", missing())), "wrong-path", "nobody in front");
    assert_eq!(
        id(&alike(HTML, 404, "<hr><center>nginx/1.22.1</center>", missing())),
        "wrong-path",
        "nginx's own"
    );
    let mut facts = alike(NGINX, 404, "Cannot GET /ws", missing());
    facts.paths = vec![page("/cable", false, exchange(101, &[], ""))];
    assert_eq!(id(&facts), "wrong-path", "the proxy does pass handshakes on");
}

#[test]
fn a_change_that_helps_is_the_cause_unless_all_of_them_help() {
    let mut facts = handshake(403, &[], "");
    facts.variations = vec![varied("no-origin", 101), varied("version-8", 403), varied("browser-name", 403)];
    facts.origin = Some("http://app.test".into());
    assert_eq!(id(&facts), "origin-refused");
    facts.variations = vec![varied("no-origin", 403), varied("version-8", 403), varied("browser-name", 101)];
    assert_eq!(id(&facts), "header-refused");
    facts.variations.iter_mut().for_each(|one| one.answer.status = Some(101));
    assert_eq!(id(&facts), "flapping");
}

#[test]
fn the_own_words_of_proxies_are_known() {
    let haproxy = "<h1>503 Service Unavailable</h1>\nNo server is available to handle this request.";
    assert_eq!(id(&handshake(503, &[], haproxy)), "backend-down");
    assert_eq!(id(&handshake(503, NGINX, "<hr><center>nginx/1.22.1</center>")), "rate-limited");
    assert_eq!(id(&handshake(503, NGINX, "we are full")), "overloaded");
    assert_eq!(id(&handshake(426, &[("Sec-WebSocket-Version", "8, 7")], "")), "wrong-version");
    assert_eq!(id(&handshake(426, &[("Sec-WebSocket-Version", "13, 8")], "")), "upgrade-stripped");
    let apache = "The server is temporarily unable to service your\nrequest due to maintenance downtime or capacity\nproblems.";
    assert_eq!(id(&handshake(503, &[("Server", "Apache")], apache)), "backend-down");
    let invalid = "<h1>400 Bad request</h1>\nYour browser sent an invalid request.";
    let mut large = handshake(400, &[], invalid);
    large.head_bytes = 20_000;
    assert_eq!(id(&large), "head-too-large");
    assert_eq!(id(&handshake(400, &[], invalid)), "could-not-tell", "of a small head");
    let tornado = "\"Connection\" must be \"Upgrade\".";
    assert_eq!(id(&handshake(400, NGINX, tornado)), "upgrade-stripped");
    assert_eq!(id(&handshake(500, &[], "")), "server-error");
    assert_eq!(id(&handshake(418, &[], "")), "could-not-tell");
}

#[test]
fn what_an_application_does_not_know_is_its_own_affair() {
    use Outcome::*;
    let well = ("ping", Echoed, None);
    assert_eq!(id(&session(&[well, ("text", Ended, Some(4400))])), "sound");
    assert_eq!(id(&session(&[well, ("text", Passed, None), ("64k", Ended, Some(1008))])), "sound");
    assert_eq!(id(&session(&[well, ("text", Passed, None), ("64k", Ended, Some(1009))])), "message-limit");
    assert_eq!(id(&session(&[well, ("text", Echoed, None), ("1m", Ended, None)])), "message-limit");
    assert_eq!(
        id(&session(&[well, ("text", Echoed, None), ("1m", Silent, None)])),
        "sound",
        "a slow line is no fault"
    );
    assert_eq!(
        id(&session(&[well, ("text", Echoed, None), ("fragments", Passed, None)])),
        "fragments-broken"
    );
    assert_eq!(id(&session(&[well, ("text", Passed, None), ("fragments", Passed, None)])), "sound");
    assert_eq!(
        id(&session(&[well, ("text", Passed, None), ("compressed", Ended, Some(1002))])),
        "compression-broken"
    );
    assert_eq!(id(&session(&[("ping", Silent, None), ("text", Echoed, None)])), "ping-unanswered");
    assert_eq!(id(&session(&[("ping", Ended, Some(1011))])), "closed-at-once");
}

#[test]
fn a_dead_address_counts_only_where_all_else_is_sound() {
    let dead = Address { address: "[::1]:80".into(), error: Some(TcpError::Refused), ..Address::default() };
    let alive = Address { address: "127.0.0.1:80".into(), ..Address::default() };
    let mut facts = handshake(101, &[], "");
    facts.addresses = vec![dead, alive];
    assert_eq!(id(&facts), "address-dead");
    facts.addresses[0].error = Some(TcpError::Unreachable);
    assert_eq!(id(&facts), "sound", "this machine may have no IPv6");
    facts.addresses[0].error = Some(TcpError::Refused);
    facts.handshake = Some(exchange(401, &[], ""));
    assert_eq!(id(&facts), "login-required");
}

#[test]
fn exit_status_follows_the_verdict() {
    for (facts, status) in [
        (handshake(101, &[], ""), 0),
        (handshake(401, &[], ""), 1),
        (handshake(418, &[], ""), 2),
        (Facts::default(), 2),
    ] {
        assert_eq!(judge(&facts).verdict.exit_status(), status);
    }
}
