//! Pure: what an idle run shows, in words: which timer it is, whose, and what to write.

use longwire_wire::CloseCode;

use super::judge::{Finding, findings};
use super::{Habit, Idle, Socket, Wake};
use crate::doctor::facts::{End, Facts};
use crate::doctor::timers::{self, Counts, Timer};
use crate::doctor::verdict::front::{self, Front};
use crate::doctor::verdict::{Fix, Party, Step, Verdict};

/// More suspects than this help nobody.
const MAX_SUSPECTS: usize = 3;

/// What the run shows, if it shows a fault or nothing clear.
pub fn judge(facts: &Facts) -> Option<Verdict> {
    let idle = facts.idle.as_ref()?;
    let found = findings(idle);
    let told = Telling { idle, front: front::front(facts) };
    let mut verdict = told.verdict(found.first()?)?;
    if let [_, Finding::Lifetime { after_ms }, ..] = found.as_slice() {
        verdict = verdict
            .seen(format!("besides, the busy ones were ended as well, at an age of {}", span(*after_ms)));
    }
    let who = facts.handshake.as_ref().map(front::telling).filter(|headers| !headers.is_empty());
    Some(
        verdict
            .seen_all(idle.sockets.iter().map(|socket| line(socket, idle)))
            .seen_all(who.map(|headers| format!("who answers the handshake: {}", headers.join(", ")))),
    )
}

/// The whole run in a few words.
pub fn brief(idle: &Idle) -> String {
    match findings(idle).first() {
        Some(Finding::Kept) | None => format!("silence of {} does no harm", span(idle.asked_ms)),
        Some(Finding::IdleTimer { after_ms, .. }) => format!("silence ends it after {}", rough(*after_ms)),
        Some(Finding::Lifetime { after_ms }) => format!("age ends it after {}", rough(*after_ms)),
        Some(Finding::Together { .. }) => "all ended at one moment".into(),
        Some(Finding::Forgotten { dead_ms, .. }) => format!("forgotten within {}", span(*dead_ms)),
        Some(Finding::Unclear(_)) => "nothing clear".into(),
    }
}

/// To the nearest second above ten, so that two measurements of one timer are the same.
fn rough(ms: u64) -> String {
    span(if ms >= 10_000 { (ms + 500) / 1000 * 1000 } else { (ms + 50) / 100 * 100 })
}

/// What is to be said of a run in which nothing ended.
pub fn kept(idle: &Idle) -> String {
    let (pings, messages) = idle
        .sockets
        .iter()
        .filter(|socket| socket.habit == Habit::Silent)
        .fold((0, 0), |(pings, messages), socket| {
            (pings + socket.pings_heard, messages + socket.messages_heard)
        });
    let asked = span(idle.asked_ms);
    let of_itself = match (pings, messages) {
        (0, 0) => String::new(),
        (0, _) => "; it was not really silent: the server sent messages".into(),
        _ => format!("; the server pinged meanwhile ({pings} times), which is what keeps it open"),
    };
    let unanswered = idle.sockets.iter().any(|socket| socket.wake == Some(Wake::Unanswered));
    let unseen = if unanswered {
        "; it answers no pings, so whether anybody was still there was not seen"
    } else {
        ""
    };
    format!("a silent WebSocket stays open for {asked}{of_itself}{unseen}")
}

struct Telling<'a> {
    idle: &'a Idle,
    front: Option<Front>,
}

