//! Evenness, and what becomes of plans that meet.

use longwire_wire::Time;

use super::*;

const SECOND: u64 = 1_000_000;

fn drain(
    code: CloseCode,
    begun_us: u64,
    verdict: impl Fn(&Place) -> Verdict + Send + Sync + 'static,
) -> Arc<Drain> {
    let chance = fastrand::u64(..);
    println!("chance {chance}");
    Arc::new(Drain { code, cause: Cause::Drain, begun_us, chance, verdict: Box::new(verdict) })
}

/// Carries a drain past tunnels, which keep what was planned for them.
fn carry(drain: &Arc<Drain>, tunnels: &mut [(Place, Option<Planned>)]) -> usize {
    let mut round = Round::new(drain.clone());
    loop {
        for (place, planned) in tunnels.iter_mut() {
            if let Some(Wish::CloseAt(farewell, at_us)) = round.pass(place, planned.as_ref()) {
                *planned = (at_us != u64::MAX).then_some(Planned { at: Time(at_us), farewell });
            }
        }
        if let Some(count) = round.turn() {
            return count;
        }
    }
}

fn many(count: usize) -> Vec<(Place, Option<Planned>)> {
    vec![(Place::default(), None); count]
}

fn at_us(tunnel: &(Place, Option<Planned>)) -> u64 {
    tunnel.1.as_ref().expect("a plan").at.0
}

/// How many are told in each second of a time that begins at `from_us`.
fn seconds(tunnels: &[(Place, Option<Planned>)], from_us: u64, count: usize) -> Vec<usize> {
    let mut seconds = vec![0; count];
    for tunnel in tunnels.iter().filter(|tunnel| tunnel.1.is_some()) {
        seconds[((at_us(tunnel) - from_us) / SECOND) as usize] += 1;
    }
    seconds
}

#[test]
fn every_second_has_its_share_wherever_seconds_begin() {
    let begun_us = 5 * SECOND + 7;
    for count in [1, 2, 3, 20, 1000, 1024, 2000, 7919] {
        let mut tunnels = many(count);
        let drain = drain(CloseCode::GOING_AWAY, begun_us, |_| Verdict::Go(20 * SECOND));
        assert_eq!(carry(&drain, &mut tunnels), count);
        let share = count as f64 / 20.0;
        for shift_us in [0, 1, 317_000, 999_999] {
            let found = seconds(&tunnels, begun_us - shift_us, 21);
            // The first and the last may be cut short.
            assert!(found[1..20].iter().all(|n| (*n as f64 - share).abs() <= 2.0), "{count}: {found:?}");
            assert!(found[0].max(found[20]) as f64 <= share + 2.0, "{count}: {found:?}");
        }
        // Every part of the time has one.
        let mut times: Vec<u64> = tunnels.iter().map(at_us).collect();
        times.sort_unstable();
        for (part, at) in times.iter().enumerate() {
            let bound = |part: usize| begun_us + 20 * SECOND * part as u64 / count as u64;
            assert!((bound(part)..=bound(part + 1)).contains(at), "{count}: part {part} has {at}");
        }
    }
}

/// Tunnels that opened one after the other often go to one backend: they are not to come back there together.
#[test]
fn neighbours_go_far_apart() {
    let mut tunnels = many(2000);
    carry(&drain(CloseCode::GOING_AWAY, 0, |_| Verdict::Go(20 * SECOND)), &mut tunnels);
    for hundred in tunnels.chunks(100) {
        let found = seconds(hundred, 0, 20);
        assert!(found.iter().all(|n| (3..=7).contains(n)), "{found:?}");
    }
}

#[test]
fn each_time_that_is_asked_for_is_even_by_itself() {
    let mut tunnels = many(3000);
    for (number, tunnel) in tunnels.iter_mut().enumerate() {
        tunnel.0.location = ["/a", "/b", "/c"][number % 3].to_owned();
    }
    let verdict = |place: &Place| match place.location.as_str() {
        "/a" => Verdict::Go(10 * SECOND),
        "/b" => Verdict::Go(20 * SECOND),
        _ => Verdict::AsBefore,
    };
    assert_eq!(carry(&drain(CloseCode::SERVICE_RESTART, 0, verdict), &mut tunnels), 2000);
    let found = seconds(&tunnels, 0, 20);
    assert!(found[..10].iter().all(|n| (146..=154).contains(n)), "{found:?}");
    assert!(found[10..].iter().all(|n| (48..=52).contains(n)), "{found:?}");
    assert!(tunnels.iter().skip(2).step_by(3).all(|tunnel| tunnel.1.is_none()));
}

