//! Handing everything to a new process of the program: `-s upgrade`, SIGUSR2.
//!
//! The old process starts the program's file anew, gives it the listening sockets and then every tunnel that can go,
//! and ends. [`message`] has what the two say to each other, and the format that stays readable between versions.
//!
//! # The two sides
//!
//! ```text
//! old process                                        new process
//! serves                                             starts
//!   waits 10 s                  <- Hello              reads its configuration, builds all that serving needs
//!   gives          Sockets, State ->                  takes or binds its sockets, accepts on none
//!   waits 60 s                  <- Ready, or Refused  waits
//! parks up to 10,000 tunnels
//!   a hundred at a time    Batch ->                   unpacks, drives nothing
//!   waits 5 s for each          <- Taken, or Short
//!   all are there             Go ->                   writes the pid file
//!   waits 5 s                   <- Running            drives these tunnels, accepts
//! forgets these tunnels, accepts no more
//!   again, of what was a handshake meanwhile: Batch ... Running
//!   nobody is left who could become a tunnel: Over -> serves alone
//! tells those who stay to come back (1012), waits for them, ends
//! ```
//!
//! # One owner
//!
//! A tunnel is owned by the process that may read from it and write to it. Two would take bytes from each other and use
//! numbers of TLS records twice; none would leave it silent. It changes hands in one moment: when the new process has
//! queued Running on the socket between the two.
//!
//! - The new process drives a tunnel only after the kernel has taken Running, whole, into the queue. Where that fails
//!   it closes its descriptors and forgets, and as the old process has its own nobody at the other ends notices.
//! - The old process goes on with a tunnel that it has parked only when it knows that there is no Running: it shuts
//!   its reading end, after which the kernel refuses whatever the other side sends, and then looks through the
//!   queue once more. The shutting and the queueing happen under one lock of the kernel, so Running is either
//!   found there or was never taken.
//!
//! So every failure has one answer:
//!
//! | what fails | what the old process sees | who owns |
//! |---|---|---|
//! | the program's file is not there, or no program | it cannot be started | old: nothing was given |
//! | it ends at once, is no such program, or hangs | end of the socket, or no Hello in time | old: nothing was given |
//! | configuration, certificate or address is bad | Refused, with the reason | old: nothing was parked |
//! | killed or stuck before Ready | end, or no Ready in time | old: nothing was parked |
//! | its limit of open files is too low | Short | old: it goes on with what it parked |
//! | a tunnel cannot be unpacked | its place in Taken | old, for this one; it stays there and is drained |
//! | killed or stuck among batches | end, or no Taken in time | old: Running was not sent |
//! | killed or stuck between Go and Running | end, or nothing in time, and nothing in the queue | old |
//! | late: it says Running as the old one gives up | Running in the queue | new |
//! | killed after Running | Running in the queue | new, and it is dead: these tunnels end as with any process that is killed |
//! | the old process is killed | (new: end of the socket) | before Running nobody is left, and the new one ends, too; afterwards new |
//!
//! Until the first Running the old process accepts connections, and kills the new one when something fails: it goes on
//! as if nothing had been. Afterwards the new one serves, and is left alone: if a later wave fails, its tunnels stay
//! with the old process and are drained by it; if the new process dies while the old one still has the listening
//! sockets, the old one accepts again.
//!
//! # What goes and what stays
//!
//! Over go: listening sockets, the pid file, counts, keys of session tickets, and tunnels with all that belongs to them
//! ([`Parcel`](crate::tunnel::Parcel)). Handshakes that are in work end where they began, and their tunnels follow. What is served as
//! HTTP ends where it is, idle connections at once, as with a listening socket that was removed. Tunnels in streams of
//! HTTP/2, those that run as tasks of the runtime, and those that the new version cannot read stay and are drained. What
//! is only known by experience is learned anew: who was found ill, learned sessions, rates of `limit_req`.
//!
//! The new process has the rights of the old one, which may be those of `user`: it can then read, open and bind only what
//! that user may.
//!
//! Secrets (keys of TLS, keys of tickets) cross the socket and nothing else: it is half of a pair that nobody else can
//! open, and is the standard input of the new process. Buffers that held them are wiped.

mod channel;
mod message;
mod predecessor;
mod program;
mod step;
mod successor;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use longwire_conf::model::Level;

use super::run::{self, Running};
use super::signals::Wish;
use super::{say, systemd};
use crate::clock;
use crate::log::Logs;
use crate::metrics::COUNTS;
use crate::tls;
use predecessor::{Estate, Predecessor};

pub(super) use program::Program;
pub(super) use successor::{Arriving, Heir, Successor};

/// How often the old process looks for new tunnels, once the new one serves.
const ROUND: Duration = Duration::from_millis(50);
/// How long it does so at most: whoever is still in work then finishes there, and what it becomes stays there.
const FOLLOWING: Duration = Duration::from_secs(8);

/// An upgrade that begins, if there is one.
#[derive(Default)]
pub(super) struct Upgrade(Option<Beginning>);

type Beginning = Pin<Box<dyn Future<Output = Result<Predecessor, String>> + Send>>;

impl Upgrade {
    /// Whether a new process is being waited for.
    pub(super) fn is_under_way(&self) -> bool {
        self.0.is_some()
    }

