//! Opens sessions of polling and knocks at them, each time over a connection of its own.

use std::time::Duration;

use tokio::time::Instant;

use super::packet::{self, Opened};
use super::{Repeats, SockJs, SocketIo, Sticky};
use crate::doctor::facts::Exchange;
use crate::doctor::probe::{Dialer, Request};

/// How often a session is knocked at.
const KNOCKS: u32 = 20;
/// How long that may take.
const LIMIT: Duration = Duration::from_millis(1_800);
/// The version that clients speak which say nothing else.
const VERSION: u8 = 4;

/// Polls where socket.io or SockJS may be, as the path of the target says. `page` is a plain request, `handshake` one
/// for a WebSocket.
pub async fn run(dialer: &Dialer, page: &Request, handshake: &Request) -> Option<Sticky> {
    let path = page.path.as_str();
    let bare = path.split('?').next().unwrap_or_default();
    let mut page = page.clone();
    if let Some(origin) = handshake.header("origin") {
        page.set("Origin", origin);
    }
    let sticky = if bare.contains("/socket.io") || packet::version_of(path).is_some() {
        Sticky { socketio: Some(socketio(dialer, &page, handshake).await), sockjs: None }
    } else if bare.ends_with("/websocket") || bare.contains("sockjs") {
        Sticky { socketio: None, sockjs: sockjs(dialer, &page).await }
    } else {
        return None;
    };
    (sticky.socketio.is_some() || sticky.sockjs.is_some()).then_some(sticky)
}

/// What is known about the user and the room goes with each request: the query without what the protocol puts there.
fn query_besides(path: &str) -> String {
    let own = ["EIO", "transport", "sid", "t", "b64"];
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let kept = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !own.contains(&pair.split('=').next().unwrap_or("")));
    kept.map(|pair| format!("&{pair}")).collect()
}

async fn socketio(dialer: &Dialer, page: &Request, handshake: &Request) -> SocketIo {
    let asked = packet::version_of(&page.path).unwrap_or(VERSION);
    let bare = page.path.split('?').next().unwrap_or_default().to_owned();
    let besides = query_besides(&page.path);
    let at = |version: u8, transport: &str| format!("{bare}?EIO={version}&transport={transport}{besides}");
    let first = page.at(&at(asked, "polling"));
    let answer = dialer.ask(&first).await;
    let mut seen = SocketIo { path: bare.clone(), asked, status: answer.status, ..SocketIo::default() };
    let Some(opened) = packet::opened(&answer.body) else {
        seen.refusal = packet::refusal(&answer.body);
        let other = if asked == 3 { 4 } else { 3 };
        let answer = dialer.ask(&page.at(&at(other, "polling"))).await;
        seen.other_version_works = packet::opened(&answer.body).is_some();
        return seen;
    };
    seen.answered = Some(opened.version);
    let kept = packet::cookies(answer.all("set-cookie"));
    seen.cookies = kept.iter().map(|(name, _)| name.clone()).collect();
    let session = |opened: &Opened| format!("{}&sid={}", at(asked, "polling"), opened.sid);
    let knock = packet::knock(opened.version);
    let request = with_cookies(page, &kept).at(&session(&opened));
    seen.with_cookies = knocks(dialer, request, knock, packet::note_socketio).await;
    if let Some(opened) = packet::opened(&dialer.ask(&first).await.body) {
        let request = page.at(&session(&opened));
        seen.without_cookies = knocks(dialer, request, knock, packet::note_socketio).await;
    }
    let path = format!("{}&sid={}", at(asked, "websocket"), opened.sid);
    let (answer, socket) = dialer.open(&with_cookies(handshake, &kept).at(&path)).await;
    seen.upgrade = answer.status;
    if let Some(socket) = socket {
        socket.close(Duration::from_millis(200)).await;
    }
    seen
}

async fn sockjs(dialer: &Dialer, page: &Request) -> Option<SockJs> {
    let base = packet::sockjs_base(&page.path);
    let (websocket, cookie_needed) = packet::info(&dialer.ask(&page.at(&format!("{base}/info"))).await.body)?;
    let mut seen = SockJs { path: base.clone(), websocket, cookie_needed, ..SockJs::default() };
    let session = |n: u32| format!("{base}/{n:03}/longwire{:08x}", rand());
    let (one, two) = (session(1), session(2));
    let open = |session: &str| page.at(&format!("{session}/xhr")).posting("");
    let answer = dialer.ask(&open(&one)).await;
    seen.status = answer.status;
    if !is_open(&answer) {
        return Some(seen);
    }
    let kept = packet::cookies(answer.all("set-cookie"));
    seen.cookies = kept.iter().map(|(name, _)| name.clone()).collect();
    let send = |session: &str| page.at(&format!("{session}/xhr_send"));
    let note = |repeats: &mut Repeats, status, _: &str| packet::note_sockjs(repeats, status);
    seen.with_cookies = knocks(dialer, with_cookies(&send(&one), &kept), "[]", note).await;
    if is_open(&dialer.ask(&open(&two)).await) {
        seen.without_cookies = knocks(dialer, send(&two), "[]", note).await;
    }
    Some(seen)
}

/// SockJS says `o` when a session is open.
fn is_open(answer: &Exchange) -> bool {
    answer.status == Some(200) && answer.body.trim_end() == "o"
}

/// Numbers that differ from run to run name sessions that nobody else has.
fn rand() -> u32 {
    let mut bytes = [0; 4];
    let _ = getrandom::fill(&mut bytes);
    u32::from_be_bytes(bytes)
}

/// The request with these cookies beside its own.
fn with_cookies(request: &Request, cookies: &[(String, String)]) -> Request {
    let mut request = request.clone();
    if !cookies.is_empty() {
        let own = request.header("cookie").map(str::to_owned);
        let pairs = cookies.iter().map(|(name, value)| format!("{name}={value}"));
        let all: Vec<String> = own.into_iter().chain(pairs).collect();
        request.set("Cookie", &all.join("; "));
    }
    request
}

/// Knocks, one after the other: a server takes two requests of one session at a time for an error. Two sessions are not
/// knocked at by turns either: servers that take turns would each get one of them, and look as if they had affinity.
async fn knocks(
    dialer: &Dialer,
    request: Request,
    body: &str,
    note: impl Fn(&mut Repeats, Option<u16>, &str),
) -> Repeats {
    let request = request.posting(body);
    let began = Instant::now();
    let mut repeats = Repeats::default();
    while repeats.asked < KNOCKS && began.elapsed() < LIMIT {
        let answer = dialer.ask(&request).await;
        note(&mut repeats, answer.status, &answer.body);
    }
    repeats
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::options::Options;
    use crate::doctor::target::Target;

    #[test]
    fn what_belongs_to_the_application_stays_in_the_query() {
        assert_eq!(
            query_besides("/socket.io/?EIO=4&token=a%20b&transport=websocket&sid=x&room=1"),
            "&token=a%20b&room=1"
        );
        assert_eq!(query_besides("/socket.io/"), "");
    }

    #[test]
    fn cookies_join_those_of_the_user() {
        let target = Target::parse("ws://a/").unwrap();
        let page = Request::page(
            &target,
            &Options { headers: vec![("Cookie".into(), "a=1".into())], ..Options::default() },
        );
        let with = with_cookies(&page, &[("b".into(), "2".into())]);
        assert_eq!(with.header("cookie"), Some("a=1; b=2"));
        let bare = Request::page(&target, &Options::default());
        assert_eq!(with_cookies(&bare, &[]).header("cookie"), None);
    }
}
