//! Pure: what polling shows about stickiness.

use super::{Repeats, SockJs, SocketIo};
use crate::doctor::facts::Facts;
use crate::doctor::verdict::front::{self, Front};
use crate::doctor::verdict::{Fix, Party, Step, Verdict};

/// The server and the client speak different versions of socket.io. This shows in the handshake already, so it comes
/// before what is said about that.
pub fn version(facts: &Facts) -> Option<Verdict> {
    let seen = facts.sticky.as_ref()?.socketio.as_ref()?;
    let refused = seen.refusal.as_ref().filter(|refusal| refusal.code == Some(5));
    let named = super::packet::version_of(&facts.url).is_some();
    let answered = seen.answered.filter(|version| *version != seen.asked);
    if !named || (refused.is_none() && answered.is_none()) {
        return None;
    }
    let asked = seen.asked;
    let sentence = match refused {
        Some(_) => format!(
            "The server refuses version {asked} of socket.io's protocol (EIO={asked}): client and server do not fit."
        ),
        None => format!(
            "The server answers EIO={asked} in the form of version 3, as socket.io 2 does: a client of socket.io 3 or 4 \
             cannot read it."
        ),
    };
    let shown = match refused {
        Some(refusal) => format!(
            "{}?EIO={asked}&transport=polling is answered with {}, code 5, \"{}\"",
            seen.path,
            seen.status.unwrap_or_default(),
            refusal.message
        ),
        None => format!(
            "the first packet of {}?EIO={asked}&transport=polling has a length in front of it",
            seen.path
        ),
    };
    let verdict = Verdict::new("socketio-version", Party::Client, Step::Stickiness, sentence).seen(shown);
    let verdict = if seen.other_version_works {
        verdict.seen(format!("EIO={} opens a session", if asked == 3 { 4 } else { 3 }))
    } else {
        verdict
    };
    let old_client = asked == 3;
    Some(if old_client {
        verdict
            .fix(Fix::new("the client", "Use socket.io-client of the server's major version (3 or 4)."))
            .fix(
                Fix::new("the server", "Or let it take old clients.")
                    .lines("new Server(httpServer, { allowEIO3: true })"),
            )
    } else {
        verdict.fix(Fix::new(
            "the client",
            "Use socket.io-client 2 for a server of socket.io 2, or update the server.",
        ))
    })
}

/// A session's requests come to processes that do not know it.
pub fn judge(facts: &Facts) -> Option<Verdict> {
    let sticky = facts.sticky.as_ref()?;
    let front = front::front(facts);
    let socketio = sticky.socketio.as_ref().filter(|seen| seen.with_cookies.unknown > 0);
    let sockjs = sticky.sockjs.as_ref().filter(|seen| seen.with_cookies.unknown > 0);
    match (socketio, sockjs) {
        (Some(seen), _) => Some(socketio_lost(seen, front)),
        (None, Some(seen)) => Some(sockjs_lost(seen, front)),
        (None, None) => None,
    }
}

/// Affinity works, but only for clients that keep cookies.
pub fn note(facts: &Facts) -> Option<Verdict> {
    let sticky = facts.sticky.as_ref()?;
    let socketio =
        sticky.socketio.as_ref().map(|seen| (&seen.with_cookies, &seen.without_cookies, &seen.cookies));
    let sockjs =
        sticky.sockjs.as_ref().map(|seen| (&seen.with_cookies, &seen.without_cookies, &seen.cookies));
    let (with, without, cookies) = socketio.or(sockjs)?;
    if with.unknown > 0 || without.unknown == 0 {
        return None;
    }
    let sentence = format!(
        "Sessions of polling stay together by a cookie ({}): clients that keep none, and pages of other sites without \
         credentials, lose them.",
        cookies.join(", ")
    );
    Some(
        Verdict::new("affinity-by-cookie", Party::None, Step::Stickiness, sentence)
            .seen(counted("with the cookies", with))
            .seen(counted("without", without)),
    )
}

