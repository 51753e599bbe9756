//! The process among others: its pid file, its rights, its descriptors, and signals to another one.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Group, Pid, User, geteuid, initgroups, setgid, setuid};

/// The pid file while the process lives.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Opens it. What is in it stays until it is written.
    pub fn open(path: &Path) -> io::Result<PidFile> {
        let file = File::options().write(true).create(true).truncate(false).open(path)?;
        Ok(PidFile::of(path, file))
    }

    /// One that is open already.
    pub fn of(path: &Path, file: File) -> PidFile {
        PidFile { path: path.to_owned(), file }
    }

    /// Puts the number of this process there.
    pub fn write(&self) -> io::Result<()> {
        self.file.set_len(0)?;
        // At the beginning: other processes that have the file open move its position.
        self.file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0)
    }

    /// Its path, and another descriptor of it.
    pub fn share(&self) -> io::Result<(PathBuf, OwnedFd)> {
        Ok((self.path.clone(), self.file.try_clone()?.into()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another process may have put its own number there meanwhile.
        if read_pid(&self.path).is_ok_and(|pid| pid == std::process::id() as i32)
            && std::fs::remove_file(&self.path).is_err()
        {
            // After `user` the folder may be closed to us; an empty file names no stranger either.
            let _ = self.file.set_len(0);
        }
    }
}

/// Reads a pid file. One that is empty is what a process leaves that may not remove it.
pub fn read_pid(path: &Path) -> io::Result<i32> {
    let text = std::fs::read_to_string(path)?;
    if text.trim().is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it is empty, so no process runs by it"));
    }
    let bad =
        || io::Error::new(io::ErrorKind::InvalidData, format!("invalid PID number \"{}\"", text.trim()));
    text.trim().parse().ok().filter(|pid| *pid > 0).ok_or_else(bad)
}

/// What `-s` can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM.
    Stop,
    /// SIGQUIT.
    Quit,
    /// SIGHUP.
    Reload,
    /// SIGUSR1.
    Reopen,
    /// SIGUSR2.
    Upgrade,
}

impl Signal {
    /// By nginx's name.
    pub fn parse(name: &str) -> Option<Signal> {
        Some(match name {
            "stop" => Signal::Stop,
            "quit" => Signal::Quit,
            "reload" => Signal::Reload,
            "reopen" => Signal::Reopen,
            "upgrade" => Signal::Upgrade,
            _ => return None,
        })
    }
}

/// Sends a signal to a process.
pub fn send(pid: i32, signal: Signal) -> io::Result<()> {
    use nix::sys::signal::Signal as System;
    let signal = match signal {
        Signal::Stop => System::SIGTERM,
        Signal::Quit => System::SIGQUIT,
        Signal::Reload => System::SIGHUP,
        Signal::Reopen => System::SIGUSR1,
        Signal::Upgrade => System::SIGUSR2,
    };
    nix::sys::signal::kill(Pid::from_raw(pid), signal).map_err(io::Error::from)
}

/// Raises the limit of open files: to `worker_rlimit_nofile`, else as far as this process may.
pub(super) fn raise_files(wanted: Option<u64>) -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let soft = wanted.unwrap_or(hard);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard.max(soft)).map_err(io::Error::from)
}

/// Becomes another user (`user`), for good; only root can. Says why not when that cannot be.
pub(super) fn become_user(name: &str, group: Option<&str>) -> Result<(), String> {
    let user =
        User::from_name(name).ok().flatten().ok_or_else(|| format!("this machine has no user \"{name}\""))?;
    let group = match group {
        None => Group::from_name(name).ok().flatten().map_or(user.gid, |g| g.gid),
        Some(group) => {
            let found = Group::from_name(group).ok().flatten();
            found.ok_or_else(|| format!("this machine has no group \"{group}\""))?.gid
        }
    };
    let text = |e: nix::Error| format!("cannot become user \"{name}\": {e}");
    let c_name = std::ffi::CString::new(name).map_err(|e| e.to_string())?;
    setgid(group).map_err(text)?;
    initgroups(&c_name, group).map_err(text)?;
    setuid(user.uid).map_err(text)
}

/// Whether `user` names somebody; nginx's `-t` looks, too. Only root can make use of it.
pub(super) fn check_user(name: &str, group: Option<&str>) -> Result<(), String> {
    if !geteuid().is_root() {
        return Ok(());
    }
    if User::from_name(name).ok().flatten().is_none() {
        return Err(format!("getpwnam(\"{name}\") failed: this machine has no such user"));
    }
    match group {
        Some(group) if Group::from_name(group).ok().flatten().is_none() => {
            Err(format!("getgrnam(\"{group}\") failed: this machine has no such group"))
        }
        _ => Ok(()),
    }
}
