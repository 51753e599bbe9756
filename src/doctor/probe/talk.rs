//! What goes over an open WebSocket: pings, messages, large ones, fragments, compression.

use std::time::Duration;

use futures_util::future::{join, join4};
use longwire_wire::frame::OpCode;
use tokio::time::Instant;

use super::socket::{Event, WebSocket};
use super::vary::SUBPROTOCOLS;
use super::{Budget, Dialer, Request};
use crate::doctor::facts::{End, Exchange, Outcome, Session, Stay, Trial};
use crate::doctor::options::Options;

/// How long a server may take to greet, or to close what it does not want.
const GREETING: Duration = Duration::from_millis(500);
/// How long a socket must stay open to be told from one that ends at once, whose end may be late as well.
const STAY: Duration = Duration::from_millis(1_500);
/// How long an answer may take: a busy server is no broken one.
const ANSWER: Duration = Duration::from_millis(3_000);
/// How long what was held back may take to come.
const HELD: Duration = Duration::from_millis(1_500);
/// How long an answer may come behind the Pong to a later Ping, where none is expected.
const LATE: Duration = Duration::from_millis(300);
/// How long the answer to a large message may take.
const LARGE: Duration = Duration::from_millis(4_000);
/// The most of a greeting that is kept.
const KEPT_GREETING: usize = 200;

/// Talks over the socket of the first handshake, then over more where that one gave no reason not to.
pub(super) async fn talk(
    dialer: &Dialer,
    options: &Options,
    budget: Budget,
    handshake: &Exchange,
    mut socket: WebSocket,
) -> Session {
    let mut session = Session {
        subprotocol: handshake.header("sec-websocket-protocol").map(str::to_owned),
        extensions: handshake.header("sec-websocket-extensions").map(str::to_owned),
        ..Session::default()
    };
    if !greeted(&mut socket, &mut session, budget.step(GREETING)).await {
        if session.closed_at_once.is_some() {
            session.stays = stays(dialer, options, budget).await;
        }
        return session;
    }
    let ping = ping(&mut socket, budget).await;
    let alive = !matches!(ping.outcome, Outcome::Ended | Outcome::Broken);
    if ping.outcome == Outcome::Ended {
        session.stays = stays(dialer, options, budget).await;
    }
    session.trials.push(ping);
    if options.messages && alive {
        let text = text(&mut socket, "text", &sample(40), budget.step(ANSWER), LATE).await;
        session.trials.push(text);
        held(&mut socket, &mut session, budget).await;
    }
    socket.close(budget.step(Duration::from_millis(300))).await;
    let text = session.trial("text").map(|text| text.outcome);
    if matches!(text, Some(Outcome::Echoed | Outcome::Answered | Outcome::Passed)) {
        let echoes = text == Some(Outcome::Echoed);
        let more = further(dialer, options, budget, session.extensions.is_some(), echoes).await;
        session.trials.extend(more);
    }
    session
}

/// Waits for what comes unasked. `false` when the connection ended over that.
async fn greeted(socket: &mut WebSocket, session: &mut Session, limit: Duration) -> bool {
    let until = Instant::now() + limit;
    loop {
        match socket.next(until.saturating_duration_since(Instant::now())).await {
            Event::Timeout => return true,
            Event::Ping | Event::Pong(_) => {}
            Event::Message { data, .. } => {
                let text =
                    String::from_utf8_lossy(data.get(..data.len().min(KEPT_GREETING)).unwrap_or_default());
                session.greeting.get_or_insert(text.into_owned());
            }
            Event::Close { .. } => {
                // How TCP ends behind it belongs to the story.
                let _ = socket.next(Duration::from_millis(200)).await;
                session.closed_at_once = Some(socket.ending());
                return false;
            }
            Event::End(_) => {
                session.closed_at_once = Some(socket.ending());
                return false;
            }
            Event::Violation(text) => {
                let ending = Some(socket.ending());
                let outcome = Outcome::Broken;
                session.trials.push(Trial {
                    id: "greeting".into(),
                    outcome,
                    violation: Some(text),
                    ending,
                    ms: 0,
                });
                return false;
            }
        }
    }
}

