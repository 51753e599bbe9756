//! `/api/tunnels`: who is connected, and ending that.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use longwire_conf::model::Level;
use longwire_wire::{Cause, CloseCode, Farewell, SideStats, Stats};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::{self, Answer};
use super::ask::{Ask, Faulty, bad};
use super::filter::{Filter, Gathered, Page, Wanted, client_text, unknown};
use crate::clock;
use crate::tunnel::{Row, State};

/// The most bytes of a Close frame's reason (RFC 6455, section 5.5).
const MOST_REASON: usize = 123;
/// How many tunnels are closed in a second where nobody says: as many as come back without a storm.
const RATE: f64 = 100.0;
/// The most of them.
const MOST_RATE: f64 = 100_000.0;

/// Rows of a page that are written without a rest: a tenth of a millisecond or so.
const AT_ONCE: usize = 64;
/// The rest.
const REST: Duration = Duration::from_millis(1);

/// A tunnel as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    id: u64,
    client: &'a str,
    server: &'a str,
    location: &'a str,
    upstream: &'a str,
    backend: &'a str,
    state: &'static str,
    opened_at: f64,
    age: f64,
    idle: Option<f64>,
    /// When a Close is to be sent, where that is set.
    closes_at: Option<f64>,
    rtt: Ends<Option<f64>>,
    messages: Directions,
    bytes: Directions,
    pings: Ends<u32>,
    pongs: Ends<u32>,
    tls: Ends<Option<&'static str>>,
    ending: Option<Ending>,
}

#[derive(Serialize)]
struct Ends<T> {
    client: T,
    backend: T,
}

impl<T> Ends<T> {
    fn of(stats: &Stats, value: impl Fn(&SideStats) -> T) -> Ends<T> {
        Ends { client: value(&stats.client), backend: value(&stats.backend) }
    }
}

#[derive(Serialize)]
struct Directions {
    from_client: u64,
    from_backend: u64,
}

impl Directions {
    fn of(stats: &Stats, value: impl Fn(&SideStats) -> u64) -> Directions {
        Directions { from_client: value(&stats.client), from_backend: value(&stats.backend) }
    }
}

#[derive(Serialize)]
struct Ending {
    by: &'static str,
    cause: &'static str,
}

/// The two clocks at one moment, in microseconds.
#[derive(Clone, Copy)]
struct Moment {
    process: u64,
    unix: u64,
}

impl Moment {
    fn now() -> Moment {
        Moment { process: clock::now_us(), unix: clock::unix_us() }
    }

    /// A time of the process's clock as Unix time in seconds, to the millisecond.
    fn unix(self, at_us: u64) -> f64 {
        let at_us = i128::from(self.unix) + i128::from(at_us) - i128::from(self.process);
        (at_us as f64 / 1000.0).round() / 1000.0
    }

