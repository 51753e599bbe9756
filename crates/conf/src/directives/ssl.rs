//! `ssl_*`: TLS towards clients.

use super::{ANY, Entry, HTTP_SERVER, accepted, add, refused, set};
use crate::build::Builder;
use crate::ciphers;
use crate::diagnostic::Diagnostic;
use crate::model::{Protocols, Spanned, VerifyClient};
use crate::tree::Directive;
use crate::value;

const STAPLING: &str = "OCSP answers are not stapled; browsers no longer ask for them";

pub(super) const TABLE: &[Entry] = &[
    add(
        "ssl_certificate",
        HTTP_SERVER,
        (1, 1),
        "FILE",
        "",
        "PEM file with a certificate, its chain behind it. Several are chosen from by what the client can do. A relative path counts from the configuration file's folder.",
        |b, d| {
            if let Some(path) = pem(b, d) {
                b.level.ssl.certificates.get_or_insert_default().push(path);
            }
        },
    ),
    add(
        "ssl_certificate_key",
        HTTP_SERVER,
        (1, 1),
        "FILE",
        "",
        "PEM file with the key of the certificate at the same place in the order.",
        |b, d| {
            if let Some(path) = pem(b, d) {
                b.level.ssl.keys.get_or_insert_default().push(path);
            }
        },
    ),
    set(
        "ssl_protocols",
        HTTP_SERVER,
        (1, ANY),
        "[TLSv1.2] [TLSv1.3]",
        "TLSv1.2 TLSv1.3",
        "Versions of TLS. Older ones are accepted beside these without effect: they are not secure, and nobody is served by them.",
        |b, d| b.level.ssl.protocols = protocols(b, d),
    ),
    set(
        "ssl_ciphers",
        HTTP_SERVER,
        (1, 1),
        "CIPHERS",
        "",
        "Suites of TLS 1.2 in OpenSSL's notation. Those that rustls has are offered: ECDHE with AES-GCM or ChaCha20-Poly1305. A list that leaves none of them is a mistake.",
        |b, d| {
            b.level.ssl.ciphers =
                Some(Some(Spanned { value: d.args[0].value.clone(), span: d.args[0].span }));
        },
    ),
    set(
        "ssl_prefer_server_ciphers",
        HTTP_SERVER,
        (1, 1),
        "on | off",
        "off",
        "Whether the order of the server's suites wins over the client's.",
        |b, d| b.level.ssl.prefer_server_ciphers = b.flag(d),
    ),
    set(
        "ssl_session_tickets",
        HTTP_SERVER,
        (1, 1),
        "on | off",
        "on",
        "Whether sessions can be resumed by tickets. With `off` and no `ssl_session_cache` none is resumed.",
        |b, d| b.level.ssl.session_tickets = b.flag(d),
    ),
    add(
        "ssl_session_ticket_key",
        HTTP_SERVER,
        (1, 1),
        "FILE",
        "",
        "File with a key of tickets: 48 or 80 random bytes, as `openssl rand 80` makes them. Of several the first makes tickets and all are known, so that keys can be changed: put the new one second, reload everywhere, then put it first. They are read anew at each reload. As in nginx, those of the default server of an address hold for all servers there. Without any, the process makes its own, which are changed every six hours and go on through reloads and upgrades. A ticket is good only where the rules for clients' certificates are those under which it was made.",
        |b, d| {
            let path = b.conf_path(&d.args[0]);
            b.level.ssl.ticket_keys.get_or_insert_default().push(path);
        },
    ),
    set(
        "ssl_session_timeout",
        HTTP_SERVER,
        (1, 1),
        "TIME",
        "5m",
        "How long a session can be resumed; by a ticket of the process's own keys at most for some hours, because these are changed every six.",
        |b, d| b.level.ssl.session_timeout = b.seconds(d),
    ),
    set(
        "ssl_reject_handshake",
        HTTP_SERVER,
        (1, 1),
        "on | off",
        "off",
        "Refuses TLS for names of this server; for a default server that no other name may reach.",
        |b, d| b.level.ssl.reject_handshake = b.flag(d),
    ),
    set(
        "ssl",
        HTTP_SERVER,
        (1, 1),
        "on | off",
        "off",
        "Every `listen` of the server is `ssl`. nginx had this until 1.25; write `listen ... ssl`.",
        |b, d| {
            b.level.ssl.on = b.flag(d);
            let message = "the \"ssl\" directive is deprecated, use the \"listen ... ssl\" directive instead";
            b.report(Diagnostic::warning(d.span, message));
        },
    ),
    set(
        "ssl_early_data",
        HTTP_SERVER,
        (1, 1),
        "on | off",
        "off",
        "Accepted: requests are not taken before the handshake is done.",
        |b, d| {
            if b.flag(d) == Some(true) {
                b.without_effect("ssl_early_data", d.span, "requests are taken when the handshake is done");
            }
        },
    ),
    accepted(
        "ssl_dhparam",
        HTTP_SERVER,
        "suites with finite-field Diffie-Hellman are not offered, elliptic curves are",
    ),
    set(
        "ssl_ecdh_curve",
        HTTP_SERVER,
        (1, 1),
        "CURVE[:CURVE...] | auto",
        "auto",
        "Groups for the key exchange, best first: X25519MLKEM768, X25519, prime256v1 (P-256), secp384r1 (P-384). Others are left out with a note.",
        curves,
    ),
    set(
        "ssl_session_cache",
        HTTP_SERVER,
        (1, 2),
        "off | none | [builtin[:SESSIONS]] [shared:NAME:SIZE]",
        "none",
        "Keeps sessions in memory, so that they can be resumed without tickets. About 4000 fit in 1m. Each server keeps its own, whatever the name, also through a reload that leaves its names, addresses, size and rules for clients' certificates as they are.",
        session_cache,
    ),
    set(
        "ssl_conf_command",
        HTTP_SERVER,
        (2, 2),
        "Ciphersuites NAMES",
        "",
        "`Ciphersuites` names the suites of TLS 1.3. Other commands are for OpenSSL and are left out with a note.",
        conf_command,
    ),
    accepted("ssl_stapling", HTTP_SERVER, STAPLING),
    accepted("ssl_stapling_verify", HTTP_SERVER, STAPLING),
    accepted("ssl_stapling_file", HTTP_SERVER, STAPLING),
    accepted("ssl_stapling_responder", HTTP_SERVER, STAPLING),
    accepted("ssl_buffer_size", HTTP_SERVER, "records are as long as what there is to send"),
    accepted(
        "ssl_certificate_cache",
        HTTP_SERVER,
        "certificates are read once, when the configuration is loaded",
    ),
    accepted(
        "ssl_object_cache_inheritable",
        HTTP_SERVER,
        "certificates are read once, when the configuration is loaded",
    ),
    accepted("ssl_certificate_compression", HTTP_SERVER, "certificates are sent as they are"),
    set(
        "ssl_verify_client",
        HTTP_SERVER,
        (1, 1),
        "on | off | optional | optional_no_ca",
        "off",
        "Asks clients for a certificate. The handshake takes any; a request is answered 400 when the certificate is not good (`error_page 495`) or, with `on`, missing (`error_page 496`). `optional_no_ca` takes those that nobody known here has signed. A request for another name than that of the handshake is answered 421.",
        verify_client,
    ),
    set(
        "ssl_client_certificate",
        HTTP_SERVER,
        (1, 1),
        "FILE",
        "",
        "PEM file with the certificates of authorities that sign clients' certificates. Their names are sent to clients.",
        |b, d| b.level.ssl.client_certificate = pem(b, d).map(Some),
    ),
    set(
        "ssl_trusted_certificate",
        HTTP_SERVER,
        (1, 1),
        "FILE",
        "",
        "PEM file with more such certificates, whose names are not sent.",
        |b, d| b.level.ssl.trusted_certificate = pem(b, d).map(Some),
    ),
    set(
        "ssl_crl",
        HTTP_SERVER,
        (1, 1),
        "FILE",
        "",
        "PEM file with lists of revoked certificates. Every authority on the way to the root needs one.",
        |b, d| b.level.ssl.crl = pem(b, d).map(Some),
    ),
    set(
        "ssl_verify_depth",
        HTTP_SERVER,
        (1, 1),
        "NUMBER",
        "1",
        "Authorities that may stand between a client's certificate and a root.",
        |b, d| {
            b.level.ssl.verify_depth = b.number(d).map(|depth| usize::try_from(depth).unwrap_or(usize::MAX))
        },
    ),
    refused(
        "ssl_ocsp",
        HTTP_SERVER,
        "Longwire does not ask OCSP responders yet. Leaving this out would trust revoked certificates; \"ssl_crl\" is there",
    ),
    accepted("ssl_ocsp_cache", HTTP_SERVER, "it serves ssl_ocsp, which is reported by itself"),
    accepted("ssl_ocsp_responder", HTTP_SERVER, "it serves ssl_ocsp, which is reported by itself"),
    accepted(
        "ssl_password_file",
        HTTP_SERVER,
        "keys without a passphrase need none, and an encrypted key is reported by itself",
    ),
];

