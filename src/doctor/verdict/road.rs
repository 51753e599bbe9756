//! Pure: faults of the road below HTTP: the URL, the name, TCP, TLS.

use super::{Fix, Party, Step, Verdict};
use crate::doctor::facts::{Address, DnsError, Facts, Mistrust, TcpError, Tls, TlsError};
use crate::doctor::target::Target;

/// The first step that breaks.
pub(super) fn judge(facts: &Facts) -> Option<Verdict> {
    if let Some(error) = &facts.url_error {
        let sentence = format!("This is no URL of a WebSocket: {error}.");
        return Some(Verdict::new("url-invalid", Party::Client, Step::Url, sentence).fix(
            Fix::new("the page or the client", "Give it a URL of this form.").lines("wss://example.com/path"),
        ));
    }
    let target = facts.target.as_ref()?;
    name(facts, target).or_else(|| tcp(facts, target)).or_else(|| tls(facts, target))
}

fn name(facts: &Facts, target: &Target) -> Option<Verdict> {
    let dns = facts.dns.as_ref()?;
    let host = &target.host;
    let verdict = match dns.error? {
        DnsError::NoSuchName => {
            let sentence = format!("The name {host} does not exist in DNS, or has no address.");
            Verdict::new("dns-no-such-name", Party::Dns, Step::Dns, sentence).fix(
                Fix::new(
                    "DNS",
                    "Correct the name in the URL, or give the name an address; a new record is seen once the old \
                     answer's time to live is over.",
                )
                .lines(&format!("{host}. 300 IN A 192.0.2.1   ; the address of your server")),
            )
        }
        DnsError::NoAnswer => {
            let sentence = format!("The name servers do not answer for {host}.");
            Verdict::new("dns-no-answer", Party::Dns, Step::Dns, sentence).fix(Fix::new(
                "this machine, or the name's servers",
                "Look whether /etc/resolv.conf names a resolver that answers; if other names resolve, the servers of \
                 this name are at fault.",
            ))
        }
    };
    Some(verdict.seen(format!(
        "the resolver says: {} ({} ms)",
        dns.message.as_deref().unwrap_or("nothing"),
        dns.ms
    )))
}

fn tcp(facts: &Facts, target: &Target) -> Option<Verdict> {
    if facts.addresses.is_empty() || facts.addresses.iter().any(|address| address.error.is_none()) {
        return None;
    }
    let seen: Vec<String> = facts.addresses.iter().map(knocked).collect();
    let has = |kind| facts.addresses.iter().any(|address| address.error == Some(kind));
    let (host, port) = (&target.host, target.port);
    let verdict = if has(TcpError::Refused) {
        let sentence = format!("Nobody listens on port {port} of {host}: the connection is refused.");
        Verdict::new("tcp-refused", Party::Server, Step::Tcp, sentence).fix(
            Fix::new(
                "the server",
                "Start the server, or correct the port; one that listens on 127.0.0.1 only cannot be reached from \
                 elsewhere. See what listens there:",
            )
            .lines(&format!("ss -ltnp 'sport = :{port}'")),
        )
    } else if has(TcpError::Timeout) {
        let sentence =
            format!("{host} does not answer on port {port}: packets go out and nothing comes back.");
        Verdict::new("tcp-timeout", Party::Network, Step::Tcp, sentence).fix(Fix::new(
            "the firewall",
            format!(
                "Let TCP port {port} in (the machine's firewall, a security group of the cloud), or correct the \
                 address; a machine that is off looks the same."
            ),
        ))
    } else if has(TcpError::Unreachable) {
        let sentence = format!("There is no road to {host}: the network says it cannot be reached.");
        Verdict::new("tcp-unreachable", Party::Network, Step::Tcp, sentence).fix(Fix::new(
            "the network",
            "Look at routes and addresses: this machine may have no IPv6, or no route.",
        ))
    } else {
        let sentence = format!("No connection to {host}:{port}.");
        Verdict::new("tcp-unreachable", Party::Network, Step::Tcp, sentence)
    };
    Some(verdict.seen_all(seen))
}

/// An address with what became of it.
pub(super) fn knocked(address: &Address) -> String {
    match &address.message {
        None => format!("{}: connected in {} ms", address.address, address.ms),
        Some(message) => format!("{}: {message} ({} ms)", address.address, address.ms),
    }
}

fn tls(facts: &Facts, target: &Target) -> Option<Verdict> {
    let tls = facts.tls.as_ref()?;
    if let Some(error) = tls.error {
        return Some(tls_failed(facts, target, tls, error).seen_all(tls_evidence(tls)));
    }
    let mistrust = tls.mistrust.filter(|_| !facts.insecure)?;
    Some(untrusted(target, tls, mistrust).seen_all(tls_evidence(tls)))
}

