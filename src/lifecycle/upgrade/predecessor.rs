//! The process that serves: it starts the new one, and gives it everything.

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::channel::Channel;
use super::message::{Bundle, Hello, MAX_DESCRIPTORS, Message, State, VERSION};
use super::program::Program;
use super::step::patience;
use crate::clock;
use crate::net::Endpoint;
use crate::server;
use crate::tunnel::{Parcel, Tunnels};

/// How long the new process may take.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// To say that it is there.
    hello: Duration,
    /// To read its configuration, to look up names and to bind what is new.
    ready: Duration,
    /// For an answer while tunnels wait.
    answer: Duration,
}

impl Patience {
    fn usual() -> Patience {
        let [hello, ready, answer] = [10, 60, 5].map(|seconds| patience(Duration::from_secs(seconds)));
        Patience { hello, ready, answer }
    }
}

/// How long an ended process may take to become known as such.
const FATE_PATIENCE: Duration = Duration::from_millis(500);
/// Most tunnels that wait at once, and that one Go hands over.
const WAVE: usize = 10_000;
/// Most tunnels of a message.
const BATCH: usize = 100;
/// No more tunnels are added to a message that has as many bytes.
const BATCH_BYTES: usize = 1024 * 1024;
/// Numbers of connections that this process may still give while the new one begins.
const SERIALS: u64 = 100_000;

/// What is given beside tunnels.
#[derive(Debug)]
pub(in crate::lifecycle) struct Estate {
    /// Listening sockets, each with its address as configured.
    pub(in crate::lifecycle) sockets: Vec<(Endpoint, OwnedFd)>,
    /// The pid file and its path.
    pub(in crate::lifecycle) pid_file: Option<(PathBuf, OwnedFd)>,
    /// Keys of session tickets.
    pub(in crate::lifecycle) tickets: Zeroizing<Vec<u8>>,
    /// Counts at this moment: accepted connections, requests.
    pub(in crate::lifecycle) counts: [u64; 2],
}

/// A process with a successor that is ready.
#[derive(Debug)]
pub(in crate::lifecycle) struct Predecessor {
    successor: Started,
    channel: Channel,
    patience: Patience,
    hello: Hello,
    /// Counts that the successor knows of.
    counted: [u64; 2],
    /// Tunnels that cannot go.
    staying: Arc<HashSet<u64>>,
    /// Why the successor could not read one of them.
    reason: String,
}

/// Starts the program anew and waits until it is ready. May be given up: the new process is killed then. The error
/// says in words what went wrong; nothing has changed then.
pub(in crate::lifecycle) async fn begin(program: Program, estate: Estate) -> Result<Predecessor, String> {
    let (child, socket) =
        program.start().map_err(|error| format!("the program cannot be started: {error}"))?;
    let mut successor = Started { child, is_ours: true };
    let counted = estate.counts;
    let patience = Patience::usual();
    let begun = async {
        let mut channel = Channel::new(socket).map_err(Broken::from)?;
        let hello = greet(&mut channel, estate, patience).await?;
        Ok((channel, hello))
    };
    match begun.await {
        Ok((channel, hello)) => Ok(Predecessor {
            successor,
            channel,
            patience,
            hello,
            counted,
            staying: Arc::default(),
            reason: String::new(),
        }),
        Err(broken) => Err(successor.fail(broken).await),
    }
}

async fn greet(channel: &mut Channel, estate: Estate, patience: Patience) -> Result<Hello, Broken> {
    let hello = match within(patience.hello, channel.receive()).await?.message {
        Message::Hello(hello) => hello,
        other => return Err(Broken::answer(other)),
    };
    let [lowest, highest] = hello.protocol;
    if !(lowest..=highest).contains(&VERSION) {
        return Err(Broken(format!(
            "it speaks versions {lowest} to {highest} of the upgrade, this process speaks {VERSION}"
        )));
    }
    for part in estate.sockets.chunks(MAX_DESCRIPTORS) {
        let endpoints = part.iter().map(|(endpoint, _)| endpoint.clone()).collect();
        let descriptors: Vec<BorrowedFd<'_>> = part.iter().map(|(_, socket)| socket.as_fd()).collect();
        within(patience.answer, channel.send(&Message::Sockets(endpoints), &descriptors)).await?;
    }
    let (path, file) = estate.pid_file.unzip();
    let state = Message::State(State {
        protocol: VERSION,
        accepted: estate.counts[0],
        requests: estate.counts[1],
        tickets: estate.tickets,
        pid_file: path,
    });
    let file: Vec<BorrowedFd<'_>> = file.iter().map(|file| file.as_fd()).collect();
    within(patience.answer, channel.send(&state, &file)).await?;
    match within(patience.ready, channel.receive()).await?.message {
        Message::Ready { .. } => Ok(hello),
        other => Err(Broken::answer(other)),
    }
}

