//! A collector of OpenTelemetry: takes exports by gRPC or by HTTP, and remembers them.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
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
#[derive(Debug, Clone, Copy)]
pub enum Manner {
    /// That all is well.
    Takes,
    /// gRPC status 8, or 503.
    Refuses,
    /// Nothing at all.
    Hangs,
    /// This body so often, of this kind, with this gRPC status behind it.
    Says { kind: &'static str, body: &'static [u8], times: usize, status: Option<&'static str> },
}

pub struct Collector {
    pub addr: SocketAddr,
    state: Arc<State>,
}

struct State {
    grpc: bool,
    manner: Mutex<Manner>,
    taken: Mutex<Vec<Taken>>,
}

impl Collector {
    /// OTLP over gRPC.
    pub fn grpc() -> Collector {
        Collector::start(true, None)
    }

    /// OTLP over gRPC, by TLS.
    pub fn secure(identity: &Identity) -> Collector {
        let mut config = identity.server_config(rustls::ALL_VERSIONS);
        config.alpn_protocols = vec![b"h2".to_vec()];
        Collector::start(true, Some(TlsAcceptor::from(Arc::new(config))))
    }

    /// OTLP over HTTP.
    pub fn http() -> Collector {
        Collector::start(false, None)
    }

    /// From now on it answers so.
    pub fn set(&self, manner: Manner) {
        *self.state.manner.lock().unwrap() = manner;
    }

    fn start(grpc: bool, tls: Option<TlsAcceptor>) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let (manner, taken) = (Mutex::new(Manner::Takes), Mutex::default());
        let state = Arc::new(State { grpc, manner, taken });
        let shared = state.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let (state, tls) = (shared.clone(), tls.clone());
                    tokio::spawn(async move {
                        match tls {
                            None => serve(TokioIo::new(stream), state).await,
                            Some(tls) => {
                                if let Ok(stream) = tls.accept(stream).await {
                                    serve(TokioIo::new(stream), state).await;
                                }
                            }
                        }
                    });
                }
            });
        });
        Collector { addr, state }
    }

    /// All exports so far, whatever was answered but a refusal.
    pub fn taken(&self) -> Vec<Taken> {
        self.state.taken.lock().unwrap().clone()
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

async fn serve<I>(io: I, state: Arc<State>)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let grpc = state.grpc;
    let service = service_fn(move |request| answer(request, state.clone()));
    // A client that leaves is none of its business.
    let _ = match grpc {
        true => http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await,
        false => http1::Builder::new().serve_connection(io, service).await,
    };
}

type Answer = Response<StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>>;

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Answer, Infallible> {
    let grpc = state.grpc;
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
    let manner = *state.manner.lock().unwrap();
    if !matches!(manner, Manner::Refuses) {
        let target = parts.uri.path().to_owned();
        state.taken.lock().unwrap().push(Taken { target, headers: parts.headers, export });
    }
    let usual = if grpc { "application/grpc" } else { "application/x-protobuf" };
    let empty: &'static [u8] = if grpc { &[0; 5] } else { b"" };
    let (kind, body, times, status) = match manner {
        Manner::Takes => (usual, empty, 1, Some("0")),
        Manner::Refuses => (usual, empty, 1, Some("8")),
        Manner::Hangs => std::future::pending().await,
        Manner::Says { kind, body, times, status } => (kind, body, times, status),
    };
    let mut frames: Vec<_> = (0..times).map(|_| Ok(Frame::data(Bytes::from_static(body)))).collect();
    if let Some(status) = status.filter(|_| grpc) {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static(status));
        trailers.insert("grpc-message", HeaderValue::from_static("too much"));
        frames.push(Ok(Frame::trailers(trailers)));
    }
    let mut response = Response::new(StreamBody::new(stream::iter(frames)));
    if matches!(manner, Manner::Refuses) && !grpc {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
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
