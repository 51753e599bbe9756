//! `websocket_*`: Longwire's own directives.

use super::{ALL, Entry, set};
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::model::Ping;
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

fn max_message(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[0];
    if word.value == "off" {
        b.level.layer.websocket_max_message = Some(None);
        return;
    }
    b.level.layer.websocket_max_message = b.size(d, word).map(|size| Some(size).filter(|&size| size > 0));
}
