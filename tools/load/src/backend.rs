//! The backend: echoes every message, or under `/broadcast` sends it to everybody there.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

use longwire_wire::frame::{Header, OpCode};
use longwire_wire::handshake::accept_key;
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::frames::{Piece, Reader, header_bytes, server_frame};

const LISTENER: Token = Token(usize::MAX);
const BUFFER: usize = 64 * 1024;

/// Serves until it is killed.
pub(crate) fn run(address: SocketAddr) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening on {}", listener.local_addr()?);
    let mut events = Events::with_capacity(1024);
    let mut guests: Slab<Guest> = Slab::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut guests)?;
                continue;
            }
            let Some(guest) = guests.get_mut(event.token().0) else { continue };
            let ended = guest.turn(event, &mut buffer).is_err();
            let news = std::mem::take(&mut guest.news);
            if ended {
                guests.remove(event.token().0);
            }
            broadcast(&mut guests, &news);
        }
    }
}

fn accept(listener: &TcpListener, poll: &Poll, guests: &mut Slab<Guest>) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((mut socket, _)) => {
                socket.set_nodelay(true)?;
                let entry = guests.vacant_entry();
                let interest = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut socket, Token(entry.key()), interest)?;
                entry.insert(Guest::new(socket));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error),
        }
    }
}

fn broadcast(guests: &mut Slab<Guest>, news: &[Vec<u8>]) {
    for message in news {
        let frame = server_frame(OpCode::Binary, message);
        for (_, guest) in guests.iter_mut().filter(|(_, guest)| guest.all) {
            // One that fails tells so by an event of its own.
            let _ = guest.send(&frame);
        }
    }
}

/// A connection.
struct Guest {
    socket: TcpStream,
    head: Option<Vec<u8>>,
    reader: Reader,
    /// Bytes that the socket did not take.
    waiting: Vec<u8>,
    /// It takes part in the broadcast.
    all: bool,
    /// Messages for everybody.
    news: Vec<Vec<u8>>,
    message: Vec<u8>,
}

impl Guest {
    fn new(socket: TcpStream) -> Guest {
        Guest {
            socket,
            head: Some(Vec::new()),
            reader: Reader::default(),
            waiting: Vec::new(),
            all: false,
            news: Vec::new(),
            message: Vec::new(),
        }
    }

    /// An error ends the connection.
    fn turn(&mut self, event: &Event, buffer: &mut [u8]) -> io::Result<()> {
        if event.is_writable() {
            let waiting = std::mem::take(&mut self.waiting);
            self.send(&waiting)?;
        }
        loop {
            let count = match self.socket.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.take(&mut buffer[..count])?;
            if count < buffer.len() && !event.is_read_closed() {
                return Ok(());
            }
        }
    }

    fn take(&mut self, input: &mut [u8]) -> io::Result<()> {
        let Some(head) = &mut self.head else { return self.answer(input) };
        head.extend_from_slice(input);
        let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(()) };
        let mut rest = head.split_off(end + 4);
        let head = String::from_utf8_lossy(head).into_owned();
        self.all = head.starts_with("GET /broadcast");
        self.head = None;
        self.send(answer_head(&head)?.as_bytes())?;
        self.answer(&mut rest)
    }

    /// Echoes frame by frame as the bytes come, without waiting for the end of a message.
    fn answer(&mut self, input: &mut [u8]) -> io::Result<()> {
        let mut out = Vec::with_capacity(input.len());
        let (all, message, news) = (self.all, &mut self.message, &mut self.news);
        let mut closed = false;
        let fed = self.reader.feed(input, |piece| match piece {
            Piece::Begin(_) if all => message.clear(),
            Piece::Payload(bytes) if all => message.extend_from_slice(bytes),
            Piece::End(header) if all && header.opcode == OpCode::Binary => news.push(message.clone()),
            Piece::End(header) if header.opcode == OpCode::Close => closed = true,
            Piece::Begin(header) if !all => out.extend(header_bytes(&echo(header))),
            Piece::Payload(bytes) => out.extend_from_slice(bytes),
            _ => {}
        });
        fed.map_err(io::Error::other)?;
        self.send(&out)?;
        if closed { Err(ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while self.waiting.is_empty() && !bytes.is_empty() {
            match self.socket.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }
}

/// The header of the frame that answers: a Ping is answered by a Pong, all others by the same.
fn echo(header: Header) -> Header {
    let opcode = if header.opcode == OpCode::Ping { OpCode::Pong } else { header.opcode };
    Header { mask: None, opcode, ..header }
}

fn answer_head(head: &str) -> io::Result<String> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let key = fields.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    let (_, key) = key.ok_or(ErrorKind::InvalidData)?;
    let accept = accept_key(key.trim());
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ))
}
