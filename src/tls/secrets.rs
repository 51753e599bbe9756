//! The traffic secrets of TLS 1.3 connections: rustls tells them only to a key log, while it shakes hands.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::mem::take;
use std::pin::pin;

use rustls::KeyLog;

use super::keys::Secret;

const CLIENT: &str = "CLIENT_TRAFFIC_SECRET_0";
const SERVER: &str = "SERVER_TRAFFIC_SECRET_0";

/// The first traffic secrets of a connection (RFC 8446 section 7.1). TLS 1.2 has none.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    pub(super) client: Option<Secret>,
    pub(super) server: Option<Secret>,
}

thread_local! {
    /// Those of the handshake that is being polled on this thread.
    static HEARD: RefCell<Option<Secrets>> = const { RefCell::new(None) };
}

/// A key log that keeps what it hears for [`collect`], and forgets it where nobody collects.
#[derive(Debug)]
pub(super) struct Collector;

impl KeyLog for Collector {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        HEARD.with_borrow_mut(|heard| {
            let Some(heard) = heard else { return };
            match label {
                CLIENT => heard.client = Secret::new(secret),
                SERVER => heard.server = Secret::new(secret),
                _ => {}
            }
        });
    }

    fn will_log(&self, label: &str) -> bool {
        matches!(label, CLIENT | SERVER)
    }
}

/// Performs a handshake, and collects the secrets that it tells. rustls logs within a poll, on the thread that polls:
/// what is heard meanwhile belongs to this connection.
pub(super) async fn collect<F: Future>(handshake: F) -> (F::Output, Secrets) {
    let mut handshake = pin!(handshake);
    let mut secrets = Secrets::default();
    let output = poll_fn(|cx| {
        HEARD.set(Some(take(&mut secrets)));
        let polled = handshake.as_mut().poll(cx);
        secrets = HEARD.take().unwrap_or_default();
        polled
    })
    .await;
    (output, secrets)
}
