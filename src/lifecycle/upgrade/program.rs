//! The program's file, and starting it anew.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The environment variable that tells a process that it was started for an upgrade: it holds the number of the process
/// that started it, and the socket between them is standard input.
pub(super) const VARIABLE: &str = "LONGWIRE_UPGRADE";

/// How this process was started: what an upgrade starts again.
///
/// It is the name that is kept, not the file behind it: another file may stand there by then, and links on the way
/// may lead elsewhere.
#[derive(Debug, Clone)]
pub(in crate::lifecycle) struct Program {
    path: PathBuf,
    name: OsString,
    arguments: Vec<OsString>,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl Program {
    /// That of this process. To be asked early: names may be relative to where it was started.
    pub(in crate::lifecycle) fn this() -> io::Result<Program> {
        let mut arguments = std::env::args_os();
        let name = arguments.next().unwrap_or_default();
        let path = if name.as_bytes().contains(&b'/') {
            std::path::absolute(&name)?
        } else {
            in_path(&name).map_or_else(std::env::current_exe, Ok)?
        };
        Ok(Program { path, name, arguments: arguments.collect() })
    }

    /// Starts it anew with the same arguments, folder and environment, and gives the socket towards it.
    ///
    /// Of the descriptors of this process it has three: the socket as standard input, and the two other standard
    /// streams.
    pub(super) fn start(&self) -> io::Result<(Child, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new(&self.path)
            .arg0(&self.name)
            .args(&self.arguments)
            .env(VARIABLE, std::process::id().to_string())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.path.display())))?;
        Ok((child, ours))
    }
}

/// Where a shell found the command.
fn in_path(name: &OsStr) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())?;
    std::path::absolute(found).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_new_process_has_the_socket_and_knows_who_started_it() {
        let program = Program {
            path: "/bin/sh".into(),
            name: "longwire".into(),
            arguments: ["-c", "echo \"$0 $LONGWIRE_UPGRADE\" >&0"].map(OsString::from).to_vec(),
        };
        let (mut child, mut socket) = program.start().unwrap();
        let mut told = String::new();
        socket.read_to_string(&mut told).unwrap();
        assert_eq!(told, format!("longwire {}\n", std::process::id()));
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn a_name_without_a_folder_is_looked_for_as_a_shell_does() {
        assert!(in_path(OsStr::new("sh")).unwrap().is_absolute());
        assert_eq!(in_path(OsStr::new("no such program")), None);
        let program = Program { path: "/no/such/file".into(), name: "x".into(), arguments: Vec::new() };
        let error = program.start().unwrap_err();
        assert!(error.to_string().starts_with("/no/such/file: No such file"), "{error}");
    }
}
