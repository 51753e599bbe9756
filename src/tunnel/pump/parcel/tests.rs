//! Tunnels move between two tables over real sockets while their ends talk; and what is no parcel is refused.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::Bytes;
use fastrand::Rng;
use longwire_wire::frame::OpCode;
use longwire_wire::{Cause, CloseCode, Options, Pair, Side, Time, Tunnel};

use super::*;
use crate::clock;
use crate::route::facts::Peer;
use crate::saved::Malformed;
use crate::tls::{Keys, Opener, Sealer, Secret, Suite};
use crate::tunnel::speech::frame;
use crate::tunnel::{About, Ends, Line, Place, Report, Secure, Socket, State, Tunnels};

/// How long anything may take that should happen at once.
const WAIT_US: u64 = 30_000_000;

struct Told {
    id: u64,
    place: Place,
    ended: SyncSender<u64>,
}

impl Keeper for Told {
    fn id(&self) -> u64 {
        self.id
    }

    fn about(&self) -> About {
        let client = Peer::Unix(String::new());
        About { id: self.id, client, opened_us: 0, place: Arc::default(), tls: [None, None] }
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn save(&self, _: u64) -> Option<Vec<u8>> {
        // Numbers from here on stay.
        (self.id < 1000).then(|| self.id.to_le_bytes().into())
    }

    fn ended(self: Box<Self>, _: &Report) {
        self.ended.send(self.id).unwrap();
    }
}

/// The far end of a socket of ours.
struct Far {
    side: Side,
    stream: UnixStream,
    tls: Option<(Opener, Sealer)>,
    /// To be written.
    waiting: Vec<u8>,
    /// Read and not opened.
    received: Vec<u8>,
    said: Vec<u8>,
    heard: Vec<u8>,
}

/// One of our sockets, and its far end.
fn end(side: Side, rng: &mut Rng) -> (Line, Far) {
    let (near, stream) = UnixStream::pair().unwrap();
    for socket in [&near, &stream] {
        socket.set_nonblocking(true).unwrap();
        socket2::SockRef::from(socket).set_send_buffer_size(8192).unwrap();
    }
    let near = OwnedFd::from(near).into();
    let suite = [Suite::Aes128Gcm, Suite::Chacha20Poly1305][rng.usize(..2)];
    let mut secret = [0; 32];
    rng.fill(&mut secret);
    let len = if suite == Suite::Aes128Gcm { 16 } else { 32 };
    let kind = rng.u8(..3);
    let keys = |which: u8| match kind {
        0 => Keys::tls12(suite, &secret[..len], [which; 12], 0).unwrap(),
        _ => Keys::tls13(suite, &Secret::new(&secret.map(|byte| byte ^ which)).unwrap(), 0).unwrap(),
    };
    let is_server = side == Side::Backend;
    let (line, tls) = match kind {
        2 => (Line::Plain(Socket::new(near)), None),
        _ => {
            let secure = Secure::fresh(near, Opener::new(keys(1), is_server), Sealer::new(keys(2)));
            (Line::Tls(Box::new(secure)), Some((Opener::new(keys(2), !is_server), Sealer::new(keys(1)))))
        }
    };
    let (waiting, received, said, heard) = Default::default();
    (line, Far { side, stream, tls, waiting, received, said, heard })
}

impl Far {
    /// Says a message, in one frame or two.
    fn say(&mut self, rng: &mut Rng) {
        let size = [10, 300, 20_000, 70_000][rng.usize(..4)];
        let payload = std::iter::repeat_with(|| rng.u8(..)).take(size).collect();
        let whole = rng.bool();
        let mut bytes = frame(rng, self.side, whole, OpCode::Binary, payload);
        if !whole {
            bytes.extend(frame(rng, self.side, true, OpCode::Continuation, vec![1; 5]));
        }
        self.said.extend_from_slice(&bytes);
        match &mut self.tls {
            None => self.waiting.extend(bytes),
            Some((_, sealer)) => {
                if sealer.keys().version() == crate::tls::Version::Tls13 && rng.u8(..8) == 0 {
                    sealer.owe_update();
                }
                sealer.seal(&bytes, &mut self.waiting).unwrap();
            }
        }
    }