impl Predecessor {
    /// Number of the new process.
    pub(in crate::lifecycle) fn successor(&self) -> u32 {
        self.successor.child.id()
    }

    /// Its version.
    pub(in crate::lifecycle) fn version(&self) -> &str {
        &self.hello.name
    }

    /// Formats of tunnels that the new process reads, lowest and highest, if ours is not among them: then none goes.
    pub(in crate::lifecycle) fn unreadable(&self) -> Option<[u8; 2]> {
        let [lowest, highest] = self.hello.tunnels;
        (!(lowest..=highest).contains(&Parcel::VERSION)).then_some(self.hello.tunnels)
    }

    /// How many tunnels have turned out to be unable to go, and why, where the successor said so.
    pub(in crate::lifecycle) fn staying(&self) -> (usize, &str) {
        (self.staying.len(), &self.reason)
    }

    /// Whether the new process has ended, or does within a moment.
    pub(in crate::lifecycle) async fn has_lost(&mut self) -> bool {
        self.successor.fate().await.is_some()
    }

    /// The first wave: with it the new process begins to serve. On an error it is killed, and nothing has changed. Must
    /// not be given up half-way.
    pub(in crate::lifecycle) async fn commit(&mut self, tunnels: &Tunnels) -> Result<usize, String> {
        match self.wave(tunnels).await {
            Ok(count) => {
                self.successor.is_ours = false;
                Ok(count)
            }
            Err(broken) => Err(self.successor.fail(broken).await),
        }
    }

    /// Another wave, of what has become a tunnel since. On an error what has not gone stays here for good. Must not be
    /// given up half-way.
    pub(in crate::lifecycle) async fn follow(&mut self, tunnels: &Tunnels) -> Result<usize, String> {
        self.wave(tunnels).await.map_err(|Broken(why)| why)
    }

    /// Nothing more will come. Closes the socket.
    pub(in crate::lifecycle) async fn finish(self, counts: [u64; 2]) {
        let [accepted, requests] = [0, 1].map(|at| counts[at].saturating_sub(self.counted[at]));
        let over = Message::Over { accepted, requests };
        // A successor that is gone counts nothing.
        let _ = within(self.patience.answer, self.channel.send(&over, &[])).await;
    }

    async fn wave(&mut self, tunnels: &Tunnels) -> Result<usize, Broken> {
        if self.unreadable().is_some() {
            return self.go(0).await.map(|()| 0);
        }
        let mut parcels = tunnels.park(WAVE, &self.staying).await;
        let mut gone = Vec::with_capacity(parcels.len());
        let sent = loop {
            if parcels.is_empty() {
                break Ok(());
            }
            match self.batch(&mut parcels, &mut gone, tunnels).await {
                Ok(()) => {}
                Err(broken) => break Err(broken),
            }
        };
        let decided = match sent {
            Ok(()) => self.go(gone.len()).await,
            Err(broken) => Err(broken),
        };
        match decided {
            Ok(()) => {
                let count = gone.len();
                gone.into_iter().for_each(Parcel::given_away);
                Ok(count)
            }
            Err(broken) => {
                gone.append(&mut parcels);
                tunnels.resume(gone);
                Err(broken)
            }
        }
    }

    /// Sends some of the last of `parcels`; those that the successor holds are in `gone` then. What cannot go goes on
    /// at once.
    async fn batch(
        &mut self,
        parcels: &mut Vec<Parcel>,
        gone: &mut Vec<Parcel>,
        tunnels: &Tunnels,
    ) -> Result<(), Broken> {
        let first = gone.len();
        // All stand in `gone` while they are sent: whatever happens meanwhile, they are found there.
        gone.extend(parcels.drain(parcels.len().saturating_sub(BATCH)..));
        let Load { bundles, sockets, places, mut stay, looked } = load(&gone[first..], clock::now_us());
        if !bundles.is_empty() {
            let others = self.send(bundles, &sockets).await?;
            stay.extend(others.into_iter().filter_map(|place| places.get(place as usize)));
        }
        let mut staying = Vec::new();
        for (place, parcel) in gone.split_off(first).into_iter().enumerate() {
            if place >= looked {
                parcels.push(parcel);
            } else if stay.contains(&place) {
                staying.push(parcel);
            } else {
                gone.push(parcel);
            }
        }
        self.stay(staying, tunnels);
        Ok(())
    }

