//! Pure: the timers that are known to end WebSockets, and which of them fit what was measured.
//!
//! Times are the defaults that the makers document; all can be set otherwise, so a fit is a suspicion and says so.

use super::verdict::front::Front;

/// What a timer counts.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Counts {
    /// Time without bytes. Then the connection is ended.
    Idle,
    /// Time since the connection was opened, however busy it is.
    Life,
    /// Time without packets. Then the connection is forgotten, and nobody is told.
    Forget,
}

/// One timer of somebody.
#[derive(Debug)]
pub struct Timer {
    /// What it counts.
    pub counts: Counts,
    /// Seconds until it strikes; 0 where it is off unless set.
    pub seconds: u32,
    /// Whose it is and what it is called, as it stands in a sentence.
    pub name: &'static str,
    /// Whose answers give it away; `None` where nothing does.
    pub front: Option<Front>,
    /// What to change, in words.
    pub what: &'static str,
    /// What to write; empty where it is set by hand or cannot be set.
    pub lines: &'static [&'static str],
}

/// All that are known, the commonest first among those of the same time.
pub const KNOWN: &[Timer] = &[
    Timer {
        counts: Counts::Idle,
        seconds: 60,
        name: "nginx proxy_read_timeout (60 s unless set)",
        front: Some(Front::Nginx),
        what: "in the location that proxies the WebSocket",
        lines: &["proxy_read_timeout 1h;", "proxy_send_timeout 1h;"],
    },
    Timer {
        counts: Counts::Idle,
        seconds: 60,
        name: "AWS Application Load Balancer idle timeout (60 s unless set)",
        front: Some(Front::Aws),
        what: "raise the idle timeout of the load balancer, at most 4000 s",
        lines: &[
            "aws elbv2 modify-load-balancer-attributes --load-balancer-arn ARN --attributes Key=idle_timeout.timeout_seconds,Value=4000",
        ],
    },
    Timer {
        counts: Counts::Idle,
        seconds: 60,
        name: "Apache ProxyTimeout or Timeout (60 s unless set)",
        front: Some(Front::Apache),
        what: "where the WebSocket is proxied",
        lines: &["ProxyWebsocketIdleTimeout 1h", "ProxyTimeout 3600"],
    },
    Timer {
        counts: Counts::Idle,
        seconds: 60,
        name: "Varnish pipe_timeout (60 s unless set)",
        front: Some(Front::Varnish),
        what: "start varnishd with",
        lines: &["-p pipe_timeout=3600"],
    },
    Timer {
        counts: Counts::Idle,
        seconds: 60,
        name: "a Phoenix socket's timeout (60 s without a heartbeat of the client)",
        front: None,
        what: "send the client's heartbeat, or in the endpoint",
        lines: &["socket \"/socket\", MyApp.UserSocket, websocket: [timeout: :timer.minutes(5)]"],
    },
    Timer {
        counts: Counts::Idle,
        seconds: 30,
        name: "HAProxy timeout client or timeout server, where no timeout tunnel is set (often 30 s)",
        front: Some(Front::Haproxy),
        what: "in defaults, or in the frontend and the backend",
        lines: &["timeout tunnel 1h"],
    },
    Timer {
        counts: Counts::Idle,
        seconds: 50,
        name: "HAProxy timeout client or timeout server as packages ship them (50 s), without a timeout tunnel",
        front: Some(Front::Haproxy),
        what: "in defaults, or in the frontend and the backend",
        lines: &["timeout tunnel 1h"],
    },
    Timer {
        counts: Counts::Idle,
        seconds: 60,
        name: "HAProxy timeout client or timeout server, where no timeout tunnel is set (often 1m)",
        front: Some(Front::Haproxy),
        what: "in defaults, or in the frontend and the backend",
        lines: &["timeout tunnel 1h"],
    },
    Timer {
        counts: Counts::Idle,
        seconds: 55,
        name: "the Heroku router (55 s without a byte, H15 in its log)",
        front: None,
        what: "it cannot be raised: send a ping from the server more often than every 55 s",
        lines: &[],
    },
    Timer {
        counts: Counts::Idle,
        seconds: 45,
        name: "socket.io pingInterval and pingTimeout (25 s + 20 s)",
        front: None,
        what: "the client must answer the server's packet 2 with 3; a socket.io client does",
        lines: &[],
    },
    Timer {
        counts: Counts::Idle,
        seconds: 100,
        name: "Cloudflare's proxy read timeout (100 s)",
        front: Some(Front::Cloudflare),
        what: "only Enterprise plans can raise it: send a ping from the server or the client more often than every 100 s",
        lines: &[],
    },
    Timer {
        counts: Counts::Idle,
        seconds: 120,
        name: "IIS connectionTimeout (120 s unless set)",
        front: Some(Front::Iis),
        what: "in applicationHost.config, under sites/site/limits, and let the application ping",
        lines: &["<limits connectionTimeout=\"01:00:00\" />"],
    },
    Timer {
        counts: Counts::Idle,
        seconds: 180,
        name: "Traefik idleTimeout (180 s unless set)",
        front: Some(Front::Traefik),
        what: "in the static configuration, for the entry point",
        lines: &["--entryPoints.websecure.transport.respondingTimeouts.idleTimeout=3600s"],
    },
    Timer {
        counts: Counts::Idle,
        seconds: 230,
        name: "the front end of Azure App Service (230 s)",
        front: Some(Front::Azure),
        what: "it cannot be raised: send a ping more often than every 230 s",
        lines: &[],
    },
    Timer {
        counts: Counts::Idle,
        seconds: 300,
        name: "Envoy and Istio stream_idle_timeout (5 min unless set)",
        front: Some(Front::Envoy),
        what: "in the HTTP connection manager, or idle_timeout in the route",
        lines: &["stream_idle_timeout: 3600s"],
    },
    Timer {
        counts: Counts::Idle,
        seconds: 300,
        name: "Jetty's idle timeout of WebSockets (5 min unless set)",
        front: None,
        what: "in the application",
        lines: &["container.setIdleTimeout(Duration.ofHours(1));"],
    },
    Timer {
        counts: Counts::Idle,
        seconds: 400,
        name: "Cloudflare's idle timeout towards clients (400 s)",
        front: Some(Front::Cloudflare),
        what: "it cannot be raised: send a ping more often than every 100 s",
        lines: &[],
    },
    Timer {
        counts: Counts::Idle,
        seconds: 600,
        name: "AWS API Gateway (10 min idle)",
        front: Some(Front::Aws),
        what: "it cannot be raised: send a message from the client more often than every 10 min",
        lines: &[],
    },
    Timer {
        counts: Counts::Idle,
        seconds: 3600,
        name: "timeout tunnel 1h of HAProxy (also the router of OpenShift)",
        front: Some(Front::Haproxy),
        what: "raise it, or ping more often",
        lines: &["timeout tunnel 24h"],
    },
    Timer {
        counts: Counts::Life,
        seconds: 30,
        name: "the backend service timeout of Google Cloud's load balancer (30 s unless set)",
        front: Some(Front::Google),
        what: "raise it to the longest that a WebSocket shall live; on GKE it is timeoutSec of a BackendConfig",
        lines: &["gcloud compute backend-services update NAME --global --timeout=86400"],
    },
    Timer {
        counts: Counts::Life,
        seconds: 300,
        name: "the request timeout of Cloud Run (5 min unless set)",
        front: Some(Front::Google),
        what: "raise it, at most to 60 min, and let clients come back",
        lines: &["gcloud run services update NAME --timeout=3600"],
    },
    Timer {
        counts: Counts::Life,
        seconds: 3600,
        name: "the longest request timeout of Cloud Run (60 min)",
        front: Some(Front::Google),
        what: "it cannot be raised: let clients come back",
        lines: &[],
    },
    Timer {
        counts: Counts::Life,
        seconds: 7200,
        name: "AWS API Gateway (2 h for a connection)",
        front: Some(Front::Aws),
        what: "it cannot be raised: let clients come back",
        lines: &[],
    },
    Timer {
        counts: Counts::Life,
        seconds: 0,
        name: "Caddy stream_timeout (off unless set)",
        front: Some(Front::Caddy),
        what: "take it out of reverse_proxy, or raise it",
        lines: &["stream_timeout 24h"],
    },
    Timer {
        counts: Counts::Life,
        seconds: 0,
        name: "Envoy max_stream_duration (off unless set)",
        front: Some(Front::Envoy),
        what: "take it out of the route and the connection manager, or raise it",
        lines: &["max_stream_duration: 86400s"],
    },
    Timer {
        counts: Counts::Idle,
        seconds: 0,
        name: "proxy_read_timeout of Longwire, which its pings make void (websocket_ping is off)",
        front: Some(Front::Longwire),
        what: "let it ping",
        lines: &["websocket_ping 30s;"],
    },
    Timer {
        counts: Counts::Forget,
        seconds: 350,
        name: "AWS Network Load Balancer or NAT gateway (350 s without packets)",
        front: None,
        what: "send a ping more often than every 350 s, or raise the TCP idle timeout of the listener (NLB, at most 6000 s)",
        lines: &[
            "aws elbv2 modify-listener-attributes --listener-arn ARN --attributes Key=tcp.idle_timeout.seconds,Value=6000",
        ],
    },
    Timer {
        counts: Counts::Forget,
        seconds: 240,
        name: "Azure Load Balancer or NAT gateway (4 min without packets)",
        front: None,
        what: "send a ping more often than every 240 s, or raise idleTimeoutInMinutes and switch enableTcpReset on",
        lines: &[
            "az network lb rule update --lb-name LB -g GROUP -n RULE --idle-timeout 30 --enable-tcp-reset true",
        ],
    },
    Timer {
        counts: Counts::Forget,
        seconds: 600,
        name: "connection tracking of Google Cloud's network (10 min without packets)",
        front: None,
        what: "send a ping or a TCP keep-alive more often than every 10 min",
        lines: &[],
    },
];

