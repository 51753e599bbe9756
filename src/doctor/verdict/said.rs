//! Pure: what the status and the body of an answer say outright.

use super::answer::shown;
use super::changed::{host_refused, origin_refused, wrong_version};
use super::front::{self, Front};
use super::refused::{evidence, make};
use super::{Fix, Party, Verdict, remedy};
use crate::doctor::facts::{Exchange, Facts};
use crate::doctor::target::Target;

/// A head from which on servers begin to complain, in bytes.
const LARGE_HEAD: usize = 4096;

/// What the status and the body say outright.
pub(super) fn said(facts: &Facts, handshake: &Exchange, target: &Target) -> Option<Verdict> {
    let status = handshake.status?;
    let text = handshake.body.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let front = front::front(facts);
    let version = handshake.header("sec-websocket-version");
    let verdict = match status {
        _ if has(&[
            "header or cookie too large",
            "request header fields too large",
            "header line too long",
            "exceeds server limit",
        ]) || (status == 400 && facts.head_bytes > LARGE_HEAD && front::wrote(handshake))
            || matches!(status, 431 | 414) =>
        {
            make(
                "head-too-large",
                Party::Client,
                "The head of the handshake is too large for the server, most likely by its cookies.",
            )
            .seen(format!("the handshake's head has {} bytes", facts.head_bytes))
            .fixes(remedy::large_heads(front))
        }
        401 | 407 => login_required(handshake),
        400 | 403 | 421
            if has(&[
                "invalid host",
                "host is not allowed",
                "blocked request. this host",
                "disallowed host",
                "invalid http_host",
                "blocked host",
            ]) =>
        {
            host_refused(target, front)
        }
        400 | 403 if has(&["origin"]) && facts.origin.is_some() => origin_refused(facts, front),
        400 | 426 if version.is_some_and(|version| !version.split(',').any(|one| one.trim() == "13")) => {
            wrong_version(handshake)
        }
        403 => forbidden(facts, handshake),
        429 => rate_limited(handshake, "429"),
        502 | 521 | 523 => backend_down(front, status),
        503 => unavailable(facts, handshake, front),
        504 | 522 | 524 => backend_slow(front, status),
        525 | 526 => {
            make("tls-to-backend", Party::Server, "Cloudflare cannot speak TLS with the server behind it.")
                .fix(Fix::new(
                    "the server",
                    "Give it a certificate that Cloudflare trusts, and let it speak TLS on port 443.",
                ))
        }
        505 => return None,
        500..=599 => server_error(handshake, front, status),
        _ => return None,
    };
    Some(verdict.seen_all(evidence(handshake)))
}

fn server_error(handshake: &Exchange, front: Option<Front>, status: u16) -> Verdict {
    let verdict =
        make("server-error", Party::Server, format!("The server fails over the handshake ({status}).")).fix(
            Fix::new(
                "the server",
                "Look into its log at this moment: an exception in the handler is the usual cause.",
            ),
        );
    if front != Some(Front::Nginx) || !front::wrote(handshake) {
        return verdict;
    }
    verdict.fix(
        Fix::new(
            "nginx",
            "This is its own page: error.log has the reason. Each WebSocket takes two connections, and 512 is the \
             default for all of a worker; a rewrite or error_page that goes in a circle looks the same.",
        )
        .lines("worker_rlimit_nofile 65536;\nevents {\n    worker_connections 32768;\n}"),
    )
}

fn login_required(handshake: &Exchange) -> Verdict {
    let scheme = handshake.header("www-authenticate").map(|value| format!("it asks for: {value}"));
    make("login-required", Party::Client, "The server wants to know who is asking, and the handshake does not say.")
        .seen_all(scheme)
        .fix(Fix::new(
            "the page or the client",
            "Browsers send cookies with a handshake and no other credentials: log in first on the same site, or pass a \
             token in the URL or as a subprotocol. Here: --cookie 'session=...' or --header 'Authorization: ...'.",
        ))
}