impl Telling<'_> {
    fn verdict(&self, finding: &Finding) -> Option<Verdict> {
        match finding {
            Finding::Kept => None,
            Finding::IdleTimer { after_ms, pings_help, messages_help } => {
                Some(self.idle_timer(*after_ms, *pings_help, *messages_help))
            }
            Finding::Lifetime { after_ms } => Some(self.lifetime(*after_ms)),
            Finding::Together { at_ms } => Some(self.together(*at_ms)),
            Finding::Forgotten { alive_ms, dead_ms, reset } => {
                Some(self.forgotten(*alive_ms, *dead_ms, *reset))
            }
            Finding::Unclear(why) => {
                let sentence = format!("The idle run shows nothing clear: {why}.");
                Some(Verdict::new("could-not-tell", Party::Unknown, Step::Idle, sentence))
            }
        }
    }

    fn idle_timer(&self, after_ms: u64, pings_help: Option<bool>, messages_help: Option<bool>) -> Verdict {
        let every = span(self.idle.every_ms);
        let contrast = match (pings_help, messages_help) {
            (Some(true), Some(true)) => format!("one with a ping or a message every {every} stays open"),
            (Some(true), None) => format!("one with a ping every {every} stays open"),
            (Some(true), Some(false)) => {
                format!(
                    "one with a ping every {every} stays open; messages that are not answered do not help"
                )
            }
            _ => format!("one with a message every {every} stays open; pings do not help"),
        };
        let timers = timers::fitting(Counts::Idle, after_ms, self.front);
        let close = self.close(Habit::Silent);
        let (party, whose) = self.whose(Counts::Idle, &timers, close);
        let sentence = format!("Silence ends the WebSocket after {}: {contrast}. {whose}", span(after_ms));
        let mut fixes = self.fixes(Counts::Idle, &timers, close);
        fixes.push(keep_alive(after_ms, pings_help != Some(false)));
        Verdict::new("idle-timer", party, Step::Idle, sentence).fixes(fixes)
    }

    fn lifetime(&self, after_ms: u64) -> Verdict {
        let timers = timers::fitting(Counts::Life, after_ms, self.front);
        let close = self.close(Habit::Pinging).or(self.close(Habit::Sending));
        let (party, whose) = self.whose(Counts::Life, &timers, close);
        let sentence = format!(
            "Every WebSocket is ended at an age of {}, also a busy one: a limit of its life, no idle timer. {whose}",
            span(after_ms)
        );
        let again = "Let it come back by itself after a random short wait, and fetch what it missed.";
        Verdict::new("lifetime-limit", party, Step::Idle, sentence)
            .fixes(self.fixes(Counts::Life, &timers, close))
            .fix(Fix::new("the client", again))
    }

    fn together(&self, at_ms: u64) -> Verdict {
        let sentence = format!(
            "All WebSockets were ended at one moment, {} into the run, whatever their age and however busy: a reload, a \
             restart or a deploy of the proxy or the server.",
            span(at_ms)
        );
        let party = if self.close(Habit::Silent).is_some() { Party::Server } else { Party::Proxy };
        let verdict = Verdict::new("closed-together", party, Step::Idle, sentence);
        let verdict = match self.idle.afterwards {
            Some(101) => verdict.seen("a new WebSocket opens afterwards"),
            Some(status) => verdict.seen(format!("a new handshake afterwards is answered with {status}")),
            None => verdict.seen("a new handshake afterwards is not answered"),
        };
        let drain = match self.front {
            Some(Front::Nginx) => Fix::new(
                "nginx",
                "A reload keeps WebSockets until this time is over (unset: for ever), a restart ends them: reload, and \
                 reload seldom.",
            )
            .lines("worker_shutdown_timeout 1h;"),
            Some(Front::Haproxy) => Fix::new(
                "HAProxy",
                "A reload keeps WebSockets until hard-stop-after is over, a restart ends them: reload, and in global",
            )
            .lines("hard-stop-after 1h"),
            Some(Front::Caddy) => Fix::new(
                "Caddy",
                "A reload closes WebSockets at once unless they may stay: in reverse_proxy",
            )
            .lines("stream_close_delay 1h"),
            _ => Fix::new("the proxy", "Look into its log at that moment; have it drain connections before it ends them."),
        };
        let again = "Let it come back by itself after a random wait, so that not all come at once.";
        verdict.fix(drain).fix(Fix::new("the client", again))
    }

    fn forgotten(&self, alive_ms: u64, dead_ms: u64, reset: bool) -> Verdict {
        let timers: Vec<&Timer> = timers::between(Counts::Forget, alive_ms, dead_ms, None);
        let how = if reset { "is answered with RST" } else { "is not answered" };
        let after = if alive_ms > 0 {
            format!("between {} and {} of silence", span(alive_ms), span(dead_ms))
        } else {
            format!("within {} of silence", span(dead_ms))
        };
        let sentence = format!(
            "The connection is forgotten on the way {after}, and nobody is told: no FIN, no RST, and what is sent then \
             {how}. {}",
            suspects(&timers).unwrap_or_else(|| "A NAT, a firewall or a load balancer does so.".into())
        );
        let fixes = timers.iter().take(MAX_SUSPECTS).map(|timer| fix(timer));
        Verdict::new("silent-drop", Party::Network, Step::Idle, sentence)
            .fixes(fixes)
            .fix(keep_alive(if alive_ms > 0 { alive_ms } else { dead_ms }, true))
    }

    /// The Close frame's code that ended a socket of this habit.
    fn close(&self, habit: Habit) -> Option<CloseCode> {
        let of_habit =
            self.idle.sockets.iter().filter(|socket| socket.habit == habit && socket.ended_by_far_end());
        let ending = of_habit.filter_map(|socket| socket.ending.as_ref()).next()?;
        ending.code.map(CloseCode)
    }

    /// Whether what stands in front can have done it: a proxy that only copies bytes sends no Close frame.
    fn speaks(&self, close: Option<CloseCode>) -> bool {
        let able = [Front::Longwire, Front::Caddy, Front::Aws, Front::Cloudflare];
        close.is_none() || self.front.is_some_and(|front| able.contains(&front))
    }

    /// Who has to act, and a sentence that says whose timer it may be.
    fn whose(&self, counts: Counts, timers: &[&Timer], close: Option<CloseCode>) -> (Party, String) {
        let named = self.speaks(close)
            && timers.iter().any(|timer| timer.front.is_some() && timer.front == self.front);
        if let (Some(code), false) = (close, named) {
            let by = format!(
                "It came with a Close frame, {code}: the server, or something that speaks WebSocket, did it."
            );
            return (Party::Server, by);
        }
        let known = suspects(timers);
        let text = match (self.own(counts, timers), self.front, known) {
            (Some(timer), Some(front), known) => {
                let name = timer.name.split(" (").next().unwrap_or(timer.name);
                let known = known.map(|text| format!(" {text}")).unwrap_or_default();
                format!("{} stands in front: look for {name}.{known}", front.name())
            }
            (_, _, Some(known)) => known,
            _ => "It fits no default that is known: somebody has set it.".into(),
        };
        (Party::Proxy, text)
    }

    /// The timer of what stands in front, which may be set to any time, when it is not among those that fit by default.
    fn own(&self, counts: Counts, timers: &[&Timer]) -> Option<&'static Timer> {
        let among = timers.iter().any(|timer| timer.front.is_some() && timer.front == self.front);
        timers::of(counts, self.front).filter(|_| !among)
    }

    fn fixes(&self, counts: Counts, timers: &[&Timer], close: Option<CloseCode>) -> Vec<Fix> {
        if !self.speaks(close) {
            return Vec::new();
        }
        let of_front =
            |timer: &&&Timer| close.is_none() || (timer.front.is_some() && timer.front == self.front);
        let fitting = timers.iter().filter(of_front).map(|timer| fix(timer));
        self.own(counts, timers).map(fix).into_iter().chain(fitting).take(MAX_SUSPECTS).collect()
    }
}

