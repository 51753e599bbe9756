//! The admin address: a live page, an API of JSON, and metrics; and the commands that use it.
//!
//! Its sockets are bindings of the snapshot like those of servers, so that reload, upgrade and socket activation are the
//! same. What is asked stands in a table ([`routes`]); who may ask it is decided before ([`guard`]).

mod answer;
mod ask;
mod configuration;
pub mod console;
mod counters;
mod filter;
mod guard;
mod live;
mod metrics;
mod overview;
mod page;
mod routes;
mod socket;
mod top;
mod tunnels;
mod upstreams;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use answer::Answer;
use ask::Ask;
use guard::{Credentials, Refusal};

use crate::http::Arrival;
use crate::net::{Endpoint, Stream};

/// Connections at once, at all admin addresses: browsers, scrapers, people. The next ones are closed.
const MOST: usize = 256;
/// How long a request head may take, and how long a connection may be idle.
const PATIENCE: Duration = Duration::from_secs(75);

/// Connections that are open.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// Counts a connection for as long as it lives.
struct Place;

impl Place {
    fn take() -> Option<Place> {
        let place = Place;
        (OPEN.fetch_add(1, Relaxed) < MOST).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Relaxed);
    }
}

/// Serves a connection to an admin address, to its end. What it is asked is answered by the generation in force then.
pub async fn serve(stream: Stream, peer: Endpoint, arrival: Arrival) {
    let Some(_place) = Place::take() else { return };
    let peer: Arc<str> = peer.to_string().into();
    let handler = service_fn(|request| {
        let (arrival, peer) = (arrival.clone(), peer.clone());
        async move { Ok::<_, Infallible>(answer::sealed(respond(request, arrival, peer).await)) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), handler)
        .with_upgrades();
    let mut connection = pin!(connection);
    tokio::select! {
        // Whoever asked sees how it ended.
        _ = connection.as_mut() => return,
        () = arrival.leaving() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Answers a request, whoever made it.
async fn respond(request: Request<Incoming>, arrival: Arrival, peer: Arc<str>) -> Answer {
    let (service, binding) = arrival.door.present();
    // The address may have become a server's meanwhile.
    let Some(admin) = binding.admin.clone() else { return Refusal::WrongName.answer() };
    let credentials = Credentials::of(&request);
    if let Err(refusal) = guard::check(&admin, &credentials) {
        return refusal.answer();
    }
    let writing = guard::writing(&admin);
    match routes::find(request.method(), request.uri().path()) {
        Ok((route, parts)) => (route.run)(Ask { service, writing, arrival, peer, parts, request }).await,
        Err(answer) => *answer,
    }
}