    fn since(self, at_us: u64) -> f64 {
        seconds(self.process.saturating_sub(at_us))
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn shown<'a>(row: &'a Row, client: &'a str, now: Moment) -> Shown<'a> {
    let Row { about, stats, state, heard_us, closes_us } = row;
    let rtt =
        |side: &SideStats| Some(side.rtt).filter(|rtt| rtt.count > 0).map(|rtt| seconds(rtt.last.into()));
    let (state, ending) = match state {
        State::Open => ("open", None),
        State::Closing { by, cause } => ("closing", Some(Ending { by: by.name(), cause: cause.sentence() })),
    };
    Shown {
        id: about.id,
        client,
        server: &about.place.server,
        location: &about.place.location,
        upstream: &about.place.group,
        backend: &about.place.backend,
        state,
        opened_at: now.unix(about.opened_us),
        age: now.since(about.opened_us),
        idle: heard_us.map(|at| now.since(at)),
        closes_at: closes_us.map(|at| now.unix(at)),
        rtt: Ends::of(stats, rtt),
        messages: Directions::of(stats, |side| side.messages),
        bytes: Directions::of(stats, |side| side.bytes),
        pings: Ends::of(stats, |side| side.pings),
        pongs: Ends::of(stats, |side| side.pongs),
        tls: Ends { client: about.tls[0], backend: about.tls[1] },
        ending,
    }
}

fn one(row: &Row) -> Answer {
    answer::json(&shown(row, &client_text(&row.about.client), Moment::now()))
}

/// `GET /api/tunnels`.
pub(super) async fn list(ask: Ask) -> Answer {
    let wanted = match Wanted::parse(ask.query()) {
        Ok(wanted) => Arc::new(wanted),
        Err(words) => return *bad(words),
    };
    let (now, looks_for) = (Moment::now(), wanted.clone());
    let step = move |found: &mut Gathered, row| found.take(row, &looks_for, now.process);
    let parts = ask.service.tunnels.fold(Gathered::default, step).await;
    let Page { open, total, rows, next } = Page::of(&parts, &wanted);
    let rows = write_rows(&rows, now).await;
    let body = rows.and_then(|rows| {
        let next = serde_json::to_string(&next)?;
        Ok(format!("{{\"total\":{total},\"open\":{open},\"next\":{next},\"tunnels\":[{rows}]}}\n"))
    });
    match body {
        Ok(body) => answer::text("application/json", body),
        Err(error) => answer::error(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}

/// Rows as they stand in an array, written with a rest now and then: see the strides of a pump.
async fn write_rows(rows: &[&Row], now: Moment) -> serde_json::Result<String> {
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        if number > 0 {
            text.push(',');
            if number % AT_ONCE == 0 {
                tokio::time::sleep(REST).await;
            }
        }
        text.push_str(&serde_json::to_string(&shown(row, &client_text(&row.about.client), now))?);
    }
    Ok(text)
}

/// The number in the path.
fn id(ask: &Ask) -> Result<u64, Faulty> {
    let text = ask.parts.first().map_or("", String::as_str);
    text.parse().map_err(|_| bad(format_args!("\"{text}\" is no number of a tunnel")))
}

fn gone(id: u64) -> Answer {
    answer::error(StatusCode::NOT_FOUND, format_args!("tunnel {id} is not open: it has ended, or never was"))
}

/// `GET /api/tunnels/{id}`.
pub(super) async fn show(ask: Ask) -> Answer {
    let id = match id(&ask) {
        Ok(id) => id,
        Err(answer) => return *answer,
    };
    ask.service.tunnels.find(id).await.map_or_else(|| gone(id), |row| one(&row))
}

/// What is said to those that are closed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    code: Option<u16>,
    reason: Option<String>,
}

impl Said {
    fn farewell(&self) -> Result<Farewell, Faulty> {
        let code = self.code.unwrap_or(CloseCode::NORMAL.0);
        if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
            return Err(bad(format_args!(
                "code {code} is none that a Close frame may have: 1000 to 1003, 1007 to 1014, 3000 to 4999"
            )));
        }
        let reason = self.reason.as_deref().unwrap_or_default();
        if reason.len() > MOST_REASON {
            let len = reason.len();
            return Err(bad(format_args!(
                "the reason has {len} bytes; a Close frame has room for {MOST_REASON}"
            )));
        }
        let words = Some(reason).filter(|reason| !reason.is_empty()).map(Arc::from);
        Ok(Farewell { code: CloseCode(code), cause: Cause::Operator, words })
    }
}

/// `POST /api/tunnels/{id}/close`.
pub(super) async fn close(mut ask: Ask) -> Answer {
    let asked = async {
        let (id, said) = (id(&ask)?, ask.body::<Said>().await?);
        Ok::<_, Faulty>((id, said.farewell()?))
    };
    let (id, farewell) = match asked.await {
        Ok(asked) => asked,
        Err(answer) => return *answer,
    };
    let note = format!("tunnel {id} is closed with {}{}", farewell.code, quoted(&farewell));
    match ask.service.tunnels.close(id, farewell).await {
        Some(row) => {
            ask.note(Level::Notice, &note);
            one(&row)
        }
        None => gone(id),
    }
}

fn quoted(farewell: &Farewell) -> String {
    farewell.words.as_ref().map_or(String::new(), |words| format!(" {words:?}"))
}

/// A filter in JSON: names as in the query of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Many {
    #[serde(default)]
    filter: Map<String, Value>,
    /// All are meant; an empty filter does not say so by itself.
    #[serde(default)]
    all: bool,
    code: Option<u16>,
    reason: Option<String>,
    rate: Option<f64>,
}

impl Many {
    fn filter(&self) -> Result<Filter, Faulty> {
        let mut filter = Filter::default();
        for (name, value) in &self.filter {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if !filter.add(name, &value).map_err(bad)? {
                return Err(bad(unknown(name)));
            }
        }
        if filter.is_empty() && !self.all {
            return Err(bad("this means every tunnel: say \"all\": true if that is wanted"));
        }
        Ok(filter)
    }

    fn rate(&self) -> Result<f64, Faulty> {
        let rate = self.rate.unwrap_or(RATE);
        let fits = rate > 0.0 && rate <= MOST_RATE;
        if fits {
            Ok(rate)
        } else {
            Err(bad(format_args!("rate is how many in a second, up to {MOST_RATE}")))
        }
    }
}

/// `POST /api/tunnels/close`: it answers how many, and they go on ending by themselves.
pub(super) async fn close_many(mut ask: Ask) -> Answer {
    let asked = async {
        let many = ask.body::<Many>().await?;
        let (filter, rate) = (many.filter()?, many.rate()?);
        let farewell = Said { code: many.code, reason: many.reason }.farewell()?;
        Ok::<_, Faulty>((filter, rate, farewell))
    };
    let (filter, rate, farewell) = match asked.await {
        Ok(asked) => asked,
        Err(answer) => return *answer,
    };
    let note = format!("{rate} a second, are closed with {}{}", farewell.code, quoted(&farewell));
    let (tunnels, now_us) = (ask.service.tunnels.clone(), clock::now_us());
    // Half of them must not stay because whoever asked has left.
    let closing = tokio::spawn(async move {
        tunnels.close_where(move |row| filter.takes(row, now_us), farewell, rate).await
    });
    match closing.await {
        Ok((count, over_us)) => {
            ask.note(Level::Notice, &format!("{count} tunnels, {note}"));
            answer::json(&json!({ "count": count, "over": seconds(over_us) }))
        }
        Err(error) => answer::error(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}
