//! The table over real sockets: it knows what passed, it may be asked while tunnels move and end, and it ends them.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use longwire_wire::{Options, Pair, Ping, Side, Time};

use super::*;
use crate::clock;
use crate::tunnel::{Socket, Verdict};

/// How long anything may take that should happen at once.
const WAIT: Duration = Duration::from_secs(60);

struct Told {
    about: About,
    end: SyncSender<(u64, Report)>,
}

impl Keeper for Told {
    fn id(&self) -> u64 {
        self.about.id
    }

    fn about(&self) -> About {
        self.about.clone()
    }

    fn place(&self) -> &Place {
        &self.about.place
    }

    fn ended(self: Box<Self>, report: &Report) {
        let report = Report { outcome: report.outcome, stats: report.stats, reason: None };
        let _ = self.end.send((self.about.id, report));
    }
}

/// A table with tunnels, and what is told of their ends.
struct House {
    tunnels: Tunnels,
    end: SyncSender<(u64, Report)>,
    ended: Receiver<(u64, Report)>,
    place: Arc<Place>,
}

impl House {
    fn new(pumps: usize) -> House {
        let (end, ended) = sync_channel(2000);
        let place = Arc::new(Place { location: "/ws".to_owned(), ..Place::default() });
        House { tunnels: Tunnels::start(pumps).unwrap(), end, ended, place }
    }

    fn about(&self, id: u64) -> About {
        let client = Peer::Ip([192, 0, 2, 7].into(), id as u16);
        About {
            id,
            client,
            opened_us: clock::now_us(),
            place: self.place.clone(),
            tls: [Some("TLSv1.3"), None],
        }
    }

