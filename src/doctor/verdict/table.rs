//! Pure: every verdict with its meaning: docs/doctor.md shows the same table.

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
    ("tls-on-plain-port", "The URL says wss, and the port speaks plain text."),
    ("tls-name-mismatch", "The certificate is made for other names."),
    ("tls-expired", "The certificate is past its end."),
    ("tls-not-yet-valid", "The certificate is not valid yet."),
    ("tls-self-signed", "The certificate is its own issuer."),
    ("tls-chain-incomplete", "The server leaves out what stands between its certificate and the root."),
    ("tls-unknown-authority", "The certificate comes from an authority that is not trusted."),
    ("tls-version-old", "The server speaks only versions of TLS before 1.2."),
    ("tls-client-certificate", "The server demands a certificate of the client."),
    ("tls-failed", "TLS does not come about for another reason."),
    ("h2-without-extended-connect", "Only HTTP/2 is spoken, without WebSockets in it (RFC 8441)."),
    ("socketio-version", "Client and server speak different versions of socket.io's protocol."),
    ("socketio-no-affinity", "Requests of one socket.io session come to servers that do not know it."),
    ("sockjs-no-affinity", "Requests of one SockJS session come to servers that do not know it."),
    ("affinity-by-cookie", "A note: sessions of polling stay together only for clients that keep cookies."),
    ("hop-breaks", "The backend is sound when it is asked directly, and not through what stands in front."),
    ("idle-timer", "A silent connection is ended after a time; one with pings or messages lives on."),
    ("lifetime-limit", "Every connection is ended at one age, however busy it is."),
    ("closed-together", "All connections are ended at one moment: a reload, a restart or a deploy."),
    ("silent-drop", "A silent connection is forgotten on the way, and neither end is told."),
];
