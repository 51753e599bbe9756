//! What the black-box tests stand on: the program in a process of its own, raw peers, and bounded waits.
//!
//! Nothing here waits for a fixed time. Everything waits for the thing itself, and gives up after [`WAIT`].
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each test binary uses its own part of this module"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

pub mod admin;
pub mod backend;
pub mod conn;
pub mod dns;
pub mod duplex;
pub mod frames;
pub mod instance;
pub mod lineage;
pub mod tls;
pub mod traffic;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

pub use backend::Backend;
pub use conn::{Conn, Head};
pub use frames::{Frame, close, text};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything may take that should happen at once. Generous: the machine may be busy with other work, and only a
/// test that fails ever waits for so long.
pub const WAIT: Duration = Duration::from_secs(60);

/// A fresh folder under the system's temporary one, removed with everything in it at the end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("longwire-{}-{serial}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file here and gives its path.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The command under test, in a folder of its own so that `-p` and relative paths stay there.
pub fn longwire() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longwire"));
    command.stdin(Stdio::null());
    command
}

/// Runs the program to its end, at most [`WAIT`], and gives status, standard output and standard error.
pub fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_raw(child.id() as i32);
    let (done, waiting) = std::sync::mpsc::sync_channel::<()>(0);
    // A watchdog by pid: should the program stay, it is ended, and the test sees a status of None.
    let watchdog = std::thread::spawn(move || {
        if waiting.recv_timeout(WAIT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = kill(pid, Signal::SIGKILL);
        }
    });
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    drop(done);
    watchdog.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code(), text(stdout), text(stderr))
}

/// `-t` on this text: whether it is good, and what was said.
pub fn check(configuration: &str) -> (bool, String) {
    let folder = Folder::new();
    let file = folder.write("longwire.conf", in_folder(configuration, &folder));
    let (status, _, said) = run(longwire().arg("-t").arg("-c").arg(file).arg("-p").arg(folder.path()));
    (status == Some(0), said)
}

/// `DIR` in a configuration stands for the folder that it runs in.
fn in_folder(configuration: &str, folder: &Folder) -> String {
    configuration.replace("DIR", &folder.path().display().to_string())
}

/// Lines of the error log as they come, with a bell that rings for each.
#[derive(Default)]
struct Log {
    state: Mutex<(String, bool)>,
    bell: Condvar,
}

impl Log {
    fn follow(self: &Arc<Log>, pipe: impl std::io::Read + Send + 'static) {
        let log = Arc::clone(self);
        std::thread::spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
                log.state.lock().unwrap().0.push_str(&String::from_utf8_lossy(&line));
                log.bell.notify_all();
                line.clear();
            }
            log.state.lock().unwrap().1 = true;
            log.bell.notify_all();
        });
    }

    /// Waits until `found` gives something from the text.
    fn wait<T>(&self, bound: Duration, mut found: impl FnMut(&str) -> Option<T>) -> Result<T, String> {
        let end = Instant::now() + bound;
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(it) = found(&state.0) {
                return Ok(it);
            }
            let left = end.saturating_duration_since(Instant::now());
            if state.1 || left.is_zero() {
                return Err(state.0.clone());
            }
            state = self.bell.wait_timeout(state, left).unwrap().0;
        }
    }
}

/// The program, running. Ended by its pid when dropped.
pub struct Longwire {
    child: Child,
    folder: Folder,
    log: Arc<Log>,
    addresses: Vec<String>,
}

impl Longwire {
    /// Runs this configuration and waits until every address it listens on is bound.
    pub fn start(configuration: &str) -> Longwire {
        Longwire::start_in(Folder::new(), configuration, &[])
    }

    /// Same in a folder that holds files already, with more arguments.
    pub fn start_in(folder: Folder, configuration: &str, arguments: &[&str]) -> Longwire {
        let file = folder.write("longwire.conf", in_folder(configuration, &folder));
        let mut command = longwire();
        command.arg("-c").arg(file).arg("-p").arg(folder.path()).args(arguments);
        Longwire::spawn(folder, command, listens(configuration))
    }

    /// Runs any command line of the program that listens on this many addresses.
    pub fn spawn(folder: Folder, mut command: Command, listens: usize) -> Longwire {
        command.stdout(Stdio::null());
        Longwire::spawn_as_is(folder, command, listens)
    }

