//! A collector's client: OTLP by a gRPC call of one message, or by HTTP. One connection, kept while it holds.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use longwire_conf::Span as Place;
use longwire_conf::model::{self, Address};
use prost::Message as _;
use tokio::time::timeout;

use super::otlp::{Exported, PartialSuccess};
use crate::net::{self, Endpoint, Stream};
use crate::tls::{self, Conn, Connector};

/// What the call is named.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// How long one of its addresses may take to connect: less than a batch may take, so that the next one has its chance.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);

/// Who speaks to a collector.
pub(super) struct Client {
    endpoint: model::Endpoint,
    tls: Option<Connector>,
    uri: Uri,
    headers: HeaderMap,
    kept: Option<Connection>,
}

/// A connection to it.
enum Connection {
    Grpc(http2::SendRequest<Full<Bytes>>),
    Http(http1::SendRequest<Full<Bytes>>),
}

/// How an export failed.
enum Failure {
    /// The connection did not hold.
    Broken(String),
    /// It was refused.
    Refused(String),
}

impl Client {
    /// Of what the configuration says. The error says what is wrong, and where that is written.
    pub(super) fn new(exporter: &model::Exporter) -> Result<Client, (Place, String)> {
        let endpoint = exporter.endpoint.value.clone();
        let span = exporter.endpoint.span;
        let (protocol, kind) = match endpoint.path {
            None => (&b"h2"[..], "application/grpc"),
            Some(_) => (&b"http/1.1"[..], "application/x-protobuf"),
        };
        let trusted = exporter.trusted_certificate.as_ref();
        let place = trusted.map_or(span, |file| file.span);
        let tls = endpoint.https.then(|| tls::verifying(trusted, protocol)).transpose();
        let tls = tls.map_err(|error| (place, error.to_string()))?;
        let scheme = if endpoint.https { "https" } else { "http" };
        let uri = match &endpoint.path {
            Some(path) => path.parse(),
            None => format!("{scheme}://{}{EXPORT}", endpoint.authority).parse(),
        };
        let uri = uri.map_err(|error| (span, format!("\"endpoint\" is no URI: {error}")))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &exporter.headers {
            let pair = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
            let (name, value) = pair.ok_or_else(|| (span, format!("no header: \"{name}\"")))?;
            headers.append(name, value);
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        let agent = concat!("longwire/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        match endpoint.path {
            None => headers.insert(header::TE, HeaderValue::from_static("trailers")),
            Some(_) => {
                let host = HeaderValue::try_from(&endpoint.authority);
                headers.insert(header::HOST, host.map_err(|error| (span, error.to_string()))?)
            }
        };
        Ok(Client { endpoint, tls, uri, headers, kept: None })
    }

    /// The collector.
    pub(super) fn endpoint(&self) -> &model::Endpoint {
        &self.endpoint
    }

    /// Sends an export. What comes back is how many of its spans were not taken, and why.
    pub(super) async fn send(&mut self, export: Vec<u8>) -> Result<Option<(u64, String)>, String> {
        let body = match self.endpoint.path {
            Some(_) => Bytes::from(export),
            None => framed(&export)?,
        };
        // A collector may close a connection at any moment: then once more over a new one.
        if let Some(kept) = self.kept.take().filter(|kept| !kept.is_closed()) {
            match self.ask(kept, body.clone()).await {
                Err(Failure::Broken(_)) => {}
                Err(Failure::Refused(reason)) => return Err(reason),
                Ok(taken) => return Ok(taken),
            }
        }
        let fresh = self.connect().await?;
        // Both kinds of collectors often listen side by side.
        let hint = match self.endpoint.path {
            None => "it may not speak gRPC; OTLP over HTTP needs a path in \"endpoint\"",
            Some(_) => "it may not speak HTTP/1.1; OTLP over gRPC has no path in \"endpoint\"",
        };
        self.ask(fresh, body).await.map_err(|failure| match failure {
            Failure::Broken(reason) => format!("{reason} ({hint})"),
            Failure::Refused(reason) => reason,
        })
    }

    async fn connect(&self) -> Result<Connection, String> {
        let endpoints = match &self.endpoint.address {
            Address::Ip(ip, port) => vec![Endpoint::Tcp((*ip, *port).into())],
            Address::Unix(path) => vec![Endpoint::Unix(path.clone())],
            Address::Name(name, port) => {
                let found = tokio::net::lookup_host((name.as_str(), *port)).await;
                found.map_err(|error| format!("{name}: {error}"))?.map(Endpoint::Tcp).collect()
            }
        };
        let stream = first_of(&endpoints).await?;
        let conn = match &self.tls {
            None => Conn::Plain(stream),
            Some(tls) => {
                let name = match &self.endpoint.address {
                    Address::Ip(ip, _) => ip.to_string(),
                    Address::Name(name, _) => name.clone(),
                    Address::Unix(_) => self.endpoint.authority.clone(),
                };
                tls.connect(stream, &name).await.map_err(|error| format!("TLS: {error}"))?
            }
        };
        let io = TokioIo::new(conn);
        let fault = |error: hyper::Error| error.to_string();
        // Each ends with its sender or its socket, and says why to the sender.
        Ok(match self.endpoint.path {
            None => {
                let (sender, driver) = http2::handshake(TokioExecutor::new(), io).await.map_err(fault)?;
                tokio::spawn(async move {
                    let _ = driver.await;
                });
                Connection::Grpc(sender)
            }
            Some(_) => {
                let (sender, driver) = http1::handshake(io).await.map_err(fault)?;
                tokio::spawn(async move {
                    let _ = driver.await;
                });
                Connection::Http(sender)
            }
        })
    }

    /// Sends over a connection, and keeps that when all went well.
    async fn ask(&mut self, mut over: Connection, body: Bytes) -> Result<Option<(u64, String)>, Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let broken = |error: hyper::Error| Failure::Broken(words(&error));
        let response = match &mut over {
            Connection::Grpc(sender) => {
                sender.ready().await.map_err(broken)?;
                sender.send_request(request).await
            }
            Connection::Http(sender) => {
                sender.ready().await.map_err(broken)?;
                sender.send_request(request).await
            }
        };
        let answer = read(response.map_err(broken)?, self.endpoint.path.is_none()).await?;
        self.kept = Some(over);
        let refused = answer.partial_success.filter(|refused| *refused != PartialSuccess::default());
        Ok(refused.map(|refused| (u64::try_from(refused.rejected_spans).unwrap_or(0), refused.error_message)))
    }
}

