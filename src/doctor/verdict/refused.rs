//! Pure: handshakes that are not answered with 101.

use super::answer::{body, shown};
use super::front::{self, Front};
use super::{Fix, Party, Step, Verdict, redirect, remedy, road, stripped};
use crate::doctor::facts::{Exchange, Facts, Page, TlsError};
use crate::doctor::target::Target;

/// As many changed handshakes that succeed show that it is not the change that helped.
const BY_CHANCE: usize = 4;

/// The cause, if there was another answer than 101.
pub(super) fn judge(facts: &Facts) -> Option<Verdict> {
    let handshake = facts.handshake.as_ref().filter(|handshake| handshake.status != Some(101))?;
    let target = facts.target.as_ref()?;
    let verdict = tls_again(facts, handshake, target)
        .or_else(|| handshake.status.is_none().then(|| unanswered(facts, handshake, target)))
        .or_else(|| redirect::judge(facts, handshake, target))
        .or_else(|| changed(facts, target))
        .or_else(|| said(facts, handshake, target))
        .or_else(|| stripped::judge(facts, handshake, target))
        .unwrap_or_else(|| unknown(facts, handshake));
    Some(verdict)
}

pub(super) fn make(id: &'static str, fault_of: Party, sentence: impl Into<String>) -> Verdict {
    Verdict::new(id, fault_of, Step::Handshake, sentence)
}

/// The answer with its body, as evidence.
pub(super) fn evidence(answer: &Exchange) -> Vec<String> {
    std::iter::once(format!("the handshake: {}", shown(answer))).chain(body(answer)).collect()
}

