//! Pure: what `longwire top` shows, as lines of a terminal.

use serde::Deserialize;

use super::words::{brief, bytes, count, long, meaning, rate};

/// Seconds that the curve shows.
const SECONDS: f64 = 600.0;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Head,
    Bad,
    Soft,
}

/// A line, and how it looks.
pub(super) type Line = (Style, String);

/// All that is shown, as the API tells it.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) overview: Overview,
    pub(super) counters: Counters,
    /// The last ten minutes, a point a second.
    pub(super) history: Vec<Point>,
    pub(super) groups: Vec<Group>,
    pub(super) tunnels: Listing,
    /// What the tunnels are sorted by, as the API calls it.
    pub(super) sort: String,
    /// Why this is not up to date.
    pub(super) trouble: Option<String>,
}

/// Of `GET /api`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Overview {
    version: String,
    pid: u32,
}

/// Of `GET /api/counters`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Counters {
    time: f64,
    started: f64,
    open: u64,
    handshakes: Vec<Handshake>,
    ended: Vec<Ended>,
    round_trip: Sides<Histogram>,
    dead_peers: Sides<u64>,
    pump_load: Vec<f64>,
    descriptors: Descriptors,
    memory_bytes: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Handshake {
    outcome: String,
    words: String,
    fault: String,
    count: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ended {
    by: String,
    code: Option<u16>,
    words: String,
    count: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sides<T> {
    client: T,
    backend: T,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct From<T> {
    from_client: T,
    from_backend: T,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Histogram {
    bounds: Vec<f64>,
    counts: Vec<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Descriptors {
    open: u64,
    max: u64,
}

/// Of `GET /api/history`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Point {
    at: f64,
    open: u64,
    opened: u64,
    ended: u64,
    failed: u64,
    messages: [u64; 2],
    bytes: [u64; 2],
}

/// Of `GET /api/upstreams`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Group {
    group: String,
    servers: Vec<Server>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Server {
    server: String,
    state: String,
    why: Option<String>,
    tunnels: u64,
}

/// Of `GET /api/tunnels`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Listing {
    tunnels: Vec<Tunnel>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tunnel {
    id: u64,
    client: String,
    server: String,
    location: String,
    backend: String,
    state: String,
    age: f64,
    idle: f64,
    rtt: Sides<Option<f64>>,
    messages: From<u64>,
    bytes: From<f64>,
}

/// Everything, in at most so many lines of at most so many characters.
pub(super) fn lines(view: &View, width: usize, height: usize) -> Vec<Line> {
    let mut lines = figures(view, width);
    if let Some(words) = &view.trouble {
        lines.insert(1, (Style::Bad, format!("not up to date: {words}")));
    }
    failures(&view.counters, &mut lines);
    endings(&view.counters, &mut lines);
    backends(&view.groups, (height / 5).max(3), &mut lines);
    let room = height.saturating_sub(lines.len() + 3);
    tunnels(view, room, &mut lines);
    lines.truncate(height);
    for (_, text) in &mut lines {
        if let Some((end, _)) = text.char_indices().nth(width) {
            text.truncate(end);
        }
    }
    lines
}

/// How things are altogether.
fn figures(view: &View, width: usize) -> Vec<Line> {
    let Counters { time, started, open, round_trip, dead_peers, pump_load, descriptors, .. } = &view.counters;
    let Overview { version, pid } = &view.overview;
    let recent = |of: fn(&Point) -> u64| {
        let last = view.history.iter().rev().take(10);
        let (n, sum) = last.fold((0u32, 0u64), |(n, sum), point| (n + 1, sum.saturating_add(of(point))));
        if n == 0 { 0.0 } else { sum as f64 / f64::from(n) }
    };
    let ping = |of: &Histogram| match of.counts.iter().any(|count| *count > 0) {
        true => format!("{}, {}", of.most(0.5, "half", "half"), of.most(0.99, "99 of 100", "1 of 100")),
        false => "none yet".to_owned(),
    };
    let load = pump_load.iter().copied().fold(0.0, f64::max);
    let dead = dead_peers.client + dead_peers.backend;
    let plain = |text| (Style::Plain, text);
    vec![
        (Style::Head, format!("Longwire {version}, process {pid}, up for {}", long(time - started))),
        plain(format!(
            "Tunnels    {} open, {} opened, {} ended, {} failed a second",
            count(*open),
            rate(recent(|p| p.opened)),
            rate(recent(|p| p.ended)),
            rate(recent(|p| p.failed))
        )),
        plain(format!(
            "Messages   {} from clients, {} from backends a second ({}, {})",
            rate(recent(|p| p.messages[0])),
            rate(recent(|p| p.messages[1])),
            bytes(recent(|p| p.bytes[0])),
            bytes(recent(|p| p.bytes[1]))
        )),
        plain(format!("Pings      clients: {}", ping(&round_trip.client))),
        plain(format!("           backends: {}", ping(&round_trip.backend))),
        plain(format!(
            "Process    busiest pump {:.0} %, memory {}, descriptors {} of {}, found dead {}",
            load * 100.0,
            view.counters.memory_bytes.map_or_else(|| "unknown".to_owned(), bytes),
            count(descriptors.open),
            count(descriptors.max),
            count(dead)
        )),
        plain(format!("Ten min    {}", curve(&view.history, width.saturating_sub(12).min(100)))),
    ]
}

/// How many were open in the last ten minutes, as a row of bars that ends now; the highest is of the most. Times that
/// nobody looked at are blank.
fn curve(history: &[Point], width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = history.iter().map(|point| point.open).max().unwrap_or_default().max(1);
    let now = history.last().map_or(0.0, |point| point.at);
    let mut bars = vec![None; width];
    for point in history {
        let ago = ((now - point.at) * width as f64 / SECONDS) as usize;
        if let Some(bar) = bars.iter_mut().rev().nth(ago) {
            *bar = Some(point.open).max(*bar);
        }
    }
    let drawn = |bar: Option<u64>| match bar {
        Some(open) => BARS.get((open * 7).div_ceil(most) as usize).copied().unwrap_or('█'),
        None => ' ',
    };
    bars.into_iter().map(drawn).collect()
}

fn failures(counters: &Counters, lines: &mut Vec<Line>) {
    let mut failed: Vec<_> =
        counters.handshakes.iter().filter(|h| h.outcome != "opened" && h.count > 0).collect();
    failed.sort_by_key(|h| std::cmp::Reverse(h.count));
    let all: u64 = failed.iter().map(|h| h.count).sum();
    head(lines, format!("Handshakes that failed: {}", count(all)));
    for handshake in failed.iter().take(3) {
        let fault = match handshake.fault.as_str() {
            "" | "none" => String::new(),
            fault => format!(", fault of the {fault}"),
        };
        lines.push((Style::Bad, format!("{:>10}  {}{fault}", count(handshake.count), handshake.words)));
    }
}

fn endings(counters: &Counters, lines: &mut Vec<Line>) {
    let mut ended: Vec<_> = counters.ended.iter().filter(|e| e.count > 0).collect();
    ended.sort_by_key(|e| std::cmp::Reverse(e.count));
    head(lines, format!("Ended: {}", count(ended.iter().map(|e| e.count).sum())));
    for end in ended.iter().take(4) {
        let code =
            end.code.map_or_else(|| "other codes".to_owned(), |code| format!("{code} {}", meaning(code)));
        lines.push((
            Style::Plain,
            format!("{:>10}  {code}: {}, by the {}", count(end.count), end.words, end.by),
        ));
    }
}

fn backends(groups: &[Group], most: usize, lines: &mut Vec<Line>) {
    let all: usize = groups.iter().map(|group| group.servers.len()).sum();
    head(lines, format!("Backends: {all}"));
    let servers = groups.iter().flat_map(|group| group.servers.iter().map(move |server| (group, server)));
    for (group, server) in servers.take(most) {
        let of: u64 = group.servers.iter().map(|server| server.tunnels).sum();
        let share = if of == 0 { 0.0 } else { 100.0 * server.tunnels as f64 / of as f64 };
        let style = match server.state.as_str() {
            "up" => Style::Plain,
            _ => Style::Bad,
        };
        let state = server.state.replace('_', " ");
        let why = server.why.as_deref().unwrap_or_default();
        let Server { server, tunnels, .. } = server;
        let name = &group.group;
        let line =
            format!("{:>10}  {share:>3.0} %  {name:<16} {server:<22} {state:<10} {why}", count(*tunnels),);
        lines.push((style, line.trim_end().to_owned()));
    }
    if all > most {
        lines.push((Style::Soft, format!("            and {} more", all - most)));
    }
}

fn tunnels(view: &View, room: usize, lines: &mut Vec<Line>) {
    let sort = view.sort.trim_start_matches('-');
    head(lines, format!("Tunnels, by {sort}"));
    lines.push((
        Style::Soft,
        format!(
            "{:>10}  {:<22} {:>9} {:>15} {:>17} {:>12} {:>17}  {:<22} path",
            "number", "client", "idle", "messages", "round trip", "open for", "bytes", "backend"
        ),
    ));
    for tunnel in view.tunnels.tunnels.iter().take(room) {
        let Tunnel { id, client, server, location, backend, state, age, idle, rtt, messages, bytes: b } =
            tunnel;
        let idle = match (state.as_str(), idle) {
            ("closing", _) => "closing".to_owned(),
            (_, idle) if *idle < 1.0 => "moving".to_owned(),
            (_, idle) => long(*idle),
        };
        let trip = format!("{} / {}", brief(rtt.client), brief(rtt.backend));
        let said = format!("{} / {}", count(messages.from_client), count(messages.from_backend));
        let moved = format!("{} / {}", bytes(b.from_client), bytes(b.from_backend));
        let line = format!(
            "{:>10}  {client:<22} {idle:>9} {said:>15} {trip:>17} {:>12} {moved:>17}  {backend:<22} {server} {location}",
            format!("#{id}"),
            long(*age),
        );
        lines.push((Style::Plain, line));
    }
}

fn head(lines: &mut Vec<Line>, text: String) {
    lines.push((Style::Plain, String::new()));
    lines.push((Style::Head, text));
}

impl Histogram {
    /// The bound that this share does not exceed, for of what lies inside a bucket nothing more is known; or how many
    /// are beyond the last bound.
    fn most(&self, share: f64, within: &str, beyond: &str) -> String {
        let total: u64 = self.counts.iter().sum();
        let below = self.counts.iter().scan(0, |below, count| {
            *below += count;
            Some(*below)
        });
        let mut bounds = self.bounds.iter().zip(below);
        match bounds.find(|(_, below)| *below as f64 >= share * total as f64) {
            Some((bound, _)) => format!("{within} at most {}", brief(Some(*bound))),
            None => format!("more than {beyond} over {}", brief(self.bounds.last().copied())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        let tunnel = |id: u64| {
            serde_json::json!({"id": id, "client": "192.0.2.7:50000", "server": "example.com", "location": "/ws/",
                "backend": "10.0.0.1:3000", "state": "open", "age": 3725.0, "idle": 0.2, "rtt": {"client": 0.037, "backend": null},
                "messages": {"from_client": 1234, "from_backend": 5}, "bytes": {"from_client": 2e6, "from_backend": 10}})
        };
        View {
            overview: serde_json::from_str(r#"{"version":"1.2.3","pid":4711,"more":1}"#).unwrap(),
            counters: serde_json::from_value(serde_json::json!({
                "time": 100_000.0, "started": 10_000.0, "open": 2993, "pump_load": [0.12, 0.31],
                "handshakes": [{"outcome": "opened", "count": 9}, {"outcome": "failed", "words": "it refused", "fault": "backend", "count": 3},
                    {"outcome": "failed", "words": "never", "count": 0}],
                "ended": [{"by": "client", "code": 1001, "words": "closed by the application", "count": 40}],
                "round_trip": {"client": {"bounds": [0.01, 0.1], "counts": [0, 10, 0]}},
                "descriptors": {"open": 6100, "max": 20000}, "memory_bytes": 88_000_000,
            }))
            .unwrap(),
            history: (0..600)
                .map(|i| Point { at: i as f64, open: i, opened: 4, messages: [10, 20], ..Point::default() })
                .collect(),
            groups: serde_json::from_value(serde_json::json!([{"group": "app", "servers": [
                {"server": "10.0.0.1:3000", "state": "up", "tunnels": 3}, {"server": "10.0.0.2:3000", "state": "left_out", "why": "refused", "tunnels": 1}]}]))
            .unwrap(),
            tunnels: serde_json::from_value(serde_json::json!({"tunnels": (1..100).map(tunnel).collect::<Vec<_>>()})).unwrap(),
            sort: "-messages".to_owned(),
            trouble: None,
        }
    }

    #[test]
    fn all_is_shown_in_the_room_that_is_there() {
        let shown = lines(&view(), 180, 40);
        let text: Vec<&str> = shown.iter().map(|(_, text)| text.as_str()).collect();
        let text = text.join("\n");
        for said in [
            "Longwire 1.2.3, process 4711, up for 1 d 1 h",
            "Tunnels    2,993 open, 4 opened, 0 ended, 0 failed a second",
            "clients: half at most 100 ms, 99 of 100 at most 100 ms",
            "backends: none yet",
            "busiest pump 31 %, memory 88 MB, descriptors 6,100 of 20,000",
            "Handshakes that failed: 3",
            "         3  it refused, fault of the backend",
            "        40  1001 going away: closed by the application, by the client",
            "         3   75 %  app              10.0.0.1:3000          up",
            "left out   refused",
            "Tunnels, by messages",
            "37 ms / –",
            "1,234 / 5",
        ] {
            assert!(text.contains(said), "{said} is not in\n{text}");
        }
        assert!(!text.contains("never"));
        assert_eq!(shown.len(), 40);
        assert!(shown.iter().any(|(style, text)| *style == Style::Bad && text.contains("10.0.0.2")));
    }

    #[test]
    fn a_share_is_told_by_the_bound_above_it() {
        let told = |counts: &[u64]| {
            let histogram = Histogram { bounds: vec![0.01, 0.1], counts: counts.to_vec() };
            (histogram.most(0.5, "half", "half"), histogram.most(0.99, "99 of 100", "1 of 100"))
        };
        let expected = |half: &str, tail: &str| (half.to_owned(), tail.to_owned());
        assert_eq!(told(&[5, 5, 0]), expected("half at most 10 ms", "99 of 100 at most 100 ms"));
        assert_eq!(told(&[99, 1, 0]), expected("half at most 10 ms", "99 of 100 at most 10 ms"));
        assert_eq!(told(&[9, 0, 1]), expected("half at most 10 ms", "more than 1 of 100 over 100 ms"));
        assert_eq!(
            told(&[0, 0, 1]),
            expected("more than half over 100 ms", "more than 1 of 100 over 100 ms")
        );
    }

    #[test]
    fn it_fits_whatever_the_terminal() {
        for (width, height) in [(0, 0), (1, 1), (20, 5), (80, 24), (80, 12), (300, 100)] {
            for view in [view(), View::default()] {
                let shown = lines(&view, width, height);
                assert!(shown.len() <= height);
                assert!(shown.iter().all(|(_, text)| text.chars().count() <= width));
            }
        }
    }

    #[test]
    fn the_curve_rises_with_what_was_open() {
        let point = |at: u64| Point { at: at as f64, open: at, ..Point::default() };
        let history: Vec<Point> = (0..600).map(point).collect();
        let drawn: Vec<char> = curve(&history, 100).chars().collect();
        assert_eq!((drawn.len(), drawn[0], drawn[99]), (100, '▂', '█'));
        assert!(drawn.is_sorted());
    }

    #[test]
    fn the_curve_has_only_the_time_there_is() {
        let point = |at: u64| Point { at: at as f64, open: 1, ..Point::default() };
        let minutes: Vec<Point> = (0..=180).map(point).collect();
        assert_eq!(curve(&minutes, 10), "      ████");
        assert_eq!(curve(&minutes[1..], 10), "       ███");
        let gap: Vec<Point> = (0..60).chain(540..600).map(point).collect();
        assert_eq!(curve(&gap, 10), "█        █");
        assert_eq!((curve(&[], 3).as_str(), curve(&gap, 0).as_str()), ("   ", ""));
    }
}