#[test]
fn a_drain_that_is_asked_for_again_delays_nobody() {
    let mut tunnels = many(100);
    let go = |_: &Place| Verdict::Go(60 * SECOND);
    carry(&drain(CloseCode::SERVICE_RESTART, 0, go), &mut tunnels);
    let before = tunnels.clone();
    tunnels.extend(many(10));
    assert_eq!(carry(&drain(CloseCode::SERVICE_RESTART, 30 * SECOND, go), &mut tunnels), 10);
    assert_eq!(before, tunnels[..100]);
    // In less time: those whose time would come too late are set another.
    let hurry = |_: &Place| Verdict::Go(10 * SECOND);
    assert!(carry(&drain(CloseCode::SERVICE_RESTART, 30 * SECOND, hurry), &mut tunnels) > 30);
    assert!(tunnels.iter().all(|tunnel| at_us(tunnel) <= 40 * SECOND));
}

/// The end of the process is another matter than that of a backend: all are spread anew, and told so.
#[test]
fn the_end_of_the_process_makes_a_plan_of_its_own() {
    let mut tunnels = many(2000);
    let half = |place: &Place| if place.backend == "a" { Verdict::Go(60 * SECOND) } else { Verdict::Stay };
    tunnels[..1000].iter_mut().for_each(|tunnel| tunnel.0.backend = "a".to_owned());
    carry(&drain(CloseCode::SERVICE_RESTART, 0, half), &mut tunnels);
    tunnels.retain(|tunnel| tunnel.1.as_ref().is_none_or(|planned| planned.at.0 > 30 * SECOND));
    let left = tunnels.len();
    let quit = drain(CloseCode::GOING_AWAY, 30 * SECOND, |_| Verdict::Go(20 * SECOND));
    assert_eq!(carry(&quit, &mut tunnels), left);
    let found = seconds(&tunnels, 30 * SECOND, 20);
    assert!(found.iter().all(|n| n.abs_diff(left / 20) <= 2), "{found:?}");
    assert!(tunnels.iter().all(|tunnel| tunnel.1.as_ref().unwrap().farewell.code == CloseCode::GOING_AWAY));
}

#[test]
fn a_server_that_is_wanted_again_keeps_who_is_left() {
    let mut tunnels = many(3);
    carry(&drain(CloseCode::SERVICE_RESTART, 0, |_| Verdict::Go(60 * SECOND)), &mut tunnels);
    let shutdown = Planned { at: Time(1), farewell: (CloseCode::GOING_AWAY, Cause::Shutdown).into() };
    tunnels[2].1 = Some(shutdown.clone());
    assert_eq!(carry(&drain(CloseCode::SERVICE_RESTART, 0, |_| Verdict::Stay), &mut tunnels), 0);
    assert_eq!(tunnels.into_iter().map(|tunnel| tunnel.1).collect::<Vec<_>>(), [None, None, Some(shutdown)]);
}

#[test]
fn who_comes_late_goes_with_the_others() {
    let drain = drain(CloseCode::SERVICE_RESTART, 100 * SECOND, |place| match place.backend.as_str() {
        "a" => Verdict::Go(20 * SECOND),
        _ => Verdict::Stay,
    });
    let mut place = Place::default();
    assert_eq!(drain.late(&place, 1, 110 * SECOND), None);
    place.backend = "a".to_owned();
    let mut found = [0; 10];
    for id in 0..1000 {
        let Some(Wish::CloseAt(farewell, at_us)) = drain.late(&place, id, 110 * SECOND) else {
            panic!("it goes")
        };
        assert_eq!(farewell, (CloseCode::SERVICE_RESTART, Cause::Drain).into());
        found[(at_us / SECOND - 110) as usize] += 1;
    }
    assert!(found.iter().all(|n| (60..140).contains(n)), "{found:?}");
    let after = drain.late(&place, 1, 500 * SECOND);
    assert_eq!(after, Some(Wish::CloseAt((CloseCode::SERVICE_RESTART, Cause::Drain).into(), 500 * SECOND)));
}