fn fix(timer: &Timer) -> Fix {
    let place = timer.front.map_or("what stands in front", Front::name);
    let name = timer.name.strip_prefix(place).unwrap_or(timer.name).trim_start();
    let end = if timer.lines.is_empty() { '.' } else { ':' };
    Fix::new(place, format!("{name}: {}{end}", timer.what)).lines(&timer.lines.join("\n"))
}

/// Something that is said often enough keeps every timer of silence away.
fn keep_alive(after_ms: u64, by_ping: bool) -> Fix {
    // The longest even time that leaves room for a late one.
    let every = span(match after_ms / 2 {
        half @ 0..1_000 => half.next_multiple_of(100),
        half => half.min(30_000) / 1_000 * 1_000,
    });
    if by_ping {
        Fix::new(
            "the server",
            format!("Or ping each WebSocket every {every}, which keeps all timers of silence away."),
        )
        .lines(
            "Node ws: setInterval(() => wss.clients.forEach(s => s.ping()), MILLISECONDS)\n\
                 Python websockets: serve(..., ping_interval=SECONDS)\n\
                 Longwire as the proxy pings both ends every 30 s (websocket_ping)",
        )
    } else {
        Fix::new(
            "the client or the server",
            format!("Send a message of your own every {every}: pings are not counted."),
        )
    }
}

/// Whose timer it may be.
fn suspects(timers: &[&Timer]) -> Option<String> {
    let names: Vec<&str> = timers.iter().take(MAX_SUSPECTS).map(|timer| timer.name).collect();
    match names.as_slice() {
        [] => None,
        [one] => Some(format!("This is the time of {one}.")),
        many => Some(format!("This is the time of {}.", many.join(", of "))),
    }
}

/// One socket in a line.
fn line(socket: &Socket, idle: &Idle) -> String {
    let every = span(idle.every_ms);
    let habit = match socket.habit {
        Habit::Silent => "silent".to_owned(),
        Habit::Pinging => format!("a ping every {every}"),
        Habit::Sending => format!("a message every {every}"),
    };
    if let Some(why) = &socket.refused {
        return format!("{habit}: not opened ({why})");
    }
    let mut text = match (socket.ended_ms, socket.wake) {
        (_, Some(Wake::Answered)) => format!("answered after {} of silence", span(socket.wake_ms)),
        (_, Some(Wake::Unanswered)) => format!("no answer after {} of silence", span(socket.wake_ms)),
        (_, Some(Wake::Reset)) => format!("ended when spoken to after {} of silence", span(socket.wake_ms)),
        (Some(_), None) => format!("ended at {}, {}", span(socket.age_ms()), ending(socket)),
        (None, None) => format!("open for {}", span(socket.age_ms())),
    };
    let heard =
        [(socket.pongs_heard, "pongs"), (socket.pings_heard, "pings"), (socket.messages_heard, "messages")];
    let heard: Vec<String> =
        heard.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if !heard.is_empty() {
        text.push_str(&format!("; heard {}", heard.join(", ")));
    }
    format!("{habit}: {text}")
}