    /// Opens a tunnel and gives its two ends.
    fn open(&self, id: u64, ping: Option<Ping>) -> Pair<UnixStream> {
        let socket = |stream: UnixStream| {
            stream.set_nonblocking(true).unwrap();
            Line::Plain(Socket::new(socket2::Socket::from(std::os::fd::OwnedFd::from(stream)).into()))
        };
        let ((client, far_client), (backend, far_backend)) =
            (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        for far in [&far_client, &far_backend] {
            far.set_read_timeout(Some(WAIT)).unwrap();
        }
        let minute = 60_000_000;
        let options = Options {
            ping,
            idle_us: 10 * minute,
            write_us: [minute; 2],
            close_us: minute,
            max_message: None,
            rate: None,
            rsv: 0,
        };
        let tunnel = Tunnel::new(options, Time(clock::now_us()));
        let streams = Pair { client: socket(client), backend: socket(backend) };
        let ends = Ends { streams, early: Pair { client: Bytes::new(), backend: Bytes::new() } };
        let keeper = Told { about: self.about(id), end: self.end.clone() };
        self.tunnels.place(tunnel, ends, Box::new(keeper));
        Pair { client: far_client, backend: far_backend }
    }

    /// Waits for the end of a tunnel.
    fn end(&self) -> (u64, Report) {
        self.ended.recv_timeout(WAIT).unwrap()
    }
}

/// A message of the client: masked with zeros.
fn masked(payload: &[u8]) -> Vec<u8> {
    [&[0x82, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

/// Sends and waits until it has arrived.
fn pass(from: &mut UnixStream, to: &mut UnixStream, bytes: &[u8]) {
    from.write_all(bytes).unwrap();
    let mut arrived = vec![0; bytes.len()];
    to.read_exact(&mut arrived).unwrap();
    assert_eq!(arrived, bytes);
}

/// Both ends are told to go away; they close.
fn told(ends: &mut Pair<UnixStream>) {
    for (side, first) in [(Side::Client, [0x88_u8]), (Side::Backend, [0x88])] {
        let mut said = [0];
        ends[side].read_exact(&mut said).unwrap();
        assert_eq!(said, first, "a Close frame");
    }
    for side in Side::BOTH {
        ends[side].shutdown(std::net::Shutdown::Both).unwrap();
    }
}

/// What the Close frame says that a client is sent.
fn farewell_of(client: &mut UnixStream) -> (u16, String) {
    let mut head = [0; 4];
    client.read_exact(&mut head).unwrap();
    assert_eq!(head[0], 0x88, "a Close frame");
    let mut reason = vec![0; usize::from(head[1]) - 2];
    client.read_exact(&mut reason).unwrap();
    (u16::from_be_bytes([head[2], head[3]]), String::from_utf8(reason).unwrap())
}

#[tokio::test]
async fn figures_are_what_passed() {
    let house = House::new(2);
    let ping = Some(Ping { interval_us: 1_000_000, timeout_us: 1_000_000 });
    let mut ends = house.open(7, ping);
    let _other = house.open(8, None);
    let Pair { client, backend } = &mut ends;
    // A ping is answered, so there is a round trip.
    let mut frame = [0; 10];
    client.read_exact(&mut frame).unwrap();
    assert_eq!(frame[..2], [0x89, 8]);
    client.write_all(&[&[0x8a, 0x88, 0, 0, 0, 0], &frame[2..]].concat()).unwrap();
    let row = loop {
        let row = house.tunnels.find(7).await.unwrap();
        if row.stats.client.rtt.count > 0 {
            break row;
        }
    };
    let rtt = row.stats.client.rtt;
    assert!(rtt.min <= rtt.last && rtt.last <= rtt.max && rtt.max < WAIT.as_micros() as u32, "{rtt:?}");
    assert!(row.stats.client.pings >= 1);
    let (bytes, messages) = (row.stats.client.bytes, row.stats.client.messages);
    let quiet = house.open(9, None);
    let mut ends = Pair { client: quiet.client, backend: quiet.backend };
    let Pair { client, backend: far } = &mut ends;
    for size in 1..=100 {
        pass(client, far, &masked(&vec![b'x'; size]));
    }
    pass(far, client, b"\x81\x05Hello");
    let row = house.tunnels.find(9).await.unwrap();
    assert_eq!((row.stats.client.bytes, row.stats.client.messages), (5050 + 600, 100));
    assert_eq!((row.stats.backend.bytes, row.stats.backend.messages), (7, 1));
    assert_eq!((bytes, messages), (14, 0), "a pong is no message");
    assert_eq!(row.state, State::Open);
    assert_eq!(
        (row.about.client, &row.about.place.location[..]),
        (Peer::Ip([192, 0, 2, 7].into(), 9), "/ws")
    );
    assert_eq!((row.about.tls, row.about.id), ([Some("TLSv1.3"), None], 9));
    let mut ids: Vec<u64> = house.tunnels.list().await.iter().map(|row| row.about.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [7, 8, 9]);
    assert!(house.tunnels.find(10).await.is_none());
    drop(backend.shutdown(std::net::Shutdown::Both));
}

#[tokio::test]
async fn a_tunnel_is_closed_by_its_number() {
    let house = House::new(2);
    let mut all: Vec<_> = (1..=300).map(|id| (id, house.open(id, None))).collect();
    let row = house.tunnels.close(250, (CloseCode::GOING_AWAY, Cause::Operator)).await.unwrap();
    assert_eq!(row.about.id, 250);
    assert_eq!(row.state, State::Closing { by: Party::Proxy, cause: Cause::Operator });
    told(&mut all[249].1);
    let (id, report) = house.end();
    assert_eq!((id, report.outcome.cause), (250, Cause::Operator));
    assert_eq!(house.tunnels.count(), 299);
    assert!(house.tunnels.close(250, (CloseCode::GOING_AWAY, Cause::Operator)).await.is_none());
    // The others still carry what is said.
    for (_, ends) in all.iter_mut().filter(|(id, _)| *id != 250) {
        let Pair { client, backend } = ends;
        pass(client, backend, &masked(b"on"));
    }
    assert_eq!(house.tunnels.list().await.len(), 299);
}

#[tokio::test]
async fn all_are_closed_and_those_that_open_later() {
    let house = House::new(2);
    let mut all: Vec<_> = (1..=300).map(|id| house.open(id, None)).collect();
    house.tunnels.close_all(CloseCode::GOING_AWAY, Cause::Shutdown);
    all.push(house.open(301, None));
    all.iter_mut().for_each(told);
    let ended: HashSet<u64> = all.iter().map(|_| house.end().0).collect();
    assert_eq!((ended.len(), house.tunnels.count()), (301, 0));
    let _kept = house.open(302, None);
    house.tunnels.cut_all();
    assert_eq!(house.end().0, 302);
}

/// Tunnels open, move and end while the table is listed again and again: those that were there all the time are in
/// every list, and nothing is in it twice.
#[tokio::test]
async fn a_list_may_be_asked_for_at_any_time() {
    let house = House::new(2);
    let mut stay: Vec<_> = (1..=200).map(|id| house.open(id, None)).collect();
    let stays: HashSet<u64> = (1..=200).collect();
    let mut come = Vec::new();
    for id in 201..=1000 {
        come.push(house.open(id, None));
        let Pair { client, backend } = &mut stay[id as usize % 200];
        pass(client, backend, &masked(b"move"));
        if come.len() > 40 {
            // Both ends leave without a word.
            come.swap_remove(id as usize % 40);
        }
        if id % 10 == 0 {
            let ids: Vec<u64> = house.tunnels.list().await.iter().map(|row| row.about.id).collect();
            let seen: HashSet<u64> = ids.iter().copied().collect();
            assert_eq!(seen.len(), ids.len(), "nothing twice");
            assert!(seen.is_superset(&stays) && seen.iter().all(|seen| *seen <= id));
        }
    }
    drop(come);
    for _ in 0..800 {
        house.end();
    }
    assert_eq!(house.tunnels.count(), 200);
    let list = house.tunnels.list().await;
    let messages: u64 = list.iter().map(|row| row.stats.client.messages).sum();
    assert_eq!((list.len(), messages), (200, 800));
}

/// Whoever looks leaves the processor to others: two slots at a time in tests, a millisecond apart.
#[tokio::test]
async fn a_walk_rests_between_strides() {
    let house = House::new(1);
    let _all: Vec<_> = (1..=10).map(|id| house.open(id, None)).collect();
    for _ in 0..3 {
        let begun = clock::now_us();
        assert_eq!(house.tunnels.list().await.len(), 10);
        let took = clock::now_us() - begun;
        assert!(took >= 4000, "five strides in {took} us");
        let begun = clock::now_us();
        house.tunnels.tally().await;
        let took = clock::now_us() - begun;
        assert!(took >= 4000, "five strides in {took} us");
    }
}

/// So many in a second, of those that are meant, with the words that were given.
#[tokio::test]
async fn some_are_closed_at_a_rate() {
    let house = House::new(2);
    let mut all: Vec<_> = (1..=40).map(|id| (id, house.open(id, None))).collect();
    let entry = house.tunnels.enter(house.about(100));
    let words = Some("moved to another room".into());
    let farewell = Farewell { words, ..(CloseCode(4001), Cause::Operator).into() };
    let begun_us = clock::now_us();
    let even = |row: &Row| row.about.id.is_multiple_of(2);
    let (count, over_us) = house.tunnels.close_where(even, farewell, 100.0).await;
    assert_eq!((count, over_us), (21, 210_000));
    let planned = entry.live.take_command(Waker::noop());
    assert!(matches!(planned, Some(Wish::CloseAt(farewell, _)) if farewell.code == CloseCode(4001)));
    for (_, ends) in all.iter_mut().filter(|(id, _)| id.is_multiple_of(2)) {
        let (code, reason) = farewell_of(&mut ends.client);
        assert_eq!((code, reason.as_str()), (4001, "moved to another room"));
    }
    let took_us = clock::now_us() - begun_us;
    assert!(took_us > 100_000, "told at once: {took_us} us");
    for (_, ends) in all.iter_mut().filter(|(id, _)| !id.is_multiple_of(2)) {
        pass(&mut ends.client, &mut ends.backend, &masked(b"on"));
    }
    assert!(house.tunnels.list().await.iter().all(|row| row.closes_us.is_none() || row.about.id == 100));
}

/// What runs as a task stands in the same table.
#[tokio::test]
async fn tasks_are_in_the_table_while_their_entry_lives() {
    let house = House::new(1);
    let entry = house.tunnels.enter(house.about(7));
    assert_eq!((house.tunnels.count(), house.tunnels.list().await.len()), (1, 1));
    house.tunnels.close(7, (CloseCode::GOING_AWAY, Cause::Operator)).await.unwrap();
    let driver = Waker::noop();
    let wish = Wish::Close((CloseCode::GOING_AWAY, Cause::Operator).into());
    assert_eq!((entry.live.take_command(driver), entry.live.take_command(driver)), (Some(wish), None));
    let mut stats = Stats::default();
    stats.client.bytes = 5;
    let state = State::Closing { by: Party::Proxy, cause: Cause::Operator };
    entry.live.publish(Shown { stats, state, heard_us: None });
    let row = house.tunnels.find(7).await.unwrap();
    assert_eq!((row.stats.client.bytes, row.state), (5, state));
    house.tunnels.cut_all();
    assert_eq!(house.tunnels.enter(house.about(8)).live.take_command(driver), Some(Wish::Cut));
    drop(entry);
    assert_eq!(house.tunnels.count(), 0);
}

/// What is to end now does not end more slowly because somebody asks for that as well.
#[tokio::test]
async fn a_close_does_not_take_back_a_cut() {
    let house = House::new(1);
    let entry = house.tunnels.enter(house.about(7));
    house.tunnels.cut_all();
    house.tunnels.close(7, (CloseCode::GOING_AWAY, Cause::Operator)).await.unwrap();
    assert_eq!(entry.live.take_command(Waker::noop()), Some(Wish::Cut));
}

/// Those of one place go, each in its time; who comes late goes with them, and what stays carries on.
#[tokio::test]
async fn a_drain_takes_who_it_is_for_and_spreads_them() {
    let mut house = House::new(2);
    let mut stay: Vec<_> = (1..=50).map(|id| house.open(id, None)).collect();
    house.place = Arc::new(Place { backend: "drained".to_owned(), ..Place::default() });
    let mut go: Vec<_> = (51..=150).map(|id| house.open(id, None)).collect();
    let entry = house.tunnels.enter(house.about(200));
    let drain = |over_us| Drain {
        code: CloseCode::SERVICE_RESTART,
        cause: Cause::Drain,
        begun_us: clock::now_us(),
        chance: fastrand::u64(..),
        verdict: Box::new(move |place| match place.backend.as_str() {
            "drained" => Verdict::Go(over_us),
            _ => Verdict::Stay,
        }),
    };
    let begun_us = clock::now_us();
    assert_eq!(house.tunnels.drain(drain(1_000_000)).await, 101);
    go.push(house.open(151, None));
    let late = house.tunnels.enter(house.about(201));
    for entry in [&entry, &late] {
        let wish = entry.live.take_command(Waker::noop());
        let within = |at: u64| (begun_us..begun_us + 1_500_000).contains(&at);
        let fits = matches!(&wish, Some(Wish::CloseAt(farewell, at)) if *farewell == (CloseCode::SERVICE_RESTART, Cause::Drain).into() && within(*at));
        assert!(fits, "{wish:?}");
    }
    go.iter_mut().for_each(told);
    let mut halves = [0; 2];
    for _ in 0..101 {
        let (id, report) = house.end();
        assert!(id > 50);
        assert_eq!(report.outcome.code_to, [Some(1012); 2]);
        halves[usize::from(clock::now_us() - begun_us > 500_000)] += 1;
    }
    assert!(halves[1] > 0, "they are told one after the other: {halves:?}");
    for Pair { client, backend } in &mut stay {
        pass(client, backend, &masked(b"on"));
    }
    assert_eq!(house.tunnels.count(), 52);
    // Asked again, for longer: nobody is left who could go, but the tasks have their time.
    assert_eq!(house.tunnels.drain(drain(60_000_000)).await, 0);
}

/// What a list costs: `cargo test --release -- --ignored --nocapture what_a_list_costs`.
#[tokio::test]
#[ignore = "measures"]
async fn what_a_list_costs() {
    let house = House::new(1);
    let mut all: Vec<_> = (1..=4500).map(|id| house.open(id, None)).collect();
    house.tunnels.list().await;
    for _ in 0..5 {
        let begun = clock::now_us();
        let rows = house.tunnels.list().await.len();
        println!("{rows} rows in {} us", clock::now_us() - begun);
    }
    let Pair { client, backend } = &mut all[0];
    let list = async {
        for _ in 0..20 {
            house.tunnels.list().await;
        }
    };
    let mut slowest = 0;
    let talk = async {
        for _ in 0..2000 {
            let begun = clock::now_us();
            pass(client, backend, &masked(b"x"));
            slowest = slowest.max(clock::now_us() - begun);
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(list, talk);
    println!("slowest message meanwhile: {slowest} us");
}