fn socketio_lost(seen: &SocketIo, front: Option<Front>) -> Verdict {
    let with = &seen.with_cookies;
    let sentence = format!(
        "Several socket.io servers, or processes of one, take turns, and a session is known to one of them only: {} of {} \
         requests of one session were answered with 400 \"Session ID unknown\".",
        with.unknown, with.asked
    );
    Verdict::new("socketio-no-affinity", Party::Proxy, Step::Stickiness, sentence)
        .seen(counted("one session, with its cookies", with))
        .seen(counted("one session, without cookies", &seen.without_cookies))
        .seen(cookies(&seen.cookies))
        .fixes(affinity(front))
        .fix(
            Fix::new(
                "the server",
                "If one machine runs several processes (cluster, PM2), put a sticky master before them.",
            )
            .lines("const { setupMaster } = require(\"@socket.io/sticky\")"),
        )
        .fix(
            Fix::new("the client", "Or do without polling, then no affinity is needed.")
                .lines("io(URL, { transports: [\"websocket\"] })"),
        )
}

fn sockjs_lost(seen: &SockJs, front: Option<Front>) -> Verdict {
    let with = &seen.with_cookies;
    let sentence = format!(
        "Several SockJS servers, or processes of one, take turns, and a session is known to one of them only: {} of {} \
         requests of one session were answered with 404.",
        with.unknown, with.asked
    );
    let verdict = Verdict::new("sockjs-no-affinity", Party::Proxy, Step::Stickiness, sentence)
        .seen(counted("one session, with its cookies", with))
        .seen(counted("one session, without cookies", &seen.without_cookies))
        .seen(cookies(&seen.cookies))
        .seen(format!("/info says cookie_needed: {}", seen.cookie_needed))
        .fixes(affinity(front));
    if seen.websocket {
        let what = "Or allow only WebSocket, then no affinity is needed.";
        verdict
            .fix(Fix::new("the client", what).lines("new SockJS(URL, null, { transports: \"websocket\" })"))
    } else {
        verdict
    }
}

fn counted(what: &str, repeats: &Repeats) -> String {
    let mut text =
        format!("{what}: {} of {} requests known, {} unknown", repeats.known, repeats.asked, repeats.unknown);
    if !repeats.other.is_empty() {
        text.push_str(&format!(", besides {}", repeats.other.join(", ")));
    }
    text
}

fn cookies(names: &[String]) -> String {
    if names.is_empty() {
        "the first answer sets no cookie".into()
    } else {
        format!("the first answer sets {}", names.join(", "))
    }
}

/// How what stands in front keeps the requests of a client together.
fn affinity(front: Option<Front>) -> Vec<Fix> {
    let nginx = || {
        Fix::new("nginx", "Send a client always to the same server: in the upstream that is proxied to (behind another proxy by hash of the address it passes on)")
            .lines("upstream NAME {\n    ip_hash;\n    server ...;\n}")
    };
    vec![match front {
        Some(Front::Longwire) => Fix::new("Longwire", "Keep a client at its server: in the upstream that is proxied to")
            .lines("upstream NAME {\n    sticky cookie longwire expires=1h path=/;\n    server ...;\n}"),
        Some(Front::Haproxy) => Fix::new("HAProxy", "Keep a client at its server: in the backend, with a name for each server")
            .lines("cookie SRV insert indirect nocache\nserver a 10.0.0.1:3000 check cookie a"),
        Some(Front::Caddy) => {
            Fix::new("Caddy", "Keep a client at its server: in reverse_proxy").lines("lb_policy cookie")
        }
        Some(Front::Traefik) => Fix::new("Traefik", "Keep a client at its server: a label of the service")
            .lines("traefik.http.services.NAME.loadbalancer.sticky.cookie=true"),
        Some(Front::Apache) => Fix::new("Apache", "Keep a client at its server: for the balancer")
            .lines("Header add Set-Cookie \"ROUTEID=.%{BALANCER_WORKER_ROUTE}e; path=/\" env=BALANCER_ROUTE_CHANGED\nProxySet stickysession=ROUTEID"),
        Some(Front::Envoy) => Fix::new("Envoy, Istio", "Keep a client at its server: in the DestinationRule")
            .lines("trafficPolicy:\n  loadBalancer:\n    consistentHash:\n      httpCookie: { name: route, ttl: 0s }"),
        Some(Front::Aws) => Fix::new("AWS", "Switch stickiness on for the target group.").lines(
            "aws elbv2 modify-target-group-attributes --target-group-arn ARN --attributes Key=stickiness.enabled,Value=true Key=stickiness.type,Value=lb_cookie",
        ),
        Some(Front::Google) => Fix::new("Google Cloud", "Switch session affinity on for the backend service.")
            .lines("gcloud compute backend-services update NAME --global --session-affinity=GENERATED_COOKIE"),
        Some(Front::Azure) => Fix::new("Azure", "Switch session affinity (ARR affinity) on."),
        Some(Front::Iis) => Fix::new("IIS", "Switch client affinity on for the server farm of Application Request Routing."),
        Some(Front::Cloudflare) => Fix::new("Cloudflare", "Switch session affinity on for the load balancer, and affinity in what stands behind it."),
        Some(Front::Nginx | Front::Varnish) | None => nginx(),
    }]
}

