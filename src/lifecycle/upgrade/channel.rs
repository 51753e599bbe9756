//! The socket between two processes: messages, and descriptors beside them.
//!
//! It is one half of a pair, so that nobody else can ever reach it; see [`message`](super::message) for what is said.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as Socket;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, Shutdown, recvmsg, sendmsg, shutdown,
};
use tokio::io::Interest;
use tokio::net::UnixStream;
use zeroize::Zeroizing;

use super::message::{HEAD, Head, MAX_DESCRIPTORS, Message};

/// One end of the socket.
#[derive(Debug)]
pub(super) struct Channel {
    socket: UnixStream,
    head: [u8; HEAD],
    body: Zeroizing<Vec<u8>>,
    /// How much of head and body has come.
    come: usize,
    descriptors: Vec<OwnedFd>,
}

/// A message and what came with it.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) message: Message,
    /// What came of its descriptors.
    pub(super) descriptors: Vec<OwnedFd>,
    /// How many were sent. More than came when this process has reached a limit: those are closed here, the other
    /// process still has them.
    pub(super) sent: usize,
}

impl Channel {
    /// Takes a socket over, inside a runtime.
    pub(super) fn new(socket: Socket) -> io::Result<Channel> {
        socket.set_nonblocking(true)?;
        Ok(Channel {
            socket: UnixStream::from_std(socket)?,
            head: [0; HEAD],
            body: Zeroizing::default(),
            come: 0,
            descriptors: Vec::new(),
        })
    }

    /// Sends a message. A short one without descriptors is queued whole or not at all: once this has said Ok the other
    /// side will find it, whatever becomes of this process.
    pub(super) async fn send(&self, message: &Message, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = message.encode(descriptors.len()).map_err(io::Error::other)?;
        // Descriptors go with the first byte.
        let mut sent = self
            .socket
            .async_io(Interest::WRITABLE, || send_with(self.socket.as_fd(), &bytes, descriptors))
            .await?;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            sent += self
                .socket
                .async_io(Interest::WRITABLE, || send_with(self.socket.as_fd(), rest, &[]))
                .await?;
        }
        Ok(())
    }

    /// Waits for the next message. May be given up and called again: what has come so far is kept.
    pub(super) async fn receive(&mut self) -> io::Result<Received> {
        loop {
            if let Some(received) = self.whole()? {
                return Ok(received);
            }
            let socket = &self.socket;
            let buffer = match self.head.get_mut(self.come..) {
                Some(rest) if !rest.is_empty() => rest,
                _ => self.body.get_mut(self.come - HEAD..).unwrap_or_default(),
            };
            let descriptors = &mut self.descriptors;
            let read = || receive_with(socket.as_fd(), buffer, descriptors);
            self.come += match socket.async_io(Interest::READABLE, read).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => count,
            };
        }
    }

    /// From here on the other side can queue nothing more; what it has queued before can still be received. The
    /// kernel decides under one lock, so that both sides know the same of every message.
    pub(super) fn stop_hearing(&self) -> io::Result<()> {
        Ok(shutdown(self.socket.as_fd(), Shutdown::Read)?)
    }

    /// The message that has come, if it is whole. Makes room for its body when the head is.
    fn whole(&mut self) -> io::Result<Option<Received>> {
        if self.come < HEAD {
            return Ok(None);
        }
        let head = Head::decode(self.head).map_err(invalid)?;
        if self.come == HEAD {
            self.body = Zeroizing::new(vec![0; head.len]);
        }
        if self.come < HEAD + head.len {
            return Ok(None);
        }
        self.come = 0;
        let body = std::mem::take(&mut self.body);
        let descriptors = std::mem::take(&mut self.descriptors);
        let message = Message::decode(head, &body).map_err(invalid)?;
        Ok(Some(Received { message, descriptors, sent: head.descriptors }))
    }
}

fn invalid(fault: super::message::Fault) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, fault)
}

