//! `ssl_*`: TLS towards clients.

use super::{ANY, Entry, HTTP_SERVER, accepted, add, refused, set};
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::model::{Protocols, Spanned};
use crate::tree::Directive;

const CACHE: &str = "sessions are kept by tickets and in memory, shared by all threads already";
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
        "Suites of TLS 1.2 in OpenSSL's notation. Those that rustls has are used; all of them are safe.",
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
        "Whether sessions can be resumed by tickets.",
        |b, d| b.level.ssl.session_tickets = b.flag(d),
    ),
    set(
        "ssl_session_timeout",
        HTTP_SERVER,
        (1, 1),
        "TIME",
        "5m",
        "How long a session can be resumed.",
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
    accepted(
        "ssl_ecdh_curve",
        HTTP_SERVER,
        "the best of X25519MLKEM768, X25519, P-256 and P-384 that both sides have is used",
    ),
    accepted("ssl_session_cache", HTTP_SERVER, CACHE),
    accepted(
        "ssl_session_ticket_key",
        HTTP_SERVER,
        "keys of tickets are made at random and changed by themselves",
    ),
    accepted("ssl_stapling", HTTP_SERVER, STAPLING),
    accepted("ssl_stapling_verify", HTTP_SERVER, STAPLING),
    accepted("ssl_stapling_file", HTTP_SERVER, STAPLING),
    accepted("ssl_stapling_responder", HTTP_SERVER, STAPLING),
    accepted(
        "ssl_trusted_certificate",
        HTTP_SERVER,
        "it serves stapling and client certificates, which are not there yet",
    ),
    accepted("ssl_buffer_size", HTTP_SERVER, "records are as long as what there is to send"),
    accepted("ssl_conf_command", HTTP_SERVER, "it speaks to OpenSSL, which is not in use"),
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
    accepted("ssl_verify_depth", HTTP_SERVER, "client certificates are not asked for yet"),
    accepted(
        "ssl_client_certificate",
        HTTP_SERVER,
        "it serves ssl_verify_client, which is reported by itself",
    ),
    accepted("ssl_crl", HTTP_SERVER, "it serves ssl_verify_client, which is reported by itself"),
    accepted("ssl_ocsp", HTTP_SERVER, "it serves ssl_verify_client, which is reported by itself"),
    refused(
        "ssl_password_file",
        HTTP_SERVER,
        "Longwire does not have encrypted keys yet. Store the key without a passphrase: openssl pkey -in old.key -out new.key",
    ),
    set(
        "ssl_verify_client",
        HTTP_SERVER,
        (1, 1),
        "off",
        "off",
        "Longwire does not ask for client certificates yet; only `off` is accepted.",
        |b, d| {
            if d.args[0].value != "off" {
                let mistake = Diagnostic::error(d.span, "Longwire does not have client certificates yet");
                b.report(mistake.label("without it everybody would be let in"));
            }
        },
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
