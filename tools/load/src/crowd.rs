//! Many connections on one epoll loop.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use longwire_wire::frame::OpCode;
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use rustls::ClientConfig;

use crate::args::Options;
use crate::frames::{Piece, Reader, client_frame};
use crate::stream::{Stream, session, tls_config};

const STDIN: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);
/// One read takes at most this much.
const BUFFER: usize = 64 * 1024;

/// What happened to a connection.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// The answer was 101.
    Opened,
    /// A message is complete.
    Message,
    /// It ended, or never opened.
    Closed,
    /// A line came on standard input; of no connection.
    Told,
}

/// What happened, to which connection, and when (nanoseconds of the crowd's clock).
#[derive(Copy, Clone, Debug)]
pub(crate) struct Event {
    pub(crate) who: usize,
    pub(crate) what: What,
    pub(crate) at: u64,
}

/// Connections to one address.
pub(crate) struct Crowd {
    poll: Poll,
    events: Events,
    timer: TimerFd,
    begun: Instant,
    address: SocketAddr,
    host: String,
    tls: Option<Arc<ClientConfig>>,
    request: Vec<u8>,
    members: Vec<Option<Member>>,
    buffer: Box<[u8]>,
    happened: Vec<Event>,
}

/// A connection.
struct Member {
    stream: Stream,
    /// Bytes that the socket did not take.
    waiting: VecDeque<u8>,
    /// The head of the answer, until it is complete.
    head: Option<Vec<u8>>,
    reader: Reader,
    /// Payload of a Ping, which is to be answered.
    ping: Option<Vec<u8>>,
    begun: u64,
    ended: bool,
}

impl Crowd {
    /// An empty crowd for what the options name.
    pub(crate) fn new(options: &Options) -> io::Result<Crowd> {
        let url = &options.url;
        let mut found = (url.host.as_str(), url.port).to_socket_addrs()?;
        // Peers listen on 127.0.0.1, and "localhost" may be ::1 as well.
        let address = found.find(SocketAddr::is_ipv4).ok_or(ErrorKind::AddrNotAvailable)?;
        let tls = url.tls.then(|| tls_config(!options.full)).transpose().map_err(io::Error::other)?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}:{}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            url.path, url.host, url.port
        );
        let poll = Poll::new()?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
        let fd = std::os::fd::AsFd::as_fd(&timer).as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), TIMER, Interest::READABLE)?;
        if options.hold {
            poll.registry().register(&mut SourceFd(&io::stdin().as_raw_fd()), STDIN, Interest::READABLE)?;
        }
        Ok(Crowd {
            poll,
            events: Events::with_capacity(1024),
            timer,
            begun: Instant::now(),
            address,
            host: url.host.clone(),
            tls,
            request: request.into_bytes(),
            members: Vec::new(),
            buffer: vec![0; BUFFER].into_boxed_slice(),
            happened: Vec::new(),
        })
    }

    /// Nanoseconds of the crowd's clock.
    pub(crate) fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    /// When a connection began to connect.
    pub(crate) fn began(&self, who: usize) -> u64 {
        self.members[who].as_ref().map_or(0, |member| member.begun)
    }

    /// Whether a connection took up an earlier TLS session.
    pub(crate) fn resumed(&self, who: usize) -> bool {
        self.members[who].as_ref().is_some_and(|member| member.stream.resumed())
    }

    /// Begins to open connection `who`; one that had the number before is dropped.
    pub(crate) fn open(&mut self, who: usize) -> io::Result<()> {
        let begun = self.now();
        let socket = TcpStream::connect(self.address)?;
        socket.set_nodelay(true)?;
        let mut stream = match &self.tls {
            None => Stream::Plain(socket),
            Some(config) => {
                let session = session(config, &self.host).map_err(io::Error::other)?;
                Stream::Tls(Box::new((session, socket)))
            }
        };
        self.poll.registry().register(
            stream.socket(),
            Token(who),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        if self.members.len() <= who {
            self.members.resize_with(who + 1, || None);
        }
        self.members[who] = Some(Member {
            stream,
            waiting: self.request.iter().copied().collect(),
            head: Some(Vec::new()),
            reader: Reader::default(),
            ping: None,
            begun,
            ended: false,
        });
        Ok(())
    }

    /// Sends bytes, or keeps what is not taken at once.
    pub(crate) fn send(&mut self, who: usize, bytes: &[u8]) {
        if let Some(member) = &mut self.members[who] {
            member.send(bytes);
        }
    }

    /// Drops a connection behind a Close frame.
    pub(crate) fn leave(&mut self, who: usize) {
        if let Some(mut member) = self.members[who].take() {
            member.send(&client_frame(OpCode::Close, &1000_u16.to_be_bytes()));
        }
    }

    /// Waits at most so long for something to happen.
    pub(crate) fn turn(&mut self, patience: Duration) -> io::Result<Vec<Event>> {
        self.arm(patience)?;
        if let Err(error) = self.poll.poll(&mut self.events, None)
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error);
        }
        let mut happened = std::mem::take(&mut self.happened);
        for event in &self.events {
            let at = self.begun.elapsed().as_nanos() as u64;
            if event.token() == STDIN {
                happened.push(Event { who: usize::MAX, what: What::Told, at });
            }
            let who = event.token().0;
            if let Some(Some(member)) = self.members.get_mut(who) {
                member.turn(event, &mut self.buffer, &mut |what| happened.push(Event { who, what, at }));
                if member.ended {
                    self.members[who] = None;
                }
            }
        }
        Ok(happened)
    }

    /// Gives the list back, so that the next turn need not allocate.
    pub(crate) fn recycle(&mut self, mut happened: Vec<Event>) {
        happened.clear();
        self.happened = happened;
    }

    /// epoll counts in milliseconds; a message that is due in 200 microseconds needs a finer clock.
    fn arm(&self, patience: Duration) -> io::Result<()> {
        let soon = TimeSpec::from_duration(patience.max(Duration::from_nanos(1)));
        Ok(self.timer.set(Expiration::OneShot(soon), TimerSetTimeFlags::empty())?)
    }
}