/// A file with a certificate or key.
fn pem(b: &mut Builder<'_>, d: &Directive) -> Option<Spanned<std::path::PathBuf>> {
    let word = &d.args[0];
    let unsupported = ["data:", "engine:", "store:"].iter().any(|scheme| word.value.starts_with(scheme));
    if unsupported || word.value.contains('$') {
        let message = "Longwire does not have certificates from elsewhere than a file yet";
        b.report(
            Diagnostic::error(word.span, message).help("write the path of a PEM file, without variables"),
        );
        return None;
    }
    Some(b.conf_path(word))
}

fn verify_client(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[0];
    let value = match word.value.as_str() {
        "off" => VerifyClient::Off,
        "on" => VerifyClient::On,
        "optional" => VerifyClient::Optional,
        "optional_no_ca" => VerifyClient::OptionalNoCa,
        other => {
            let message = format!("invalid value \"{other}\"");
            let help = "what may stand here is on, off, optional or optional_no_ca";
            return b.report(Diagnostic::error(word.span, message).help(help));
        }
    };
    b.level.ssl.verify_client = Some(Some(Spanned { value, span: d.span }));
}

fn curves(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[0];
    let (curves, missing) = ciphers::groups(&word.value);
    if curves.is_empty() {
        let mistake = Diagnostic::error(word.span, format!("no curve is left of \"{}\"", word.value));
        let help = "rustls has X25519MLKEM768, X25519, prime256v1 and secp384r1";
        return b.report(mistake.help(help));
    }
    if !missing.is_empty() {
        let note = format!("of \"ssl_ecdh_curve\" these are not offered: {}", missing.join(", "));
        b.report(Diagnostic::note(word.span, note));
    }
    b.level.ssl.curves = Some(Some(curves));
}

