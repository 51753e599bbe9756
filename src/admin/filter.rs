//! Pure: which tunnels somebody means, and in which order.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use longwire_conf::cidr::Cidr;
use longwire_conf::value;
use longwire_wire::Side;

use crate::clock::micros;
use crate::route::facts::Peer;
use crate::tunnel::{Row, State};

/// What a tunnel must be like. Nothing that is asked for is true of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filter {
    server: Option<String>,
    location: Option<String>,
    upstream: Option<String>,
    backend: Option<String>,
    client: Option<Cidr>,
    is_open: Option<bool>,
    /// Least microseconds.
    age_us: Option<u64>,
    idle_us: Option<u64>,
    rtt_us: Option<u64>,
    /// Text anywhere, in lower case.
    text: Option<String>,
}

impl Filter {
    /// Whether all are meant.
    pub(super) fn is_empty(&self) -> bool {
        *self == Filter::default()
    }

    /// Takes one condition; `false` when there is none of that name.
    pub(super) fn add(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let text = || Some(value.to_owned());
        match name {
            "server" => self.server = text(),
            "location" => self.location = text(),
            "upstream" => self.upstream = text(),
            "backend" => self.backend = text(),
            "q" => self.text = Some(value.to_ascii_lowercase()).filter(|text| !text.is_empty()),
            "client" => self.client = Some(network(value)?),
            "state" => self.is_open = Some(is_open(value)?),
            "min_age" => self.age_us = Some(time_us(name, value)?),
            "min_idle" => self.idle_us = Some(time_us(name, value)?),
            "min_rtt" => self.rtt_us = Some(time_us(name, value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether a tunnel is meant, at this time.
    pub(super) fn takes(&self, row: &Row, now_us: u64) -> bool {
        let place = &row.about.place;
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        let least = |wanted: Option<u64>, is: Option<u64>| wanted.is_none_or(|least| is >= Some(least));
        self.is_open.is_none_or(|open| open == (row.state == State::Open))
            && same(&self.backend, &place.backend)
            && same(&self.upstream, &place.group)
            && same(&self.location, &place.location)
            && same(&self.server, &place.server)
            && self.client.is_none_or(|net| is_in(&row.about.client, net))
            && least(self.age_us, Some(now_us.saturating_sub(row.about.opened_us)))
            && least(self.idle_us, row.heard_us.map(|at| now_us.saturating_sub(at)))
            && least(self.rtt_us, rtt_us(row))
            && self.text.as_deref().is_none_or(|text| is_about(row, text))
    }
}

fn network(text: &str) -> Result<Cidr, String> {
    let found = Cidr::parse(text).map(|(net, _)| net);
    found.map_err(|_| format!("client \"{text}\" is no address and no network: 192.0.2.7, 10.0.0.0/8"))
}

fn is_open(text: &str) -> Result<bool, String> {
    match text {
        "open" => Ok(true),
        "closing" => Ok(false),
        _ => Err(format!("state \"{text}\" is neither open nor closing")),
    }
}

fn time_us(name: &str, text: &str) -> Result<u64, String> {
    let time = value::time(text).ok_or_else(|| format!("{name} \"{text}\" is no time: 90, 90s, 5m, 20ms"))?;
    Ok(micros(time))
}

fn is_in(client: &Peer, net: Cidr) -> bool {
    matches!(client, Peer::Ip(ip, _) if net.contains(*ip))
}

/// The latest round trip, of the end where it is longer.
fn rtt_us(row: &Row) -> Option<u64> {
    let known = Side::BOTH.map(|side| row.stats[side].rtt).into_iter().filter(|rtt| rtt.count > 0);
    known.map(|rtt| rtt.last.into()).max()
}

/// Whether a text, in lower case, stands in anything that is known of a tunnel.
fn is_about(row: &Row, text: &str) -> bool {
    let place = &row.about.place;
    let has = |hay: &str| {
        let (hay, text) = (hay.as_bytes(), text.as_bytes());
        hay.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text))
    };
    has(&client_text(&row.about.client))
        || [&place.server, &place.location, &place.group, &place.backend].into_iter().any(|hay| has(hay))
        || text.parse() == Ok(row.about.id)
}

/// A client as it is shown.
pub(super) fn client_text(client: &Peer) -> Cow<'_, str> {
    match client {
        Peer::Ip(ip, port) => Cow::Owned(core::net::SocketAddr::new(*ip, *port).to_string()),
        Peer::Unix(_) => Cow::Borrowed("unix:"),
    }
}

/// What tunnels are put in order by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Column {
    #[default]
    Id,
    Client,
    Server,
    Location,
    Upstream,
    Backend,
    Age,
    Idle,
    Rtt,
    Messages,
    Bytes,
}

