//! Open files and the thread that writes to them.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use longwire_conf::model::{Level, LogTarget, Syslog};

use super::error::{self, Context};
use super::syslog::Wire;
use crate::clock;

/// Lines that may wait: seconds of traffic at full speed, and a few megabytes at worst.
const QUEUE: usize = 8192;

/// Lines that are written together when they wait together.
const BATCH: usize = 256;

/// A log that cannot be opened.
#[derive(Debug)]
pub struct OpenError {
    /// Where it goes.
    pub target: LogTarget,
    /// Why.
    pub source: io::Error,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            LogTarget::File(path) => write!(f, "open() \"{}\" failed: {}", path.display(), self.source),
            LogTarget::Stderr => write!(f, "standard error cannot be logged to: {}", self.source),
            syslog => write!(f, "\"{syslog}\" cannot be logged to: {}", self.source),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// An open log.
#[derive(Debug)]
pub(super) struct Sink {
    target: LogTarget,
    output: Mutex<Output>,
}

/// What lines go to.
#[derive(Debug)]
enum Output {
    File(File),
    Syslog(Wire),
}

impl Sink {
    pub(super) fn open(target: LogTarget) -> Result<Sink, OpenError> {
        let output = open(&target).map_err(|source| OpenError { target: target.clone(), source })?;
        Ok(Sink { target, output: Mutex::new(output) })
    }

    pub(super) fn reopen(&self) -> Result<(), OpenError> {
        let output = open(&self.target);
        let output = output.map_err(|source| OpenError { target: self.target.clone(), source })?;
        *self.output.lock().unwrap_or_else(PoisonError::into_inner) = output;
        Ok(())
    }

    /// The syslog server behind it.
    pub(super) fn syslog(&self) -> Option<&Syslog> {
        match &self.target {
            LogTarget::Syslog(syslog) => Some(syslog),
            _ => None,
        }
    }

    /// Writes whole lines, so many. Gives how many were lost.
    fn write(&self, lines: &[u8], count: u64) -> u64 {
        match (&mut *self.output.lock().unwrap_or_else(PoisonError::into_inner), self.syslog()) {
            // One call: under O_APPEND lines of several processes never mix.
            (Output::File(file), _) => {
                if file.write_all(lines).is_err() {
                    count
                } else {
                    0
                }
            }
            (Output::Syslog(wire), Some(syslog)) => wire.send(&syslog.server, lines),
            (Output::Syslog(_), None) => count,
        }
    }
}

/// Standard streams are duplicated, because opening them by name fails when they are sockets.
fn open(target: &LogTarget) -> io::Result<Output> {
    let path = match target {
        LogTarget::Stderr => Path::new("/dev/stderr"),
        LogTarget::File(path) => path,
        LogTarget::Syslog(syslog) => return Wire::open(&syslog.server).map(Output::Syslog),
    };
    let stream = match path.to_str() {
        Some("/dev/stderr") => io::stderr().as_fd().try_clone_to_owned()?,
        Some("/dev/stdout") => io::stdout().as_fd().try_clone_to_owned()?,
        _ => return OpenOptions::new().append(true).create(true).open(path).map(Output::File),
    };
    Ok(Output::File(File::from(stream)))
}

enum Message {
    Line(Arc<Sink>, Arc<[u8]>),
    /// All before it is written once this is answered.
    Flush(SyncSender<()>),
}

/// The way to the writer thread, which ends with it.
#[derive(Debug)]
pub(super) struct Writer {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the thread. `fallback` is told how many lines were lost.
    pub(super) fn start(fallback: Arc<Sink>) -> Result<Writer, OpenError> {
        let (queue, lines) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        let run = move || run(&lines, &counter, &fallback);
        let thread = thread::Builder::new().name("log".to_owned()).spawn(run);
        thread.map_err(|source| OpenError { target: LogTarget::Stderr, source })?;
        Ok(Writer { queue, lost })
    }