/// What nginx keeps in a megabyte.
const SESSIONS_PER_MEGABYTE: u64 = 4000;
/// A cache of its own that nobody gave a size.
const SESSIONS_BUILTIN: u64 = 20 * 1024;
/// More than this is memory that nobody meant to give.
const MOST_SESSIONS: u64 = 1 << 20;

fn session_cache(b: &mut Builder<'_>, d: &Directive) {
    let mut sessions = None;
    for word in &d.args {
        let parts: Vec<&str> = word.value.split(':').collect();
        let found = match parts.as_slice() {
            ["off" | "none"] => Some(None),
            ["builtin"] => Some(Some(SESSIONS_BUILTIN)),
            ["builtin", number] => value::number(number).map(Some),
            ["shared", name, size] if !name.is_empty() => value::size(size)
                .filter(|size| *size > 0)
                .map(|size| Some((size.saturating_mul(SESSIONS_PER_MEGABYTE) >> 20).max(1))),
            _ => None,
        };
        let Some(found) = found else {
            let message = format!("invalid session cache \"{}\"", word.value);
            let help = "write off, none, builtin or, for example, \"shared:SSL:10m\"";
            return b.report(Diagnostic::error(word.span, message).help(help));
        };
        sessions = sessions.max(found);
    }
    let sessions = sessions.map(|sessions| sessions.min(MOST_SESSIONS) as usize);
    b.level.ssl.session_cache = Some(sessions);
}

fn conf_command(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[1];
    if !d.args[0].value.eq_ignore_ascii_case("Ciphersuites") {
        let name = format!("ssl_conf_command {}", d.args[0].value);
        return b.without_effect(&name, d.span, "it speaks to OpenSSL, which is not in use");
    }
    let named = word.value.split(':');
    let suites: Vec<_> =
        named.filter_map(|name| ciphers::TLS13.iter().find(|known| **known == name).copied()).collect();
    if suites.is_empty() {
        let mistake = Diagnostic::error(word.span, format!("no suite is left of \"{}\"", word.value));
        return b.report(mistake.help(format!("rustls has {}", ciphers::TLS13.join(", "))));
    }
    b.level.ssl.ciphers13 = Some(Some(suites));
}

/// Reads versions of TLS; those that are no more are left out with a note.
pub(super) fn protocols(b: &mut Builder<'_>, d: &Directive) -> Option<Protocols> {
    let mut protocols = Protocols { tls12: false, tls13: false };
    for word in &d.args {
        match word.value.as_str() {
            "TLSv1.2" => protocols.tls12 = true,
            "TLSv1.3" => protocols.tls13 = true,
            "SSLv2" | "SSLv3" | "TLSv1" | "TLSv1.1" => {
                b.without_effect(
                    "TLSv1.1 and older",
                    word.span,
                    "these versions are not secure and not offered",
                );
            }
            other => {
                let message = format!("invalid value \"{other}\"");
                b.report(
                    Diagnostic::error(word.span, message)
                        .label("no version of TLS")
                        .help("versions are TLSv1.2 and TLSv1.3"),
                );
                return None;
            }
        }
    }
    if !protocols.tls12 && !protocols.tls13 {
        let mistake = Diagnostic::error(d.span, "no version of TLS is left")
            .label("all of these are insecure and not offered");
        b.report(mistake.help("write \"TLSv1.2 TLSv1.3\""));
        return None;
    }
    Some(protocols)
}
