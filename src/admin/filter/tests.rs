//! Filters and orders over made-up tunnels.

use std::sync::Arc;

use longwire_wire::{Cause, Party, Stats};

use super::*;
use crate::tunnel::{About, Place};

const SECOND: u64 = 1_000_000;
/// The time in these tests.
const NOW: u64 = 1000 * SECOND;

/// A tunnel that opened at second `id`; every fifth is closing.
fn row(id: u64) -> Row {
    let place = Place {
        server: "example.com".into(),
        location: if id.is_multiple_of(2) { "/ws/" } else { "= /chat" }.into(),
        group: "app".into(),
        backend: format!("10.0.0.{}:3000", id % 3),
        https: false,
    };
    let mut stats = Stats::default();
    stats.client.messages = id % 7;
    if id.is_multiple_of(4) {
        stats.backend.rtt.count = 1;
        stats.backend.rtt.last = 1000 * id as u32;
    }
    let client = Peer::Ip([192, 0, 2, id as u8].into(), 5000 + id as u16);
    let about = About { id, client, opened_us: id * SECOND, place: Arc::new(place), tls: [None; 2] };
    let closing = State::Closing { by: Party::Proxy, cause: Cause::Operator };
    let state = if id.is_multiple_of(5) { closing } else { State::Open };
    Row { about, stats, state, heard_us: Some(NOW - id * SECOND), closes_us: None }
}

fn wanted(query: &str) -> Result<Wanted, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    Wanted::parse(pairs.map(|pair| pair.split_once('=').unwrap()).map(|(a, b)| (a.into(), b.into())))
}

fn page(wanted: &Wanted) -> (Vec<u64>, usize, Option<String>) {
    // As two pumps and the tasks would do it.
    let mut parts: Vec<_> = (0..3).map(|_| Gathered::default()).collect();
    (1..=100).for_each(|id| parts[id as usize % 3].take(row(id), wanted, NOW));
    let Page { open, total, rows, next } = Page::of(&parts, wanted);
    assert_eq!(open, 100);
    (rows.iter().map(|row| row.about.id).collect(), total, next)
}

fn found(query: &str) -> Vec<u64> {
    page(&wanted(&format!("{query}&limit=1000")).unwrap()).0
}

#[test]
fn a_filter_means_what_it_says() {
    let those = |is: fn(u64) -> bool| (1..=100).filter(|id| is(*id)).collect::<Vec<u64>>();
    assert_eq!(found(""), those(|_| true));
    assert_eq!(found("location=/ws/"), those(|id| id % 2 == 0));
    assert_eq!(found("backend=10.0.0.1:3000&server=example.com"), those(|id| id % 3 == 1));
    assert!(found("upstream=ap").is_empty());
    assert_eq!(found("client=192.0.2.8/29"), those(|id| (8..16).contains(&id)));
    assert_eq!(found("state=closing"), those(|id| id % 5 == 0));
    assert_eq!(found("min_age=970"), those(|id| id <= 30));
    assert_eq!(found("min_idle=1m30s"), those(|id| id >= 90));
    assert_eq!(found("min_rtt=80ms"), those(|id| id >= 80 && id % 4 == 0));
    assert_eq!(found("q=CHAT&state=open"), those(|id| id % 2 == 1 && id % 5 != 0));
    assert_eq!(found("q=192.0.2.7:"), [7]);
    assert_eq!(found("q=17"), [17], "the id, and no part of a port");
    assert_eq!(found("q="), those(|_| true));
}

#[test]
fn every_order_has_pages_that_hold_each_tunnel_once() {
    for sort in
        "id -id client server -location upstream backend age -age idle rtt -rtt messages -bytes".split(' ')
    {
        let all = found(&format!("sort={sort}"));
        let mut sorted = all.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (1..=100).collect::<Vec<u64>>(), "{sort}");
        let (mut seen, mut after) = (Vec::new(), String::new());
        for _ in 0..100 {
            let (ids, total, next) = page(&wanted(&format!("sort={sort}&limit=7{after}")).unwrap());
            assert!(total == 100 && ids.len() <= 7);
            seen.extend(ids);
            let Some(next) = next else { break };
            after = format!("&after={next}");
        }
        assert_eq!(seen, all, "{sort}");
    }
    assert_eq!(found("sort=age")[0], 100, "the youngest first");
    assert_eq!(found("sort=-idle")[0], 100, "the one that is silent the longest first");
    assert_eq!(found("sort=-rtt")[0], 100);
}

#[test]
fn what_makes_no_sense_is_said() {
    for query in [
        "colour=red",
        "client=example.com",
        "state=shut",
        "min_age=old",
        "sort=size",
        "limit=0",
        "limit=1001",
        "limit=x",
        "after=7",
        "after=7.x",
        "sort=server&after=x.y",
    ] {
        assert!(wanted(query).is_err(), "{query}");
    }
}
