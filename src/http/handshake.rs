//! The WebSocket side of an exchange: the request checked, the answer checked, and the tunnel that follows.

use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use longwire_conf::model::{Level, Location, ProxyPass, Settings};
use longwire_wire::handshake::{Negotiated, check_answer, check_request};
use longwire_wire::{Options, Pair, Ping, Rate, Time, Tunnel};

use super::body;
use super::door::Arrival;
use super::epilogue::Epilogue;
use super::exchange::{Exchange, Step};
use super::guarded::Guarded;
use super::journal::Journal;
use crate::clock::{self, micros};
use crate::metrics::{COUNTS, HandshakeFault};
use crate::route::facts::Protocol;
use crate::route::redirect::client_headers;
use crate::tls::Conn;
use crate::tunnel::{Ends, Keeper, Line, Place, Secure, Socket, relay, shared};
use crate::upstream::{Body, Slot};

/// A handshake that both sides agreed on.
pub(super) struct Switch {
    response: Response<Body>,
    client: OnUpgrade,
    backend: OnUpgrade,
    negotiated: Negotiated,
    place: Arc<Place>,
    slot: Slot,
}

/// What of a backend stays with a tunnel.
pub(super) struct Keep {
    /// Its place there, until the tunnel has ended.
    pub(super) slot: Slot,
    /// The cookie that leads back to it.
    pub(super) cookie: Option<HeaderValue>,
}