    /// Sends a batch, and gives the places of those that the successor could not read.
    async fn send(&mut self, bundles: Vec<Bundle>, sockets: &[BorrowedFd<'_>]) -> Result<Vec<u32>, Broken> {
        let count = bundles.len();
        within(self.patience.answer, self.channel.send(&Message::Batch(bundles), sockets)).await?;
        match within(self.patience.answer, self.channel.receive()).await?.message {
            Message::Taken(answer) if answer.taken as usize + answer.others.len() == count => {
                if !answer.reason.is_empty() {
                    self.reason = answer.reason;
                }
                Ok(answer.others)
            }
            other => Err(Broken::answer(other)),
        }
    }

    fn stay(&mut self, parcels: Vec<Parcel>, tunnels: &Tunnels) {
        if !parcels.is_empty() {
            Arc::make_mut(&mut self.staying).extend(parcels.iter().map(Parcel::id));
            tunnels.resume(parcels);
        }
    }

    async fn go(&mut self, tunnels: usize) -> Result<(), Broken> {
        let tunnels = u32::try_from(tunnels).unwrap_or(u32::MAX);
        go(&mut self.channel, tunnels, self.patience.answer).await
    }
}

/// Hands over what was sent. Ok when the new process drives it from now on, and an error when it never will.
async fn go(channel: &mut Channel, tunnels: u32, patience: Duration) -> Result<(), Broken> {
    let go = Message::Go { tunnels, serial: server::next_serial().saturating_add(SERIALS) };
    let answered = async {
        within(patience, channel.send(&go, &[])).await?;
        match within(patience, channel.receive()).await?.message {
            Message::Running { .. } => Ok(()),
            other => Err(Broken::answer(other)),
        }
    };
    let Err(broken) = answered.await else { return Ok(()) };
    // It may be about to answer. From here on it cannot, and without having answered it drives nothing; if it has
    // answered before, the answer is there.
    let _ = channel.stop_hearing();
    while let Ok(received) = within(patience, channel.receive()).await {
        if matches!(received.message, Message::Running { .. }) {
            return Ok(());
        }
    }
    Err(broken)
}

/// A part of a wave, packed.
struct Load<'a> {
    bundles: Vec<Bundle>,
    /// Of all bundles, in their order.
    sockets: Vec<BorrowedFd<'a>>,
    /// Which parcel each bundle is of.
    places: Vec<usize>,
    /// Those that cannot go.
    stay: Vec<usize>,
    /// How many of the parcels this was about.
    looked: usize,
}

/// Packs as many as a message may have.
fn load(parcels: &[Parcel], now_us: u64) -> Load<'_> {
    let mut load =
        Load { bundles: Vec::new(), sockets: Vec::new(), places: Vec::new(), stay: Vec::new(), looked: 0 };
    let mut bytes = 0;
    for (place, parcel) in parcels.iter().enumerate() {
        if bytes >= BATCH_BYTES {
            break;
        }
        load.looked += 1;
        let Some(packed) = parcel.pack(now_us) else {
            load.stay.push(place);
            continue;
        };
        bytes += packed.bytes.len();
        let sockets = u8::try_from(packed.sockets.len()).unwrap_or_default();
        load.bundles.push(Bundle { sockets, bytes: packed.bytes });
        load.sockets.extend(packed.sockets);
        load.places.push(place);
    }
    load
}

/// A process that was started, and that is killed when it is not needed as long as it serves nobody.
#[derive(Debug)]
struct Started {
    child: Child,
    is_ours: bool,
}

impl Started {
    /// Ends it, and says what went wrong and how it ended.
    async fn fail(&mut self, Broken(why): Broken) -> String {
        let process = format!("the new process {}", self.child.id());
        match self.fate().await {
            Some(status) => format!("{process}: {why} ({status})"),
            None => format!("{process}: {why} (killed)"),
        }
    }

