//! Pure: every verdict with its meaning. docs/doctor.md shows the same tables; a test holds them together.

/// A row: id, meaning.
pub type Row = (&'static str, &'static str);

/// All verdicts, in the order of the road.
pub const VERDICTS: &[Row] = &[
    ("sound", "Everything that was tried works."),
    ("could-not-tell", "What was seen fits no fault that is known."),
    ("url-invalid", "What was given is no URL of a WebSocket."),
    ("dns-no-such-name", "The name does not exist, or has no address."),
    ("dns-no-answer", "The name servers do not answer."),
    ("tcp-refused", "Nobody listens on the port."),
    ("tcp-timeout", "Nothing comes back: a firewall, a wrong address, or a machine that is off."),
    ("tcp-unreachable", "There is no road to the address."),
    ("address-dead", "One of several addresses is dead; the others work."),
    ("tls-on-plain-port", "The URL says wss, and the port speaks plain text."),
    ("plain-on-tls-port", "The URL says ws, and the port speaks TLS."),
    ("tls-name-mismatch", "The certificate is made for other names."),
    ("tls-expired", "The certificate is past its end."),
    ("tls-not-yet-valid", "The certificate is not valid yet."),
    ("tls-self-signed", "The certificate is its own issuer."),
    ("tls-chain-incomplete", "The server leaves out what stands between its certificate and the root."),
    ("tls-unknown-authority", "The certificate comes from an authority that is not trusted."),
    ("tls-version-old", "The server speaks only versions of TLS before 1.2."),
    ("tls-client-certificate", "The server demands a certificate of the client."),
    ("tls-failed", "TLS does not come about for another reason."),
    ("tls-to-backend", "The proxy and the server behind it disagree on TLS."),
    ("h2-without-extended-connect", "HTTP/2 alone is spoken, without WebSockets in it (RFC 8441)."),
    ("h2-connect-broken", "WebSockets over HTTP/2 are announced, and do not work."),
    ("not-http", "Something else than HTTP is spoken there."),
    ("no-answer", "The connection is closed without an answer to the handshake."),
    ("handshake-hangs", "The handshake is taken and not answered."),
    ("redirect-to-https", "The plain port sends everything to https."),
    ("redirect-slash", "The path differs by a slash at its end."),
    ("redirect-login", "The handshake is sent to a login page."),
    ("redirect-elsewhere", "The handshake is sent to another place."),
    ("redirect-loop", "The handshake is sent in a circle."),
    ("upgrade-stripped", "A proxy loses what makes the handshake one: Upgrade, Connection or HTTP/1.1."),
    ("wrong-version", "The server speaks another version of the protocol than 13."),
    ("wrong-path", "There is no WebSocket at this path."),
    ("page-fallback", "The application's page answers, as it does for any unknown path."),
    ("login-required", "The server wants to know who is asking."),
    ("origin-refused", "The server refuses pages of this origin."),
    ("host-refused", "The server does not answer for this name."),
    ("forbidden", "A rule forbids the handshake, or this client."),
    ("header-refused", "The handshake is refused because of another header."),
    ("subprotocol-needed", "The server wants a subprotocol, and none was offered."),
    ("subprotocol-wrong", "The offered subprotocol is refused or not answered, or another is chosen."),
    ("flapping", "The same handshake sometimes works and sometimes does not."),
    ("backend-down", "The proxy gets no answer from the server behind it."),
    ("backend-slow", "The proxy gives up waiting for the server behind it."),
    ("overloaded", "The server cannot take more now."),
    ("rate-limited", "A limit for this address is reached."),
    ("head-too-large", "The head of the handshake is too large, most likely by its cookies."),
    ("server-error", "The server fails over the handshake."),
    ("upgrade-header-wrong", "The 101 does not say `Upgrade: websocket`."),
    ("connection-header-wrong", "The 101 does not say `Connection: Upgrade`."),
    ("accept-wrong", "The Sec-WebSocket-Accept of the 101 belongs to another key."),
    ("extension-not-offered", "The 101 agrees to an extension that was not offered."),
    ("answered-http10", "The 101 is in HTTP/1.0."),
    ("closed-at-once", "The socket opens, and the server ends it at once."),
    ("protocol-broken", "What comes behind the 101 are no WebSocket frames."),
    ("masking-wrong", "The server masks its frames."),
    ("frames-held", "Small frames are held back until more has come."),
    ("ping-unanswered", "No Pong comes for a Ping."),
    ("fragments-broken", "A message in several frames does not arrive as one."),
    ("compression-broken", "Compression is agreed on, and does not work."),
    ("message-limit", "A message of 64 KB or 1 MB is refused, or breaks the connection."),
    ("socketio-version", "Client and server speak different versions of socket.io's protocol."),
    ("socketio-no-affinity", "Requests of one socket.io session come to servers that do not know it."),
    ("sockjs-no-affinity", "Requests of one SockJS session come to servers that do not know it."),
    ("hop-breaks", "The backend is sound when it is asked directly, and not through what stands in front."),
    ("idle-timer", "A silent connection is ended after a time; one with pings or messages lives on."),
    ("lifetime-limit", "Every connection is ended at one age, however busy it is."),
    ("closed-together", "All connections are ended at one moment: a reload, a restart or a deploy."),
    ("silent-drop", "A silent connection is forgotten on the way, and neither end is told."),
];

/// What is said besides. It changes no exit status.
pub const NOTES: &[Row] = &[
    ("certificate-expires-soon", "The certificate ends within two weeks."),
    ("slow-handshake", "The handshake takes more than a second."),
    ("h2-no-websocket", "HTTP/2 is spoken without WebSockets in it; HTTP/1.1 works beside it."),
    ("text-not-taken", "The server ends the connection on a text that it does not know."),
    ("origin-unchecked", "Pages of any site may open this WebSocket."),
    ("affinity-by-cookie", "Sessions of polling stay together only for clients that keep cookies."),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The sources in which verdicts are made.
    const SOURCES: [&str; 14] = [
        include_str!("mod.rs"),
        include_str!("answer.rs"),
        include_str!("messages.rs"),
        include_str!("notes.rs"),
        include_str!("changed.rs"),
        include_str!("redirect.rs"),
        include_str!("refused.rs"),
        include_str!("road.rs"),
        include_str!("said.rs"),
        include_str!("stripped.rs"),
        include_str!("unanswered.rs"),
        include_str!("../hops.rs"),
        include_str!("../idle/words.rs"),
        include_str!("../sticky/judge.rs"),
    ];

    #[test]
    fn the_page_has_the_same_tables() {
        let page = include_str!("../../../docs/doctor.md");
        for table in [VERDICTS, NOTES] {
            let rows: String =
                table.iter().map(|(id, meaning)| format!("| `{id}` | {meaning} |\n")).collect();
            assert!(
                page.contains(&format!("|---|---|\n{rows}\n")),
                "docs/doctor.md must have these rows alone:\n{rows}"
            );
        }
    }

    #[test]
    fn every_verdict_of_the_table_is_made_somewhere() {
        for (id, _) in VERDICTS.iter().chain(NOTES) {
            let made = SOURCES.iter().any(|source| source.contains(&format!("\"{id}\"")));
            assert!(made, "{id} is in the table, and nothing makes it");
        }
    }

    #[test]
    fn ids_are_there_once() {
        let mut ids: Vec<&str> = VERDICTS.iter().chain(NOTES).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        let all = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }
}