/// How it ended, and what was last heard.
fn ending(socket: &Socket) -> String {
    let Some(ending) = &socket.ending else { return "it is not known how".into() };
    let tcp = match ending.end {
        Some(End::Fin) => "FIN",
        Some(End::Rst) => "RST",
        Some(End::Error) => "an error",
        None => "TCP left open",
    };
    let close = match ending.code {
        Some(code) if ending.reason.is_empty() => format!("Close {}", CloseCode(code)),
        Some(code) => format!("Close {} \"{}\"", CloseCode(code), ending.reason),
        None => "no Close frame".to_owned(),
    };
    let last = if ending.last_bytes.is_empty() {
        String::new()
    } else {
        format!(", last bytes {}", ending.last_bytes)
    };
    format!("{close}, {tcp}, {} after the last byte{last}", span(socket.silence_ms()))
}

/// A time as people say it.
pub fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => {
            let text = format!("{:.1}", ms as f64 / 1000.0);
            format!("{} s", text.trim_end_matches(".0"))
        }
        _ => {
            let seconds = ms.div_ceil(100) / 10;
            if seconds.is_multiple_of(60) { format!("{} min", seconds / 60) } else { format!("{seconds} s") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::{Ending, Exchange};

    /// Two silent sockets that end after this time, and a busy one that lives on.
    fn facts(after_ms: u64, server: &str, code: Option<u16>) -> Facts {
        let ending = Some(Ending { code, end: Some(End::Fin), ..Ending::default() });
        let silent = |opened_ms| Socket {
            opened_ms,
            heard_ms: opened_ms,
            ended_ms: Some(opened_ms + after_ms),
            over_ms: opened_ms + after_ms,
            wake_ms: after_ms * 2,
            ending: ending.clone(),
            ..Socket::default()
        };
        let busy = Socket { habit: Habit::Pinging, said: 9, over_ms: after_ms * 3, ..Socket::default() };
        let sockets = vec![silent(0), busy, silent(4_000)];
        let idle =
            Idle { asked_ms: after_ms * 2, stagger_ms: 2_000, every_ms: 5_000, sockets, ..Idle::default() };
        let headers = vec![("Server".into(), server.into())];
        let handshake = Exchange { status: Some(101), headers, ..Exchange::default() };
        Facts { idle: Some(idle), handshake: Some(handshake), ..Facts::default() }
    }

    #[test]
    fn the_timer_of_what_stands_in_front_is_named_first() {
        let verdict = judge(&facts(60_010, "nginx/1.22.1", None)).unwrap();
        assert!(verdict.sentence.contains("the time of nginx proxy_read_timeout"), "{}", verdict.sentence);
        assert_eq!(verdict.fix[0].lines[0], "proxy_read_timeout 1h;");
        // Set to another time, or to the default of somebody else.
        for after_ms in [2_000, 100_020] {
            let verdict = judge(&facts(after_ms, "nginx", None)).unwrap();
            assert!(verdict.sentence.contains("nginx stands in front: look for"), "{}", verdict.sentence);
            assert_eq!(verdict.fix[0].place, "nginx", "{:?}", verdict.fix);
        }
        let verdict = judge(&facts(100_020, "", None)).unwrap();
        assert!(verdict.sentence.contains("Cloudflare"), "{}", verdict.sentence);
        assert_eq!(verdict.fault_of, Party::Proxy);
    }

    #[test]
    fn a_close_frame_is_not_the_work_of_a_proxy_that_copies() {
        let verdict = judge(&facts(60_010, "nginx", Some(4000))).unwrap();
        assert_eq!(verdict.fault_of, Party::Server);
        assert!(verdict.fix.iter().all(|fix| fix.place != "nginx"), "{:?}", verdict.fix);
        assert!(verdict.evidence.iter().any(|line| line.contains("Close 4000")), "{:?}", verdict.evidence);
        assert_eq!(judge(&facts(60_010, "awselb/2.0", Some(1001))).unwrap().fault_of, Party::Proxy);
    }

    #[test]
    fn times_read_well() {
        for (ms, text) in [
            (5, "5 ms"),
            (1_000, "1 s"),
            (60_020, "60 s"),
            (59_960, "60 s"),
            (2_140, "2.1 s"),
            (120_000, "2 min"),
            (350_000, "350 s"),
        ] {
            assert_eq!(span(ms), text);
        }
    }
}
