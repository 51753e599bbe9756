//! Pure: what goes wrong on an open WebSocket.

use super::{Fix, Party, Step, Verdict, changed, front};
use crate::doctor::facts::{End, Ending, Facts, Outcome, Session, Trial};

/// What graphql-ws says to who offers no subprotocol.
const NO_SUBPROTOCOL: u16 = 4406;
/// Breach of the protocol, by whoever says so.
const PROTOCOL_ERROR: u16 = 1002;
/// Message too long.
const TOO_BIG: u16 = 1009;

/// The first fault.
pub(super) fn judge(facts: &Facts) -> Option<Verdict> {
    let session = facts.session.as_ref()?;
    closed_at_once(facts, session)
        .or_else(|| broken(session))
        .or_else(|| held(facts, session))
        .or_else(|| ping(session))
        .or_else(|| fragments(session))
        .or_else(|| compressed(session))
        .or_else(|| large(session))
}

fn make(id: &'static str, fault_of: Party, sentence: impl Into<String>) -> Verdict {
    Verdict::new(id, fault_of, Step::Messages, sentence)
}

fn closed_at_once(facts: &Facts, session: &Session) -> Option<Verdict> {
    // A Ping is the first thing sent: who ends on that ends on anything.
    let on_ping = session
        .trial("ping")
        .filter(|ping| ping.outcome == Outcome::Ended)
        .and_then(|ping| ping.ending.as_ref());
    let ending = session.closed_at_once.as_ref().or(on_ping)?;
    let words = ending.reason.to_ascii_lowercase();
    let stay = |id: &str| session.stays.iter().find(|stay| stay.id == id && stay.open);
    let offering = stay("subprotocols");
    let by_origin = facts.origin.is_some() && (stay("no-origin").is_some() || words.contains("origin"));
    let by_subprotocol = facts.subprotocols.is_empty()
        && (offering.is_some() || ending.code == Some(NO_SUBPROTOCOL) || words.contains("subprotocol"));
    let verdict = if by_origin && offering.is_none() {
        closed_by_origin(facts)
    } else if by_subprotocol {
        closed_for_subprotocol(offering.and_then(|stay| stay.subprotocol.as_deref()))
    } else {
        let sentence =
            format!("The WebSocket opens, and the server ends it {} ms later ({}).", ending.ms, code(ending));
        make("closed-at-once", Party::Server, sentence)
            .fix(Fix::new(
                "the server",
                "Its application does not want this client, or fails: look into its log. Often a session, a token or a \
                 parameter in the URL is missing; here: --cookie, --header, or the URL's query.",
            ))
            .fix(Fix::new(
                "the client",
                "Read the code and the reason in the close event: 4000 and above are the application's own.",
            ))
    };
    let helped =
        session.stays.iter().filter(|stay| stay.open).map(|stay| format!("{} it stays open", stay.what));
    Some(verdict.seen(shown(ending)).seen_all(helped))
}

fn closed_by_origin(facts: &Facts) -> Verdict {
    let origin = facts.origin.as_deref().unwrap_or_default();
    let sentence =
        format!("The server opens the WebSocket and ends it at once, because it refuses pages of {origin}.");
    Verdict { sentence, step: Step::Messages, ..changed::origin_refused(facts, front::front(facts)) }
}

fn closed_for_subprotocol(chosen: Option<&str>) -> Verdict {
    let name = chosen.unwrap_or("graphql-transport-ws");
    make(
        "subprotocol-needed",
        Party::Client,
        "The server opens the WebSocket and closes it at once, because no subprotocol was offered.",
    )
    .fix(
        Fix::new("the page", "Offer the one that the server speaks. Here: --subprotocol NAME.")
            .lines(&format!("new WebSocket(url, [\"{name}\"])")),
    )
}