    /// The same with the standard output that the command has.
    pub fn spawn_as_is(folder: Folder, mut command: Command, listens: usize) -> Longwire {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Log::default());
        log.follow(child.stderr.take().unwrap());
        let mut longwire = Longwire { child, folder, log, addresses: Vec::new() };
        let addresses = longwire.log.wait(WAIT, |log| {
            let found: Vec<String> = log.lines().filter_map(listening_on).collect();
            (found.len() >= listens).then_some(found)
        });
        longwire.addresses = addresses.unwrap_or_else(|log| panic!("it listens on no address:\n{log}"));
        longwire
    }

    /// The first address that it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr_on("")
    }

    /// The address that begins so: tests give each listener a loopback address of its own.
    pub fn addr_on(&self, host: &str) -> SocketAddr {
        let found = self.addresses.iter().find(|a| a.starts_with(host)).unwrap();
        found.parse().unwrap_or_else(|e| panic!("{found}: {e}"))
    }

    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).unwrap();
    }

    /// Puts another configuration in the file, has it read, and gives what the error log says until that is done.
    pub fn reload(&self, configuration: &str) -> String {
        self.folder.write("longwire.conf", in_folder(configuration, &self.folder));
        let before = self.log().len();
        self.signal(Signal::SIGHUP);
        let said = self.log.wait(WAIT, |log| {
            let said = &log[before..];
            let end = said.find("reload done").or_else(|| said.find("reload failed"))?;
            Some(said[..end + said[end..].find('\n')?].to_owned())
        });
        said.unwrap_or_else(|log| panic!("the reload did not end:\n{log}"))
    }

    /// The error log so far.
    pub fn log(&self) -> String {
        self.log.state.lock().unwrap().0.clone()
    }

    /// Waits for a line of the error log that holds all of these, and gives it.
    pub fn wait_log(&self, parts: &[&str]) -> String {
        let line = |log: &str| log.lines().find(|l| parts.iter().all(|p| l.contains(p))).map(str::to_string);
        self.log
            .wait(WAIT, line)
            .unwrap_or_else(|log| panic!("no line with {parts:?} in the error log:\n{log}"))
    }

    /// Waits for its end and gives the status.
    pub fn wait_exit(&mut self, bound: Duration) -> ExitStatus {
        // The pipe ends with the process, so the log's end is a bell for the process's end too.
        let ended = self.log.wait(bound, |_| None::<()>);
        let log = ended.expect_err("waits for nothing but the end");
        assert!(self.log.state.lock().unwrap().1, "still running after {bound:?}:\n{log}");
        self.child.wait().unwrap()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Files that the process has open.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Waits until it has this many files open, or fewer: what a connection held was given back.
    pub fn wait_open_files(&self, expected: usize) {
        until("open files go back to what they were", || self.open_files() <= expected);
    }

    /// Threads that it runs.
    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().count()
    }

    /// Processes that it has started and that are there.
    pub fn children(&self) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().flatten();
        let children = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children"));
        tasks.filter_map(|task| children(task).ok()).map(|list| list.split_whitespace().count()).sum()
    }

    /// Memory that it has filled, in KiB. Pages of its file are left out: their share depends on who else runs it.
    pub fn memory_kib(&self) -> i64 {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid())).unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix("Pss_Anon:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }
}

impl Drop for Longwire {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log();
        if std::thread::panicking() {
            eprintln!("--- error log of longwire ---\n{log}---");
        } else {
            assert!(!log.contains("panicked"), "the program panicked:\n{log}");
        }
    }
}

/// A connection that ended in time, not at once and not after an age.
pub fn between(took: Duration, least_ms: u64, most_ms: u64) {
    let (least, most) = (Duration::from_millis(least_ms), Duration::from_millis(most_ms));
    assert!((least..most).contains(&took), "took {took:?}, expected {least:?} to {most:?}");
}

/// The seed of a random test: a new one each time, or the one in LONGWIRE_SEED. A failing test prints it.
pub fn seed() -> u64 {
    let seed =
        std::env::var("LONGWIRE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("seed: LONGWIRE_SEED={seed}");
    seed
}

/// Whether the long forms of tests were asked for, by `LONGWIRE_LONG=1`.
pub fn is_long() -> bool {
    std::env::var_os("LONGWIRE_LONG").is_some()
}

/// Waits until something holds that no event announces, looking again every few milliseconds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + WAIT;
    while !holds() {
        assert!(Instant::now() < end, "not within {WAIT:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A configuration with one server that passes everything to this backend.
pub fn site(backend: SocketAddr, directives: &str) -> String {
    format!(
        "server {{\n    listen 127.0.0.1:0;\n    location / {{\n        proxy_pass http://{backend};\n        \
         {directives}\n    }}\n}}\n"
    )
}

/// The address in a line `... listening on 127.0.0.1:43127`.
fn listening_on(line: &str) -> Option<String> {
    let (_, address) = line.split_once("listening on ")?;
    Some(address.split_whitespace().next()?.trim_end_matches([',', '"', '}']).to_string())
}

/// How many different addresses the `listen` and `admin` directives of a configuration name.
fn listens(configuration: &str) -> usize {
    let mut found: Vec<&str> = configuration
        .split([';', '{', '}', '\n'])
        .filter_map(|d| {
            let directive = d.trim();
            directive
                .strip_prefix("listen ")
                .or_else(|| directive.strip_prefix("admin "))?
                .split_whitespace()
                .next()
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found.len().max(1)
}
