//! What systemd is told, what it may give, and what is installed for it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::conn::get;
use support::{Folder, Longwire, WAIT, longwire, run, until};

const SAYS: &str = "server { listen 127.0.0.1:0; location / { return 200 here; } }";

/// A socket as systemd listens on for news of its services.
struct Systemd(UnixDatagram);

impl Systemd {
    fn at(folder: &Folder) -> Systemd {
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(WAIT)).unwrap();
        Systemd(socket)
    }

    /// The next news, line by line.
    fn hears(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let length = self.0.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned).collect()
    }
}

fn start_told(folder: Folder, path: &str) -> Longwire {
    let file = folder.write("longwire.conf", SAYS);
    let mut command = longwire();
    command.arg("-c").arg(file).arg("-p").arg(folder.path()).env("NOTIFY_SOCKET", path);
    Longwire::spawn(folder, command, 1)
}

fn monotonic_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

#[test]
fn systemd_is_told_of_start_reload_and_end() {
    let folder = Folder::new();
    let systemd = Systemd::at(&folder);
    let path = folder.path().join("notify").display().to_string();
    let mut longwire = start_told(folder, &path);
    assert!(systemd.hears().contains(&"READY=1".to_owned()));
    for (configuration, answer) in
        [(SAYS.replace("here", "there"), "there"), ("listn 80;".to_owned(), "there")]
    {
        let before = monotonic_us();
        longwire.folder().write("longwire.conf", &configuration);
        longwire.signal(Signal::SIGHUP);
        let news = systemd.hears();
        assert!(news.contains(&"RELOADING=1".to_owned()), "{news:?}");
        let time = news.iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
        assert!((before..=monotonic_us()).contains(&time.parse().unwrap()), "{news:?} after {before}");
        // Also one that failed is over.
        assert!(systemd.hears().contains(&"READY=1".to_owned()));
        assert_eq!(get(longwire.addr(), "/").1, answer);
    }
    longwire.signal(Signal::SIGQUIT);
    assert!(systemd.hears().contains(&"STOPPING=1".to_owned()));
    assert!(longwire.wait_exit(WAIT).success());
}

#[test]
fn systemd_is_told_who_serves_after_an_upgrade() {
    let folder = Folder::new();
    let systemd = Systemd::at(&folder);
    let path = folder.path().join("notify").display().to_string();
    let mut longwire = start_told(folder, &path);
    assert!(systemd.hears().contains(&"READY=1".to_owned()));
    longwire.signal(Signal::SIGUSR2);
    let line = longwire.wait_log(&["upgrade: process ", " serves"]);
    let (_, rest) = line.split_once("upgrade: process ").unwrap();
    let successor = Successor(Pid::from_raw(rest.split_whitespace().next().unwrap().parse().unwrap()));
    // One from each of them, in any order; the old one does not say that the service stops.
    let news = [systemd.hears(), systemd.hears()].concat();
    assert!(
        news.contains(&format!("MAINPID={}", successor.0)) && news.contains(&"READY=1".to_owned()),
        "{news:?}"
    );
    until("the old process ends", || !longwire.runs());
    kill(successor.0, Signal::SIGQUIT).unwrap();
    assert!(systemd.hears().contains(&"STOPPING=1".to_owned()));
}

/// A process that an upgrade has started; it ends with the test.
struct Successor(Pid);

impl Drop for Successor {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
    }
}