fn forbidden(facts: &Facts, handshake: &Exchange) -> Verdict {
    let open = facts.page().filter(|page| page.status.is_some_and(|status| status < 400 || status == 426));
    let verdict = match open {
        Some(page) => make(
            "forbidden",
            Party::Proxy,
            "The handshake is forbidden, while plain requests at the same path are not: a rule refuses WebSockets.",
        )
        .seen(format!("a plain GET at the same path: {}", shown(page))),
        None => make("forbidden", Party::Server, "This client, or everybody, is forbidden at this path."),
    };
    let by = if front::wrote(handshake) { "the proxy" } else { "the server, or the proxy in front" };
    verdict.fix(Fix::new(
        by,
        "Look for the rule: allow and deny by address, a firewall for applications, a rule about Upgrade, or a check of \
         the session or Origin in the application.",
    ))
}

fn rate_limited(handshake: &Exchange, status: &str) -> Verdict {
    let again = handshake.header("retry-after").map(|after| format!("it says to come back after {after} s"));
    make("rate-limited", Party::Proxy, format!("Too many connections or requests from this address: a limit is reached ({status})."))
        .seen_all(again)
        .fix(
            Fix::new(
                "nginx",
                "A WebSocket counts in limit_conn for as long as it is open, and all who come through one NAT are one \
                 address: give its path a limit of its own that is high enough.",
            )
            .lines("limit_conn perip 100;\nlimit_req zone=handshakes burst=20 nodelay;"),
        )
        .fix(Fix::new("the client", "Wait longer from try to try, each time longer than before, by chance."))
}

fn unavailable(facts: &Facts, handshake: &Exchange, front: Option<Front>) -> Verdict {
    match front::of(handshake) {
        Some(Front::Haproxy | Front::Aws | Front::Envoy) if front::wrote(handshake) => {
            backend_down(front, 503)
        }
        Some(Front::Apache) if front::wrote(handshake) => backend_down(front, 503),
        Some(Front::Aws) => backend_down(front, 503),
        // It says that itself only when one of its limits is reached; where no server is left it says 502.
        Some(Front::Nginx | Front::Longwire) if front::wrote(handshake) => {
            rate_limited(handshake, "503, the proxy's own page")
        }
        _ => {
            let again =
                handshake.header("retry-after").map(|after| format!("it says to come back after {after} s"));
            let page = facts.page().map(|page| format!("a plain GET at the same path: {}", shown(page)));
            make("overloaded", Party::Server, "The server says that it cannot take more now (503).")
                .seen_all(again)
                .seen_all(page)
                .fix(Fix::new("the server", "Look what it has too little of, or too much: connections, workers, memory; or it is in maintenance."))
        }
    }
}

fn backend_down(front: Option<Front>, status: u16) -> Verdict {
    let name = front.map_or("The proxy", Front::name);
    let verdict = make(
        "backend-down",
        Party::Server,
        format!("{name} gets no answer from the server behind it ({status}): it is not running, listens elsewhere, or hangs up."),
    )
    .fix(Fix::new("the server", "Start it, and see where it listens.").lines("ss -ltnp"));
    match front {
        Some(Front::Longwire) => verdict.fix(Fix::new(
            "Longwire",
            "Compare with proxy_pass (address, port, http or https); its error_log says what became of each server it tried.",
        )),
        Some(Front::Nginx) | None => verdict.fix(
            Fix::new("nginx", "Compare with proxy_pass (address, port, http or https), and read the reason in error.log.")
                .lines("tail /var/log/nginx/error.log"),
        ),
        Some(front) => verdict.fix(Fix::new(
            front.name(),
            "Compare with the address and port that it sends to (http or https), and look at its health checks and log.",
        )),
    }
}

fn backend_slow(front: Option<Front>, status: u16) -> Verdict {
    let name = front.map_or("The proxy", Front::name);
    make(
        "backend-slow",
        Party::Server,
        format!("{name} waits for the server behind it and gives up ({status}): the handshake is not answered in time."),
    )
    .fix(Fix::new("the server", "Look what its handler waits for before it agrees, or whether all workers are busy."))
    .fixes(remedy::patience(front))
}
