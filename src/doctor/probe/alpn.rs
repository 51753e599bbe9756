//! What TLS negotiates when it is asked otherwise, and whether HTTP/2 there carries WebSockets (RFC 8441).

use std::time::Duration;

use futures_util::future::join;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::dial::{Dialer, Failure, tcp, tls};
use crate::doctor::facts::{Alpn, TlsError};
use crate::doctor::options::{Options, Origin};

/// Asks with both protocols as a browser does for pages, and with none.
pub(super) async fn ask(dialer: &Dialer, options: &Options, limit: Duration) -> Vec<Alpn> {
    let (both, none) =
        join(offer(dialer, options, &["h2", "http/1.1"], limit), offer(dialer, options, &[], limit)).await;
    vec![both, none]
}

async fn offer(dialer: &Dialer, options: &Options, names: &[&str], limit: Duration) -> Alpn {
    let mut seen = Alpn { offered: names.iter().map(|name| (*name).to_owned()).collect(), ..Alpn::default() };
    let stream = match tcp(dialer.address, limit).await {
        Ok(stream) => stream,
        Err(_) => {
            seen.error = Some(TlsError::Closed);
            return seen;
        }
    };
    let (found, outcome) = tls(stream, &dialer.target.host, names, limit).await;
    seen.chosen = found.alpn;
    match outcome {
        Err(Failure::Tls(error, _)) => seen.error = Some(error),
        Err(Failure::Tcp(..)) => seen.error = Some(TlsError::Closed),
        Ok(stream) if seen.chosen.as_deref() == Some("h2") => {
            // No end in time leaves both unknown.
            let _ = timeout(limit, extended_connect(stream, dialer, options, &mut seen)).await;
        }
        Ok(_) => {}
    }
    seen
}

/// Reads SETTINGS, and asks for a WebSocket where they say that one may.
async fn extended_connect(
    stream: TlsStream<TcpStream>,
    dialer: &Dialer,
    options: &Options,
    seen: &mut Alpn,
) -> Option<()> {
    let (sender, mut connection) = h2::client::handshake(stream).await.ok()?;
    let pings = connection.ping_pong();
    let work = async {
        // What answers a Ping has sent its SETTINGS before.
        pings?.ping(h2::Ping::opaque()).await.ok()?;
        let mut sender = sender.ready().await.ok()?;
        let enabled = sender.is_extended_connect_protocol_enabled();
        seen.extended_connect = Some(enabled);
        if !enabled {
            return None;
        }
        seen.connect_status = Some(0);
        let target = &dialer.target;
        let mut request = http::Request::builder()
            .method(http::Method::CONNECT)
            .version(http::Version::HTTP_2)
            .uri(format!("https://{}{}", target.authority(), target.path))
            .header("sec-websocket-version", "13");
        match &options.origin {
            Origin::Own => request = request.header("origin", target.origin()),
            Origin::Is(origin) => request = request.header("origin", origin),
            Origin::Absent => {}
        }
        if !options.subprotocols.is_empty() {
            request = request.header("sec-websocket-protocol", options.subprotocols.join(", "));
        }
        for (name, value) in &options.headers {
            request = request.header(name, value);
        }
        let mut request = request.body(()).ok()?;
        request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        let (answer, _body) = sender.send_request(request, false).ok()?;
        seen.connect_status = Some(answer.await.map(|answer| answer.status().as_u16()).unwrap_or_default());
        Some(())
    };
    tokio::select! {
        done = work => done,
        _ = &mut connection => None,
    }
}