/// Faults of TLS that show only now.
fn tls_again(facts: &Facts, handshake: &Exchange, target: &Target) -> Option<Verdict> {
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
fn unanswered(facts: &Facts, handshake: &Exchange, target: &Target) -> Verdict {
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

/// A change of one thing that helped.
fn changed(facts: &Facts, target: &Target) -> Option<Verdict> {
    let handshake = facts.handshake.as_ref()?;
    let helped: Vec<_> = facts.variations.iter().filter(|one| one.answer.is_open()).collect();
    let first = helped.first()?;
    if helped.len() >= BY_CHANCE.min(facts.variations.len()) {
        let sentence = format!(
            "The same handshake sometimes works and sometimes does not ({} of {} repeated ones did): one of several \
             servers behind is wrong.",
            helped.len(),
            facts.variations.len()
        );
        return Some(make("flapping", Party::Server, sentence).seen_all(evidence(handshake)).fix(Fix::new(
            "the proxy",
            "Ask each server of the group directly (doctor URL --resolve HOST:PORT:ADDRESS), and repair or take out the \
             one that refuses.",
        )));
    }
    let proof = format!("{}: {}", first.what, shown(&first.answer));
    let front = front::front(facts);
    let verdict = match first.id.as_str() {
        "no-origin" => origin_refused(facts, front),
        "version-8" => wrong_version(handshake),
        "subprotocols" => {
            let chosen = first.answer.header("sec-websocket-protocol").unwrap_or("one of its own");
            make(
                "subprotocol-needed",
                Party::Client,
                format!(
                    "The server refuses a handshake that offers no subprotocol; with \"{chosen}\" it agrees."
                ),
            )
            .fix(
                Fix::new("the page", "Offer it.")
                    .lines(&format!("new WebSocket(\"{target}\", [\"{chosen}\"])")),
            )
            .fix(Fix::new(
                "the proxy",
                "If the page does offer it, the proxy takes Sec-WebSocket-Protocol away: remove that.",
            ))
        }
        "no-subprotocol" => make(
            "subprotocol-wrong",
            Party::Client,
            format!(
                "The server refuses the subprotocol that is offered ({}).",
                facts.subprotocols.join(", ")
            ),
        )
        .fix(
            Fix::new("the page", "Offer what the server speaks, or nothing.")
                .lines(&format!("new WebSocket(\"{target}\")")),
        ),
        "host-localhost" => host_refused(target, front),
        other => {
            let header = match other {
                "no-extensions" => "Sec-WebSocket-Extensions",
                "browser-name" => "User-Agent",
                _ => "Connection",
            };
            make(
                "header-refused",
                Party::Server,
                format!(
                    "The handshake is refused because of its header {header}; {} it is taken.",
                    first.what
                ),
            )
            .fix(Fix::new(
                "the server, or a filter in front",
                format!("Correct the rule that looks at {header}: what was sent is what browsers send."),
            ))
        }
    };
    Some(verdict.seen_all(evidence(handshake)).seen(proof))
}

pub(super) fn origin_refused(facts: &Facts, front: Option<Front>) -> Verdict {
    let origin = facts.origin.as_deref().unwrap_or_default();
    let verdict = make(
        "origin-refused",
        Party::Server,
        format!("The server refuses pages of {origin}: without the header Origin it agrees."),
    )
    .fix(Fix::new("the server", "Add the page's origin to those that may open a WebSocket.").lines(origin));
    let verdict = match front {
        Some(Front::Longwire) => verdict.fix(
            Fix::new("Longwire", "If the proxy is who refuses, add it there.")
                .lines(&format!("websocket_origins {origin};")),
        ),
        _ => verdict,
    };
    let verdict = if facts.own_origin { verdict.fix(remedy::host(front)) } else { verdict };
    verdict.fix(Fix::new(
        "the page",
        "If another page is meant to be refused, all is well: try with --origin as that page has it.",
    ))
}

fn host_refused(target: &Target, front: Option<Front>) -> Verdict {
    let host = &target.host;
    make(
        "host-refused",
        Party::Server,
        format!("The server does not answer for the name {host}: as localhost it agrees."),
    )
    .fix(Fix::new("the server", "Allow the name.").lines(&format!(
        "Vite:    server: {{ allowedHosts: [\"{host}\"] }}\nwebpack: devServer: {{ allowedHosts: [\"{host}\"] }}\n\
         Django:  ALLOWED_HOSTS = [\"{host}\"]"
    )))
    .fix(remedy::host(front))
}

fn wrong_version(handshake: &Exchange) -> Verdict {
    let spoken: Vec<&str> = handshake.all("sec-websocket-version").collect();
    let spoken = if spoken.is_empty() { "another".into() } else { spoken.join(", ") };
    make(
        "wrong-version",
        Party::Server,
        format!("The server speaks version {spoken} of the protocol; browsers speak 13 (RFC 6455)."),
    )
    .fix(Fix::new(
        "the server",
        "Replace its WebSocket library: version 13 has been the only one since 2011.",
    ))
}

/// The handshake of one browser works, that of another does not.
pub(super) fn of_another_browser(facts: &Facts) -> Option<Verdict> {
    let one = facts.variation("keep-alive")?;
    let works = facts.handshake.as_ref().is_some_and(Exchange::is_open);
    // A limit that is reached, or a server that fails, says nothing about a header.
    let refused = one.answer.status.is_some_and(|status| (200..500).contains(&status) && status != 429);
    if !works || !refused {
        return None;
    }
    Some(
        make(
            "header-refused",
            Party::Proxy,
            "The handshake of Chrome works and that of Firefox is refused: something compares the header Connection as a \
             text, where it is a list.",
        )
        .seen(format!("with Connection: Upgrade it works; {}: {}", one.what, shown(&one.answer)))
        .fix(
            Fix::new("Caddy", "Match it as one word of several.")
                .lines("@websocket {\n    header Connection *Upgrade*\n    header Upgrade websocket\n}"),
        )
        .fix(Fix::new("HAProxy", "Match it as one word of several.").lines("acl websocket hdr(Connection) -i upgrade"))
        .fix(Fix::new("the server", "Split the header at its commas, and compare without case (RFC 6455 section 4.2.1).")),
    )
}

/// Where another path opens a WebSocket.
fn elsewhere(facts: &Facts) -> Option<&Page> {
    facts.paths.iter().find(|page| page.answer.is_open())
}

/// Nothing at this path.
pub(super) fn wrong_path(facts: &Facts, handshake: &Exchange, better: Option<&Page>) -> Verdict {
    let path = &handshake.path;
    let page = facts.page().map(|page| format!("a plain GET at the same path: {}", shown(page)));
    let verdict = match better {
        Some(page) => make(
            "wrong-path",
            Party::Client,
            format!("There is no WebSocket at {path}; at {} there is one.", page.path),
        )
        .fix(Fix::new("the page or the client", "Ask at the right path.").lines(&page.path)),
        None => make("wrong-path", Party::Client, format!("There is no WebSocket at {path}.")).fix(Fix::new(
            "the page or the client",
            "Ask at the path that the server has its WebSocket at; libraries add their own (/socket.io/, /cable, /hub).",
        )),
    };
    let open = better.map(|page| format!("{}: {}", page.path, shown(&page.answer)));
    verdict.seen_all(evidence(handshake)).seen_all(page).seen_all(open).fix(Fix::new(
        "the proxy",
        "If the path is right, the proxy sends it elsewhere: look which location takes it, and whether proxy_pass with a \
         path behind the server's name cuts it (with \"proxy_pass http://app/;\" the location's own path is lost).",
    ))
}

/// A head from which on servers begin to complain, in bytes.
const LARGE_HEAD: usize = 4096;

/// What the status and the body say outright.
fn said(facts: &Facts, handshake: &Exchange, target: &Target) -> Option<Verdict> {
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
        Some(Front::Nginx | Front::Longwire) | None => verdict.fix(
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

fn unknown(facts: &Facts, handshake: &Exchange) -> Verdict {
    let status = handshake.status.unwrap_or_default();
    let page = facts.page().map(|page| format!("a plain GET at the same path: {}", shown(page)));
    make(
        "could-not-tell",
        Party::Unknown,
        format!(
            "The handshake is answered with {status} instead of 101, and nothing that was tried shows why."
        ),
    )
    .seen_all(evidence(handshake))
    .seen_all(page)
    .fix(Fix::new("the server", "Look into its log, and the proxy's, at this moment."))
}
