//! `websocket_*`: Longwire's own directives.

use super::{ALL, ANY, Entry, rate, set};
use crate::address;
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::model::{MessageRate, OnRemoval, Origin, OriginPort, Origins, Ping};
use crate::token::Word;
use crate::tree::Directive;
use crate::value;

pub(super) const TABLE: &[Entry] = &[
    set(
        "websocket_ping",
        ALL,
        (1, 2),
        "TIME [timeout=TIME] | off",
        "30s timeout=10s",
        "Sends a Ping to an end that has been silent for this long, and closes the tunnel when its Pong takes longer than `timeout` (at most the interval). An end that answers is not silent, so `proxy_read_timeout` does not end the tunnel; with `off` it does, exactly as in nginx. Whatever is written here, pings come at least twice within `proxy_read_timeout`. An end that is being written to and does not take it is not pinged: `send_timeout` or `proxy_send_timeout` judges it.",
        ping,
    ),
    set(
        "websocket_max_message",
        ALL,
        (1, 1),
        "SIZE | off",
        "off",
        "The longest message, in bytes as they are sent: compressed ones where compression was agreed on. A longer one ends the tunnel with Close 1009.",
        max_message,
    ),
    set(
        "websocket_close_timeout",
        ALL,
        (1, 1),
        "TIME",
        "5s",
        "How long an end may take to echo a Close before its connection is ended without.",
        |b, d| b.level.layer.websocket_close_timeout = b.time(d),
    ),
    set(
        "websocket_drain",
        ALL,
        (1, 1),
        "TIME",
        "60s",
        "Over how long tunnels are told to go, when many have to: at a graceful end (SIGQUIT, Close 1001) and when a reload finds their server marked `drain` (Close 1012). Each gets its Close frames at a time of its own, spread evenly with some chance, so that those who come back do not come back together. What the file in force says of their server and location holds, or of `http` where those are gone. `0` tells all at once.",
        |b, d| b.level.layer.websocket_drain = b.time(d),
    ),
    set(
        "websocket_reload",
        ALL,
        (1, 1),
        "keep | drain",
        "keep",
        "What becomes of a tunnel when a reload finds that its server is not in the group any more: it stays until one of its ends closes it, or it goes over the time of `websocket_drain`, with Close 1012.",
        reload,
    ),
    set(
        "websocket_rate",
        ALL,
        (1, 3),
        "RATE [burst=N] [bytes=SIZE] | off",
        "off",
        "How much a client may send: RATE such as `100r/s` or `30r/m` counts messages (each frame of those that come in several) and control frames. `burst` of them may be ahead of it, by default as many as RATE allows in a second. `bytes` bounds the payload of a second, compressed where compression was agreed on; a frame that is longer is too much as well. More ends the tunnel with Close 1008 between two frames; what is too much does not reach the backend.",
        message_rate,
    ),
    set(
        "websocket_origins",
        ALL,
        (1, ANY),
        "ORIGIN... | off",
        "off",
        "Whose pages may open a WebSocket here; a handshake from another Origin is answered with 403. ORIGIN is `same-origin` (the host and port that the request itself is for), `null`, or `[SCHEME://]HOST[:PORT]`, where the host may begin with `*.` for all names below it, and a port `*` is any. Without a port the scheme's own is meant. A handshake without `Origin` passes: browsers always send it, other programs could send what they like.",
        origins,
    ),
];

fn ping(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[0];
    if word.value == "off" && d.args.len() == 1 {
        b.level.layer.websocket_ping = Some(None);
        return;
    }
    let Some(interval) = b.time_of(d, word) else { return };
    if interval.is_zero() {
        return b.invalid(d, word, "a time to wait", "to send no pings, write \"off\"");
    }
    let timeout = match d.args.get(1) {
        None => std::time::Duration::from_secs(10).min(interval),
        Some(word) => {
            match word.value.strip_prefix("timeout=").and_then(value::time).filter(|time| !time.is_zero()) {
                Some(timeout) if timeout <= interval => timeout,
                Some(_) => {
                    let message = "the timeout of \"websocket_ping\" is longer than its interval";
                    return b.report(
                        Diagnostic::error(word.span, message)
                            .help("a Pong must be there before the next Ping is due"),
                    );
                }
                None => {
                    let message = format!("invalid parameter \"{}\"", word.value);
                    return b.report(
                        Diagnostic::error(word.span, message).help("write for example \"timeout=10s\""),
                    );
                }
            }
        }
    };
    b.level.layer.websocket_ping = Some(Some(Ping { interval, timeout }));
}

