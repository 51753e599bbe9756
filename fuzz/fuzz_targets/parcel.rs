//! The input is taken for a packed tunnel, or it alters one that was packed. What is unpacked is packed as it was, and goes
//! on without a panic, whatever it says of itself.
#![no_main]

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use longwire::route::facts::Peer;
use longwire::tls::{Keys, Opener, Sealer, Secret, Suite, save};
use longwire::tunnel::{About, Ends, Keeper, Line, Parcel, Place, Report, Socket, Tunnels};
use longwire_wire::{Options, Pair, Ping, Time, Tunnel};

const NOW: u64 = 1_000_000_000;

/// Keeps whatever it is given.
struct Kept(Vec<u8>);

impl Keeper for Kept {
    fn id(&self) -> u64 {
        7
    }

    fn about(&self) -> About {
        About { id: 7, client: Peer::Unix(String::new()), opened_us: 0, place: Arc::default(), tls: [None; 2] }
    }

    fn place(&self) -> &Place {
        static PLACE: LazyLock<Place> = LazyLock::new(Place::default);
        &PLACE
    }

    fn save(&self, _: u64) -> Option<Vec<u8>> {
        Some(self.0.clone())
    }

    fn ended(self: Box<Self>, _: &Report) {}
}

fn socket() -> OwnedFd {
    let (near, _) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    near.into()
}

fn sockets(count: u8) -> Vec<OwnedFd> {
    (0..count).map(|_| socket()).collect()
}

fn unpack(bytes: &[u8], count: u8) -> Option<Parcel> {
    Parcel::unpack(bytes, sockets(count), NOW, |bytes| Ok(Box::new(Kept(bytes.to_vec())))).ok()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A tunnel that was packed, and the same with TLS on its client's end.
static PACKED: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let second = 1_000_000;
    let options = Options {
        ping: Some(Ping { interval_us: 30 * second, timeout_us: 10 * second }),
        idle_us: 75 * second,
        write_us: [60 * second; 2],
        close_us: 5 * second,
        max_message: Some(1000),
        rate: None,
        rsv: 4,
    };
    let tunnels = Tunnels::start(1).unwrap();
    let (near, far) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    let line = |stream: &UnixStream| {
        stream.set_nonblocking(true).unwrap();
        Line::Plain(Socket::new(OwnedFd::from(stream.try_clone().unwrap()).into()))
    };
    let streams = Pair { client: line(&near.0), backend: line(&far.0) };
    let early = Pair { client: Bytes::from_static(&[0x81, 0x85]), backend: Bytes::from_static(&[0x82]) };
    tunnels.place(Tunnel::new(options, Time(NOW)), Ends { streams, early }, Box::new(Kept(vec![1, 2])));
    let parcels = block_on(tunnels.park(1, &Arc::default()));
    let plain = parcels[0].pack(NOW).unwrap().bytes.to_vec();
    let keys = |byte| Keys::tls13(Suite::Aes128Gcm, &Secret::new(&[byte; 32]).unwrap(), 0).unwrap();
    let tls = save(&Opener::new(keys(1), false), &Sealer::new(keys(2)), &[23, 3, 3], &[], None);
    // Version, machine, flag of the client's end, then its kind.
    let at = 5 + u32::from_le_bytes(plain[1..5].try_into().unwrap()) as usize + 1;
    let mut secure = plain[..at].to_vec();
    secure.push(1);
    secure.extend((tls.len() as u32).to_le_bytes());
    secure.extend_from_slice(&tls);
    secure.extend_from_slice(&plain[at + 1..]);
    [plain, secure]
});

thread_local! {
    static TUNNELS: RefCell<Tunnels> = RefCell::new(Tunnels::start(1).unwrap());
}

fuzz_target!(|input: &[u8]| {
    let Some((&how, rest)) = input.split_first() else { return };
    let (parcel, count) = match how & 128 {
        0 => (unpack(rest, how % 4), how % 4),
        _ => {
            let mut bytes = PACKED[usize::from(how & 1)].clone();
            for change in rest.chunks_exact(3) {
                let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % bytes.len();
                bytes[at] ^= change[2];
            }
            (unpack(&bytes, 2), 2)
        }
    };
    let Some(parcel) = parcel else { return };
    let Some(packed) = parcel.pack(NOW) else { return };
    let again = unpack(&packed.bytes, count).expect("what was packed");
    assert!(*again.pack(NOW).unwrap().bytes == *packed.bytes);
    TUNNELS.with_borrow_mut(|tunnels| {
        if tunnels.count() > 300 {
            *tunnels = Tunnels::start(1).unwrap();
        }
        tunnels.resume(vec![again]);
    });
});
