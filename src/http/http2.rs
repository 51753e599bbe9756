//! HTTP/2 with a client by hyper: each stream is an exchange as over HTTP/1.1. Here are the bounds of a connection
//! that many streams share, and what a request of HTTP/2 says in other words.
//!
//! Extended CONNECT (RFC 8441) is not announced, so that a browser opens a connection of HTTP/1.1 for its WebSocket. It
//! would enter at [`plainly`], and leave hyper as a stream in place of a connection.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, header, request};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use longwire_conf::model::Level;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Sleep;

use super::door::Arrival;
use super::exchange::{self, Unanswered};
use super::frames::Wire;
use super::guarded::{Limits, Shared, poll_read_with};
use crate::clock;
use crate::log;
use crate::route::facts::ConnectionFacts;
use crate::tls::Conn;
use crate::upstream::{Body, BoxError};

/// What a connection of HTTP/2 begins with (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of an answer that wait for the client to take them, for each stream.
const SEND_BUFFER: usize = 64 * 1024;
/// Bytes of a frame's head, and the most payload that a DATA frame has unless the client wishes for more.
const FRAME_HEAD: u64 = 9;
const FRAME_SIZE: u64 = 16 * 1024;

tokio::task_local! {
    /// The stream that a task serves.
    static STREAM: Arc<Stream>;
}

/// Reads as much of a connection without TLS as tells whether it speaks HTTP/2.
pub(super) async fn begins_so(conn: &mut Conn) -> io::Result<(Vec<u8>, bool)> {
    let mut early = Vec::with_capacity(PREFACE.len());
    while early.len() < PREFACE.len() && PREFACE.starts_with(&early) {
        let mut rest = conn.take((PREFACE.len() - early.len()) as u64);
        if rest.read_buf(&mut early).await? == 0 {
            break;
        }
    }
    let whole = early == PREFACE;
    Ok((early, whole))
}

/// Serves a connection to its end. Once its door is closed or the process stops, the client is told to open no more
/// streams.
pub(super) async fn serve(
    arrival: Arrival,
    facts: Arc<ConnectionFacts>,
    conn: Conn,
    early: Vec<u8>,
    limits: Limits,
) {
    let Some((service, site)) = arrival.present() else { return };
    let server = &service.snapshot.config.servers[site.default];
    let most = server.http2_max_concurrent_streams;
    let max_head = u32::try_from(server.max_head).unwrap_or(u32::MAX);
    let state = Arc::new(State {
        active: AtomicUsize::new(0),
        requests: AtomicU64::new(0),
        most_requests: server.settings.keepalive_requests,
        slack: u64::from(most).saturating_mul(2),
        idle_since_us: AtomicU64::new(clock::now_us()),
        idle_us: AtomicU64::new(limits.header_us),
        open: AtomicUsize::new(0),
        moved_us: AtomicU64::new(clock::now_us()),
        send_us: AtomicU64::new(limits.send_us),
        head_since_us: AtomicU64::new(0),
        limits,
        changed: Notify::new(),
    });
    // It may stay for long, and its generation need not.
    drop((service, site));
    let told = facts.clone();
    let say = |message: &str| {
        let Some((service, site)) = arrival.present() else { return };
        let settings = &service.snapshot.config.servers[site.default].settings;
        let context = log::Context::connection(&told);
        service.snapshot.logs.error(&settings.error_log, Level::Info, &context, message);
    };
    let handler = service_fn(|request| {
        let number = state.requests.fetch_add(1, Relaxed) + 1;
        if number >= state.most_requests {
            state.changed.notify_one();
        }
        answer(arrival.clone(), facts.clone(), number, request)
    });
    let watched = Watched { io: conn, early, wire: Wire::new(), state: state.clone() };
    let connection = http2::Builder::new(Executor(state.clone()))
        .timer(TokioTimer::new())
        .max_concurrent_streams(most)
        .max_header_list_size(max_head)
        .max_send_buf_size(SEND_BUFFER)
        .serve_connection(TokioIo::new(watched), handler);
    let mut connection = pin!(connection);
    let mut left_us = None;
    loop {
        tokio::select! {
            // How a connection ended is told by the logs of its requests.
            _ = connection.as_mut() => break,
            overdue = state.overdue(left_us) => match overdue {
                Overdue::Idle => {}
                Overdue::Head => say("client timed out while sending a request head"),
                Overdue::Gone => break,
            },
            () = arrival.door.closed(), if left_us.is_none() => {}
            () = arrival.door.stopped(), if left_us.is_none() => {}
        }
        connection.as_mut().graceful_shutdown();
        left_us.get_or_insert_with(clock::now_us);
    }
}