/// Where a tunnel stands in an order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Number(u128),
    Text(Cow<'a, str>),
}

/// An order of tunnels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sort {
    column: Column,
    descends: bool,
}

impl Sort {
    /// `COLUMN`, or `-COLUMN` for the other way round.
    pub(super) fn parse(text: &str) -> Result<Sort, String> {
        let name = text.strip_prefix('-').unwrap_or(text);
        let column = match name {
            "id" => Column::Id,
            "client" => Column::Client,
            "server" => Column::Server,
            "location" => Column::Location,
            "upstream" => Column::Upstream,
            "backend" => Column::Backend,
            "age" => Column::Age,
            "idle" => Column::Idle,
            "rtt" => Column::Rtt,
            "messages" => Column::Messages,
            "bytes" => Column::Bytes,
            _ => {
                return Err(format!(
                    "sort \"{name}\" is none of id, client, server, location, upstream, backend, age, idle, rtt, messages, bytes"
                ));
            }
        };
        Ok(Sort { column, descends: name != text })
    }

    /// Times are compared as they are on the clock, so that tunnels do not change places while time passes.
    fn key<'a>(&self, row: &'a Row) -> Key<'a> {
        let (about, place) = (&row.about, &*row.about.place);
        let sum = |of: fn(&longwire_wire::SideStats) -> u64| {
            Key::Number((u128::from(of(&row.stats.client))) + u128::from(of(&row.stats.backend)))
        };
        let ago = |at: u64| Key::Number((u64::MAX - at).into());
        match self.column {
            Column::Id => Key::Number(about.id.into()),
            Column::Client => Key::Number(match &about.client {
                Peer::Ip(core::net::IpAddr::V4(ip), _) => ip.to_bits().into(),
                Peer::Ip(core::net::IpAddr::V6(ip), _) => ip.to_bits(),
                Peer::Unix(_) => 0,
            }),
            Column::Server => Key::Text(place.server.as_str().into()),
            Column::Location => Key::Text(place.location.as_str().into()),
            Column::Upstream => Key::Text(place.group.as_str().into()),
            Column::Backend => Key::Text(place.backend.as_str().into()),
            Column::Age => ago(about.opened_us),
            Column::Idle => ago(row.heard_us.unwrap_or(u64::MAX)),
            Column::Rtt => Key::Number(rtt_us(row).unwrap_or(0).into()),
            Column::Messages => sum(|side| side.messages),
            Column::Bytes => sum(|side| side.bytes),
        }
    }

    fn compare(&self, (a, id): (&Key<'_>, u64), (b, other): (&Key<'_>, u64)) -> Ordering {
        let order = a.cmp(b).then(id.cmp(&other));
        if self.descends { order.reverse() } else { order }
    }

    /// The order of two tunnels.
    pub(super) fn order(&self, a: &Row, b: &Row) -> Ordering {
        self.compare((&self.key(a), a.about.id), (&self.key(b), b.about.id))
    }

    /// A tunnel as the place behind which a page begins.
    pub(super) fn cursor(&self, row: &Row) -> String {
        match self.key(row) {
            Key::Number(number) => format!("{}.{number}", row.about.id),
            Key::Text(text) => format!("{}.{text}", row.about.id),
        }
    }

    /// Reads a [`cursor`](Self::cursor) of this order.
    pub(super) fn after(&self, cursor: &str) -> Result<After, String> {
        let invalid = || format!("after \"{cursor}\" is no \"next\" of a list in this order");
        let (id, key) = cursor.split_once('.').ok_or_else(invalid)?;
        let id = id.parse().map_err(|_| invalid())?;
        let is_text =
            matches!(self.column, Column::Server | Column::Location | Column::Upstream | Column::Backend);
        let key = if is_text {
            Key::Text(key.to_owned().into())
        } else {
            Key::Number(key.parse().map_err(|_| invalid())?)
        };
        Ok(After(key, id))
    }

    /// Whether a tunnel stands behind that place.
    pub(super) fn is_after(&self, row: &Row, After(key, id): &After) -> bool {
        self.compare((&self.key(row), row.about.id), (key, *id)) == Ordering::Greater
    }
}

