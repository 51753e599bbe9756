//! The new process: it takes over what the one before it gives.

use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use longwire_conf::model::Level;

use tokio::task::JoinHandle;

use super::channel::{Channel, Received};
use super::message::{Bundle, Hello, Message, State, Taken, VERSION};
use super::program::VARIABLE;
use super::step::{Step, halt, halt_now};
use crate::clock;
use crate::http::{self, Service};
use crate::lifecycle::say;
use crate::net::Endpoint;
use crate::server;
use crate::tls;
use crate::tunnel::Parcel;

/// A process that was started by the one that it is to replace.
#[derive(Debug)]
pub(in crate::lifecycle) struct Successor(UnixStream);

/// One that has what its predecessor gave, and does not serve yet.
#[derive(Debug)]
pub(in crate::lifecycle) struct Heir {
    channel: Channel,
    /// Listening sockets, each with its address as it was configured.
    pub(in crate::lifecycle) sockets: Vec<(Endpoint, OwnedFd)>,
    /// What belongs to the process.
    state: State,
    /// The pid file of the predecessor.
    pid_file: Option<OwnedFd>,
}

impl Successor {
    /// Whether this process was started for an upgrade. Says Hello; to be called before anything that takes time.
    pub(in crate::lifecycle) fn find() -> Option<Successor> {
        let by: u32 = std::env::var(VARIABLE).ok()?.parse().ok()?;
        // A variable that somebody's shell has kept means nothing.
        if by != std::os::unix::process::parent_id() {
            return None;
        }
        let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
        socket.peer_addr().ok()?;
        let nothing = std::fs::File::open("/dev/null").ok()?;
        rustix::stdio::dup2_stdin(nothing).ok()?;
        halt_now(Step::Start);
        let hello = Message::Hello(Hello {
            protocol: [VERSION, VERSION],
            tunnels: [1, Parcel::VERSION],
            name: env!("CARGO_PKG_VERSION").to_owned(),
        });
        say_now(&mut socket, &hello);
        Some(Successor(socket))
    }

    /// It will not serve; `why` goes into the predecessor's error log.
    pub(in crate::lifecycle) fn refuse(mut self, why: &str) {
        say_now(&mut self.0, &Message::Refused(why.to_owned()));
    }

    /// Waits for what the predecessor gives. Inside a runtime.
    pub(in crate::lifecycle) async fn inherit(self) -> io::Result<Heir> {
        let mut channel = Channel::new(self.0)?;
        halt(Step::Hello).await;
        let mut sockets = Vec::new();
        loop {
            let Received { message, descriptors, sent } = channel.receive().await?;
            if descriptors.len() < sent {
                return Err(io::Error::other("the limit of open files is too low for the listening sockets"));
            }
            match message {
                Message::Sockets(endpoints) if endpoints.len() == sent => {
                    sockets.extend(endpoints.into_iter().zip(descriptors));
                }
                Message::State(state) if state.protocol == VERSION => {
                    halt(Step::State).await;
                    let pid_file = descriptors.into_iter().next();
                    return Ok(Heir { channel, sockets, state, pid_file });
                }
                other => return Err(unexpected(&other)),
            }
        }
    }
}

impl Heir {
    /// It will not serve; `why` goes into the predecessor's error log.
    pub(in crate::lifecycle) async fn refuse(self, why: &str) {
        // Nobody hears it when the predecessor is gone.
        let _ = self.channel.send(&Message::Refused(why.to_owned()), &[]).await;
    }

    /// The pid file of the predecessor, if this is its path.
    pub(in crate::lifecycle) fn pid_file(&mut self, path: &Path) -> Option<OwnedFd> {
        self.pid_file.take_if(|_| self.state.pid_file.as_deref() == Some(path))
    }