fn broken(session: &Session) -> Option<Verdict> {
    let trial = session.trials.iter().find(|trial| trial.outcome == Outcome::Broken)?;
    let violation = trial.violation.as_deref().unwrap_or_default();
    let verdict = if violation.contains("does not decompress") {
        make(
            "compression-broken",
            Party::Server,
            "The server agrees to compression and sends what cannot be decompressed.",
        )
        .fixes(no_compression())
    } else if violation.starts_with("a masked frame") {
        make(
            "masking-wrong",
            Party::Server,
            "The server masks its frames, which only clients may do: browsers end the connection.",
        )
        .fix(Fix::new(
            "the server",
            "Send frames without a mask (RFC 6455 section 5.1), or let a library do it.",
        ))
    } else {
        make("protocol-broken", Party::Server, format!("What comes behind the 101 are no WebSocket frames: {violation}."))
            .fix(Fix::new(
                "the server or the proxy",
                "Look what writes into the connection after the handshake: a second HTTP answer, an error page, a log line; \
                 or a proxy that does not know that it is a tunnel now.",
            ))
    };
    Some(verdict.seen_all(trial.ending.as_ref().map(shown)))
}

fn held(facts: &Facts, session: &Session) -> Option<Verdict> {
    if !session.held {
        return None;
    }
    let name = front::front(facts).map_or("Something between", front::Front::name);
    Some(
        make(
            "frames-held",
            Party::Proxy,
            format!("{name} holds frames back: small ones do not arrive until more has come."),
        )
        .seen("nothing came back for a Ping and a short text; after 64 KB more something did")
        .fix(Fix::new(
            "the proxy",
            "Switch buffering off on this path, or let it know that the connection is a tunnel.",
        )),
    )
}

fn ping(session: &Session) -> Option<Verdict> {
    let ping = session.trial("ping").filter(|ping| ping.outcome == Outcome::Silent)?;
    let mute = session.greeting.is_none()
        && session.trial("text").is_none_or(|text| text.outcome == Outcome::Silent);
    let sentence = if mute {
        "Nothing at all comes back over the open WebSocket, not even a Pong."
    } else {
        "The server answers no Ping, which it must (RFC 6455 section 5.5.3): who uses pings to see whether it lives will \
         end healthy connections."
    };
    Some(
        make("ping-unanswered", Party::Server, sentence).seen(format!("no Pong within {} ms", ping.ms)).fix(Fix::new(
            "the server",
            "Answer each Ping with a Pong of the same payload; libraries do so unless their reading is stopped or blocked.",
        )),
    )
}

/// Whether plain messages come back as they were.
fn echoes(session: &Session) -> bool {
    session.trial("text").is_some_and(|text| text.outcome == Outcome::Echoed)
}

/// A trial that went worse than a plain message did.
fn worse<'a>(session: &'a Session, id: &str) -> Option<&'a Trial> {
    let trial = session.trial(id)?;
    let refused = trial.ending.as_ref().is_some_and(|ending| ending.code == Some(PROTOCOL_ERROR));
    let bad = if echoes(session) {
        !matches!(trial.outcome, Outcome::Echoed)
    } else {
        trial.outcome == Outcome::Ended && refused
    };
    bad.then_some(trial)
}

fn fragments(session: &Session) -> Option<Verdict> {
    let trial = worse(session, "fragments")?;
    Some(
        make("fragments-broken", Party::Server, "A message in several frames does not arrive as one: the server does not put fragments together.")
            .seen(format!("a text in three frames: {}", became(trial)))
            .fix(Fix::new(
                "the server",
                "Join the frames of a message (RFC 6455 section 5.4), or use a library that does: browsers and proxies may \
                 send any message in fragments.",
            )),
    )
}

fn compressed(session: &Session) -> Option<Verdict> {
    let trial = worse(session, "compressed")?;
    Some(
        make(
            "compression-broken",
            Party::Server,
            "The server agrees to compression and does not understand compressed messages.",
        )
        .seen(format!("agreed: {}", session.extensions.as_deref().unwrap_or_default()))
        .seen(format!("a compressed text: {}", became(trial)))
        .fixes(no_compression()),
    )
}

fn no_compression() -> Vec<Fix> {
    vec![
        Fix::new("the server", "Switch compression off, or repair it.")
            .lines("new WebSocketServer({ perMessageDeflate: false })   // Node's ws"),
        Fix::new("the proxy", "Or keep the offer from it until it is repaired.")
            .lines("proxy_set_header Sec-WebSocket-Extensions \"\";"),
    ]
}