    /// Starts the new process, or says why not.
    pub(super) fn begin(&mut self, running: &Running) {
        let logs = &running.service.snapshot.logs;
        let refuse = |why: std::fmt::Arguments<'_>| say(logs, Level::Error, format_args!("upgrade: {why}"));
        let refused = if self.is_under_way() {
            Some("one is under way already")
        } else if !running.has_arrived() {
            Some("the one before has not ended: the old process still hands over")
        } else if running.origin.is_none() {
            Some("there is no configuration file that a new process could read")
        } else if std::process::id() == 1 {
            Some("this is process 1 of a container, which would end with it: replace the container")
        } else {
            None
        };
        if let Some(why) = refused {
            return refuse(format_args!("{why}, nothing changes"));
        }
        match estate(running) {
            Ok(estate) => {
                say(logs, Level::Notice, format_args!("upgrade: starting {}", running.program));
                self.0 = Some(Box::pin(predecessor::begin(running.program.clone(), estate)));
            }
            Err(error) => refuse(format_args!("nothing changes: {error}")),
        }
    }

    /// Waits until the new process is ready, or has failed; for ever where there is none.
    pub(super) async fn begun(&mut self) -> Begun {
        let Some(beginning) = &mut self.0 else { return std::future::pending().await };
        let begun = beginning.await;
        self.0 = None;
        Begun(begun)
    }
}

/// A new process that is ready, or why there is none.
pub(super) struct Begun(Result<Predecessor, String>);

/// What came of an upgrade.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This process goes on.
    Stays,
    /// Another one serves: this one ends when those who stayed have gone.
    Replaced,
    /// As before, and somebody asks for haste.
    Hurried,
}

/// Duplicates what is given, so that nothing of it changes while the new process begins.
fn estate(running: &Running) -> io::Result<Estate> {
    Ok(Estate {
        sockets: running.sockets.share()?,
        pid_file: running.pid_file.as_ref().map(|file| file.share()).transpose()?,
        tickets: tls::tickets::export(),
        counts: running.service.census.counts(),
    })
}

impl Begun {
    /// Hands over.
    pub(super) async fn hand_over(self, running: &mut Running) -> Verdict {
        let logs = running.service.snapshot.logs.clone();
        let tunnels = running.service.tunnels.clone();
        let committed = match self.0 {
            Ok(mut predecessor) => predecessor.commit(&tunnels).await.map(|count| (predecessor, count)),
            Err(why) => Err(why),
        };
        let (predecessor, count) = match committed {
            Ok(committed) => committed,
            Err(why) => {
                COUNTS.upgrades_failed.add();
                say(&logs, Level::Error, format_args!("upgrade failed, this process goes on: {why}"));
                claim(running, &logs);
                return Verdict::Stays;
            }
        };
        let (process, version) = (predecessor.successor(), predecessor.version());
        say(
            &logs,
            Level::Notice,
            format_args!(
                "upgrade: process {process} (longwire {version}) serves, tunnels handed over: {count}"
            ),
        );
        systemd::tell(systemd::State::Successor(process), &logs);
        if let Some([lowest, highest]) = predecessor.unreadable() {
            let ours = crate::tunnel::Parcel::VERSION;
            let why = format_args!(
                "upgrade: all tunnels stay: it reads formats {lowest} to {highest} of them, theirs is {ours}"
            );
            say(&logs, Level::Warn, why);
        }
        running.sockets.pause().await;
        follow(predecessor, running, &logs, count).await
    }
}

/// The pid file names this process again.
fn claim(running: &Running, logs: &Logs) {
    if let Some(Err(error)) = running.pid_file.as_ref().map(|file| file.write()) {
        say(logs, Level::Alert, format_args!("the pid file cannot be written: {error}"));
    }
}

/// Sends what becomes a tunnel now after the `first` ones, until nobody is left who could become one.
async fn follow(mut predecessor: Predecessor, running: &mut Running, logs: &Logs, first: usize) -> Verdict {
    let tunnels = running.service.tunnels.clone();
    let end_us = clock::now_us() + clock::micros(FOLLOWING);
    let mut verdict = Verdict::Replaced;
    let mut count = 0;
    loop {
        // Before the wave: who leaves the doors later is seen in the next round.
        let last = running.sockets.is_deserted() || clock::now_us() >= end_us;
        match predecessor.follow(&tunnels).await {
            Ok(more) => {
                count += more;
                if verdict == Verdict::Hurried || (last && more == 0) {
                    break;
                }
                if more > 0 {
                    continue;
                }
            }
            Err(_) if predecessor.has_lost().await => {
                claim(running, logs);
                let service = running.service.clone();
                running.sockets.resume(&service);
                systemd::tell(systemd::State::Successor(std::process::id()), logs);
                COUNTS.upgrades_failed.add();
                let said = format_args!("upgrade: the new process has ended, this one serves again");
                say(logs, Level::Error, said);
                return Verdict::Stays;
            }
            Err(why) => {
                say(logs, Level::Error, format_args!("upgrade: what is left stays here: {why}"));
                break;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            wish = running.signals.next() => match wish {
                Wish::Stop | Wish::Quit => verdict = Verdict::Hurried,
                Wish::Reopen => run::reopen(logs),
                Wish::Reload | Wish::Upgrade => {
                    say(logs, Level::Error, format_args!("upgrade: another process serves, ask that one"));
                }
            },
        }
    }
    let (staying, why) = predecessor.staying();
    if staying > 0 {
        let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
        say(logs, Level::Warn, format_args!("upgrade: tunnels that cannot be handed over: {staying}{why}"));
    }
    predecessor.finish(running.service.census.counts()).await;
    let handed = first + count;
    let said =
        format_args!("upgrade: done, {handed} tunnels went over, {count} of them later; {staying} stay");
    say(logs, Level::Notice, said);
    verdict
}