/// How far above its time a timer may be measured, in milliseconds: the way there, and timers that are looked at now
/// and then.
fn late_ms(seconds: u32) -> u64 {
    (u64::from(seconds) * 30).max(1500)
}

/// How far below, in milliseconds: the far end's clock began with a byte that was noted here later.
const EARLY_MS: u64 = 700;

/// Those that fit a time measured in milliseconds: what stands in front first, then the commonest.
pub fn fitting(counts: Counts, measured_ms: u64, front: Option<Front>) -> Vec<&'static Timer> {
    let fits = |timer: &&Timer| {
        let due = u64::from(timer.seconds) * 1000;
        timer.counts == counts
            && timer.seconds > 0
            && measured_ms + EARLY_MS >= due
            && measured_ms <= due + late_ms(timer.seconds)
    };
    let mut found: Vec<&Timer> = KNOWN.iter().filter(fits).collect();
    rank(&mut found, front);
    found
}

/// Those that strike between two times in milliseconds, in the same order.
pub fn between(counts: Counts, after_ms: u64, by_ms: u64, front: Option<Front>) -> Vec<&'static Timer> {
    let within = |timer: &&Timer| {
        let due = u64::from(timer.seconds) * 1000;
        timer.counts == counts && after_ms < due && due <= by_ms
    };
    let mut found: Vec<&Timer> = KNOWN.iter().filter(within).collect();
    rank(&mut found, front);
    found
}