    /// How it has ended. Its sockets close a moment before that is known.
    async fn fate(&mut self) -> Option<ExitStatus> {
        let end_us = clock::now_us() + clock::micros(FATE_PATIENCE);
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                self.is_ours = false;
                return Some(status);
            }
            if clock::now_us() >= end_us {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.is_ours && self.child.kill().is_ok() {
            // It ends at once; this only takes its name from the list of processes.
            let _ = self.child.wait();
        }
    }
}

/// Why an upgrade has come to nothing, in words.
#[derive(Debug)]
struct Broken(String);

impl Broken {
    /// It has answered something else.
    fn answer(message: Message) -> Broken {
        Broken(match message {
            Message::Refused(why) => format!("it refuses: {why}"),
            Message::Short { came, sent } => {
                format!("its limit of open files is too low: of {sent} descriptors {came} arrived")
            }
            other => format!("it said {} out of turn", other.name()),
        })
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        Broken(match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                "it ended before it was ready".to_owned()
            }
            _ => error.to_string(),
        })
    }
}

/// At most this long.
async fn within<T>(patience: Duration, work: impl Future<Output = io::Result<T>>) -> Result<T, Broken> {
    match tokio::time::timeout(patience, work).await {
        Ok(done) => done.map_err(Broken::from),
        Err(_) => Err(Broken(format!("it did not answer within {} s", patience.as_secs_f64()))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    /// A successor that answers just as the other side gives up: whatever comes of it, both know the same.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn running_is_heard_or_it_was_never_said() {
        let seed = std::env::var("LONGWIRE_SEED").ok().and_then(|s| s.parse().ok());
        let mut random = fastrand::Rng::with_seed(seed.unwrap_or_else(|| fastrand::u64(..)));
        println!("seed: LONGWIRE_SEED={}", random.get_seed());
        let mut outcomes = [0; 2];
        for round in 0..30_000 {
            // How often which of them is first depends on what else the machine does.
            if round >= 300 && outcomes.iter().all(|count| *count > 10) {
                break;
            }
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (mut old, mut new) = (Channel::new(ours).unwrap(), Channel::new(theirs).unwrap());
            // Around the patience of the other side, on a clock finer than the runtime's.
            let delay = Duration::from_micros(random.u64(1000..3500));
            let successor = tokio::spawn(async move {
                let asked = std::time::Instant::now();
                // On a busy machine the other side may have given up before it has said anything.
                let Ok(go) = new.receive().await else { return false };
                assert!(matches!(go.message, Message::Go { tunnels: 7, .. }));
                while asked.elapsed() < delay {
                    tokio::task::yield_now().await;
                }
                new.send(&Message::Running { tunnels: 7 }, &[]).await.is_ok()
            });
            let heard = go(&mut old, 7, Duration::from_millis(2)).await.is_ok();
            drop(old);
            assert_eq!(heard, successor.await.unwrap());
            outcomes[usize::from(heard)] += 1;
        }
        assert!(outcomes.iter().all(|count| *count > 10), "both must happen: {outcomes:?}");
    }

    #[tokio::test]
    async fn an_answer_that_is_not_the_one_is_told() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut old, new) = (Channel::new(ours).unwrap(), Channel::new(theirs).unwrap());
        new.send(&Message::Refused("no space left".into()), &[]).await.unwrap();
        let Broken(why) = go(&mut old, 1, Duration::from_secs(10)).await.unwrap_err();
        assert_eq!(why, "it refuses: no space left");
        drop(new);
        let Broken(why) = go(&mut old, 1, Duration::from_secs(10)).await.unwrap_err();
        assert_eq!(why, "it ended before it was ready");
    }

    #[tokio::test]
    async fn a_successor_that_cannot_read_our_tunnels_is_sent_none() {
        let ours = Parcel::VERSION;
        let (_new, socket) = UnixStream::pair().unwrap();
        let hello = Hello { protocol: [VERSION; 2], tunnels: [ours; 2], name: String::new() };
        let mut predecessor = Predecessor {
            successor: Started { child: std::process::Command::new("true").spawn().unwrap(), is_ours: true },
            channel: Channel::new(socket).unwrap(),
            patience: Patience::usual(),
            hello,
            counted: [0; 2],
            staying: Arc::default(),
            reason: String::new(),
        };
        for (reads, unreadable) in [
            ([1, ours], false),
            ([ours, ours + 1], false),
            ([ours + 1, ours + 2], true),
            ([0, ours - 1], true),
        ] {
            predecessor.hello.tunnels = reads;
            assert_eq!(predecessor.unreadable().is_some(), unreadable, "{reads:?}");
        }
    }
}