/// What the streams of a connection have in common.
struct State {
    /// How many are being served.
    active: AtomicUsize,
    /// How many were begun.
    requests: AtomicU64,
    /// `keepalive_requests`.
    most_requests: u64,
    /// How many a client may still begin before it has heard that it should not.
    slack: u64,
    /// Since when none has been served, and how long that may be.
    idle_since_us: AtomicU64,
    idle_us: AtomicU64,
    /// How many are open on the wire: of some that were served the client has not taken all yet.
    open: AtomicUsize,
    /// When one was opened or bytes were taken last, and how long the client may take none.
    moved_us: AtomicU64,
    send_us: AtomicU64,
    /// Since when a head has been under way; 0 when none is.
    head_since_us: AtomicU64,
    limits: Limits,
    /// Rings when a deadline comes nearer.
    changed: Notify,
}

/// Why a connection should end.
enum Overdue {
    /// Nothing is asked, or enough was.
    Idle,
    /// A head takes too long.
    Head,
    /// The client was told so and stays.
    Gone,
}

impl State {
    /// Waits until the client has run out of time, or of requests. `left_us`: since when it should leave.
    async fn overdue(&self, left_us: Option<u64>) -> Overdue {
        loop {
            let requests = self.requests.load(Relaxed);
            if requests > self.most_requests.saturating_add(self.slack) {
                return Overdue::Gone;
            }
            if requests >= self.most_requests && left_us.is_none() {
                return Overdue::Idle;
            }
            let idle = (self.active.load(Relaxed) == 0).then(|| {
                let since = self.idle_since_us.load(Relaxed);
                if self.open.load(Relaxed) > 0 {
                    // Not from what moved alone: a stream that was just given up is still to be reset.
                    return self.moved_us.load(Relaxed).max(since).saturating_add(self.send_us.load(Relaxed));
                }
                match left_us {
                    Some(left) => since.max(left).saturating_add(self.limits.linger_us),
                    None => since.saturating_add(self.idle_us.load(Relaxed)),
                }
            });
            let head =
                match self.head_since_us.load(Relaxed) {
                    0 => None,
                    since => {
                        let deadline = since.saturating_add(self.limits.header_us);
                        Some(left_us.map_or(deadline, |left| {
                            deadline.max(left.saturating_add(self.limits.linger_us))
                        }))
                    }
                };
            let now = clock::now_us();
            match (left_us, idle.is_some_and(|at| at <= now), head.is_some_and(|at| at <= now)) {
                (_, false, false) => {}
                (Some(_), _, _) => return Overdue::Gone,
                (None, _, true) => return Overdue::Head,
                (None, true, false) => return Overdue::Idle,
            }
            let changed = self.changed.notified();
            match idle.into_iter().chain(head).min() {
                Some(at) => drop(tokio::time::timeout_at(clock::instant(at), changed).await),
                None => changed.await,
            }
        }
    }
}

/// The socket under hyper: notices when a head is under way.
struct Watched {
    io: Conn,
    early: Vec<u8>,
    wire: Wire,
    state: Arc<State>,
}

impl Watched {
    /// Tells what moved on the wire.
    fn moved(&self) {
        let (state, now) = (&self.state, clock::now_us());
        state.moved_us.store(now, Relaxed);
        let open = self.wire.open();
        if state.open.swap(open, Relaxed) > 0 && open == 0 {
            state.idle_since_us.store(now, Relaxed);
            state.changed.notify_one();
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(poll_read_with(&mut this.early, &mut this.io, cx, buf))?;
        this.wire.receive(&buf.filled()[before..]);
        this.moved();
        let since = &this.state.head_since_us;
        match this.wire.in_head() {
            false => since.store(0, Relaxed),
            true if since.load(Relaxed) == 0 => {
                since.store(clock::now_us().max(1), Relaxed);
                this.state.changed.notify_one();
            }
            true => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.io).poll_write(cx, buf))?;
        this.wire.send(&buf[..count]);
        this.moved();
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.io).poll_write_vectored(cx, bufs))?;
        let mut left = count;
        for buf in bufs {
            let taken = left.min(buf.len());
            this.wire.send(&buf[..taken]);
            left -= taken;
        }
        this.moved();
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

/// One stream.
struct Stream {
    /// What an exchange tells of its connection: here, of its stream.
    shared: Arc<Shared>,
    /// Since when hyper has held a piece of the answer that the client does not take; 0 when it holds none.
    held_since_us: AtomicU64,
    state: Arc<State>,
}

impl Stream {
    /// Whether the client has taken nothing for `send_timeout`. Wakes when that may be so.
    fn poll_stalled(&self, sleep: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<()> {
        let since = self.held_since_us.load(Relaxed);
        if since == 0 {
            return Poll::Pending;
        }
        let deadline = clock::instant(since.saturating_add(self.shared.send_us.load(Relaxed)));
        let sleep = sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::ZERO)));
        sleep.as_mut().reset(deadline);
        sleep.as_mut().poll(cx)
    }
}

/// Ends with its stream.
struct Ending(Arc<Stream>);

