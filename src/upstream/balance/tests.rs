//! Tests of the balancers; the comparison with nginx itself is in tests/balance.rs.

use super::*;

const SECOND: u64 = 1_000_000;

fn members(params: &[Params]) -> Vec<Member> {
    let member = |(id, params): (usize, &Params)| Member {
        id,
        text: format!("10.0.0.{id}:80").into(),
        sid: format!("s{id}").into(),
        params: *params,
        live: Arc::default(),
    };
    params.iter().enumerate().map(member).collect()
}

fn group(method: Method, params: &[Params]) -> Balancer {
    Balancer::new(method, members(params))
}

fn plain(weight: u32) -> Params {
    Params { weight, ..Params::default() }
}

fn pick(balancer: &mut Balancer, now_us: u64) -> Option<usize> {
    let ask = Ask { now_us, ..Ask::default() };
    balancer.pick(&ask, &mut Walk::default()).map(|(id, _)| id)
}

fn picks(balancer: &mut Balancer, count: usize) -> Vec<usize> {
    (0..count).filter_map(|_| pick(balancer, SECOND)).collect()
}

fn after(balancer: &mut Balancer, tried: &[usize]) -> Option<usize> {
    let mut walk = Walk { tried: tried.to_vec(), ..Walk::default() };
    balancer.pick(&Ask { now_us: SECOND, ..Ask::default() }, &mut walk).map(|(id, _)| id)
}