/// A place in an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct After(Key<'static>, u64);

/// The most rows of a page.
pub(super) const MOST: usize = 1000;

/// What is to be listed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Which.
    pub(super) filter: Filter,
    /// In which order.
    pub(super) sort: Sort,
    /// Behind which place.
    pub(super) after: Option<After>,
    /// How many at most.
    pub(super) limit: usize,
}

impl Wanted {
    /// Reads the names and values of a query.
    pub(super) fn parse<'a>(
        query: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    ) -> Result<Wanted, String> {
        let mut rest = BTreeMap::new();
        let mut filter = Filter::default();
        for (name, value) in query {
            if !filter.add(&name, &value)? {
                rest.insert(name, value);
            }
        }
        let sort = rest.remove("sort").map_or(Ok(Sort::default()), |text| Sort::parse(&text))?;
        let after = rest.remove("after").map(|text| sort.after(&text)).transpose()?;
        let limit = match rest.remove("limit") {
            None => 100,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MOST).contains(limit))
                .ok_or_else(|| format!("limit \"{text}\" is no number from 1 to {MOST}"))?,
        };
        match rest.first_key_value() {
            Some((name, _)) => Err(unknown(name)),
            None => Ok(Wanted { filter, sort, after, limit }),
        }
    }
}

/// What is said of a condition that there is none of.
pub(super) fn unknown(name: &str) -> String {
    format!(
        "there is no \"{name}\": tunnels are found by server, location, upstream, backend, client, state, min_age, min_idle, min_rtt and q"
    )
}

/// A part of a list, as it is gathered.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// All that were looked at.
    pub(super) open: usize,
    /// Those that are meant, on all pages.
    pub(super) total: usize,
    /// The first of those that stand behind the beginning of the page: at least one more than its limit, if there are.
    pub(super) rows: Vec<Row>,
}

impl Gathered {
    /// Looks at a tunnel.
    pub(super) fn take(&mut self, row: Row, wanted: &Wanted, now_us: u64) {
        self.open += 1;
        if !wanted.filter.takes(&row, now_us) {
            return;
        }
        self.total += 1;
        if wanted.after.as_ref().is_some_and(|after| !wanted.sort.is_after(&row, after)) {
            return;
        }
        self.rows.push(row);
        // Now and then the last half goes, so that a row costs the same however many there are.
        if self.rows.len() > 2 * wanted.limit + 2 {
            self.rows.select_nth_unstable_by(wanted.limit, |a, b| wanted.sort.order(a, b));
            self.rows.truncate(wanted.limit + 1);
        }
    }
}

/// A page of a list.
#[derive(Debug)]
pub(super) struct Page<'a> {
    /// All that were looked at.
    pub(super) open: usize,
    /// Those that are meant, on all pages.
    pub(super) total: usize,
    /// In their order.
    pub(super) rows: Vec<&'a Row>,
    /// The place behind which the next page begins, if there is one.
    pub(super) next: Option<String>,
}

impl Page<'_> {
    /// The page of all parts. A row is large and its key takes a look at it: what is put in order are keys.
    pub(super) fn of<'a>(parts: &'a [Gathered], wanted: &Wanted) -> Page<'a> {
        let (sort, limit) = (&wanted.sort, wanted.limit);
        let rows = parts.iter().flat_map(|part| &part.rows);
        let mut keyed: Vec<_> = rows.map(|row| (sort.key(row), row.about.id, row)).collect();
        let order =
            |a: &(Key<'_>, u64, &Row), b: &(Key<'_>, u64, &Row)| sort.compare((&a.0, a.1), (&b.0, b.1));
        let more = keyed.len() > limit;
        if more {
            keyed.select_nth_unstable_by(limit, order);
            keyed.truncate(limit);
        }
        keyed.sort_unstable_by(order);
        let rows: Vec<_> = keyed.into_iter().map(|(_, _, row)| row).collect();
        Page {
            open: parts.iter().map(|part| part.open).sum(),
            total: parts.iter().map(|part| part.total).sum(),
            next: rows.last().filter(|_| more).map(|row| sort.cursor(row)),
            rows,
        }
    }
}

#[cfg(test)]
mod tests;