impl Member {
    fn turn(&mut self, event: &mio::event::Event, buffer: &mut [u8], tell: &mut impl FnMut(What)) {
        let result = if event.is_writable() { self.write_on() } else { Ok(()) };
        let readable = event.is_readable() || event.is_read_closed() || event.is_error();
        let result = if readable { result.and_then(|()| self.read_on(buffer, tell)) } else { result };
        match result {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => {
                self.ended = true;
                tell(What::Closed);
            }
            Ok(()) => {}
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        let taken = if self.waiting.is_empty() { self.stream.write(bytes).unwrap_or(0) } else { 0 };
        self.waiting.extend(&bytes[taken..]);
    }

    /// Writes what waits.
    fn write_on(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            match self.stream.write(self.waiting.as_slices().0) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        // Nothing waits, so nothing is held: thousands of connections are idle.
        self.waiting = VecDeque::new();
        match self.stream.flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            result => result,
        }
    }

    /// Reads until there is no more.
    fn read_on(&mut self, buffer: &mut [u8], tell: &mut impl FnMut(What)) -> io::Result<()> {
        loop {
            let count = match self.stream.read(buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => count,
            };
            self.take(&mut buffer[..count], tell)?;
            if let Some(payload) = self.ping.take() {
                self.send(&client_frame(OpCode::Pong, &payload));
            }
            // A plain socket that gave less than was asked for has no more (epoll(7)).
            if count < buffer.len() && matches!(self.stream, Stream::Plain(_)) {
                return Ok(());
            }
        }
    }

    /// Takes what was read: the rest of the head, then frames.
    fn take(&mut self, input: &mut [u8], tell: &mut impl FnMut(What)) -> io::Result<()> {
        let Some(head) = &mut self.head else { return self.take_frames(input, tell) };
        head.extend_from_slice(input);
        let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(()) };
        if !head.starts_with(b"HTTP/1.1 101") {
            let line = String::from_utf8_lossy(&head[..head.len().min(60)]);
            eprintln!("longwire-load: refused: {}", line.lines().next().unwrap_or_default());
            return Err(ErrorKind::ConnectionRefused.into());
        }
        let mut rest = head.split_off(end + 4);
        self.head = None;
        tell(What::Opened);
        self.take_frames(&mut rest, tell)
    }

    fn take_frames(&mut self, input: &mut [u8], tell: &mut impl FnMut(What)) -> io::Result<()> {
        let ping = &mut self.ping;
        let mut closed = false;
        let fed = self.reader.feed(input, |piece| match piece {
            Piece::Begin(header) if header.opcode == OpCode::Ping => *ping = Some(Vec::new()),
            Piece::Payload(bytes) => ping.iter_mut().for_each(|payload| payload.extend_from_slice(bytes)),
            Piece::End(header) if header.opcode == OpCode::Close => closed = true,
            Piece::End(header) if header.fin && !header.opcode.is_control() => tell(What::Message),
            _ => {}
        });
        fed.map_err(io::Error::other)?;
        if closed { Err(ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}