    /// Everything is there but the tunnels: takes the first wave of them, and with it the place of the predecessor.
    /// `last` is done just before. Gives how many tunnels came.
    pub(in crate::lifecycle) async fn take_office(
        &mut self,
        taken: usize,
        bound: usize,
        service: &Arc<Service>,
        last: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<usize> {
        let count = |count| u32::try_from(count).unwrap_or(u32::MAX);
        self.channel.send(&Message::Ready { taken: count(taken), bound: count(bound) }, &[]).await?;
        halt(Step::Ready).await;
        let wave = self.wave(service, last).await?;
        service.census.add([self.state.accepted, self.state.requests]);
        if let Err(why) = tls::tickets::import(&self.state.tickets) {
            let logs = &service.snapshot.logs;
            say(logs, Level::Warn, format_args!("upgrade: sessions of TLS will not be resumed: {why}"));
        }
        wave.ok_or_else(|| io::Error::other("it is over before it began"))
    }

    /// Takes what becomes a tunnel there later, until there will be nothing more.
    pub(in crate::lifecycle) fn follow(self, service: Arc<Service>) -> Arriving {
        Arriving(tokio::spawn(self.take_rest(service)))
    }

    async fn take_rest(mut self, service: Arc<Service>) {
        loop {
            match self.wave(&service, || Ok(())).await {
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(error) => {
                    let logs = &service.snapshot.logs;
                    let message = format_args!("upgrade: the old process gives nothing more: {error}");
                    return say(logs, Level::Error, message);
                }
            }
        }
    }

    /// Takes the next wave of tunnels, calls `last` when all are there, and drives them. Gives how many these were;
    /// `None` when there will be no more.
    ///
    /// An error leaves the tunnels of this wave with the predecessor.
    async fn wave(
        &mut self,
        service: &Arc<Service>,
        last: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<Option<usize>> {
        let mut wave = Wave::default();
        loop {
            let received = self.channel.receive().await?;
            match received.message {
                Message::Batch(_) if received.descriptors.len() < received.sent => {
                    let (came, sent) = (received.descriptors.len() as u32, received.sent as u32);
                    drop(received.descriptors);
                    self.channel.send(&Message::Short { came, sent }, &[]).await?;
                    return Err(io::Error::other(format!(
                        "the limit of open files is reached: {came} of {sent} descriptors came"
                    )));
                }
                Message::Batch(batch) => {
                    let taken = wave.take(batch, received.descriptors, service)?;
                    halt(Step::Batch).await;
                    self.channel.send(&Message::Taken(taken), &[]).await?;
                }
                Message::Go { tunnels: count, serial } if count as usize == wave.parcels.len() => {
                    server::begin_serials_at(serial);
                    if let Err(error) = last() {
                        self.channel.send(&Message::Refused(error.to_string()), &[]).await?;
                        return Err(error);
                    }
                    halt(Step::Go).await;
                    // From the moment when this is queued the tunnels are ours, and not before.
                    self.channel.send(&Message::Running { tunnels: count }, &[]).await?;
                    service.tunnels.resume(wave.keep());
                    halt(Step::Running).await;
                    return Ok(Some(count as usize));
                }
                Message::Over { accepted, requests } => {
                    service.census.add([accepted, requests]);
                    return Ok(None);
                }
                other => return Err(unexpected(&other)),
            }
        }
    }
}

/// What the predecessor still gives is taken as long as this is there.
#[derive(Debug)]
pub(in crate::lifecycle) struct Arriving(JoinHandle<()>);

impl Arriving {
    /// Whether all has come.
    pub(in crate::lifecycle) fn is_over(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tunnels that are here and that the predecessor still owns.
#[derive(Default)]
struct Wave {
    parcels: Vec<Parcel>,
}

impl Wave {
    /// Unpacks a batch. What cannot be read is closed here, and goes on there.
    fn take(
        &mut self,
        batch: Vec<Bundle>,
        descriptors: Vec<OwnedFd>,
        service: &Arc<Service>,
    ) -> io::Result<Taken> {
        let now_us = clock::now_us();
        let mut descriptors = descriptors.into_iter();
        let mut answer = Taken::default();
        for (place, tunnel) in (0..).zip(batch) {
            let sockets: Vec<OwnedFd> = descriptors.by_ref().take(tunnel.sockets.into()).collect();
            if sockets.len() < tunnel.sockets.into() {
                return Err(io::Error::other("a batch has fewer descriptors than its tunnels"));
            }
            let keeper = |bytes: &[u8]| http::keeper(bytes, now_us, service);
            match Parcel::unpack(&tunnel.bytes, sockets, now_us, keeper) {
                Ok(parcel) => {
                    self.parcels.push(parcel);
                    answer.taken += 1;
                }
                Err(error) => {
                    if answer.others.is_empty() {
                        answer.reason = error.to_string();
                    }
                    answer.others.push(place);
                }
            }
        }
        Ok(answer)
    }

    fn keep(&mut self) -> Vec<Parcel> {
        std::mem::take(&mut self.parcels)
    }
}

impl Drop for Wave {
    fn drop(&mut self) {
        // Theirs still: our descriptors are closed, and nobody notices.
        self.keep().into_iter().for_each(Parcel::given_away);
    }
}

fn unexpected(message: &Message) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} came out of turn", message.name()))
}

/// Where no runtime is there yet. Nobody hears it when the predecessor is gone.
fn say_now(socket: &mut UnixStream, message: &Message) {
    if let Ok(bytes) = message.encode(0) {
        let _ = socket.write_all(&bytes);
    }
}