#[cfg(test)]
mod tests {
    use super::super::{Refusal, Sticky};
    use super::*;

    fn facts(url: &str, socketio: SocketIo) -> Facts {
        let sticky = Some(Sticky { socketio: Some(socketio), sockjs: None });
        Facts { url: url.into(), sticky, ..Facts::default() }
    }

    fn repeats(known: u32, unknown: u32) -> Repeats {
        Repeats { asked: known + unknown, known, unknown, other: Vec::new() }
    }

    #[test]
    fn a_session_that_is_unknown_elsewhere_needs_affinity() {
        let seen = SocketIo {
            with_cookies: repeats(10, 10),
            without_cookies: repeats(9, 11),
            ..SocketIo::default()
        };
        let facts = facts("ws://a/socket.io/", seen);
        let verdict = judge(&facts).unwrap();
        assert_eq!(verdict.id, "socketio-no-affinity");
        assert!(verdict.sentence.contains("10 of 20"), "{}", verdict.sentence);
        assert!(verdict.fix[0].lines.iter().any(|line| line.contains("ip_hash")));
        assert!(version(&facts).is_none() && note(&facts).is_none());
    }

    #[test]
    fn affinity_by_cookie_is_no_fault() {
        let seen = SocketIo {
            cookies: vec!["SRV".into()],
            with_cookies: repeats(20, 0),
            without_cookies: repeats(9, 11),
            ..SocketIo::default()
        };
        let facts = facts("ws://a/socket.io/", seen);
        assert!(judge(&facts).is_none());
        assert!(note(&facts).unwrap().sentence.contains("SRV"));
        let all =
            SocketIo { with_cookies: repeats(20, 0), without_cookies: repeats(20, 0), ..SocketIo::default() };
        assert!(note(&super::tests::facts("ws://a/", all)).is_none());
    }

    #[test]
    fn a_version_is_judged_when_the_url_asks_for_it() {
        let refusal = Some(Refusal { code: Some(5), message: "Unsupported protocol version".into() });
        let seen = SocketIo {
            asked: 3,
            refusal,
            other_version_works: true,
            status: Some(400),
            ..SocketIo::default()
        };
        let verdict = version(&facts("ws://a/socket.io/?EIO=3&transport=websocket", seen.clone())).unwrap();
        assert_eq!(verdict.id, "socketio-version");
        assert!(verdict.evidence.iter().any(|line| line.contains("EIO=4")), "{:?}", verdict.evidence);
        assert!(version(&facts("ws://a/socket.io/", seen)).is_none());
        let two = SocketIo { asked: 4, answered: Some(3), ..SocketIo::default() };
        assert!(version(&facts("ws://a/socket.io/?EIO=4", two)).unwrap().sentence.contains("socket.io 2"));
        let same = SocketIo { asked: 4, answered: Some(4), ..SocketIo::default() };
        assert!(version(&facts("ws://a/socket.io/?EIO=4", same)).is_none());
    }
}