fn tls_failed(facts: &Facts, target: &Target, tls: &Tls, error: TlsError) -> Verdict {
    let (host, port) = (&target.host, target.port);
    let plain = facts.other_way.as_ref().is_some_and(|other| !other.tls && other.works);
    match error {
        _ if plain || error == TlsError::NotTls => {
            let sentence = format!("Port {port} of {host} speaks plain text, not TLS, and the URL says wss.");
            let plain = Target { secure: false, ..target.clone() };
            Verdict::new("tls-on-plain-port", Party::Server, Step::Tls, sentence)
                .fix(Fix::new("the client", "If plain text is meant (a test on this machine), say so in the URL.").lines(&plain.to_string()))
                .fix(Fix::new("nginx", "To have TLS on this port, write it in \"listen\" and name a certificate.").lines(
                    &format!("listen {port} ssl;\nssl_certificate     /etc/ssl/{host}.pem;\nssl_certificate_key /etc/ssl/{host}.key;"),
                ))
        }
        TlsError::VersionOld => {
            let sentence =
                format!("{host} speaks only versions of TLS older than 1.2, which browsers refuse.");
            Verdict::new("tls-version-old", Party::Server, Step::Tls, sentence).fix(
                Fix::new("nginx", "Allow the versions that are in use.")
                    .lines("ssl_protocols TLSv1.2 TLSv1.3;"),
            )
        }
        TlsError::CertificateRequired => client_certificate(),
        TlsError::Alert if tls.asks_certificate => client_certificate(),
        TlsError::NoProtocol => http2_alone(host),
        TlsError::Timeout => {
            let sentence =
                format!("{host} accepts the connection on port {port} and then does not answer to TLS.");
            Verdict::new("tls-failed", Party::Server, Step::Tls, sentence)
        }
        _ => {
            let sentence = format!("TLS with {host} does not come about.");
            Verdict::new("tls-failed", Party::Server, Step::Tls, sentence).fix(Fix::new(
                "the server",
                "Look into its error log at this moment: it knows why. Often no certificate is configured for this \
                 name, or the key does not fit.",
            ))
        }
    }
}

/// The server wants a certificate of the client.
pub(super) fn client_certificate() -> Verdict {
    Verdict::new(
        "tls-client-certificate",
        Party::Client,
        Step::Tls,
        "The server demands a certificate of the client, and none was shown.",
    )
    .fix(Fix::new("the client", "Install the client's certificate in the browser or the application."))
    .fix(Fix::new("nginx", "If no certificate is meant to be demanded here:").lines("ssl_verify_client off;"))
}

/// HTTP/2 and nothing else, without WebSockets in it.
pub(super) fn http2_alone(host: &str) -> Verdict {
    let sentence = format!(
        "{host} speaks HTTP/2 alone, without WebSockets in it (RFC 8441), and browsers open them by HTTP/1.1 then."
    );
    Verdict::new("h2-without-extended-connect", Party::Server, Step::Tls, sentence)
        .fix(
            Fix::new(
                "the server or the proxy",
                "Offer http/1.1 beside h2 in ALPN, or switch extended CONNECT on.",
            )
            .lines(
                "Node:  http2.createSecureServer({ allowHTTP1: true, ... })\n       \
             http2.createSecureServer({ settings: { enableConnectProtocol: true }, ... })",
            ),
        )
        .fix(Fix::new("HAProxy", "On the bind line:").lines("bind :443 ssl crt site.pem alpn h2,http/1.1"))
}

/// WebSockets over HTTP/2 are announced, and do not work.
pub(super) fn http2(facts: &Facts) -> Option<Verdict> {
    let status = facts.alpn.iter().find_map(|one| one.connect_status).filter(|status| *status != 200)?;
    let said =
        if status == 0 { "the stream is reset".into() } else { format!("it is answered with {status}") };
    Some(
        Verdict::new(
            "h2-connect-broken",
            Party::Proxy,
            Step::Tls,
            "WebSockets over HTTP/2 are announced and do not work: browsers that have an HTTP/2 connection open use it, and fail.",
        )
        .seen(format!("SETTINGS_ENABLE_CONNECT_PROTOCOL is 1; asked by extended CONNECT, {said}; by HTTP/1.1 it works"))
        .fix(Fix::new("the proxy", "Switch extended CONNECT off, or let it reach a server that takes it.").lines(
            "HAProxy: h2-workaround-bogus-websocket-clients   (in global)",
        )),
    )
}