fn reload(b: &mut Builder<'_>, d: &Directive) {
    b.level.layer.websocket_reload = match d.args[0].value.as_str() {
        "keep" => Some(OnRemoval::Keep),
        "drain" => Some(OnRemoval::Drain),
        _ => return b.invalid(d, &d.args[0], "one of its values", "write \"keep\" or \"drain\""),
    };
}

fn message_rate(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[0];
    if word.value == "off" && d.args.len() == 1 {
        b.level.layer.guard.websocket_rate = Some(None);
        return;
    }
    let is_rate = word.value.ends_with("r/s") || word.value.ends_with("r/m");
    let Some(frames) = rate(&word.value).filter(|_| is_rate) else {
        let mistake = Diagnostic::error(word.span, format!("invalid rate \"{}\"", word.value));
        return b.report(mistake.help("write for example \"websocket_rate 100r/s burst=200 bytes=1m\""));
    };
    let (mut burst, mut bytes) = ((frames / 1000).max(1), None);
    for word in &d.args[1..] {
        let number = |text| value::number(text).filter(|number| *number <= u32::MAX.into());
        let size = |text| value::size(text).filter(|size| *size > 0);
        if let Some(found) = word.value.strip_prefix("burst=").and_then(number) {
            burst = found;
        } else if let Some(found) = word.value.strip_prefix("bytes=").and_then(size) {
            bytes = Some(found);
        } else {
            let mistake = Diagnostic::error(word.span, format!("invalid parameter \"{}\"", word.value));
            return b.report(mistake.help("parameters are burst=N and bytes=SIZE"));
        }
    }
    let at = b.at(d.span);
    b.level.layer.guard.websocket_rate = Some(Some(MessageRate { frames, burst, bytes, at }.into()));
}

fn origins(b: &mut Builder<'_>, d: &Directive) {
    if let [word] = d.args.as_slice()
        && word.value == "off"
    {
        b.level.layer.guard.websocket_origins = Some(None);
        return;
    }
    let allowed: Vec<Origin> = d.args.iter().filter_map(|word| origin(b, word)).collect();
    if allowed.len() == d.args.len() {
        let at = b.at(d.span);
        b.level.layer.guard.websocket_origins = Some(Some(Origins { allowed, at }.into()));
    }
}

fn origin(b: &mut Builder<'_>, word: &Word) -> Option<Origin> {
    let text = word.value.to_ascii_lowercase();
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme.to_owned()), rest),
        None => (None, text.as_str()),
    };
    let behind_host = rest.rfind(']').unwrap_or(0);
    let (host, port) = match rest.get(behind_host..).and_then(|rest| rest.find(':')) {
        Some(at) => (&rest[..behind_host + at], Some(&rest[behind_host + at + 1..])),
        None => (rest, None),
    };
    let port = match port {
        None => Some(OriginPort::Default),
        Some("*") => Some(OriginPort::Any),
        Some(port) => address::port(port).map(OriginPort::Is),
    };
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_host = !name.is_empty() && !name.contains(['/', '*', '?', '#', '@', ' ']);
    match (text.as_str(), port) {
        ("same-origin", _) => Some(Origin::Same),
        ("null", _) => Some(Origin::Null),
        (_, Some(port)) if is_host => Some(Origin::Site { scheme, host: host.to_owned(), port }),
        _ => {
            let mistake = Diagnostic::error(word.span, format!("invalid Origin \"{}\"", word.value));
            b.report(mistake.help(
                "write \"https://example.com\", \"*.example.com\", \"same-origin\" or \"null\"; an Origin has no path",
            ));
            None
        }
    }
}

fn max_message(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[0];
    if word.value == "off" {
        b.level.layer.websocket_max_message = Some(None);
        return;
    }
    b.level.layer.websocket_max_message = b.size(d, word).map(|size| Some(size).filter(|&size| size > 0));
}
