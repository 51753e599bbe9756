//! What a connection costs, how it tells of progress, and that it goes on where it was saved.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::task::Waker;

use super::super::Line;
use super::*;
use crate::tls::{Keys, Secret, Suite};

fn keys(tls13: bool, byte: u8) -> Keys {
    match tls13 {
        true => Keys::tls13(Suite::Aes128Gcm, &Secret::new(&[byte; 32]).unwrap(), 0).unwrap(),
        false => Keys::tls12(Suite::Aes128Gcm, &[byte; 16], [byte; 12], 0).unwrap(),
    }
}

fn socket(of: &UnixStream) -> Bare {
    std::os::fd::OwnedFd::from(of.try_clone().unwrap()).into()
}

/// A connection over a socket that holds little, and its peer by hand.
struct Both {
    secure: Secure,
    fd: UnixStream,
    peer: UnixStream,
    opener: Opener,
    sealer: Sealer,
    wire: Vec<u8>,
    heard: Vec<u8>,
}

impl Both {
    fn new(tls13: bool) -> Both {
        let (fd, peer) = UnixStream::pair().unwrap();
        fd.set_nonblocking(true).unwrap();
        socket2::SockRef::from(&fd).set_send_buffer_size(4096).unwrap();
        let (opener, sealer) = (Opener::new(keys(tls13, 1), false), Sealer::new(keys(tls13, 2)));
        let saved = tls::save(&opener, &sealer, &[], &[], None);
        let secure = Secure::restore(socket(&fd), &saved).unwrap();
        let (opener, sealer) = (Opener::new(keys(tls13, 2), true), Sealer::new(keys(tls13, 1)));
        Both { secure, fd, peer, opener, sealer, wire: Vec::new(), heard: Vec::new() }
    }

    /// As an edge does: what was not ready may be.
    fn ready(&mut self) {
        self.secure.socket = Socket::new(socket(&self.fd));
    }

    /// Another process takes over.
    fn hand_over(&mut self) {
        let saved = self.secure.save();
        self.secure = Secure::restore(socket(&self.fd), &saved).unwrap();
    }

    fn write(&mut self, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.secure).poll_write(&mut Context::from_waker(Waker::noop()), data)
    }

    fn flush(&mut self) -> Poll<io::Result<()>> {
        Pin::new(&mut self.secure).poll_flush(&mut Context::from_waker(Waker::noop()))
    }

    fn read(&mut self) -> Poll<io::Result<Vec<u8>>> {
        let mut space = vec![0; 64 * 1024];
        let mut buf = ReadBuf::new(&mut space);
        let read = Pin::new(&mut self.secure).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf);
        read.map_ok(|()| buf.filled().to_vec())
    }

    /// The peer reads once.
    fn hear(&mut self, most: usize) {
        let mut chunk = vec![0; most];
        let count = self.peer.read(&mut chunk).unwrap();
        self.wire.extend_from_slice(&chunk[..count]);
        let opened = self.opener.open(&mut self.wire);
        assert_eq!(opened.end, None);
        self.heard.extend_from_slice(&self.wire[..opened.data]);
        self.wire.drain(..opened.used);
        if opened.update_requested {
            self.sealer.owe_update();
        }
    }
}

/// With two boxes of keys (80 bytes each) this is all that TLS adds to an idle tunnel.
#[test]
fn it_is_small() {
    assert_eq!(size_of::<Line>(), 16);
    assert!(size_of::<Opener>() <= 64, "{}", size_of::<Opener>());
    assert!(size_of::<Sealer>() <= 64, "{}", size_of::<Sealer>());
    assert!(size_of::<Secure>() <= 152, "{}", size_of::<Secure>());
}

#[test]
fn nothing_is_held_while_nothing_waits() {
    let mut both = Both::new(true);
    assert!(both.secure.waiting.is_none());
    let data = vec![1; 40_000];
    assert!(matches!(both.write(&data), Poll::Ready(Ok(40_000))));
    assert!(both.secure.waiting.is_some());
    while both.heard.len() < data.len() {
        both.hear(64 * 1024);
        both.ready();
        let _ = both.flush();
    }
    assert!(both.secure.waiting.is_none() && both.heard == data);
}

/// A few bytes that leave are told, though the piece that was taken is not sent; no byte that leaves is not.
#[test]
fn a_slow_end_is_seen_to_move() {
    let mut both = Both::new(true);
    let data = vec![1; 60_000];
    assert!(matches!(both.write(&data), Poll::Ready(Ok(60_000))));
    let mut moves = 0;
    loop {
        both.ready();
        assert!(both.flush().is_pending(), "the socket is full: nothing moves");
        both.hear(64 * 1024);
        both.ready();
        match both.flush() {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => moves += 1,
            Poll::Ready(Ok(())) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(moves > 3, "{moves}");
}

/// Saved between any two steps, with records cut in both directions, KeyUpdates owed, and the end told.
#[test]
fn it_goes_on_where_it_was_saved() {
    for tls13 in [true, false] {
        let mut both = Both::new(tls13);
        let mut random = fastrand::Rng::with_seed(7);
        let (mut said, mut up, mut got) = (Vec::new(), Vec::new(), Vec::new());
        let mut pending: Vec<u8> = Vec::new();
        for round in 0..200u8 {
            both.hand_over();
            let data = vec![round; random.usize(1..30_000)];
            if let Poll::Ready(Ok(count)) = both.write(&data) {
                said.extend_from_slice(&data[..count]);
            }
            both.hand_over();
            if both.heard.len() < said.len() {
                both.hear(random.usize(1..10_000));
            }
            let data = vec![round; random.usize(1..2000)];
            if tls13 && round % 20 == 0 {
                // Both change their keys.
                both.sealer.owe_update();
                both.secure.sealer.owe_update();
            }
            both.sealer.seal(&data, &mut pending).unwrap();
            up.extend_from_slice(&data);
            let cut = random.usize(..pending.len());
            std::io::Write::write_all(&mut both.peer, &pending[..cut]).unwrap();
            pending.drain(..cut);
            both.hand_over();
            while let Poll::Ready(data) = both.read() {
                got.extend(data.unwrap());
                both.hand_over();
            }
        }
        while both.heard.len() < said.len() {
            both.hear(64 * 1024);
            both.hand_over();
            let _ = both.flush();
        }
        assert!(both.heard == said, "what was sent differs");
        assert!(!got.is_empty() && up.starts_with(&got), "what was received differs");
    }
}