/// What lets a socket stay open that else ends at once.
async fn stays(dialer: &Dialer, options: &Options, budget: Budget) -> Vec<Stay> {
    let base = Request::handshake(&dialer.target, options);
    let (mut anonymous, mut offering) = (base.clone(), base.clone());
    anonymous.remove("Origin");
    offering.set("Sec-WebSocket-Protocol", SUBPROTOCOLS);
    let try_out = |id: &'static str, what: &'static str, wanted: bool, request: Request| async move {
        let (answer, socket) = if wanted { dialer.open(&request).await } else { return None };
        let mut aside = Session::default();
        let open = match socket {
            Some(mut socket) => greeted(&mut socket, &mut aside, budget.step(STAY)).await,
            None => false,
        };
        let subprotocol = answer.header("sec-websocket-protocol").map(str::to_owned);
        Some(Stay { id: id.into(), what: what.into(), subprotocol, open })
    };
    let has = |name| base.header(name).is_some();
    let (anonymous, offering) = join(
        try_out("no-origin", "without Origin", has("origin"), anonymous),
        try_out("subprotocols", "with subprotocols", !has("sec-websocket-protocol"), offering),
    )
    .await;
    [anonymous, offering].into_iter().flatten().collect()
}

/// A Ping and its Pong.
async fn ping(socket: &mut WebSocket, budget: Budget) -> Trial {
    let payload = b"longwire";
    let sent = socket.send(OpCode::Ping, payload).await;
    let wanted =
        |event: &Event| matches!(event, Event::Pong(data) if data == payload).then_some(Outcome::Echoed);
    await_answer(socket, "ping", sent, budget.step(ANSWER), wanted).await
}

/// A text message, and a Ping behind it.
async fn text(socket: &mut WebSocket, id: &str, sample: &str, limit: Duration, late: Duration) -> Trial {
    let sent = socket.send(OpCode::Text, sample.as_bytes()).await;
    answer_to(socket, id, sample, sent, limit, late).await
}

/// Waits for the answer to a message that was sent. A Ping behind it tells whether it arrived at all; the answer may
/// come behind the Pong by `late`.
async fn answer_to(
    socket: &mut WebSocket,
    id: &str,
    sample: &str,
    sent: Result<(), End>,
    limit: Duration,
    late: Duration,
) -> Trial {
    let sent = match sent {
        Ok(()) => socket.send(OpCode::Ping, id.as_bytes()).await,
        fault => fault,
    };
    let answer = |event: &Event| match event {
        Event::Message { data, .. } if data == sample.as_bytes() => Some(Outcome::Echoed),
        Event::Pong(data) if data == id.as_bytes() => Some(Outcome::Passed),
        _ => None,
    };
    let mut trial = await_answer(socket, id, sent, limit, answer).await;
    if trial.outcome != Outcome::Passed {
        return trial;
    }
    let mut others = false;
    let behind = |event: &Event| match event {
        Event::Message { data, .. } if data == sample.as_bytes() => Some(Outcome::Echoed),
        Event::Message { .. } => {
            others = true;
            None
        }
        _ => None,
    };
    let after = await_answer(socket, id, Ok(()), late.min(limit), behind).await;
    trial.outcome = match after.outcome {
        Outcome::Silent if others => Outcome::Answered,
        Outcome::Silent => Outcome::Passed,
        other => other,
    };
    (trial.ending, trial.violation) = (after.ending, after.violation);
    trial
}