#[test]
fn an_abstract_socket_is_told_as_well_and_one_that_is_gone_is_said() {
    use std::os::linux::net::SocketAddrExt as _;
    let name = format!("longwire-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(WAIT)).unwrap();
    let longwire = start_told(Folder::new(), &format!("@{name}"));
    assert!(Systemd(socket).hears().contains(&"READY=1".to_owned()));
    drop(longwire);
    let longwire = start_told(Folder::new(), "/does/not/exist");
    longwire.wait_log(&["[warn]", "systemd could not be told", "/does/not/exist"]);
    assert_eq!(get(longwire.addr(), "/").1, "here");
}

/// The program as systemd starts it: with these sockets from descriptor 3 on.
fn activated(folder: Folder, configuration: &str, sockets: [OwnedFd; 2], pid: &str) -> Longwire {
    let file = folder.write("longwire.conf", configuration);
    let [first, second] = sockets;
    let script = format!(
        "export LISTEN_FDS=2 LISTEN_PID={pid} LISTEN_FDNAMES=web:other; exec \"$@\" 3<&0 4<&1 0</dev/null 1>&2"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).arg(longwire().get_program()).arg("-c").arg(file);
    command.arg("-p").arg(folder.path()).stdin(first);
    // Standard output is the second one, for the shell.
    command.stdout(second);
    Longwire::spawn_as_is(folder, command, configuration.matches("listen ").count())
}

fn bound() -> (OwnedFd, SocketAddr) {
    let socket = TcpListener::bind(support::backend::nobody()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket.into(), address)
}

#[test]
fn sockets_of_systemd_are_taken_and_those_that_nobody_wants_are_closed() {
    let ((wanted, address), (other, unwanted)) = (bound(), bound());
    let configuration = SAYS.replace("127.0.0.1:0", &address.to_string());
    let mut longwire = activated(Folder::new(), &configuration, [wanted, other], "$$");
    assert_eq!(get(address, "/").1, "here");
    let log = longwire.wait_log(&["not listening on", &unwanted.to_string(), "systemd has bound it"]);
    assert!(log.contains("[warn]"), "{log}");
    assert!(std::net::TcpStream::connect(unwanted).is_err(), "nobody would ever answer there");
    longwire.reload(&configuration.replace("here", "there"));
    assert_eq!(get(address, "/").1, "there");
    longwire.signal(Signal::SIGQUIT);
    assert!(longwire.wait_exit(WAIT).success());
}

#[test]
fn the_file_of_a_unix_socket_is_systemds_and_stays() {
    let folder = Folder::new();
    let path = folder.path().join("socket");
    let socket = UnixListener::bind(&path).unwrap();
    let (_, unused) = bound();
    let configuration = format!("server {{ listen unix:{}; return 200 here; }}", path.display());
    let kept = socket.try_clone().unwrap();
    let longwire = activated(
        folder,
        &configuration,
        [socket.into(), UnixListener::bind(path.with_extension("2")).unwrap().into()],
        "$$",
    );
    longwire.wait_log(&["listening on", "socket"]);
    longwire.reload(&format!("server {{ listen {unused}; return 200 here; }}"));
    longwire.wait_log(&["not listening on", "socket"]);
    assert!(path.exists(), "systemd still listens there");
    drop((longwire, kept));
}

#[test]
fn sockets_that_are_meant_for_another_process_are_left_alone() {
    let ((one, address), (other, _)) = (bound(), bound());
    let configuration = SAYS.replace("127.0.0.1:0", &address.to_string());
    let folder = Folder::new();
    let file = folder.write("longwire.conf", &configuration);
    let mut command = longwire();
    command.arg("-c").arg(file).arg("-p").arg(folder.path()).env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    let (status, _, said) = run(&mut command);
    assert_eq!(status, Some(1), "the address is taken, and not by us");
    assert!(said.contains("another program listens there already"), "{said}");
    drop((one, other));
}

fn packaging() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging"))
}

#[test]
fn what_is_installed_passes_its_own_checks() {
    let folder = Folder::new();
    let mut install = Command::new(packaging().join("install"));
    install.arg(folder.path()).env("PROGRAM", longwire().get_program());
    let (status, _, said) = run(&mut install);
    assert_eq!(status, Some(0), "{said}");
    let root = |path: &str| folder.path().join(path);
    // Where the folders of the service are, the configuration is good as it stands.
    let text = folder.read("etc/longwire/longwire.conf");
    let here = text.replace("/run/longwire", "run").replace("/var/log/longwire", "logs");
    assert_ne!(here, text);
    std::fs::create_dir_all(root("logs")).unwrap();
    folder.write("etc/longwire/longwire.conf", &here);
    let mut check = longwire();
    check.arg("-t").arg("-c").arg(root("etc/longwire/longwire.conf")).arg("-p").arg(folder.path());
    let (status, _, said) = run(&mut check);
    assert_eq!(status, Some(0), "{said}");
    // It is asked anew about nothing that was changed.
    let (status, _, said) = run(&mut install);
    assert_eq!((status, folder.read("etc/longwire/longwire.conf")), (Some(0), here), "{said}");
    if run(Command::new("systemd-analyze").arg("--version")).0 != Some(0) {
        return println!("SKIPPED: there is no systemd-analyze");
    }
    let units = ["longwire.service", "longwire.socket"].map(|unit| root("usr/lib/systemd/system").join(unit));
    for unit in &units {
        let text = std::fs::read_to_string(unit).unwrap();
        let program = root("usr/sbin/longwire").display().to_string();
        std::fs::write(unit, text.replace("/usr/sbin/longwire", &program)).unwrap();
    }
    let mut verify = Command::new("systemd-analyze");
    let (status, _, said) = run(verify.args(["verify", "--man=no", "--recursive-errors=no"]).args(&units));
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("longwire")).collect();
    assert!(status == Some(0) && ours.is_empty(), "{said}");
}
