//! A go-between that spoils what passes it: the traffic must notice.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::frames::{BINARY, Frame, close};
use super::end::{encode, parse};

/// What happens to one frame, or to one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoil {
    Nothing,
    LoseFrame,
    DoubleFrame,
    SwapFrames,
    LoseByte,
    DoubleByte,
    SwapBytes,
    FlipBit,
    /// The frame comes out of another connection.
    Misdirect,
    /// Nothing passes for this time.
    Pause(Duration),
    /// The connection ends, between two frames.
    End,
    /// A Close frame that nobody sent.
    Close,
}

/// Between clients and `target`: once [`Shim::spoil`] was called, a frame from clients, or one from the target, is spoilt.
pub struct Shim {
    pub addr: SocketAddr,
    work: Arc<Work>,
}

impl Shim {
    pub fn new(target: SocketAddr, spoil: Spoil, from_client: bool) -> Shim {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let work = Arc::new(Work { spoil, armed: AtomicBool::new(false), strayed: Mutex::default() });
        let its = work.clone();
        std::thread::spawn(move || {
            for (number, client) in listener.incoming().flatten().enumerate() {
                let server = TcpStream::connect(target).unwrap();
                for (from, to, spoils) in [(&client, &server, from_client), (&server, &client, !from_client)]
                {
                    from.set_nodelay(true).unwrap();
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let work = its.clone();
                    std::thread::spawn(move || {
                        // However it ended, both ends are to see it.
                        let _ = work.pass(number, &from, &to, spoils);
                        let _ = to.shutdown(Shutdown::Write);
                        let _ = from.shutdown(Shutdown::Read);
                    });
                }
            }
        });
        Shim { addr, work }
    }

    /// Spoils the next frame that is fit for it.
    pub fn spoil(&self) {
        self.work.armed.store(true, SeqCst);
    }
}

struct Work {
    spoil: Spoil,
    armed: AtomicBool,
    /// A frame that is to come out of another connection than this one.
    strayed: Mutex<Option<(usize, Vec<u8>)>>,
}

impl Work {
    /// One direction of one connection: its head, then its frames.
    fn pass(
        &self,
        number: usize,
        mut from: &TcpStream,
        mut to: &TcpStream,
        spoils: bool,
    ) -> std::io::Result<()> {
        let (mut buffer, mut chunk, mut in_head) = (Vec::new(), [0; 16 * 1024], true);
        let mut late = Vec::new();
        loop {
            if in_head && let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                to.write_all(&buffer.drain(..at + 4).collect::<Vec<_>>())?;
                in_head = false;
            }
            while !in_head && let Ok(Some((frame, len))) = parse(&buffer) {
                let bytes: Vec<u8> = buffer.drain(..len).collect();
                // Whole messages with some of a body, so that each spoiling changes something, and no rule of WebSocket is
                // broken for which the program would end the tunnel.
                let (begins, ends) = (frame.opcode == BINARY, frame.fin);
                let fit = spoils && begins && ends && frame.payload.len() >= 64;
                if fit && self.armed.swap(false, SeqCst) {
                    match self.spoilt(number, frame, bytes) {
                        Some((now, then)) => {
                            to.write_all(&now)?;
                            late = then;
                        }
                        None => return Ok(()),
                    }
                    continue;
                }
                if spoils && begins {
                    let strayed = self.strayed.lock().unwrap().take_if(|(of, _)| *of != number);
                    to.write_all(&strayed.map(|(_, frame)| frame).unwrap_or_default())?;
                }
                to.write_all(&bytes)?;
                if ends {
                    to.write_all(&std::mem::take(&mut late))?;
                }
            }
            match from.read(&mut chunk)? {
                0 => return Ok(()),
                n => buffer.extend(&chunk[..n]),
            }
        }
    }

    /// What goes in place of a frame, and what behind the next; `None` ends the connection.
    fn spoilt(&self, number: usize, frame: Frame, bytes: Vec<u8>) -> Option<(Vec<u8>, Vec<u8>)> {
        let with = |change: fn(&mut Vec<u8>)| {
            let mut frame = frame.clone();
            change(&mut frame.payload);
            encode(&frame, frame.mask)
        };
        let now = match self.spoil {
            Spoil::Nothing => bytes,
            Spoil::LoseFrame => Vec::new(),
            Spoil::DoubleFrame => bytes.repeat(2),
            Spoil::SwapFrames => return Some((Vec::new(), bytes)),
            Spoil::LoseByte => with(|payload| _ = payload.pop()),
            Spoil::DoubleByte => with(|payload| payload.push(payload[payload.len() - 1])),
            Spoil::SwapBytes => with(|payload| {
                let differ = (33..payload.len()).find(|at| payload[*at] != payload[at - 1]).unwrap();
                payload.swap(differ, differ - 1);
            }),
            Spoil::FlipBit => with(|payload| payload[50] ^= 1),
            Spoil::Misdirect => {
                *self.strayed.lock().unwrap() = Some((number, bytes));
                Vec::new()
            }
            Spoil::Pause(time) => {
                // sleep is the promise: the pause is what is to be noticed.
                std::thread::sleep(time);
                bytes
            }
            Spoil::End => return None,
            Spoil::Close => [encode(&close(1001, ""), frame.mask), bytes].concat(),
        };
        Some((now, Vec::new()))
    }
}