/// Reads until an event is what is waited for, or the end of it.
async fn await_answer(
    socket: &mut WebSocket,
    id: &str,
    sent: Result<(), End>,
    limit: Duration,
    mut wanted: impl FnMut(&Event) -> Option<Outcome>,
) -> Trial {
    let began = Instant::now();
    let mut trial = Trial { id: id.to_owned(), ..Trial::default() };
    let until = began + limit;
    loop {
        // What could not be sent is told apart by what the other end says: its Close may be waiting.
        let event = socket.next(until.saturating_duration_since(Instant::now())).await;
        match event {
            Event::Timeout if sent.is_err() => {
                trial.outcome = Outcome::Ended;
                trial.ending = Some(socket.ending());
            }
            Event::Timeout => {}
            Event::Close { .. } => {
                let _ = socket.next(Duration::from_millis(200)).await;
                trial.outcome = Outcome::Ended;
                trial.ending = Some(socket.ending());
            }
            Event::End(_) => {
                trial.outcome = Outcome::Ended;
                trial.ending = Some(socket.ending());
            }
            Event::Violation(text) => {
                trial.outcome = Outcome::Broken;
                trial.ending = Some(socket.ending());
                trial.violation = Some(text);
            }
            event => match wanted(&event) {
                None => continue,
                Some(outcome) => trial.outcome = outcome,
            },
        }
        trial.ms = began.elapsed().as_millis() as u64;
        return trial;
    }
}

/// Where nothing at all has come: whether it comes once there is more of it.
async fn held(socket: &mut WebSocket, session: &mut Session, budget: Budget) {
    let silent = session.trials.iter().all(|trial| trial.outcome == Outcome::Silent);
    if !silent || socket.received() > 0 {
        return;
    }
    let _ = socket.send(OpCode::Text, sample(64 * 1024).as_bytes()).await;
    let _ = socket.next(budget.step(HELD)).await;
    session.held = socket.received() > 0;
}

/// What may break the connection has one of its own. `echoes`: a plain message came back.
async fn further(
    dialer: &Dialer,
    options: &Options,
    budget: Budget,
    deflate: bool,
    echoes: bool,
) -> Vec<Trial> {
    let open = || async {
        let request = Request::handshake(&dialer.target, options);
        let limited = Dialer { limit: budget.step(dialer.limit), ..dialer.clone() };
        limited.open(&request).await.1
    };
    let small = || budget.step(ANSWER);
    let large = || budget.step(LARGE);
    // Who echoes is judged by what does not come back.
    let late = || budget.step(if echoes { ANSWER } else { LATE });
    let fragments = async {
        let mut socket = open().await?;
        let sample = sample(60);
        let (first, rest) = sample.split_at(20);
        let (second, third) = rest.split_at(20);
        let mut sent = socket.send_frame(false, 0, OpCode::Text, first.as_bytes()).await;
        for (fin, part) in [(false, second), (true, third)] {
            if sent.is_ok() {
                sent = socket.send_frame(fin, 0, OpCode::Continuation, part.as_bytes()).await;
            }
        }
        let trial = answer_to(&mut socket, "fragments", &sample, sent, small(), late()).await;
        socket.close(GREETING).await;
        Some(trial)
    };
    let compressed = async {
        let mut socket = if deflate { open().await? } else { return None };
        if !socket.has_deflate() {
            return None;
        }
        let sample = sample(120);
        let sent = socket.send_compressed(sample.as_bytes()).await;
        let trial = answer_to(&mut socket, "compressed", &sample, sent, small(), late()).await;
        socket.close(GREETING).await;
        Some(trial)
    };
    let medium = async {
        let mut socket = open().await?;
        let trial = text(&mut socket, "64k", &sample(64 * 1024), large(), late()).await;
        socket.close(GREETING).await;
        Some(trial)
    };
    let big = async {
        let mut socket = open().await?;
        let trial = text(&mut socket, "1m", &sample(1_000_000), large(), late()).await;
        socket.close(GREETING).await;
        Some(trial)
    };
    let (fragments, compressed, medium, big) = join4(fragments, compressed, medium, big).await;
    [fragments, compressed, medium, big].into_iter().flatten().collect()
}

/// A text of so many bytes that nobody takes for a command.
fn sample(len: usize) -> String {
    "longwire doctor says hello; ".chars().cycle().take(len).collect()
}