fn send_with(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

fn receive_with(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(come) = message {
            descriptors.extend(come);
        }
    }
    // More than a head may announce were never sent by one of us.
    descriptors.truncate(MAX_DESCRIPTORS);
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::time::Duration;

    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    use super::super::message::{Bundle, MAX_BODY};
    use super::*;

    fn pair() -> (Channel, Channel) {
        let (a, b) = Socket::pair().unwrap();
        (Channel::new(a).unwrap(), Channel::new(b).unwrap())
    }

    fn batch(len: usize, sockets: u8) -> Message {
        Message::Batch(vec![Bundle { sockets, bytes: Zeroizing::new(vec![7; len]) }])
    }

    /// Pipes: the ends that are sent, and those that show which ones they were.
    fn pipes(count: usize) -> (Vec<OwnedFd>, Vec<File>) {
        let pipes = (0..count).map(|_| std::io::pipe().unwrap());
        pipes.map(|(reader, writer)| (OwnedFd::from(reader), File::from(OwnedFd::from(writer)))).unzip()
    }

    fn borrowed(descriptors: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
        descriptors.iter().map(|d| d.as_fd()).collect()
    }

    #[tokio::test]
    async fn descriptors_come_with_their_message_and_in_order() {
        let (old, mut new) = pair();
        let (readers, mut writers) = pipes(MAX_DESCRIPTORS);
        let (two, rest) = readers.split_at(2);
        let first = batch(2_000_000, 2);
        let second = batch(3, 238);
        let sending = async {
            old.send(&first, &borrowed(two)).await.unwrap();
            old.send(&Message::Go { tunnels: 1, serial: 2 }, &[]).await.unwrap();
            old.send(&second, &borrowed(rest)).await.unwrap();
        };
        let receiving = async {
            let mut all = Vec::new();
            for expected in [&first, &Message::Go { tunnels: 1, serial: 2 }, &second] {
                let received = new.receive().await.unwrap();
                assert_eq!(received.message.name(), expected.name());
                assert!(received.message == *expected && received.descriptors.len() == received.sent);
                all.extend(received.descriptors);
            }
            all
        };
        let ((), come) = tokio::join!(sending, receiving);
        drop(readers);
        for (number, (reader, writer)) in come.into_iter().zip(&mut writers).enumerate() {
            let mut byte = [0];
            writer.write_all(&[number as u8]).unwrap();
            File::from(reader).read_exact(&mut byte).unwrap();
            assert_eq!(byte, [number as u8]);
        }
    }

    #[tokio::test]
    async fn receiving_may_be_given_up_and_begun_again() {
        let (old, mut new) = pair();
        let message = batch(MAX_BODY - 100, 0);
        let sending = old.send(&message, &[]);
        let receiving = async {
            loop {
                match tokio::time::timeout(Duration::from_micros(50), new.receive()).await {
                    Ok(received) => return received.unwrap().message,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        let (sent, received) = tokio::join!(sending, receiving);
        sent.unwrap();
        assert!(received == message);
    }

    /// What the promise of one owner rests on.
    #[tokio::test]
    async fn once_hearing_has_stopped_nothing_more_is_queued_and_nothing_is_lost() {
        let running = Message::Running { tunnels: 5 };
        let (mut old, new) = pair();
        new.send(&running, &[]).await.unwrap();
        old.stop_hearing().unwrap();
        assert_eq!(new.send(&running, &[]).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        drop(new);
        assert_eq!(old.receive().await.unwrap().message, running);
        assert_eq!(old.receive().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn what_is_no_message_ends_it() {
        let (a, mut other) = Socket::pair().unwrap();
        let mut channel = Channel::new(a).unwrap();
        other.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        assert_eq!(channel.receive().await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    /// A process of its own, because the limit is one of the process: the test calls itself.
    #[test]
    fn descriptors_above_the_limit_are_noticed() {
        const NAME: &str = "lifecycle::upgrade::channel::tests::descriptors_above_the_limit_are_noticed";
        if std::env::var_os("LONGWIRE_TEST_LIMIT").is_none() {
            let child = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", NAME, "--nocapture"])
                .env("LONGWIRE_TEST_LIMIT", "1")
                .status();
            assert!(child.unwrap().success());
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (old, mut new) = pair();
            let (readers, _writers) = pipes(100);
            old.send(&batch(10, 100), &borrowed(&readers)).await.unwrap();
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
            setrlimit(Resource::RLIMIT_NOFILE, open + 40, hard).unwrap();
            let received = new.receive().await.unwrap();
            assert_eq!(received.sent, 100);
            assert!((30..60).contains(&received.descriptors.len()), "{}", received.descriptors.len());
        });
    }
}