fn large(session: &Session) -> Option<Verdict> {
    let (trial, size) = [("64k", "64 KB"), ("1m", "1 MB")]
        .into_iter()
        .find_map(|(id, size)| Some((session.trial(id).filter(|trial| is_limit(session, trial))?, size)))?;
    let ending = trial.ending.as_ref()?;
    let how = match ending.code {
        Some(_) => "refuses",
        None => "breaks the connection on",
    };
    let longest =
        if size == "1 MB" && session.trial("64k").is_some_and(|trial| trial.outcome != Outcome::Ended) {
            " (64 KB pass)"
        } else {
            ""
        };
    Some(
        make("message-limit", Party::Server, format!("The server, or a proxy in front, {how} a message of {size}{longest}. If that limit is meant, all is well."))
            .seen(shown(ending))
            .fix(Fix::new("the server", "Raise the limit of its library.").lines(
                "ws:         new WebSocketServer({ maxPayload: 16 * 1024 * 1024 })\n\
                 socket.io:  new Server(server, { maxHttpBufferSize: 16e6 })\n\
                 websockets: serve(handler, max_size=16 * 2**20)\n\
                 Spring:     container.setMaxTextMessageBufferSize(16777216)",
            ))
            .fix(Fix::new("Longwire", "Or the limit in front.").lines("websocket_max_message 16m;"))
            .fix(Fix::new("AWS API Gateway", "Its limit is 128 KB a message and 32 KB a frame, and cannot be raised: send smaller ones.")),
    )
}

fn is_limit(session: &Session, trial: &Trial) -> bool {
    let Some(ending) = &trial.ending else { return false };
    // Of a server that says nothing to short messages, another code is a word about what is in the message.
    trial.outcome == Outcome::Ended && (matches!(ending.code, None | Some(TOO_BIG)) || echoes(session))
}

/// A trial with its outcome, in a few words.
pub(super) fn tried(trial: &Trial) -> String {
    let name = match trial.id.as_str() {
        "ping" => "Ping",
        "text" => "text",
        "64k" => "64 KB",
        "1m" => "1 MB",
        other => other,
    };
    let outcome = match trial.outcome {
        Outcome::Echoed if trial.id == "ping" => "answered",
        Outcome::Echoed => "came back",
        Outcome::Answered => "answered with something else",
        Outcome::Passed => "arrived",
        Outcome::Silent => "not answered in time",
        Outcome::Ended => "not taken",
        Outcome::Broken => "broken",
    };
    format!("{name}: {outcome} ({} ms)", trial.ms)
}

/// What became of a trial, in words.
fn became(trial: &Trial) -> String {
    match (trial.outcome, &trial.ending) {
        (Outcome::Ended, Some(ending)) => shown(ending),
        (Outcome::Echoed, _) => "came back as it was".into(),
        (Outcome::Answered, _) => "something else came back".into(),
        (Outcome::Passed, _) => "did not come back, though short texts do".into(),
        (Outcome::Broken, _) => {
            format!("what came back is broken ({})", trial.violation.as_deref().unwrap_or_default())
        }
        (Outcome::Silent | Outcome::Ended, _) => format!("nothing came back within {} ms", trial.ms),
    }
}

fn code(ending: &Ending) -> String {
    match (ending.code, ending.reason.as_str()) {
        (Some(code), "") => format!("code {code}"),
        (Some(code), reason) => format!("code {code}, \"{reason}\""),
        (None, _) => "without a Close frame, 1006 in a browser".into(),
    }
}

/// An ending in a line.
pub(super) fn shown(ending: &Ending) -> String {
    let end = match ending.end {
        Some(End::Fin) => ", then FIN",
        Some(End::Rst) => ", then RST",
        Some(End::Error) => ", then an error",
        None => "",
    };
    format!(
        "ended after {} ms, {}{end}; {} bytes received, the last: {}",
        ending.ms,
        code(ending),
        ending.received,
        if ending.last_bytes.is_empty() { "none" } else { &ending.last_bytes }
    )
}
