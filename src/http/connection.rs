//! A client's connection: hyper serves requests on it until it ends or becomes a tunnel.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use longwire_conf::model::{Level, Settings};

use super::Service;
use super::framing::{MAX_HEADERS, Refusal};
use super::guarded::{Guarded, Limits};
use super::{exchange, http2};
use crate::clock::micros;
use crate::log::Context;
use crate::route::answer;
use crate::route::facts::ConnectionFacts;
use crate::snapshot::Site;
use crate::tls::Conn;

/// Serves a connection to its end, or until it becomes a tunnel. Once the service stops, the request in work is the
/// last one. `plain_on_tls`: it came without TLS to a port that wants it.
pub async fn serve(
    service: Arc<Service>,
    site: Arc<Site>,
    facts: Arc<ConnectionFacts>,
    mut conn: Conn,
    plain_on_tls: bool,
) {
    let server = &service.snapshot.config.servers[site.default];
    let limits = Limits {
        header_us: micros(server.client_header_timeout),
        max_head: server.max_head,
        linger_us: micros(server.settings.lingering_timeout),
        send_us: micros(server.settings.send_timeout),
        plain_on_tls,
    };
    let alpn = facts.tls.as_ref().and_then(|tls| tls.alpn.as_deref());
    let mut early = Vec::new();
    let mut is_http2 = alpn == Some("h2");
    if facts.tls.is_none() && !plain_on_tls && (site.http2 || server.http2) {
        let beginning = tokio::time::timeout(server.client_header_timeout, http2::begins_so(&mut conn));
        (early, is_http2) = tokio::select! {
            begun = beginning => match begun {
                Ok(Ok(begun)) => begun,
                _ => return,
            },
            () = service.stopped() => return,
        };
    }
    if is_http2 {
        let _open = service.census.open.clone();
        return Box::pin(http2::serve(service.clone(), site, facts, conn, early, limits)).await;
    }
    let settings = server.settings.clone();
    let words = move |refusal: &Refusal| last_words(refusal, &settings);
    let census = &service.census;
    let open = census.open.clone();
    let (guarded, shared) =
        Guarded::new(conn, early, limits, Box::new(words), Arc::downgrade(&census.reading));
    let number = AtomicU64::new(0);
    let handler = service_fn(|request| {
        shared.busy.store(true, Relaxed);
        census.requests.fetch_add(1, Relaxed);
        let number = number.fetch_add(1, Relaxed) + 1;
        exchange::serve(service.clone(), facts.clone(), shared.clone(), site.clone(), number, request)
    });
    {
        let connection = http1::Builder::new()
            .preserve_header_case(true)
            .title_case_headers(true)
            .max_headers(MAX_HEADERS)
            // The head's own limit is kept before hyper sees it; hyper's must not be the narrower one.
            .max_buf_size(server.max_head.max(64 * 1024))
            .serve_connection(TokioIo::new(guarded), handler)
            .with_upgrades();
        let mut connection = pin!(connection);
        // How a connection ended is told by the logs of its requests, and by the refusal below.
        tokio::select! {
            _ = connection.as_mut() => {}
            () = service.stopped() => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }
    // What did not leave will not leave any more.
    shared.flushed();
    // As a tunnel it is counted by itself.
    drop(open);
    if let Some(switch) = shared.take_switch() {
        return switch.finish().await;
    }
    let say = |level, reason: std::fmt::Arguments<'_>| {
        let context = Context::connection(&facts);
        service.snapshot.logs.error(&server.settings.error_log, level, &context, reason);
    };
    if let Some(refusal) = shared.refusal.get() {
        census.requests.fetch_add(1, Relaxed);
        say(Level::Error, format_args!("{} ({})", refusal.reason, refusal.status));
    }
    if shared.stalled.load(Relaxed) {
        say(Level::Info, format_args!("client timed out (send_timeout) while sending to client"));
    }
}

/// The answer to a refused head, whole: there is no request that hyper could answer.
fn last_words(refusal: &Refusal, settings: &Settings) -> Vec<u8> {
    let body = answer::page_body(refusal.status, settings);
    let status = answer::wire_status(refusal.status);
    format!(
        "HTTP/1.1 {status} {}\r\nServer: {}\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        answer::reason(status),
        answer::signature(settings),
        body.len(),
    )
    .into_bytes()
}
