//! `GET /api/live`: what happens, once a second, over a WebSocket. All who watch are told the same, so it is gathered
//! once for all of them, and not at all while nobody watches.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use longwire_wire::CloseCode;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::answer::{self, Answer};
use super::ask::Ask;
use super::guard::Writing;
use super::socket::{self, Socket};
use super::upstreams;
use crate::clock;
use crate::http::{Arrival, Service};
use crate::scrape::{self, Counters, HISTORY, Point};

/// Who may watch at once.
const MOST: usize = 32;
/// How often they are told something.
const EVERY: Duration = Duration::from_secs(1);

/// Who watches.
static WATCHERS: AtomicUsize = AtomicUsize::new(0);
/// What they are told, while somebody watches.
static FEED: Mutex<Weak<watch::Sender<Bytes>>> = Mutex::new(Weak::new());

/// Counts somebody for as long as they watch.
struct Watcher;

impl Watcher {
    fn enter() -> Option<Watcher> {
        let watcher = Watcher;
        (WATCHERS.fetch_add(1, Relaxed) < MOST).then_some(watcher)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        WATCHERS.fetch_sub(1, Relaxed);
    }
}

/// Answers.
pub(super) async fn open(mut ask: Ask) -> Answer {
    let answer = match socket::accept(&ask.request) {
        Ok(answer) => answer,
        Err(refused) => return *refused,
    };
    let Some(watcher) = Watcher::enter() else {
        let words = format_args!("{MOST} are watching already: close a page that nobody looks at");
        return answer::error(StatusCode::SERVICE_UNAVAILABLE, words);
    };
    let upgrade = hyper::upgrade::on(&mut ask.request);
    let (writing, arrival) = (ask.writing, ask.arrival);
    tokio::spawn(async move {
        let _watcher = watcher;
        if let Ok(upgraded) = upgrade.await {
            // Whoever watched sees that it ended, and comes back.
            let _ = watch(Socket::new(TokioIo::new(upgraded)), writing, arrival).await;
        }
    });
    answer
}

/// Tells one watcher all that was, and then what comes, until they go or have to.
async fn watch(
    mut socket: Socket<TokioIo<Upgraded>>,
    writing: Writing,
    arrival: Arrival,
) -> std::io::Result<()> {
    // Before the beginning is gathered, so that no second falls between.
    let mut news = subscribe(&arrival);
    let (service, _) = arrival.door.present();
    let hello = Hello {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        host: nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()),
        writing,
        state: State::gather(&service, 0.0, "hello").await,
    };
    drop(service);
    socket.tell(&text(&hello)).await?;
    loop {
        let next = tokio::select! {
            ended = socket.listen() => return ended,
            () = arrival.leaving() => None,
            changed = news.changed() => changed.is_ok().then(|| news.borrow_and_update().clone()),
        };
        match next {
            Some(text) => socket.tell(&text).await?,
            None => return socket.close(CloseCode::SERVICE_RESTART, "come back").await,
        }
    }
}

/// What all watchers are told; begins where nobody watched.
fn subscribe(arrival: &Arrival) -> watch::Receiver<Bytes> {
    let mut feed = FEED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(sender) = feed.upgrade() {
        return sender.subscribe();
    }
    let sender = Arc::new(watch::Sender::new(Bytes::new()));
    *feed = Arc::downgrade(&sender);
    let receiver = sender.subscribe();
    tokio::spawn(publish(sender, arrival.clone()));
    receiver
}

/// Gathers for all, until nobody watches any more. Where its address goes away all watchers come back by themselves.
async fn publish(sender: Arc<watch::Sender<Bytes>>, arrival: Arrival) {
    let mut clock = tokio::time::interval(EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    clock.tick().await;
    let mut since = now();
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            () = arrival.leaving() => return,
            () = sender.closed() => {
                let mut feed = FEED.lock().unwrap_or_else(PoisonError::into_inner);
                // Somebody may have come while the last one went.
                if sender.receiver_count() == 0 {
                    *feed = Weak::new();
                    return;
                }
                continue;
            }
        }
        let (service, _) = arrival.door.present();
        let state = State::gather(&service, since, "second").await;
        since = state.history.last().map_or(since, |point| point.at);
        sender.send_replace(text(&state));
    }
}

fn text(value: &impl Serialize) -> Bytes {
    // Numbers, texts and lists always have a form in JSON.
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// Unix seconds.
fn now() -> f64 {
    clock::unix_us() as f64 / 1e6
}

/// The first message.
#[derive(Serialize)]
struct Hello {
    version: &'static str,
    pid: u32,
    host: Option<String>,
    /// Whether things can be changed at this address.
    writing: Writing,
    #[serde(flatten)]
    state: State,
}

/// Each message: how things are.
#[derive(Serialize)]
struct State {
    kind: &'static str,
    /// Unix seconds.
    now: f64,
    /// The seconds that were not told yet.
    history: Vec<Point>,
    counters: Counters,
    upstreams: Value,
}

impl State {
    async fn gather(service: &Service, since: f64, kind: &'static str) -> State {
        let mut history = HISTORY.points();
        history.retain(|point| point.at > since);
        let counters = scrape::gather(service).await;
        State { kind, now: now(), history, counters, upstreams: upstreams::all(service).await }
    }
}