fn lookup<'a>(headers: &'a HeaderMap) -> impl Fn(&'static str) -> Vec<&'a [u8]> {
    move |name| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
}

/// Refuses a request for a WebSocket that breaks the rules of RFC 6455 section 4.2.1.
pub(super) fn refuse(x: &mut Exchange) -> Option<Step> {
    let has_body = x.body.as_ref().is_some_and(|b| !http_body::Body::is_end_stream(b));
    if has_body {
        x.blame(HandshakeFault::Malformed, format_args!("the request has a body"));
        return Some(Step::Status(400, None));
    }
    let minor_version = u8::from(x.facts.protocol != Protocol::Http10);
    let fault = check_request(&x.facts.method, minor_version, lookup(&x.facts.headers)).err()?;
    x.blame(HandshakeFault::Malformed, format_args!("{fault}"));
    if fault.status() != 426 {
        return Some(Step::Status(400, None));
    }
    let step = x.page(426, None);
    Some(match step {
        Step::Response(mut response) => {
            // RFC 6455 section 4.4: say which version would do.
            response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            Step::Response(response)
        }
        other => other,
    })
}

/// Says in the error log why an answer that is no 101 came back. `asked`: the backend was asked for an upgrade; `at`: the
/// path that it was asked for.
pub(super) fn explain(x: &Exchange, response: &Response<Incoming>, asked: bool, at: &str) {
    let status = response.status().as_u16();
    if !asked {
        return x.blame(
            HandshakeFault::UpgradeNotPassed,
            format_args!("\"proxy_set_header Upgrade \"\"\" keeps the upgrade from the backend, which answered {status}"),
        );
    }
    // Which path was asked for tells more than the status, where proxy_pass or rewrite made another one of it.
    let wanted = x.facts.sent_path();
    let changed = match at == wanted {
        true => String::new(),
        false => format!(" at \"{at}\", which the configuration made of \"{wanted}\""),
    };
    let place = response.headers().get(header::LOCATION).and_then(|v| v.to_str().ok());
    let hint = match status {
        200..=299 => " as to an ordinary request: is this the path of the WebSocket?".to_owned(),
        300..=399 => format!(" to \"{}\": WebSocket clients do not follow redirects", place.unwrap_or("-")),
        401 | 403 => {
            return x.blame(
                HandshakeFault::BackendRefused,
                format_args!(
                    "it answered {status} instead of 101: it wants other credentials or another Origin"
                ),
            );
        }
        404 => ": is this the path of the WebSocket?".to_owned(),
        400 | 426 => ": it did not like the handshake; compare with one sent to it directly".to_owned(),
        _ => String::new(),
    };
    x.blame(
        HandshakeFault::BackendAnswered,
        format_args!("it answered {status} instead of 101{changed}{hint}"),
    );
}

/// Checks a 101 and prepares the switch. `asked`: the headers that asked the backend for it.
pub(super) fn conclude(
    x: &mut Exchange,
    location: &Location,
    pass: &ProxyPass,
    asked: Option<&HeaderMap>,
    mut response: Response<Incoming>,
    keep: Keep,
) -> Step {
    let checked = match asked {
        Some(sent) => {
            let key = sent.get(header::SEC_WEBSOCKET_KEY).and_then(|v| v.to_str().ok()).unwrap_or_default();
            check_answer(key, lookup(sent), lookup(response.headers())).map_err(|fault| fault.to_string())
        }
        None => Err("it answered 101 to a request that asked for no upgrade".to_owned()),
    };
    let (negotiated, client) = match (checked, x.upgrade.take()) {
        (Ok(negotiated), Some(client)) => (negotiated, client),
        (Ok(_), None) => return Step::Status(400, None),
        (Err(reason), _) => {
            x.blame(HandshakeFault::AnswerWrong, format_args!("{reason}"));
            return Step::Status(502, None);
        }
    };
    let backend = hyper::upgrade::on(&mut response);
    let (parts, _) = response.into_parts();
    let mut switching = Response::new(body::empty());
    *switching.headers_mut() = client_headers(location, pass, &x.scope(), 101, parts.headers);
    if let Some(cookie) = keep.cookie {
        switching.headers_mut().append(header::SET_COOKIE, cookie);
    }
    *switching.status_mut() = parts.status;
    *switching.extensions_mut() = parts.extensions;
    let place = x.service.places.of(&x.facts, location);
    let slot = keep.slot;
    Step::Switching(Box::new(Switch { response: switching, client, backend, negotiated, place, slot }))
}

impl Switch {
    /// Lets the 101 go. The rest is done when hyper has let go of the client's connection.
    pub(super) fn start(self, mut journal: Journal) -> (Response<Body>, Switching) {
        journal.facts.outcome.status = 101;
        journal.facts.outcome.sent = self.response.headers().clone();
        let Switch { response, client, backend, negotiated, place, slot } = self;
        (response, Switching(Box::new((client, backend, negotiated, place, slot, journal))))
    }
}

/// A tunnel that begins when the 101 has left.
pub(super) struct Switching(Box<(OnUpgrade, OnUpgrade, Negotiated, Arc<Place>, Slot, Journal)>);

impl Switching {
    /// Opens the tunnel, once hyper is done with the client's connection. Until then `arrival` is held.
    pub(super) async fn finish(self, arrival: Arrival) {
        let (client, backend, negotiated, place, slot, mut journal) = *self.0;
        match streams(client, backend, journal.settings().send_timeout).await {
            Ok(ends) => run(ends, negotiated, place, slot, journal, arrival).await,
            Err((kind, reason)) => {
                COUNTS.failed(kind);
                let whose = kind.of().unwrap_or_default();
                let told = format!("fault of the {whose}: {reason}");
                journal.log(Level::Error, format_args!("WebSocket handshake failed, {told}"));
                journal.trace_failure(kind, told);
                journal.write();
            }
        }
    }
}

/// Takes both connections out of hyper, with what was read behind the heads.
async fn streams(
    client: OnUpgrade,
    backend: OnUpgrade,
    patience: Duration,
) -> Result<Ends<Conn>, (HandshakeFault, String)> {
    let left = |error| (HandshakeFault::ClientLeft, format!("it left before the answer ({error})"));
    let lost = |error| (HandshakeFault::BackendBroke, format!("it left ({error})"));
    let both = async { Ok((client.await.map_err(left)?, backend.await.map_err(lost)?)) };
    let (client, backend) = match tokio::time::timeout(patience, both).await {
        Ok(both) => both?,
        Err(_) => return Err((HandshakeFault::ClientLeft, "it did not take the answer".into())),
    };
    // Both are what was given to hyper.
    let unknown =
        |whose| move |_| (HandshakeFault::Configuration, format!("the stream of the {whose} is unknown"));
    let client = client.downcast::<TokioIo<Guarded<Conn>>>().map_err(unknown("client"))?;
    let backend = backend.downcast::<TokioIo<Conn>>().map_err(unknown("backend"))?;
    Ok(Ends {
        streams: Pair { client: client.io.into_inner().into_inner(), backend: backend.io.into_inner() },
        // Copied, so that a few bytes do not hold the whole buffer that the head came in.
        early: Pair {
            client: Bytes::copy_from_slice(&client.read_buf),
            backend: Bytes::copy_from_slice(&backend.read_buf),
        },
    })
}

async fn run(
    ends: Ends<Conn>,
    negotiated: Negotiated,
    place: Arc<Place>,
    slot: Slot,
    mut journal: Journal,
    arrival: Arrival,
) {
    let settings = journal.settings().clone();
    for conn in [&ends.streams.client, &ends.streams.backend] {
        if let Some(ping) = settings.websocket_ping {
            // The kernel's judgement comes no later than ours, for an end that answers no pings.
            conn.socket().set_user_timeout((ping.interval + ping.timeout).max(Duration::from_secs(10)));
        }
    }
    let opened = clock::now_us();
    COUNTS.handshakes_opened.add();
    // A tunnel may last for days, and a trace that nobody sees before its end helps nobody.
    journal.facts.outcome.now_us = opened;
    journal.end_spans();
    let service = journal.service().clone();
    let (server, spoken) = (server_of(&journal), spoken(&negotiated));
    journal.log(Level::Notice, format_args!("tunnel opened to {server}{spoken}"));
    let tunnel = Tunnel::new(shared(options(&settings, negotiated.rsv)), Time(opened));
    let tls = [&ends.streams.client, &ends.streams.backend]
        .map(|conn| conn.session().map(|session| session.protocol));
    let epilogue = Epilogue::new(journal, place, slot, tls, opened);
    let Some(obstacle) = obstacle(&ends) else {
        match lines(ends, &epilogue) {
            Ok(ends) => service.tunnels.place(tunnel, ends, Box::new(epilogue)),
            // Only when the runtime lost a socket.
            Err(error) => {
                epilogue.log(Level::Alert, format_args!("a connection cannot be taken over: {error}"))
            }
        }
        return;
    };
    epilogue.log(Level::Info, format_args!("the tunnel stays with the runtime and costs more: {obstacle}"));
    let entry = service.tunnels.enter(epilogue.about());
    drop(arrival);
    let report = relay(tunnel, ends, &entry.live).await;
    drop(entry);
    epilogue.write(&report);
}

/// Why these ends cannot go to a pump, if they cannot.
fn obstacle(ends: &Ends<Conn>) -> Option<&'static str> {
    [&ends.streams.client, &ends.streams.backend].into_iter().find_map(|conn| match conn {
        Conn::Plain(_) => None,
        Conn::Tls(secured) => secured.obstacle(),
    })
}

