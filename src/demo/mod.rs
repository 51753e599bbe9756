//! The demonstration: an echo backend with a page, and the configuration that puts Longwire before it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use longwire_wire::Side;
use longwire_wire::handshake::{accept_key, check_request};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::tunnel::{Row, Tunnels};

const PAGE: &str = include_str!("page.html");
/// Longest message that is echoed, in bytes.
const MAX_MESSAGE: usize = 1 << 20;

/// The backend of the demonstration, bound to a port of its own.
pub struct Backend {
    listener: TcpListener,
    address: SocketAddr,
}

impl Backend {
    /// Binds to a free port of 127.0.0.1.
    pub fn bind() -> io::Result<Backend> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Backend { listener, address })
    }

    /// The configuration of the demonstration, as text.
    pub fn configuration(&self, listen: &str) -> String {
        format!(
            "\
server {{
    listen {listen};
    location / {{
        proxy_pass http://{};
        proxy_set_header Host $http_host;
        access_log off;
    }}
    location /ws/ {{
        proxy_pass http://{};
        proxy_set_header Host $http_host;
        proxy_set_header X-Connection $connection;
        websocket_ping 2s;
    }}
}}
",
            self.address, self.address
        )
    }

    /// Serves in the background. To be called inside the runtime.
    pub fn serve(self, tunnels: Arc<Tunnels>) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let tunnels = tunnels.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(request, tunnels.clone()));
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades();
                    // A demonstration has nobody to tell.
                    let _ = connection.await;
                });
            }
        });
        Ok(())
    }
}

type Answer = Response<Full<Bytes>>;

async fn answer(request: Request<Incoming>, tunnels: Arc<Tunnels>) -> Result<Answer, http::Error> {
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/") => {
            Response::builder().header(header::CONTENT_TYPE, "text/html; charset=utf-8").body(PAGE.into())
        }
        (&Method::GET, "/tunnel") => {
            let query = request.uri().query().unwrap_or_default().to_owned();
            tunnel(&query, &tunnels).await
        }
        (_, "/ws/") => upgrade(request),
        _ => Response::builder().status(StatusCode::NOT_FOUND).body("nothing here\n".into()),
    }
}

/// `/tunnel?connection=N`: what the proxy knows of a tunnel.
async fn tunnel(query: &str, tunnels: &Tunnels) -> Result<Answer, http::Error> {
    let found = match query.strip_prefix("connection=").and_then(|n| n.parse().ok()) {
        Some(connection) => tunnels.find(connection).await,
        None => None,
    };
    let Some(Row { about, stats, .. }) = found else {
        return Response::builder().status(StatusCode::NOT_FOUND).body("no such tunnel\n".into());
    };
    let rtt = |side: Side| match stats[side].rtt {
        rtt if rtt.count == 0 => "null".to_owned(),
        rtt => rtt.last.to_string(),
    };
    let body = format!(
        "{{\"connection\":{},\"client_rtt_us\":{},\"backend_rtt_us\":{},\"client_pings\":{},\"opened_ms\":{}}}\n",
        about.id,
        rtt(Side::Client),
        rtt(Side::Backend),
        stats.client.pings,
        about.opened_us / 1000,
    );
    Response::builder().header(header::CONTENT_TYPE, "application/json").body(body.into())
}

fn upgrade(request: Request<Incoming>) -> Result<Answer, http::Error> {
    let headers: &HeaderMap = request.headers();
    let lookup = |name| headers.get_all(name).iter().map(|v| v.as_bytes()).collect::<Vec<_>>();
    let accept = match check_request(request.method().as_str(), 1, lookup) {
        Ok(key) => accept_key(key),
        Err(fault) => {
            return Response::builder().status(StatusCode::BAD_REQUEST).body(format!("{fault}\n").into());
        }
    };
    let connection: u64 =
        headers.get("x-connection").and_then(|v| v.to_str().ok()?.parse().ok()).unwrap_or_default();
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE));
            let socket =
                WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
            // It ends with the socket; a demonstration has nobody to tell.
            let _ = echo(socket, connection).await;
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .body(Full::default())
}

async fn echo(
    mut socket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>,
    connection: u64,
) -> Result<(), Error> {
    use futures_util::{SinkExt as _, StreamExt as _};
    let hello = format!("{{\"hello\":true,\"connection\":{connection}}}");
    socket.send(Message::text(hello)).await?;
    while let Some(message) = socket.next().await {
        match message? {
            message @ (Message::Text(_) | Message::Binary(_)) => socket.send(message).await?,
            // tungstenite answers pings and Close by itself when it is polled on.
            _ => socket.flush().await?,
        }
    }
    Ok(())
}