/// An address of several at which nobody is, where all else is sound.
pub(super) fn dead_address(facts: &Facts) -> Option<Verdict> {
    // No road at all is a matter of this machine: it may have no IPv6.
    let is_dead = |address: &&Address| matches!(address.error, Some(TcpError::Refused | TcpError::Timeout));
    let dead = facts.addresses.iter().find(is_dead)?;
    let host = facts.target.as_ref().map(|target| target.host.as_str()).unwrap_or_default();
    let kind = if dead.address.starts_with('[') { "AAAA" } else { "A" };
    let sentence = format!(
        "One address of {host} is dead ({}): clients that try it first wait or fail, while the others work.",
        dead.address
    );
    let both = (kind == "AAAA").then(|| {
        let port = facts.target.as_ref().map_or(443, |target| target.port);
        let ssl = if facts.tls.is_some() { " ssl" } else { "" };
        Fix::new("nginx", "To listen on IPv6 as well:").lines(&format!("listen [::]:{port}{ssl};"))
    });
    Some(
        Verdict::new("address-dead", Party::Dns, Step::Tcp, sentence)
            .seen_all(facts.addresses.iter().map(knocked))
            .fix(Fix::new("DNS", format!("Remove the {kind} record, or let the server listen there too.")))
            .fixes(both),
    )
}

fn untrusted(target: &Target, tls: &Tls, mistrust: Mistrust) -> Verdict {
    let host = &target.host;
    let leaf = tls.chain.first().cloned().unwrap_or_default();
    let renew = Fix::new("the server", "Renew the certificate and let the server load it.")
        .lines("certbot renew && nginx -s reload");
    let make = |id, sentence: String| Verdict::new(id, Party::Certificate, Step::Tls, sentence);
    match mistrust {
        Mistrust::Expired => {
            make("tls-expired", format!("The certificate of {host} is past its end ({}).", leaf.ends)).fix(renew)
        }
        Mistrust::NotYetValid => make(
            "tls-not-yet-valid",
            format!("The certificate of {host} is valid only from {}.", leaf.begins),
        )
        .fix(Fix::new("this machine, or the server", "Look at the clocks of both; else wait, or make it anew.")),
        Mistrust::Name => {
            let names = if leaf.names.is_empty() { "no name at all".into() } else { leaf.names.join(", ") };
            make("tls-name-mismatch", format!("The certificate is made for {names}, not for {host}.")).fix(
                Fix::new(
                    "the server",
                    format!(
                        "Get a certificate with the name {host}, or show the one that has it: the server chooses by \
                         server_name, and takes its default where none fits."
                    ),
                )
                .lines(&format!("server_name {host};")),
            )
        }
        Mistrust::SelfSigned => make(
            "tls-self-signed",
            format!("The certificate of {host} is signed by itself: no browser trusts it."),
        )
        .fix(
            Fix::new("the server", "Get one from an authority that browsers know; or trust it on each client.")
                .lines(&format!("certbot --nginx -d {host}")),
        )
        .fix(Fix::new(
            "while developing",
            "No public authority signs an address or localhost. Trust this certificate where the client runs; the \
             doctor goes on with --ca FILE, or with --insecure.",
        )),
        Mistrust::UnknownIssuer if tls.issuer_known => make(
            "tls-chain-incomplete",
            format!("The server of {host} does not show its whole chain: what stands between its certificate and the root is missing."),
        )
        .fix(
            Fix::new(
                "the server",
                "Give it the certificate followed by the intermediate ones in one file (fullchain.pem). Browsers may \
                 have the missing one from elsewhere, applications do not.",
            )
            .lines("ssl_certificate /etc/letsencrypt/live/NAME/fullchain.pem;   # not cert.pem"),
        ),
        Mistrust::UnknownIssuer => make(
            "tls-unknown-authority",
            format!("The certificate of {host} comes from an authority that is not trusted here ({}).", leaf.issuer),
        )
        .fix(Fix::new(
            "the client",
            "Trust this authority on each client (here: --ca FILE), or get a certificate from one that browsers know. \
             If the authority is a public one, intermediate certificates are missing in what the server shows.",
        )),
        Mistrust::Other => make("tls-failed", format!("The certificate of {host} cannot be used.")),
    }
}

fn tls_evidence(tls: &Tls) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(message) = &tls.message {
        lines.push(format!("TLS says: {message} ({} ms)", tls.ms));
    }
    for (at, one) in tls.chain.iter().enumerate() {
        lines.push(format!(
            "certificate {}: {}, issued by {}, {} to {}",
            at + 1,
            one.subject,
            one.issuer,
            one.begins,
            one.ends
        ));
    }
    if tls.version.is_some() {
        lines.push(spoken(tls));
    }
    lines
}

/// What TLS agreed on, in a line.
pub(super) fn spoken(tls: &Tls) -> String {
    let version = tls.version.as_deref().unwrap_or("TLS");
    let leaf = tls.chain.first();
    let until =
        leaf.map(|leaf| format!(", certificate by {} until {}", leaf.issuer, leaf.ends)).unwrap_or_default();
    format!("{version}, ALPN {}{until}", tls.alpn.as_deref().unwrap_or("nothing"))
}