impl Drop for Ending {
    fn drop(&mut self) {
        let Stream { shared, state, .. } = &*self.0;
        shared.flushed();
        state.idle_us.store(shared.idle_us.load(Relaxed), Relaxed);
        state.send_us.store(shared.send_us.load(Relaxed), Relaxed);
        state.idle_since_us.store(clock::now_us(), Relaxed);
        state.active.fetch_sub(1, Relaxed);
        state.changed.notify_one();
    }
}

/// Runs each stream as a task that knows it.
#[derive(Clone)]
struct Executor(Arc<State>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, serving: F) {
        let state = self.0.clone();
        state.active.fetch_add(1, Relaxed);
        let shared = Shared::new(&state.limits);
        let stream = Arc::new(Stream { shared, held_since_us: AtomicU64::new(0), state });
        let ending = Ending(stream.clone());
        tokio::spawn(STREAM.scope(stream.clone(), async move {
            let _ending = ending;
            let mut serving = pin!(serving);
            let mut sleep = None;
            // Giving up resets the stream.
            std::future::poll_fn(|cx| match serving.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => stream.poll_stalled(&mut sleep, cx),
            })
            .await;
        }));
    }
}

/// Serves one request.
async fn answer(
    arrival: Arrival,
    facts: Arc<ConnectionFacts>,
    number: u64,
    request: Request<Incoming>,
) -> Result<Response<Body>, Unanswered> {
    let stream = STREAM.with(Arc::clone);
    let bodiless = request.method() == Method::HEAD;
    let response = exchange::serve(arrival, facts, stream.shared.clone(), number, request).await?;
    // As long as it would be without HPACK, which hyper keeps to itself.
    let head = response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 2);
    stream.shared.sent.fetch_add(FRAME_HEAD + head.sum::<usize>() as u64, Relaxed);
    Ok(response.map(|inner| Answer { inner, stream, bodiless }.boxed_unsync()))
}

/// The body of an answer: counted, and timed while the client does not take it.
struct Answer {
    inner: Body,
    stream: Arc<Stream>,
    /// It answers HEAD.
    bodiless: bool,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        this.stream.held_since_us.store(0, Relaxed);
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let count = frame.data_ref().map_or(0, Bytes::len) as u64;
            let heads = FRAME_HEAD * count.div_ceil(FRAME_SIZE).max(1);
            this.stream.shared.sent.fetch_add(count + heads, Relaxed);
            this.stream.held_since_us.store(clock::now_us().max(1), Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.bodiless || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.bodiless { SizeHint::default() } else { self.inner.size_hint() }
    }
}

/// Says a request of HTTP/2 as one of HTTP/1.1: `:authority` is the host, there is one line of cookies, and the target
/// has no scheme. Tells what is wrong with it, if anything is.
pub(super) fn plainly(parts: &mut request::Parts) -> Option<&'static str> {
    let mut fault = None;
    let uri = std::mem::take(&mut parts.uri).into_parts();
    if let Some(path) = uri.path_and_query {
        parts.uri = Uri::from(path);
    }
    if let Some(authority) = uri.authority
        && let Ok(authority) = HeaderValue::from_str(authority.as_str())
    {
        if parts.headers.get(header::HOST).is_some_and(|host| host != authority) {
            fault = Some("client sent \"Host\" header with other value than \":authority\"");
        }
        parts.headers.insert(header::HOST, authority);
    }
    match parts.headers.get_all(header::HOST).iter().count() {
        0 => fault = Some("client sent neither \":authority\" nor \"Host\" header"),
        1 => {}
        _ => fault = Some("client sent more than one \"Host\" header"),
    }
    if parts.headers.get_all(header::COOKIE).iter().nth(1).is_some() {
        let cookies: Vec<_> =
            parts.headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
            parts.headers.insert(header::COOKIE, joined);
        }
    }
    fault
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(uri: &str, headers: &[(&'static str, &'static str)]) -> (String, String, Option<&'static str>) {
        let mut request = Request::builder().uri(uri).body(()).unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        let (mut parts, ()) = request.into_parts();
        let fault = plainly(&mut parts);
        let lines = parts.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        (parts.uri.to_string(), lines.collect::<Vec<_>>().join(" | "), fault)
    }

    #[test]
    fn requests_are_said_plainly() {
        let (target, lines, fault) =
            said("https://a.test:8443/x?y=1", &[("cookie", "a=1"), ("accept", "*/*"), ("cookie", "b=2")]);
        assert_eq!((target.as_str(), fault), ("/x?y=1", None));
        assert_eq!(lines, "cookie: a=1; b=2 | accept: */* | host: a.test:8443");
        assert_eq!(said("https://a.test/", &[("host", "a.test")]).2, None);
        assert_eq!(said("/x", &[("host", "a.test")]).2, None);
        for (uri, headers) in [
            ("https://a.test/", &[("host", "b.test")][..]),
            ("/x", &[]),
            ("/x", &[("host", "a.test"), ("host", "a.test")]),
        ] {
            assert!(said(uri, headers).2.is_some(), "{uri} {headers:?}");
        }
    }
}