/// Takes both ends out of the runtime, and out of rustls.
fn lines(ends: Ends<Conn>, epilogue: &Epilogue) -> io::Result<Ends<Line>> {
    let Ends { streams, early } = ends;
    let (client, early_client) = line(streams.client, early.client, "client", epilogue)?;
    let (backend, early_backend) = line(streams.backend, early.backend, "backend", epilogue)?;
    let early = Pair { client: early_client, backend: early_backend };
    Ok(Ends { streams: Pair { client, backend }, early })
}

/// `early`: what was read of its data before; there may be more of them then.
fn line(conn: Conn, early: Bytes, name: &str, epilogue: &Epilogue) -> io::Result<(Line, Bytes)> {
    let secured = match conn {
        Conn::Plain(stream) => return Ok((Line::Plain(Socket::new(stream.into_socket()?.into())), early)),
        Conn::Tls(secured) => secured,
    };
    match secured.extract() {
        Ok(extracted) => {
            let (secure, more) = Secure::new(extracted)?;
            let early = if more.is_empty() { early } else { [&early[..], &more].concat().into() };
            Ok((Line::Tls(Box::new(secure)), early))
        }
        Err((stream, reason)) => {
            epilogue.log(Level::Error, format_args!("TLS of the {name} cannot go on: {reason}"));
            // An end that is closed: the tunnel tells the other one, and the logs, as whenever one goes.
            let socket = stream.into_socket()?;
            let _ = socket.shutdown(Shutdown::Both);
            Ok((Line::Plain(Socket::new(socket.into())), early))
        }
    }
}

fn server_of(journal: &Journal) -> &str {
    journal.facts.outcome.tries.last().map_or("", |t| &t.address)
}

fn spoken(negotiated: &Negotiated) -> String {
    let protocol = negotiated.protocol.as_ref().map(|p| format!(", subprotocol \"{p}\"")).unwrap_or_default();
    let compressed = if negotiated.rsv == 0 { "" } else { ", with extensions" };
    format!("{protocol}{compressed}")
}

fn options(settings: &Settings, rsv: u8) -> Options {
    let idle_us = micros(settings.proxy_read_timeout);
    // A healthy connection must never run into the idle timer, however short that is.
    let ping = settings.websocket_ping.map(|ping| Ping {
        interval_us: micros(ping.interval).min(idle_us / 2).max(1),
        timeout_us: micros(ping.timeout),
    });
    Options {
        ping,
        idle_us,
        write_us: [micros(settings.send_timeout), micros(settings.proxy_send_timeout)],
        close_us: micros(settings.websocket_close_timeout),
        max_message: settings.websocket_max_message,
        rate: settings.guard.websocket_rate.as_ref().map(|rate| Rate {
            frames_milli: rate.frames,
            burst: rate.burst,
            bytes: rate.bytes.unwrap_or(u64::MAX),
        }),
        rsv,
    }
}
