//! The program through its upgrades: one process after the other, of which at most one serves.

use std::cell::Cell;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Folder, Longwire, WAIT, in_folder, listens, until};

/// A process and those that come after it. The program's file is in the test's folder, where others can take its place.
pub struct Lineage {
    /// The first of them; its error log is that of all.
    pub longwire: Longwire,
    pid: Cell<i32>,
}

/// What became of an upgrade.
#[derive(Debug)]
pub struct Upgraded {
    pub before: i32,
    pub now: i32,
    /// What the error log said meanwhile.
    pub said: String,
    /// Tunnels that went over at once.
    pub tunnels: usize,
    /// From the signal to the word that the new process serves.
    pub took: Duration,
}

impl Lineage {
    /// Runs this configuration, with more variables in its environment and in that of all that follow.
    pub fn start(folder: Folder, configuration: &str, variables: &[(&str, &str)]) -> Lineage {
        let file = folder.write("longwire.conf", in_folder(configuration, &folder));
        let program = folder.path().join("longwire");
        symlink(env!("CARGO_BIN_EXE_longwire"), &program).unwrap();
        let mut command = Command::new(program);
        command.arg("-c").arg(file).arg("-p").arg(folder.path()).envs(variables.iter().copied());
        command.stdin(std::process::Stdio::null());
        let longwire = Longwire::spawn(folder, command, listens(configuration));
        let pid = Cell::new(longwire.pid() as i32);
        Lineage { longwire, pid }
    }

    /// The process that serves.
    pub fn pid(&self) -> i32 {
        self.pid.get()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    pub fn folder(&self) -> &Folder {
        self.longwire.folder()
    }

    /// Puts a script in the place of the program; `PROGRAM` in it stands for the real one. As a package does it: written
    /// beside, then renamed.
    pub fn put_script(&self, script: &str) {
        let program = env!("CARGO_BIN_EXE_longwire");
        let text = format!("#!/bin/sh\n{}\n", script.replace("PROGRAM", program));
        let beside = self.folder().write("longwire.new", text);
        std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o755)).unwrap();
        self.put(&beside);
    }

    /// Puts the program in its place again.
    pub fn put_program(&self) {
        let beside = self.folder().path().join("longwire.new");
        symlink(env!("CARGO_BIN_EXE_longwire"), &beside).unwrap();
        self.put(&beside);
    }

    fn put(&self, beside: &Path) {
        std::fs::rename(beside, self.folder().path().join("longwire")).unwrap();
    }

    /// Puts another configuration in the file.
    pub fn put_configuration(&self, configuration: &str) {
        self.folder().write("longwire.conf", in_folder(configuration, self.folder()));
    }

    /// Asks for an upgrade and waits until the error log says one of these words; gives what it said until then.
    pub fn ask_upgrade(&self, ends: &[&str]) -> String {
        let from = self.longwire.log().len();
        self.signal(Signal::SIGUSR2);
        self.wait_said(from, ends)
    }

    /// Waits until the error log says one of these words behind this place; gives all from there to the end of the line.
    pub fn wait_said(&self, from: usize, ends: &[&str]) -> String {
        let found = |log: &str| {
            let said = &log[from..];
            let at = ends.iter().filter_map(|end| said.find(end)).min()?;
            Some(said[..at + said[at..].find('\n')?].to_owned())
        };
        // Deadlines of the program itself are to be seen.
        let said = self.longwire.log.wait(WAIT * 2, found);
        said.unwrap_or_else(|log| panic!("nothing of {ends:?} was said:\n{}", &log[from..]))
    }

    /// An upgrade that succeeds.
    pub fn upgrade(&self) -> Upgraded {
        let before = self.pid();
        let mut took = Duration::ZERO;
        let said = self.once_alone(|| {
            let began = Instant::now();
            let said = self.ask_upgrade(&["tunnels handed over", "upgrade failed", "nothing changes"]);
            took = began.elapsed();
            said
        });
        let handed = said.lines().find_map(|line| {
            let (_, rest) = line.split_once("upgrade: process ")?;
            let tunnels = rest.split_once("handed over: ")?.1.trim().parse().ok()?;
            Some((rest.split(' ').next()?.parse().ok()?, tunnels))
        });
        let (now, tunnels) = handed.unwrap_or_else(|| panic!("the upgrade came to nothing:\n{said}"));
        assert_ne!(now, before);
        self.pid.set(now);
        Upgraded { before, now, said, tunnels, took }
    }

    /// Asks for an upgrade until it is not refused because of the one before: the process that serves hears a moment
    /// later than we see it that the old one has ended.
    pub fn once_alone(&self, mut ask: impl FnMut() -> String) -> String {
        let mut said = String::new();
        until("the upgrade before has ended", || {
            said = ask();
            !said.contains("the one before has not ended")
        });
        said
    }

    /// An upgrade that comes to nothing: gives what was said of it. The process is the same.
    pub fn fail_upgrade(&self) -> String {
        let said = self.ask_upgrade(&["tunnels handed over", "upgrade failed"]);
        assert!(said.contains("upgrade failed"), "it was to fail:\n{said}");
        assert!(!is_gone(self.pid()), "the process that went on is not there");
        said
    }

    /// Waits until a process is there no more.
    pub fn wait_gone(&self, pid: i32) {
        until("the process is there no more", || is_gone(pid));
    }

    /// Files that the process which serves has open.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }
}

impl Drop for Lineage {
    fn drop(&mut self) {
        // The first one is ended by `Longwire`; a later one is nobody's child any more.
        if self.pid() != self.longwire.pid() as i32 && !is_gone(self.pid()) {
            let _ = kill(Pid::from_raw(self.pid()), Signal::SIGKILL);
        }
    }
}

/// Whether a process has ended; one that nobody has asked for its status counts as ended.
pub fn is_gone(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'))
}
