//! A client's connection: hyper serves requests on it until it ends or becomes a tunnel.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use longwire_conf::model::{Level, Settings};
use tokio::sync::Notify;

use super::door::Arrival;
use super::framing::{MAX_HEADERS, Refusal};
use super::guarded::{Guarded, Limits};
use super::{exchange, http2};
use crate::clock::micros;
use crate::log::Context;
use crate::route::answer;
use crate::route::facts::ConnectionFacts;
use crate::tls::Conn;

/// Serves a connection to its end, or until it becomes a tunnel. Each request is served by the generation that is in
/// force when it comes; once the door is closed or the process stops, the request in work is the last one.
/// `plain_on_tls`: it came without TLS to a port that wants it.
pub async fn serve(arrival: Arrival, facts: Arc<ConnectionFacts>, mut conn: Conn, plain_on_tls: bool) {
    let Some((service, site)) = arrival.present() else { return };
    let server = &service.snapshot.config.servers[site.default];
    let limits = Limits {
        header_us: micros(server.client_header_timeout),
        max_head: server.max_head,
        linger_us: micros(server.settings.lingering_timeout),
        send_us: micros(server.settings.send_timeout),
        plain_on_tls,
    };
    let alpn = facts.tls.as_ref().and_then(|tls| tls.alpn.as_deref());
    let mut is_http2 = alpn == Some("h2");
    let looks = facts.tls.is_none() && !plain_on_tls && (site.http2 || server.http2);
    let patience = server.client_header_timeout;
    let census = service.census.clone();
    // It may stay for long, and its generation need not.
    drop((service, site));
    let mut early = Vec::new();
    if looks {
        let beginning = tokio::time::timeout(patience, http2::begins_so(&mut conn));
        (early, is_http2) = tokio::select! {
            begun = beginning => match begun {
                Ok(Ok(begun)) => begun,
                _ => return,
            },
            () = arrival.door.stopped() => return,
        };
    }
    if is_http2 {
        let _open = census.open.clone();
        return Box::pin(http2::serve(arrival, facts, conn, early, limits)).await;
    }
    let words = {
        let arrival = arrival.clone();
        move |refusal: &Refusal| default_settings(&arrival).map_or(Vec::new(), |s| last_words(refusal, &s))
    };
    let open = census.open.clone();
    let max_head = limits.max_head;
    let (guarded, shared) =
        Guarded::new(conn, early, limits, Box::new(words), Arc::downgrade(&census.reading));
    let number = AtomicU64::new(0);
    let begun = Notify::new();
    let handler = service_fn(|request| {
        shared.busy.store(true, Relaxed);
        census.requests.fetch_add(1, Relaxed);
        let number = number.fetch_add(1, Relaxed) + 1;
        if number == 1 {
            begun.notify_one();
        }
        exchange::serve(arrival.clone(), facts.clone(), shared.clone(), number, request)
    });
    {
        let connection = http1::Builder::new()
            .preserve_header_case(true)
            .title_case_headers(true)
            .max_headers(MAX_HEADERS)
            // The head's own limit is kept before hyper sees it; hyper's must not be the narrower one.
            .max_buf_size(max_head.max(64 * 1024))
            .serve_connection(TokioIo::new(guarded), handler)
            .with_upgrades();
        let mut connection = pin!(connection);
        // Whoever has just come in by a door that closes is answered once.
        let answered = async {
            arrival.door.closed().await;
            begun.notified().await;
        };
        // How a connection ended is told by the logs of its requests, and by the refusal below.
        let leaves = tokio::select! {
            _ = connection.as_mut() => false,
            () = answered => true,
            () = arrival.door.stopped() => true,
        };
        if leaves {
            // A handshake ends the connection anyway, and hyper would write "close" into its 101.
            if !shared.handshake.load(Relaxed) {
                connection.as_mut().graceful_shutdown();
            }
            let _ = connection.await;
        }
    }
    // What did not leave will not leave any more.
    shared.flushed();
    // As a tunnel it is counted by itself.
    drop(open);
    if let Some(switch) = shared.take_switch() {
        return switch.finish(arrival).await;
    }
    let say = |level, reason: std::fmt::Arguments<'_>| {
        let Some((service, site)) = arrival.present() else { return };
        let settings = &service.snapshot.config.servers[site.default].settings;
        service.snapshot.logs.error(&settings.error_log, level, &Context::connection(&facts), reason);
    };
    if let Some(refusal) = shared.refusal.get() {
        census.requests.fetch_add(1, Relaxed);
        say(Level::Error, format_args!("{} ({})", refusal.reason, refusal.status));
    }
    if shared.stalled.load(Relaxed) {
        say(Level::Info, format_args!("client timed out (send_timeout) while sending to client"));
    }
}

/// Those of the default server, for what is of no request.
fn default_settings(arrival: &Arrival) -> Option<Arc<Settings>> {
    let (service, site) = arrival.present()?;
    Some(service.snapshot.config.servers[site.default].settings.clone())
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