/// What stands in front according to its own answers comes first, and alone where it has such a timer.
fn rank(found: &mut Vec<&Timer>, front: Option<Front>) {
    if front.is_some() && found.iter().any(|timer| timer.front == front) {
        found.retain(|timer| timer.front == front);
    }
}

/// The timer of what stands in front that counts this, whatever it is set to: the commonest.
pub fn of(counts: Counts, front: Option<Front>) -> Option<&'static Timer> {
    KNOWN.iter().find(|timer| timer.counts == counts && front.is_some() && timer.front == front)
}

/// At which ages, in milliseconds, silent sockets should be spoken to, so that a connection that was forgotten is
/// noticed near the timer that did it: shortly after each such timer, and at the end.
pub fn wakes(end_ms: u64) -> Vec<u64> {
    let mut at: Vec<u64> = KNOWN
        .iter()
        .filter(|timer| timer.counts == Counts::Forget)
        .map(|timer| u64::from(timer.seconds) * 1000 + late_ms(timer.seconds).min(10_000))
        .chain([end_ms / 2, 120_000])
        .filter(|&at| at < end_ms * 9 / 10)
        .collect();
    at.push(end_ms);
    at.sort_unstable();
    at.dedup();
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fronts(found: &[&Timer]) -> Vec<Option<Front>> {
        found.iter().map(|timer| timer.front).collect()
    }

    #[test]
    fn sixty_seconds_are_many_and_an_answer_says_whose() {
        let anybody = fronts(&fitting(Counts::Idle, 60_040, None));
        assert!(anybody.starts_with(&[Some(Front::Nginx), Some(Front::Aws)]), "{anybody:?}");
        assert_eq!(fronts(&fitting(Counts::Idle, 60_040, Some(Front::Aws))), [Some(Front::Aws)]);
        // A front that has no such timer does not hide the others.
        assert!(fronts(&fitting(Counts::Idle, 60_040, Some(Front::Caddy))).contains(&Some(Front::Nginx)));
        assert_eq!(of(Counts::Idle, Some(Front::Nginx)).map(|timer| timer.seconds), Some(60));
        assert!(of(Counts::Idle, None).is_none());
    }

    #[test]
    fn a_fit_is_narrow_and_knows_what_is_counted() {
        for ms in [2_000, 59_000, 63_000] {
            assert!(fitting(Counts::Idle, ms, None).is_empty(), "{ms}");
        }
        assert_eq!(fronts(&fitting(Counts::Idle, 100_400, None)), [Some(Front::Cloudflare)]);
        assert_eq!(fronts(&fitting(Counts::Life, 30_010, None)), [Some(Front::Google)]);
        assert_eq!(fronts(&fitting(Counts::Idle, 30_010, None)), [Some(Front::Haproxy)]);
    }

    #[test]
    fn what_was_forgotten_is_looked_for_in_between() {
        let found = between(Counts::Forget, 250_000, 360_000, None);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].seconds, 350);
        assert_eq!(wakes(5_000), [2_500, 5_000]);
        assert_eq!(wakes(75_000), [37_500, 75_000]);
        let eleven_minutes = wakes(660_000);
        assert!(eleven_minutes.windows(2).all(|w| w[0] < w[1]));
        for seconds in [240, 350] {
            let after =
                eleven_minutes.iter().any(|&at| (seconds * 1000..=seconds * 1000 + 12_000).contains(&at));
            assert!(after, "nothing just after {seconds} s: {eleven_minutes:?}");
        }
        assert_eq!(eleven_minutes.last(), Some(&660_000));
        assert!(eleven_minutes.len() <= 8);
    }

    /// The table of docs/timers.md.
    fn table() -> String {
        let mut rows: Vec<&Timer> = KNOWN.iter().collect();
        rows.sort_by_key(|timer| (timer.seconds == 0, timer.seconds));
        let mut text = "| After | What counts | Whose it is | What to do |\n|---|---|---|---|\n".to_owned();
        for timer in rows {
            let after = if timer.seconds == 0 { "as set".to_owned() } else { format!("{} s", timer.seconds) };
            let counts = match timer.counts {
                Counts::Idle => "silence",
                Counts::Life => "age",
                Counts::Forget => "silence; nobody is told",
            };
            let lines: Vec<String> = timer.lines.iter().map(|line| format!("`{line}`")).collect();
            let lines = if lines.is_empty() { String::new() } else { format!(": {}", lines.join(" ")) };
            text.push_str(&format!("| {after} | {counts} | {} | {}{lines} |\n", timer.name, timer.what));
        }
        text
    }

    #[test]
    fn the_page_has_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/timers.md");
        let page = std::fs::read_to_string(path).unwrap();
        let mark = page.find("-->\n").unwrap() + 4;
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, format!("{}{}", &page[..mark], table())).unwrap();
        } else {
            assert_eq!(&page[mark..], table(), "UPDATE=1 cargo test -p longwire --lib timers writes it anew");
        }
    }
}
