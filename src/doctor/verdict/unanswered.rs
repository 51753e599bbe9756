//! Pure: handshakes that something else than HTTP answers, or nothing.

use super::answer::shown;
use super::changed::changed;
use super::refused::{elsewhere, evidence, make, wrong_path};
use super::{Fix, Party, Step, Verdict, road};
use crate::doctor::facts::{Exchange, Facts, TlsError};
use crate::doctor::target::Target;

/// Faults of TLS that show only now.
pub(super) fn tls_again(facts: &Facts, handshake: &Exchange, target: &Target) -> Option<Verdict> {
    let text = handshake.body.as_str();
    let other = facts.other_way.as_ref().is_some_and(|other| other.tls && other.works);
    let alert = handshake.not_http.as_deref().is_some_and(|bytes| bytes.starts_with("\\x15\\x03"));
    if other || alert {
        let (host, port) = (&target.host, target.port);
        let right = Target { secure: true, ..target.clone() };
        let verdict = make(
            "plain-on-tls-port",
            Party::Client,
            format!("Port {port} of {host} speaks TLS, and the URL says ws instead of wss."),
        )
        .seen_all(evidence(handshake))
        .fix(Fix::new("the page or the client", "Ask by TLS.").lines(&right.to_string()));
        return Some(Verdict { step: Step::Tls, ..verdict });
    }
    if text.contains("plain HTTP request was sent to HTTPS port")
        || text.contains("HTTP request to an HTTPS server")
    {
        let verdict = make(
            "tls-to-backend",
            Party::Proxy,
            "The proxy speaks plain text to a port of the server that wants TLS, and passes its complaint on.",
        );
        return Some(
            verdict
                .seen_all(evidence(handshake))
                .fix(Fix::new("nginx", "Speak TLS to the server.").lines("proxy_pass https://backend;"))
                .fix(
                    Fix::new("HAProxy", "Speak TLS to the server.")
                        .lines("server s1 10.0.0.1:443 ssl verify required ca-file ca.pem"),
                ),
        );
    }
    let demanded = handshake.tls_error == Some(TlsError::CertificateRequired)
        || text.contains("No required SSL certificate was sent")
        || (handshake.status.is_none() && facts.tls.as_ref().is_some_and(|tls| tls.asks_certificate));
    if demanded {
        return Some(road::client_certificate().seen_all(evidence(handshake)));
    }
    let alone = facts
        .alpn
        .iter()
        .any(|one| one.chosen.as_deref() == Some("h2") && one.extended_connect == Some(false))
        && facts.tls.as_ref().is_some_and(|tls| tls.alpn.as_deref() != Some("http/1.1"));
    if alone || text.contains("Missing ALPN Protocol") {
        return Some(road::http2_alone(&target.host).seen_all(evidence(handshake)));
    }
    None
}

/// No HTTP came.
pub(super) fn unanswered(facts: &Facts, handshake: &Exchange, target: &Target) -> Verdict {
    let (host, port) = (&target.host, target.port);
    if let Some(failure) = &handshake.failure {
        let sentence =
            format!("{host} took a first connection on port {port} and no second one ({failure}).");
        return make("no-answer", Party::Server, sentence);
    }
    if let Some(bytes) = &handshake.not_http {
        return not_http(handshake, target, bytes);
    }
    if let Some(verdict) = changed(facts, target)
        .or_else(|| elsewhere(facts).map(|page| wrong_path(facts, handshake, Some(page))))
    {
        return verdict;
    }
    let page = facts.page().map(|page| format!("a plain GET at the same path: {}", shown(page)));
    let verdict = if handshake.timed_out {
        make(
            "handshake-hangs",
            Party::Server,
            format!("{host} takes the handshake and does not answer it within {} s.", handshake.ms / 1000),
        )
        .fix(Fix::new(
            "the server",
            "Look what its handler waits for before it agrees: a database, another service, an event that never comes; \
             or nobody takes connections, because all workers are busy.",
        ))
        .fix(Fix::new(
            "a proxy or CDN in front",
            "If the server answers when it is asked directly: a cache that collects requests, or buffering, holds the \
             handshake; take the path out of it.",
        ))
    } else {
        make("no-answer", Party::Server, format!("{host} closes the connection without an answer to the handshake.")).fix(
            Fix::new(
                "the server",
                "Look into its log at this moment. nginx does this with \"return 444\" (often the server for unknown \
                 names: is server_name right?); a Node server without a handler for \"upgrade\" at this path does it as well.",
            ),
        )
    };
    verdict.seen_all(evidence(handshake)).seen_all(page)
}

/// Bytes came that are no head of HTTP.
fn not_http(handshake: &Exchange, target: &Target, bytes: &str) -> Verdict {
    let (host, port) = (&target.host, target.port);
    if is_http2(bytes) {
        return road::http2_alone(host)
            .seen("what came is the first frame of HTTP/2, SETTINGS")
            .seen_all(evidence(handshake))
            .fix(
                Fix::new(
                    "nginx",
                    "On a port without TLS before 1.25.1, \"http2\" in \"listen\" shuts HTTP/1.1 out.",
                )
                .lines(&format!("listen {port};")),
            );
    }
    if bytes.starts_with("HTTP/") {
        let sentence =
            format!("The answer of {host} has a head that breaks the rules of HTTP, and browsers refuse it.");
        return make("not-http", Party::Server, sentence).seen_all(evidence(handshake)).fix(Fix::new(
            "the server",
            "Let a library write the head: lines end with CR LF, names have no spaces, values no control characters.",
        ));
    }
    let sentence = format!(
        "Port {port} of {host} does not speak HTTP: something else than a WebSocket server listens there."
    );
    make("not-http", Party::Client, sentence).seen_all(evidence(handshake)).fix(
        Fix::new(
            "the page or the client, or the server",
            "Correct the port in the URL. On the server, see who has it:",
        )
        .lines(&format!("ss -ltnp 'sport = :{port}'")),
    )
}

/// Whether bytes begin as a server of HTTP/2 begins: a SETTINGS frame (RFC 9113 section 3.4), three bytes of length
/// before its type.
fn is_http2(shown: &str) -> bool {
    shown.starts_with("\\x00\\x00") && shown.contains("\\x04\\x00\\x00\\x00\\x00\\x00")
}