impl Connection {
    fn is_closed(&self) -> bool {
        match self {
            Connection::Grpc(sender) => sender.is_closed(),
            Connection::Http(sender) => sender.is_closed(),
        }
    }
}

/// Connects to the first of these that takes it.
async fn first_of(endpoints: &[Endpoint]) -> Result<Stream, String> {
    let mut reason = "its name leads to no address".to_owned();
    for endpoint in endpoints {
        match timeout(CONNECT_PATIENCE, net::connect(endpoint, None)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => reason = net::os_text(&error),
            Err(_) => reason = format!("no connection within {CONNECT_PATIENCE:?}"),
        }
    }
    Err(reason)
}

/// A message as gRPC sends it: not compressed, with its length.
fn framed(message: &[u8]) -> Result<Bytes, String> {
    let length = u32::try_from(message.len()).map_err(|_| "more than 4 GiB at once".to_owned())?;
    Ok([&[0], &length.to_be_bytes()[..], message].concat().into())
}

/// The message of a call's answer, without what gRPC puts before it.
fn unframed(answer: &[u8]) -> Option<&[u8]> {
    let ([0, length @ ..], message) = answer.split_first_chunk::<5>()? else { return None };
    (u32::from_be_bytes(*length) as usize == message.len()).then_some(message)
}

/// Whatever is wrong with an answer, the export has arrived: it is not sent again.
async fn read(response: Response<Incoming>, grpc: bool) -> Result<Exported, Failure> {
    let (parts, body) = response.into_parts();
    let refused = |reason: String| Err(Failure::Refused(reason));
    if parts.status != http::StatusCode::OK {
        return refused(format!("it answered {}", parts.status.as_u16()));
    }
    let body = match Limited::new(body, MAX_ANSWER).collect().await {
        Ok(body) => body,
        Err(error) if error.is::<LengthLimitError>() => {
            return refused(format!("its answer is longer than {MAX_ANSWER} bytes"));
        }
        Err(error) => return refused(format!("its answer broke off: {error}")),
    };
    let trailers = body.trailers().cloned();
    let body = body.to_bytes();
    let mut message = Some(&body[..]);
    if grpc {
        // An answer without a message has all in its head.
        let ends = trailers.as_ref().filter(|trailers| trailers.contains_key("grpc-status"));
        let ends = ends.unwrap_or(&parts.headers);
        let value = |name| ends.get(name).and_then(|value| value.to_str().ok());
        match value("grpc-status") {
            Some("0") => {}
            status => {
                let (status, words) = (status.unwrap_or("missing"), value("grpc-message").unwrap_or(""));
                return refused(format!("gRPC status {status} {words}").trim_end().to_owned());
            }
        }
        message = message.and_then(unframed);
    }
    // Some answer in JSON whatever they are asked in; then the status has to do.
    let kind = parts.headers.get(header::CONTENT_TYPE);
    if !grpc && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json")) {
        return Ok(Exported::default());
    }
    match message.and_then(|message| Exported::decode(message).ok()) {
        Some(exported) => Ok(exported),
        // Who answers 200 to anything has taken nothing.
        None => refused("its answer is no message of OTLP".to_owned()),
    }
}

/// The innermost words: hyper's own say little.
fn words(error: &hyper::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_that_hangs_leaves_time_for_the_next() {
        let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        full.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
        full.listen(0).unwrap();
        let address = full.local_addr().unwrap().as_socket().unwrap();
        // Its queue holds one, and whoever comes then is not even refused.
        let _first = std::net::TcpStream::connect(address).unwrap();
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hangs = Endpoint::Tcp(address);
        let begun = tokio::time::Instant::now();
        let takes = Endpoint::Tcp(good.local_addr().unwrap());
        assert!(first_of(&[hangs.clone(), takes]).await.is_ok());
        assert_eq!(begun.elapsed().as_secs(), CONNECT_PATIENCE.as_secs());
        assert_eq!(first_of(&[hangs]).await.err().as_deref(), Some("no connection within 3s"));
    }
}