    /// Writes some, which cuts whatever it is, and reads some.
    fn turn(&mut self, rng: &mut Rng) {
        let most = rng.usize(..=self.waiting.len());
        match self.stream.write(&self.waiting[..most]) {
            Ok(count) => drop(self.waiting.drain(..count)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        let mut chunk = vec![0; rng.usize(1..40_000)];
        match self.stream.read(&mut chunk) {
            Ok(0) => panic!("the tunnel was closed"),
            Ok(count) => self.hear(&chunk[..count]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let Some((opener, sealer)) = &mut self.tls else { return self.heard.extend_from_slice(bytes) };
        self.received.extend_from_slice(bytes);
        let opened = opener.open(&mut self.received);
        assert_eq!(opened.end, None, "no number is used twice, and none is left out");
        if opened.update_requested {
            sealer.owe_update();
        }
        self.heard.extend_from_slice(&self.received[..opened.data]);
        self.received.drain(..opened.used);
    }
}

fn options() -> Options {
    let minute = 60_000_000;
    Options {
        ping: None,
        idle_us: minute,
        write_us: [minute; 2],
        close_us: minute,
        max_message: None,
        rate: None,
        rsv: 0,
    }
}

/// Two tables, as two processes have.
struct Houses {
    tables: [Tunnels; 2],
    ended: Receiver<u64>,
    end: SyncSender<u64>,
}

impl Houses {
    fn new() -> Houses {
        let (end, ended) = sync_channel(1000);
        Houses { tables: [2, 3].map(|pumps| Tunnels::start(pumps).unwrap()), ended, end }
    }

    fn open(&self, id: u64, rng: &mut Rng) -> Pair<Far> {
        let (client, far_client) = end(Side::Client, rng);
        let (backend, far_backend) = end(Side::Backend, rng);
        let tunnel = Tunnel::new(options(), Time(clock::now_us()));
        let early = Pair { client: Bytes::new(), backend: Bytes::new() };
        let ends = Ends { streams: Pair { client, backend }, early };
        self.tables[0].place(
            tunnel,
            ends,
            Box::new(Told { id, place: Place::default(), ended: self.end.clone() }),
        );
        Pair { client: far_client, backend: far_backend }
    }

    fn unpack(&self, packed: &Packed<'_>, now_us: u64) -> Result<Parcel, UnpackError> {
        let sockets = packed.sockets.iter().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
        self.unpack_with(&packed.bytes, sockets, now_us)
    }

    fn unpack_with(&self, bytes: &[u8], sockets: Vec<OwnedFd>, now_us: u64) -> Result<Parcel, UnpackError> {
        Parcel::unpack(bytes, sockets, now_us, |bytes| {
            let id = u64::from_le_bytes(bytes.try_into().map_err(|_| "no number".to_owned())?);
            Ok(Box::new(Told { id, place: Place::default(), ended: self.end.clone() }))
        })
    }

    /// Takes tunnels from one table to the other.
    async fn carry(&self, from: usize, most: usize) -> usize {
        let parcels = self.tables[from].park(most, &Arc::default()).await;
        let now_us = clock::now_us();
        let over = parcels.iter().map(|parcel| self.unpack(&parcel.pack(now_us).unwrap(), now_us).unwrap());
        let over: Vec<Parcel> = over.collect();
        let count = over.len();
        self.tables[1 - from].resume(over);
        parcels.into_iter().for_each(Parcel::given_away);
        count
    }
}

#[tokio::test]
async fn tunnels_move_while_their_ends_talk() {
    let seed = std::env::var("LONGWIRE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("LONGWIRE_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let houses = Houses::new();
    let mut ends: Vec<Far> = Vec::new();
    for id in 0..40 {
        let Pair { client, backend } = houses.open(id, &mut rng);
        ends.extend([client, backend]);
    }
    let (mut moved, mut heard, mut deadline) = (0, 0, clock::now_us() + WAIT_US);
    for round in 0.. {
        for far in &mut ends {
            if round < 100 && rng.u8(..4) == 0 {
                far.say(&mut rng);
            }
            far.turn(&mut rng);
        }
        if round < 120 && rng.u8(..4) == 0 {
            let most = [1, 10, usize::MAX][rng.usize(..3)];
            moved += houses.carry(rng.usize(..2), most).await;
        }
        let whole = ends.chunks(2).all(|pair| {
            pair[0].said.len() == pair[1].heard.len() && pair[1].said.len() == pair[0].heard.len()
        });
        if round >= 120 && whole {
            break;
        }
        // All of it may take long; what nothing arrives of any more is lost.
        let now = ends.iter().map(|far| far.heard.len()).sum();
        if now > heard {
            (heard, deadline) = (now, clock::now_us() + WAIT_US);
        }
        assert!(clock::now_us() < deadline, "something was lost on the way");
    }
    for pair in ends.chunks(2) {
        assert!(
            pair[0].said == pair[1].heard && pair[1].said == pair[0].heard,
            "what was said is not what was heard"
        );
    }
    assert!(moved > 40, "{moved}");
    assert_eq!(houses.tables[0].count() + houses.tables[1].count(), 40);
    assert!(houses.ended.try_recv().is_err(), "none of them has ended");
    drop(ends);
    for _ in 0..40 {
        houses.ended.recv_timeout(std::time::Duration::from_micros(WAIT_US)).unwrap();
    }
    assert_eq!(houses.tables[0].count() + houses.tables[1].count(), 0);
}

/// Sends a message from the client, and waits until the backend has it.
fn pass(pair: &mut Pair<Far>, rng: &mut Rng) {
    pair.client.say(rng);
    let deadline = clock::now_us() + WAIT_US;
    while pair.backend.heard.len() < pair.client.said.len() {
        pair.client.turn(rng);
        pair.backend.turn(rng);
        assert!(clock::now_us() < deadline, "it does not arrive");
    }
    assert!(pair.backend.heard == pair.client.said);
}

#[tokio::test]
async fn a_parcel_goes_back_unless_somebody_else_may_have_it() {
    let mut rng = Rng::with_seed(1);
    let houses = Houses::new();
    let mut pairs: Vec<_> = (0..3).map(|id| houses.open(id, &mut rng)).collect();
    let table = &houses.tables[0];
    let parcels = table.park(9, &Arc::default()).await;
    assert_eq!((parcels.len(), table.count(), table.list().await.len()), (3, 3, 0));
    drop(parcels);
    pairs.iter_mut().for_each(|pair| pass(pair, &mut rng));
    // Whoever has left does not lose what was taken for it.
    drop(table.park(9, &Arc::default()));
    pairs.iter_mut().for_each(|pair| pass(pair, &mut rng));
    // Not those; and what was packed goes on when it is resumed.
    let parcels = table.park(9, &Arc::new(HashSet::from([0, 2]))).await;
    assert_eq!(parcels.iter().map(Parcel::id).collect::<Vec<_>>(), [1]);
    assert!(parcels[0].pack(clock::now_us()).is_some());
    table.resume(parcels);
    pairs.iter_mut().for_each(|pair| pass(pair, &mut rng));
    let parcels = table.park(2, &Arc::default()).await;
    assert_eq!(parcels.len(), 2);
    let ids: Vec<usize> = parcels.iter().map(|parcel| parcel.id() as usize).collect();
    for parcel in parcels {
        assert!(parcel.pack(clock::now_us()).is_some());
        drop(parcel);
    }
    assert_eq!(table.count(), 1);
    assert!(houses.ended.try_recv().is_err(), "nobody is told of an end that is none");
    for id in ids {
        let mut byte = [0];
        assert_eq!(pairs[id].client.stream.read(&mut byte).unwrap(), 0, "the sockets are closed");
    }
}

#[tokio::test]
async fn what_stays_is_known_before_it_is_asked_for_again() {
    let mut rng = Rng::with_seed(2);
    let houses = Houses::new();
    let _ends: Vec<_> = (998..1003).map(|id| houses.open(id, &mut rng)).collect();
    let parcels = houses.tables[0].park(9, &Arc::default()).await;
    let (go, stay): (Vec<_>, Vec<_>) = parcels.into_iter().partition(|parcel| parcel.pack(0).is_some());
    assert_eq!((go.len(), stay.len()), (2, 3));
    let except = Arc::new(stay.iter().map(Parcel::id).collect());
    houses.tables[0].resume(stay);
    go.into_iter().for_each(Parcel::given_away);
    assert_eq!((houses.tables[0].park(9, &except).await.len(), houses.tables[0].count()), (0, 3));
}

/// Who is asked to end before it is parked ends, whether the pump had time for that or not.
#[tokio::test]
async fn what_was_asked_before_is_done_before() {
    let mut rng = Rng::with_seed(5);
    let houses = Houses::new();
    let table = &houses.tables[0];
    for id in 0..200 {
        let ends = houses.open(id, &mut rng);
        let close = table.close(id, (CloseCode::GOING_AWAY, Cause::Operator));
        let except = Arc::default();
        let (row, parcels) = tokio::join!(close, table.park(1, &except));
        assert!(row.is_some_and(|row| row.state != State::Open) && parcels.len() == 1, "{id}");
        drop((parcels, ends));
        houses.ended.recv_timeout(std::time::Duration::from_micros(WAIT_US)).unwrap();
    }
}

#[tokio::test]
async fn what_is_no_parcel_is_refused() {
    let mut rng = Rng::with_seed(3);
    let houses = Houses::new();
    let _ends: Vec<_> = (0..6).map(|id| houses.open(id, &mut rng)).collect();
    for parcel in houses.tables[0].park(9, &Arc::default()).await {
        let packed = parcel.pack(0).unwrap();
        let sockets =
            || -> Vec<OwnedFd> { packed.sockets.iter().map(|fd| fd.try_clone_to_owned().unwrap()).collect() };
        assert_eq!(packed.sockets.len(), 2);
        for cut in 0..packed.bytes.len() {
            assert!(houses.unpack_with(&packed.bytes[..cut], sockets(), 0).is_err(), "cut at {cut}");
        }
        let refused = |bytes: &[u8], sockets| houses.unpack_with(bytes, sockets, 0).err();
        let more = [&packed.bytes[..], &[0]].concat();
        assert_eq!(refused(&more, sockets()), Some(Malformed::Excess.into()));
        let newer = [&[99], &packed.bytes[1..]].concat();
        assert_eq!(refused(&newer, sockets()), Some(UnpackError::Version(99)));
        let one = || sockets().into_iter().take(1);
        assert_eq!(refused(&packed.bytes, one().collect()), Some(UnpackError::Sockets));
        let three = sockets().into_iter().chain(one()).collect();
        assert_eq!(refused(&packed.bytes, three), Some(UnpackError::Sockets));
        for _ in 0..3000 {
            let mut bytes = packed.bytes.to_vec();
            let at = rng.usize(..bytes.len());
            bytes[at] ^= rng.u8(1..);
            // Whatever it means now, it is no panic, also where it goes on.
            if let Ok(parcel) = houses.unpack_with(&bytes, sockets(), 0) {
                // Another number may be that of one that stays.
                let Some(again) = parcel.pack(0) else { continue };
                let third = houses.unpack(&again, 0).unwrap();
                assert!(*third.pack(0).unwrap().bytes == *again.bytes);
            }
        }
        drop(packed);
        parcel.given_away();
    }
}

/// A parcel's version stands for those of the formats inside: when one of these changes, so must it.
#[test]
fn the_version_stands_for_all_inside() {
    let machine = Tunnel::new(options(), Time(0)).save(Time(0))[0];
    let keys = || Keys::tls12(Suite::Aes128Gcm, &[0; 16], [0; 12], 0).unwrap();
    let tls = crate::tls::save(&Opener::new(keys(), false), &Sealer::new(keys()), &[], &[], None)[0];
    assert_eq!((Parcel::VERSION, machine, tls), (3, 5, 1), "they are counted up together");
}
