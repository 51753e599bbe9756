//! systemd: it is told how the process is, and gives sockets that it has bound. Without its library, as sd_notify(3) and
//! sd_listen_fds(3) describe it; where it is not, nothing happens.

use std::env;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;

use longwire_conf::model::Level;
use rustix::io::{FdFlags, fcntl_setfd};
use socket2::{SockRef, Type};

use super::say;
use crate::clock;
use crate::log::Logs;
use crate::net::{Endpoint, os_text};

/// The first descriptor that is given.
const FIRST: RawFd = 3;
/// More are not believed.
const MOST: RawFd = 4096;

/// What systemd is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It serves; also after a reload, whatever came of it.
    Ready,
    /// It reads its configuration anew.
    Reloading,
    /// It ends.
    Stopping,
    /// The process of this number serves in its place.
    Successor(u32),
}

impl State {
    fn message(self) -> String {
        match self {
            State::Ready => "READY=1\nSTATUS=serving\n".to_owned(),
            // The clock is the system's monotonic one, as systemd wants it.
            State::Reloading => {
                format!("RELOADING=1\nMONOTONIC_USEC={}\nSTATUS=reading the configuration\n", clock::now_us())
            }
            State::Stopping => "STOPPING=1\nSTATUS=waiting for connections to end\n".to_owned(),
            State::Successor(pid) => format!("MAINPID={pid}\nSTATUS=handed over to process {pid}\n"),
        }
    }
}

/// Tells systemd, if it wants to know (`NOTIFY_SOCKET`).
pub(super) fn tell(state: State, logs: &Logs) {
    let Some(path) = env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else { return };
    if let Err(error) = send(path.as_encoded_bytes(), &state.message()) {
        let (path, error) = (path.display(), os_text(&error));
        say(logs, Level::Warn, format_args!("systemd could not be told {state:?} at {path} ({error})"));
    }
}

fn send(path: &[u8], message: &str) -> io::Result<()> {
    let address = match path {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(PathBuf::from(String::from_utf8_lossy(path).into_owned()))?,
    };
    let socket = UnixDatagram::unbound()?;
    // A full queue is systemd's trouble and must not become ours.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message.as_bytes(), &address).map(drop)
}

/// A socket that systemd has bound.
#[derive(Debug)]
pub(super) struct Given {
    /// Its name in the unit (`FileDescriptorName=`), or that of the unit.
    pub(super) name: String,
    /// Where clients find it; the error says why it is of no use.
    pub(super) endpoint: Result<Endpoint, String>,
    /// The socket.
    pub(super) socket: OwnedFd,
}

/// The sockets that systemd has bound for this process. To be called once, before anything else takes descriptors.
pub(super) fn sockets() -> Vec<Given> {
    let number = |name: &str| env::var(name).ok()?.parse::<RawFd>().ok();
    // Children find the variables as well, and are not meant.
    if number("LISTEN_PID") != i32::try_from(std::process::id()).ok() {
        return Vec::new();
    }
    let count = number("LISTEN_FDS").unwrap_or(0).clamp(0, MOST);
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned);
    (FIRST..FIRST + count).filter_map(|number| take(number, names.next().unwrap_or_default())).collect()
}

/// Those that can be listened on; others are said and closed.
pub(super) fn usable(given: Vec<Given>, logs: &Logs) -> Vec<(Endpoint, OwnedFd)> {
    let usable = |Given { name, endpoint, socket }: Given| match endpoint {
        Ok(endpoint) => Some((endpoint, socket)),
        Err(why) => {
            say(logs, Level::Warn, format_args!("the socket \"{name}\" of systemd is of no use: {why}"));
            None
        }
    };
    given.into_iter().filter_map(usable).collect()
}

/// Whether systemd binds sockets for this service, for this process or one whose place it has taken.
pub(super) fn is_activated() -> bool {
    env::var_os("LISTEN_FDS").is_some()
}

fn take(number: RawFd, name: String) -> Option<Given> {
    // SAFETY: only asked whether it is open; the call fails where it is not.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    // Children have no use for it.
    fcntl_setfd(borrowed, FdFlags::CLOEXEC).ok()?;
    // SAFETY: it is open, was given to this process for good, and is taken once.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    Some(Given { name, endpoint: listens_on(&socket), socket })
}

fn listens_on(socket: &OwnedFd) -> Result<Endpoint, String> {
    let socket = SockRef::from(socket);
    let is_stream = socket.r#type().is_ok_and(|kind| kind == Type::STREAM);
    if !is_stream || !socket.is_listener().unwrap_or(false) {
        return Err("it does not listen for streams: write ListenStream= in the .socket unit".to_owned());
    }
    let address = socket.local_addr().map_err(|error| os_text(&error))?;
    match (address.as_socket(), address.as_pathname()) {
        (Some(address), _) => Ok(Endpoint::Tcp(address)),
        (_, Some(path)) => Ok(Endpoint::Unix(path.to_owned())),
        _ => Err("its address is neither an IP address nor a path".to_owned()),
    }
}