    pub(super) fn write(&self, sink: Arc<Sink>, line: Arc<[u8]>) {
        if self.queue.try_send(Message::Line(sink, line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn flush(&self, patience: Duration) {
        let deadline = clock::now_us() + clock::micros(patience);
        let (done, wait) = sync_channel(1);
        let mut message = Message::Flush(done);
        while let Err(TrySendError::Full(back)) = self.queue.try_send(message) {
            if clock::now_us() >= deadline {
                return;
            }
            message = back;
            thread::sleep(Duration::from_millis(1));
        }
        // Either it was done, or the time is up: nothing more can be done here.
        let _ = wait.recv_timeout(Duration::from_micros(deadline.saturating_sub(clock::now_us())));
    }
}

/// Time between two lines that tell of losses: a full disk must not fill the fallback too.
const QUIET: Duration = Duration::from_secs(1);

fn run(lines: &Receiver<Message>, lost: &AtomicU64, fallback: &Sink) {
    let mut next_us = 0;
    let mut due = Due::default();
    loop {
        // Whatever is lost is lost while this thread is busy, so it never sleeps over news.
        let message = match lost.load(Ordering::Relaxed) {
            0 => lines.recv().map_err(RecvTimeoutError::from),
            _ => lines.recv_timeout(QUIET),
        };
        let mut flushed = None;
        match message {
            Ok(Message::Line(sink, line)) => flushed = due.gather(sink, &line, lines),
            Ok(Message::Flush(done)) => flushed = Some(done),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return say_lost(lost, fallback),
        }
        due.write(lost);
        if flushed.is_some() || clock::now_us() >= next_us {
            say_lost(lost, fallback);
            next_us = clock::now_us() + clock::micros(QUIET);
        }
        // Whoever waited may have given up.
        flushed.map(|done| done.send(()));
    }
}

/// Lines that are due at once, by file: each file takes its own in one call.
#[derive(Default)]
struct Due(Vec<(Arc<Sink>, Vec<u8>, u64)>);

impl Due {
    /// Adds a line and those that wait behind it, [`BATCH`] at most. Stops at whoever waits for all of them.
    fn gather(&mut self, sink: Arc<Sink>, line: &[u8], lines: &Receiver<Message>) -> Option<SyncSender<()>> {
        self.add(sink, line);
        for _ in 1..BATCH {
            match lines.try_recv().ok()? {
                Message::Line(sink, line) => self.add(sink, &line),
                Message::Flush(done) => return Some(done),
            }
        }
        None
    }

    fn add(&mut self, sink: Arc<Sink>, line: &[u8]) {
        match self.0.iter_mut().find(|(known, ..)| Arc::ptr_eq(known, &sink)) {
            Some((_, text, count)) => {
                text.extend_from_slice(line);
                *count += 1;
            }
            None => self.0.push((sink, line.to_vec(), 1)),
        }
    }

    fn write(&mut self, lost: &AtomicU64) {
        for (sink, text, count) in self.0.drain(..) {
            lost.fetch_add(sink.write(&text, count), Ordering::Relaxed);
        }
    }
}

fn say_lost(lost: &AtomicU64, fallback: &Sink) {
    let count = lost.swap(0, Ordering::Relaxed);
    if count == 0 {
        return;
    }
    let message = format_args!("{count} lines of logs were lost");
    // If not even this can be written, nobody is left to be told.
    let _ = fallback.write(error::line(Level::Alert, &Context::default(), &message).as_bytes(), 1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn what_is_lost_is_counted_and_said() {
        let path = std::env::temp_dir().join(format!("longwire-lost-{}", std::process::id()));
        let fallback = Arc::new(Sink::open(LogTarget::File(path.clone())).unwrap());
        let full = Arc::new(Sink::open(LogTarget::File(PathBuf::from("/dev/full"))).unwrap());
        let writer = Writer::start(Arc::clone(&fallback)).unwrap();
        writer.write(Arc::clone(&full), Arc::from(&b"line\n"[..]));
        writer.flush(Duration::from_secs(10));
        // Nothing gets through while this is held, so the queue fills.
        let held = full.output.lock().unwrap();
        for _ in 0..QUEUE + BATCH + 10 {
            writer.write(Arc::clone(&full), Arc::from(&b"line\n"[..]));
        }
        assert!(writer.lost.load(Ordering::Relaxed) >= 9);
        writer.flush(Duration::from_millis(5));
        drop(held);
        writer.flush(Duration::from_secs(10));
        let said = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(
            said.lines().all(|line| line.contains(" [alert] ") && line.ends_with("lines of logs were lost"))
        );
        let count = |line: &str| line.split(": ").nth(1)?.split(' ').next()?.parse::<usize>().ok();
        assert_eq!(said.lines().filter_map(count).sum::<usize>(), 1 + QUEUE + BATCH + 10);
    }

    /// What waits while a file is busy is written at once, each line to its file and in its order.
    #[test]
    fn lines_that_wait_are_written_together_and_none_is_lost() {
        let path = |name: &str| std::env::temp_dir().join(format!("longwire-{name}-{}", std::process::id()));
        let [odd, even] =
            ["odd", "even"].map(|name| Arc::new(Sink::open(LogTarget::File(path(name))).unwrap()));
        let writer = Writer::start(Arc::clone(&odd)).unwrap();
        let held = odd.output.lock().unwrap();
        for number in 0..1000 {
            let sink = if number % 2 == 0 { &even } else { &odd };
            writer.write(Arc::clone(sink), format!("{number}\n").into_bytes().into());
        }
        drop(held);
        writer.flush(Duration::from_secs(10));
        for (name, rest) in [("odd", 1), ("even", 0)] {
            let said = std::fs::read_to_string(path(name)).unwrap();
            std::fs::remove_file(path(name)).unwrap();
            let expected: String = (0..1000).filter(|n| n % 2 == rest).map(|n| format!("{n}\n")).collect();
            assert_eq!(said, expected);
        }
    }
}