#[test]
fn weights_are_spread_smoothly() {
    let mut balancer = group(Method::RoundRobin, &[plain(5), plain(1), plain(1)]);
    // The sequence that nginx gives for weights 5, 1, 1.
    assert_eq!(picks(&mut balancer, 7), [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn a_failed_server_rests_for_its_fail_timeout() {
    let mut balancer = group(Method::RoundRobin, &[plain(1), plain(1)]);
    assert_eq!(balancer.failed(0, SECOND), Some(Change::Out(Some(10 * SECOND))));
    assert_eq!(balancer.failed(0, SECOND), None, "it is told once");
    assert_eq!(picks(&mut balancer, 3), [1, 1, 1]);
    let later: Vec<_> = (0..4).filter_map(|_| pick(&mut balancer, 12 * SECOND)).collect();
    assert!(later.contains(&0), "{later:?}");
    // Until that one request came back, no other goes there.
    assert_eq!(later.iter().filter(|&&id| id == 0).count(), 1);
    assert_eq!(balancer.succeeded(0, 13 * SECOND), Some(Change::Back(12 * SECOND)));
    assert_eq!(balancer.succeeded(0, 13 * SECOND), None);
}

#[test]
fn a_backup_serves_only_when_the_others_cannot() {
    for method in [Method::RoundRobin, Method::LeastConn] {
        let mut balancer = group(method, &[plain(1), Params { backup: true, ..plain(1) }]);
        assert_eq!(picks(&mut balancer, 2), [0, 0]);
        assert_eq!(after(&mut balancer, &[0]), Some(1));
        balancer.failed(0, SECOND);
        assert_eq!(picks(&mut balancer, 2), [1, 1]);
    }
}

#[test]
fn down_and_tried_servers_are_left_out() {
    let down = Params { down: true, ..plain(1) };
    for method in [Method::RoundRobin, Method::LeastConn, Method::Random { two: true }, Method::IpHash] {
        let mut balancer = group(method, &[down, plain(1), plain(1)]);
        let all = picks(&mut balancer, 4);
        assert!(!all.contains(&0), "{all:?}");
        assert_eq!(after(&mut balancer, &[1, 2]), None);
        assert_eq!(balancer.tries(), 2);
    }
}

#[test]
fn a_lone_server_ignores_its_failures() {
    let mut balancer = group(Method::RoundRobin, &[plain(1)]);
    assert_eq!(balancer.failed(0, SECOND), None);
    assert_eq!(pick(&mut balancer, SECOND), Some(0));
}

#[test]
fn success_after_the_rest_clears_the_count() {
    let mut balancer = group(Method::RoundRobin, &[Params { max_fails: 2, ..plain(1) }, plain(1)]);
    balancer.failed(0, SECOND);
    while pick(&mut balancer, 20 * SECOND) != Some(0) {}
    balancer.succeeded(0, 20 * SECOND);
    balancer.failed(0, 21 * SECOND);
    assert!((0..4).any(|_| pick(&mut balancer, 22 * SECOND) == Some(0)));
}

#[test]
fn least_conn_fills_by_weight_and_counts_what_stays() {
    let mut balancer = group(Method::LeastConn, &[plain(2), plain(1), plain(1)]);
    let ask = Ask { now_us: SECOND, ..Ask::default() };
    let mut held = Vec::new();
    for _ in 0..40 {
        held.extend(balancer.pick(&ask, &mut Walk::default()));
    }
    let count = |held: &[(usize, Slot)], id| held.iter().filter(|(of, _)| *of == id).count();
    assert_eq!([0, 1, 2].map(|id| count(&held, id)), [20, 10, 10]);
    // What server 1 gives back, it gets again.
    held.retain(|(id, _)| *id != 1);
    for _ in 0..10 {
        held.extend(balancer.pick(&ask, &mut Walk::default()));
    }
    assert_eq!(count(&held, 1), 10);
}

#[test]
fn max_conns_is_kept() {
    let full = Params { max_conns: 1, ..plain(1) };
    for method in
        [Method::RoundRobin, Method::LeastConn, Method::Random { two: false }, Method::Hash, Method::Ketama]
    {
        let mut balancer = group(method, &[full, full]);
        let ask = Ask { now_us: SECOND, key: b"k", ..Ask::default() };
        let first = balancer.pick(&ask, &mut Walk::default()).unwrap();
        let second = balancer.pick(&ask, &mut Walk::default()).unwrap();
        assert_ne!(first.0, second.0, "{method:?}");
        assert!(balancer.pick(&ask, &mut Walk::default()).is_none(), "{method:?}");
        drop(first);
        assert!(balancer.pick(&ask, &mut Walk::default()).is_some(), "{method:?}");
    }
}

#[test]
fn a_session_sticks_under_every_method_until_its_server_is_gone() {
    let methods = [
        Method::RoundRobin,
        Method::LeastConn,
        Method::Random { two: false },
        Method::Random { two: true },
        Method::Hash,
        Method::Ketama,
        Method::IpHash,
    ];
    for method in methods {
        let drain = Params { drain: true, ..plain(1) };
        let mut balancer = group(method, &[plain(1), plain(1), drain]);
        let ask = |stick| Ask { now_us: SECOND, key: b"abc", stick, ..Ask::default() };
        for sid in ["s1", "s2", "s1", "s0"] {
            let (id, _) = balancer.pick(&ask(Some(sid)), &mut Walk::default()).unwrap();
            assert_eq!(format!("s{id}"), sid, "{method:?}");
        }
        for _ in 0..6 {
            let (id, _) = balancer.pick(&ask(None), &mut Walk::default()).unwrap();
            assert_ne!(id, 2, "{method:?}: nothing new to a server that drains");
            let begins = Ask { begins: true, ..ask(Some("s2")) };
            let (id, _) = balancer.pick(&begins, &mut Walk::default()).unwrap();
            assert_ne!(id, 2, "{method:?}: not even where its session sticks");
            assert_eq!(balancer.pick(&ask(Some("s2")), &mut Walk::default()).unwrap().0, 2, "{method:?}");
        }
        balancer.failed(1, SECOND);
        let (id, _) = balancer.pick(&ask(Some("s1")), &mut Walk::default()).unwrap();
        assert_eq!(id, 0, "{method:?}");
        let back = Ask { now_us: 20 * SECOND, ..ask(Some("s1")) };
        assert_eq!(balancer.pick(&back, &mut Walk::default()).unwrap().0, 1, "{method:?}");
    }
}

#[test]
fn a_server_that_comes_back_is_eased_in() {
    let slow = Params { slow_start_us: 100 * SECOND, ..plain(10) };
    let mut balancer = group(Method::RoundRobin, &[slow, plain(10)]);
    balancer.failed(0, SECOND);
    while pick(&mut balancer, 12 * SECOND) != Some(0) {}
    assert!(balancer.succeeded(0, 12 * SECOND).is_some());
    let mut share = |at| (0..1000).filter(|_| pick(&mut balancer, at * SECOND) == Some(0)).count();
    let early = share(22);
    assert!((60..130).contains(&early), "a tenth of the way: {early}");
    let half = share(62);
    assert!((300..370).contains(&half), "half the way: {half}");
    assert!((490..=510).contains(&share(120)));
}

#[test]
fn a_health_check_takes_out_and_brings_back() {
    let mut balancer = group(Method::RoundRobin, &[plain(1), plain(1)]);
    assert_eq!(balancer.check(0, false, SECOND), Some(Change::Out(None)));
    assert_eq!(balancer.check(0, false, SECOND), None);
    assert_eq!(picks(&mut balancer, 3), [1, 1, 1]);
    assert_eq!(balancer.check(0, true, 3 * SECOND), Some(Change::Back(2 * SECOND)));
    assert!(picks(&mut balancer, 2).contains(&0));
}

#[test]
fn few_keys_move_on_a_ring() {
    let weights = |count| vec![plain(1); count];
    let mut two = group(Method::Ketama, &weights(2));
    let mut three = group(Method::Ketama, &weights(3));
    let moved = (0..10_000).filter(|key: &u32| {
        let key = key.to_string();
        let ask = Ask { now_us: SECOND, key: key.as_bytes(), ..Ask::default() };
        let of = |b: &mut Balancer| b.pick(&ask, &mut Walk::default()).map(|(id, _)| id);
        of(&mut two) != of(&mut three)
    });
    let moved = moved.count();
    assert!(moved <= 10_000 / 3 + 200, "{moved} of 10000 keys moved");
}

#[test]
fn renewed_servers_keep_their_standing() {
    let all = members(&[plain(1), plain(1), plain(1)]);
    let mut balancer = Balancer::new(Method::RoundRobin, all[..2].to_vec());
    balancer.failed(0, SECOND);
    balancer.renew(all.clone());
    assert!(!picks(&mut balancer, 6).contains(&0));
    balancer.renew(all[1..].to_vec());
    assert_eq!(picks(&mut balancer, 4).len(), 4);
}

/// What a real nginx did, written by tests/interop/vectors.py: method, servers as written, and where each went.
const VECTORS: &str = include_str!("../../../tests/vectors/balance.txt");

/// The server line of a configuration.
fn member((id, line): (usize, &str)) -> Member {
    let mut words = line.split(' ');
    let text = words.next().unwrap_or_default();
    let mut params = Params { slow_start_us: 0, ..Params::default() };
    let mut sid = crate::upstream::sticky::sid(text);
    for word in words {
        match word.split_once('=') {
            Some(("weight", weight)) => params.weight = weight.parse().unwrap(),
            Some(("route", route)) => sid = route.to_owned(),
            None if word == "down" => params.down = true,
            None if word == "backup" => params.backup = true,
            _ => panic!("{line}"),
        }
    }
    Member { id, text: text.into(), sid: sid.into(), params, live: Arc::default() }
}

fn hashed(address: &str) -> Vec<u8> {
    match address.parse().unwrap() {
        core::net::IpAddr::V4(ip) => ip.octets()[..3].to_vec(),
        core::net::IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

#[test]
fn choices_are_those_of_nginx() {
    let mut cases = 0;
    for case in VECTORS.split("\n\n").filter(|case| case.starts_with("method ")) {
        let of = |name: &str| {
            let rest = |line: &'static str| line.strip_prefix(name)?.strip_prefix(' ');
            case.lines().filter_map(rest).collect::<Vec<_>>()
        };
        let method = match of("method")[0] {
            "round_robin" | "sticky cookie id" => Method::RoundRobin,
            "least_conn" => Method::LeastConn,
            "ip_hash" => Method::IpHash,
            line if line.ends_with(" consistent") => Method::Ketama,
            line if line.starts_with("hash ") => Method::Hash,
            other => panic!("{other}"),
        };
        let members: Vec<Member> = of("server").into_iter().enumerate().map(member).collect();
        let sids: Vec<_> = members.iter().map(|member| member.sid.clone()).collect();
        let mut balancer = Balancer::new(method, members);
        let mut ask = |key: &[u8]| {
            let ask = Ask { now_us: SECOND, key, ..Ask::default() };
            balancer.pick(&ask, &mut Walk::default()).unwrap().0
        };
        for (key, place) in of("key").iter().map(|line| line.split_once(' ').unwrap()) {
            assert_eq!(ask(key.as_bytes()).to_string(), place, "{case}\n{key}");
            cases += 1;
        }
        for (address, place) in of("address").iter().map(|line| line.split_once(' ').unwrap()) {
            assert_eq!(ask(&hashed(address)).to_string(), place, "{case}\n{address}");
            cases += 1;
        }
        for turns in of("turns") {
            let ours: Vec<_> = (0..60).map(|_| ask(b"").to_string()).collect();
            assert_eq!(ours.join(" "), turns, "{case}");
            cases += 60;
        }
        for (cookie, place) in of("cookie").iter().map(|line| line.split_once(' ').unwrap()) {
            let place = ask(b"").to_string().parse::<usize>().ok().filter(|ours| ours.to_string() == place);
            assert_eq!(cookie.strip_prefix("id="), place.map(|place| &*sids[place]), "{case}");
            cases += 1;
        }
    }
    assert!(cases > 600, "{cases}");
}
