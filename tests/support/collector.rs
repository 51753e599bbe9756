//! A collector of OpenTelemetry: takes exports by gRPC or by HTTP, and remembers them.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use longwire::trace::otlp::{Export, KeyValue, Span, Value};
use prost::Message as _;
use tokio_rustls::TlsAcceptor;

use crate::support::tls::Identity;
use crate::support::until;

/// One export, as it came.
#[derive(Debug, Clone)]
pub struct Taken {
    pub target: String,
    pub headers: HeaderMap,
    pub export: Export,
}

/// What it answers to exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Takes,
    /// gRPC status 8, or 503.
    Refuses,
}

pub struct Collector {
    pub addr: SocketAddr,
    taken: Arc<Mutex<Vec<Taken>>>,
}

impl Collector {
    /// OTLP over gRPC.
    pub fn grpc() -> Collector {
        Collector::start(true, None, Manner::Takes)
    }

    /// OTLP over gRPC, by TLS.
    pub fn secure(identity: &Identity) -> Collector {
        let mut config = identity.server_config(rustls::ALL_VERSIONS);
        config.alpn_protocols = vec![b"h2".to_vec()];
        Collector::start(true, Some(TlsAcceptor::from(Arc::new(config))), Manner::Takes)
    }

    /// OTLP over HTTP.
    pub fn http() -> Collector {
        Collector::start(false, None, Manner::Takes)
    }

    /// One of gRPC that takes nothing.
    pub fn refusing() -> Collector {
        Collector::start(true, None, Manner::Refuses)
    }

    fn start(grpc: bool, tls: Option<TlsAcceptor>, manner: Manner) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let taken = Arc::<Mutex<Vec<Taken>>>::default();
        let seen = taken.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let (seen, tls) = (seen.clone(), tls.clone());
                    tokio::spawn(async move {
                        match tls {
                            None => serve(TokioIo::new(stream), grpc, manner, seen).await,
                            Some(tls) => {
                                if let Ok(stream) = tls.accept(stream).await {
                                    serve(TokioIo::new(stream), grpc, manner, seen).await;
                                }
                            }
                        }
                    });
                }
            });
        });
        Collector { addr, taken }
    }

    /// All exports so far.
    pub fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        let resources = self.taken().into_iter().flat_map(|taken| taken.export.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    /// Waits for so many spans, and gives them, requests' own last.
    pub fn expect(&self, count: usize) -> Vec<Span> {
        until(&format!("the collector has {count} spans"), || self.spans().len() >= count);
        let spans = self.spans();
        assert_eq!(spans.len(), count, "{spans:#?}");
        spans
    }
}

async fn serve<I>(io: I, grpc: bool, manner: Manner, seen: Arc<Mutex<Vec<Taken>>>)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(request, grpc, manner, seen.clone()));
    // A client that leaves is none of its business.
    let _ = match grpc {
        true => http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await,
        false => http1::Builder::new().serve_connection(io, service).await,
    };
}

type Answer = Response<StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>>;

async fn answer(
    request: Request<Incoming>,
    grpc: bool,
    manner: Manner,
    seen: Arc<Mutex<Vec<Taken>>>,
) -> Result<Answer, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let message = match grpc {
        true => {
            let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
            assert_eq!((body[0], length), (0, body.len() - 5), "one message that is not compressed");
            &body[5..]
        }
        false => &body[..],
    };
    let export = Export::decode(message).unwrap();
    if manner == Manner::Takes {
        let target = parts.uri.path().to_owned();
        seen.lock().unwrap().push(Taken { target, headers: parts.headers, export });
    }
    let mut frames = Vec::new();
    if grpc {
        let mut trailers = HeaderMap::new();
        let status = if manner == Manner::Takes { "0" } else { "8" };
        trailers.insert("grpc-status", HeaderValue::from_static(status));
        trailers.insert("grpc-message", HeaderValue::from_static("too much"));
        frames.push(Ok(Frame::data(Bytes::from_static(&[0; 5]))));
        frames.push(Ok(Frame::trailers(trailers)));
    }
    let mut response = Response::new(StreamBody::new(stream::iter(frames)));
    let kind = if grpc { "application/grpc" } else { "application/x-protobuf" };
    response.headers_mut().insert("content-type", HeaderValue::from_static(kind));
    Ok(response)
}

/// An attribute as text; empty when it is not there.
pub fn attribute(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.clone()?.value) {
        Some(Value::Text(text)) => text,
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Flag(flag)) => flag.to_string(),
        Some(Value::List(list)) => format!("{:?}", list.values),
        None => String::new(),
    }
}
