//! What belongs to the process at an upgrade of the program: listening sockets, requests in work, the pid file, who
//! answers to signals. What becomes of tunnels is in upgrade.rs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::backend::nobody;
use support::{Backend, Conn, Folder, Longwire, longwire, run, until};

/// The program and those that come after it: the one that the pid file names is ended at last.
struct Line(Longwire);

impl Line {
    /// Runs what these directives of `http` say; `halt` is the step at which every new process stops.
    fn start(http: &str, halt: &str) -> Line {
        let folder = Folder::new();
        put(&folder, http);
        let mut command = longwire();
        command.arg("-c").arg(folder.path().join("longwire.conf")).arg("-p").arg(folder.path());
        command.env("LONGWIRE_UPGRADE_HALT", halt);
        Line(Longwire::spawn(folder, command, http.matches("listen ").count()))
    }

    /// The process that the pid file names.
    fn pid(&self) -> i32 {
        let text = || self.0.folder().read("longwire.pid");
        until("the pid file has a number", || text().ends_with('\n'));
        text().trim().parse().unwrap()
    }

    /// Waits for the end of the first process. Its log goes on.
    fn ends(&mut self) {
        until("the first process ends", || !self.0.runs());
    }

    /// Asks for an upgrade, and waits for a line of the log that holds this.
    fn upgrade(&self, said: &str) -> String {
        self.0.signal(Signal::SIGUSR2);
        self.0.wait_log(&[said])
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let pid = self.0.folder().read("longwire.pid").trim().parse().unwrap_or_default();
        if pid > 1 && pid != self.0.pid() as i32 {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn put(folder: &Folder, http: &str) {
    let http = http.replace("DIR", &folder.path().display().to_string());
    let text = format!("pid {}/longwire.pid;\nevents {{}}\nhttp {{\n{http}}}\n", folder.path().display());
    folder.write("longwire.conf", text);
}

fn status(path: &mut Conn) -> u16 {
    path.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    path.read_head().status()
}

#[test]
fn sockets_go_over_and_follow_the_configuration() {
    let [kept, added] = [nobody(), nobody()];
    let http = |more: &str| {
        format!(
            "server {{ listen {kept}; listen unix:DIR/kept.sock; {more} location / {{ return 204; }} }}\n"
        )
    };
    let mut line = Line::start(&http("listen unix:DIR/gone.sock; listen 127.0.0.2:0;"), "");
    let file = |name: &str| line.0.folder().path().join(name);
    let (kept_file, gone_file) = (file("kept.sock"), file("gone.sock"));
    let gone = line.0.addr_on("127.0.0.2");
    put(line.0.folder(), &http(&format!("listen {added};")));
    line.upgrade("upgrade: done");
    line.ends();
    for addr in [kept, added] {
        assert_eq!(status(&mut Conn::connect(addr)), 204);
    }
    assert!(UnixStream::connect(&kept_file).is_ok(), "the old process took the file away");
    until("what nobody wants is gone", || TcpStream::connect(gone).is_err() && !gone_file.exists());
    // The last one takes its files with it.
    kill(Pid::from_raw(line.pid()), Signal::SIGTERM).unwrap();
    until("files go with the last process", || !kept_file.exists() && !file_of(&line, "longwire.pid"));
}

fn file_of(line: &Line, name: &str) -> bool {
    line.0.folder().path().join(name).exists()
}

#[test]
fn a_request_in_work_ends_where_it_is() {
    let backend = Backend::new();
    let http = format!(
        "server {{ listen 127.0.0.1:0; location / {{ proxy_pass http://{}; }} location = /quick {{ return 204; }} }}\n",
        backend.addr()
    );
    let mut line = Line::start(&http, "");
    // One that has said nothing yet is answered, too; connections are accepted in their order.
    let mut silent = Conn::connect(line.0.addr());
    let mut working = Conn::connect(line.0.addr());
    working.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut server, _) = backend.request();
    line.upgrade("serves, tunnels handed over");
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    assert_eq!(working.read_head().status(), 200);
    assert_eq!(working.read(4), b"done");
    working.expect_end();
    silent.send("GET /quick HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(silent.read_head().status(), 204);
    silent.expect_end();
    line.ends();
}

#[test]
fn when_the_new_process_dies_early_the_old_one_serves_again() {
    if !cfg!(debug_assertions) {
        println!("only a debug build halts at a step");
        return;
    }
    let http = "server { listen 127.0.0.1:0; listen unix:DIR/s.sock; location / { return 204; } }\n";
    let line = Line::start(http, "running");
    line.upgrade("upgrade halts at Running");
    line.0.wait_log(&["serves, tunnels handed over"]);
    let new = line.pid();
    assert_ne!(new, line.0.pid() as i32);
    kill(Pid::from_raw(new), Signal::SIGKILL).unwrap();
    line.0.wait_log(&["[error]", "this one serves again"]);
    assert_eq!(line.pid(), line.0.pid() as i32);
    assert_eq!(status(&mut Conn::connect(line.0.addr())), 204);
    assert!(UnixStream::connect(line.0.folder().path().join("s.sock")).is_ok());
}

#[test]
fn one_change_at_a_time() {
    if !cfg!(debug_assertions) {
        println!("only a debug build halts at a step");
        return;
    }
    let mut line = Line::start("server { listen 127.0.0.1:0; }\n", "hello");
    let halted = line.upgrade("upgrade halts at Hello");
    let new: i32 = halted.rsplit(' ').next().unwrap().parse().unwrap();
    line.upgrade("one is under way already, nothing changes");
    line.0.signal(Signal::SIGHUP);
    line.0.wait_log(&["reload: nothing changes, an upgrade is under way"]);
    // To end is always allowed, and leaves nobody behind.
    line.0.signal(Signal::SIGTERM);
    line.ends();
    until("the new process is gone", || kill(Pid::from_raw(new), None).is_err());
}

#[test]
fn signals_by_name_find_the_new_process() {
    let http = "server { listen 127.0.0.1:0; location / { return 204; } }\n";
    let mut line = Line::start(http, "");
    let command = |signal: &str| {
        let file = line.0.folder().path().join("longwire.conf");
        let (status, _, said) =
            run(longwire().arg("-c").arg(file).arg("-p").arg(line.0.folder().path()).args(["-s", signal]));
        assert_eq!(status, Some(0), "{said}");
    };
    command("upgrade");
    line.0.wait_log(&["upgrade: done"]);
    assert_eq!(status(&mut Conn::connect(line.0.addr())), 204);
    let new = line.pid();
    command("quit");
    until("the new process is gone", || kill(Pid::from_raw(new), None).is_err());
    line.ends();
}

/// A variable that was left in some shell makes no successor.
#[test]
fn a_process_that_nobody_replaces_starts_as_usual() {
    let folder = Folder::new();
    put(&folder, "server { listen 127.0.0.1:0; location / { return 204; } }\n");
    let mut command = longwire();
    command.arg("-c").arg(folder.path().join("longwire.conf")).arg("-p").arg(folder.path());
    command.env("LONGWIRE_UPGRADE", std::process::id().to_string());
    let line = Line(Longwire::spawn(folder, command, 1));
    assert_eq!(status(&mut Conn::connect(line.0.addr())), 204);
}

/// What is no file cannot be read again.
#[test]
fn a_proxy_without_a_file_stays() {
    let folder = Folder::new();
    let mut command = longwire();
    command.args(["--to", "127.0.0.1:9", "--listen", "127.0.0.1:0"]).current_dir(folder.path());
    let line = Line(Longwire::spawn(folder, command, 1));
    line.upgrade("there is no configuration file that a new process could read");
}
