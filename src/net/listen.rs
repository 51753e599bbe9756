//! Listening sockets.

use std::fmt;
use std::fs::{File, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::Stream;

/// A resolved address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// IP and port.
    Tcp(SocketAddr),
    /// Path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => write!(f, "{address}"),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A bound, listening socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket with its file.
    Unix(UnixListener, SocketFile),
}

/// The file of a Unix socket: removed with the listener, unless another process has it.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    is_ours: AtomicBool,
    is_lent: bool,
}

impl SocketFile {
    fn new(path: &Path, is_ours: bool) -> SocketFile {
        SocketFile { path: path.to_owned(), is_ours: is_ours.into(), is_lent: false }
    }

    fn inherited(path: &Path, is_lent: bool) -> SocketFile {
        SocketFile { path: path.to_owned(), is_ours: false.into(), is_lent }
    }
}

/// Sockets that another process has bound, each with its address.
#[derive(Debug, Default)]
pub struct Inherited {
    /// The sockets.
    pub sockets: Vec<(Endpoint, OwnedFd)>,
    /// Somebody else goes on listening on them, whatever comes of this process: the files of Unix sockets stay.
    pub are_lent: bool,
}

impl Inherited {
    /// Takes out the socket of an address, as one that is listened on. Must be called inside a tokio runtime.
    pub fn take(&mut self, endpoint: &Endpoint) -> Option<io::Result<Listener>> {
        let at = self.sockets.iter().position(|(known, _)| known == endpoint)?;
        let (_, socket) = self.sockets.remove(at);
        Some(Listener::inherit(endpoint, socket, self.are_lent))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_ours.load(Relaxed) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Options of a listening socket, in nginx's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// `backlog`; 511 when not given, as nginx.
    pub backlog: Option<u32>,
    /// `reuseport`.
    pub reuseport: bool,
    /// `ipv6only`.
    pub ipv6only: bool,
    /// A Unix socket for the user alone that binds it.
    pub private: bool,
}

impl Options {
    fn queue(self) -> i32 {
        self.backlog.unwrap_or(511).min(i32::MAX as u32) as i32
    }
}

/// Binds and listens. Must be called inside a tokio runtime.
pub fn bind(endpoint: &Endpoint, options: Options) -> io::Result<Listener> {
    let backlog = options.queue();
    match endpoint {
        Endpoint::Tcp(address) => {
            let socket = Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            if options.reuseport {
                socket.set_reuse_port(true)?;
            }
            if address.is_ipv6() {
                socket.set_only_v6(options.ipv6only)?;
            }
            socket.set_nonblocking(true)?;
            // What is accepted inherits it: a message must not wait for the one before it (Nagle's algorithm).
            socket.set_tcp_nodelay(true)?;
            socket.bind(&(*address).into())?;
            socket.listen(backlog)?;
            TcpListener::from_std(socket.into()).map(Listener::Tcp)
        }
        Endpoint::Unix(path) => {
            remove_stale(path)?;
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            if options.private {
                // What the socket's own mode forbids, its file never allows: nobody comes in between the two.
                let itself = File::from(socket.as_fd().try_clone_to_owned()?);
                itself.set_permissions(Permissions::from_mode(0o600))?;
            }
            socket.bind(&socket2::SockAddr::unix(path)?)?;
            if !options.private {
                // nginx's mode: whoever reaches the folder may connect.
                std::fs::set_permissions(path, Permissions::from_mode(0o666))?;
            }
            socket.listen(backlog)?;
            UnixListener::from_std(socket.into()).map(|l| Listener::Unix(l, SocketFile::new(path, true)))
        }
    }
}

/// Removes the socket file of a process that died; one that still answers is left, and binding then fails.
fn remove_stale(path: &PathBuf) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

impl Listener {
    /// A socket that another process has bound to this address and listens on. Must be called inside a tokio runtime.
    ///
    /// Its file is left alone until [`own`](Self::own).
    fn inherit(endpoint: &Endpoint, socket: OwnedFd, is_lent: bool) -> io::Result<Listener> {
        let socket = Socket::from(socket);
        // Shared with the other process, which has set it already.
        socket.set_nonblocking(true)?;
        match endpoint {
            Endpoint::Tcp(_) => TcpListener::from_std(socket.into()).map(Listener::Tcp),
            Endpoint::Unix(path) => UnixListener::from_std(socket.into())
                .map(|listener| Listener::Unix(listener, SocketFile::inherited(path, is_lent))),
        }
    }

    /// From now on the file of a Unix socket goes with this listener, or stays without it.
    pub fn own(&self, is_ours: bool) {
        if let Listener::Unix(_, file) = self {
            file.is_ours.store(is_ours && !file.is_lent, Relaxed);
        }
    }

    /// Another descriptor of the same socket, for another process.
    pub fn share(&self) -> io::Result<OwnedFd> {
        match self {
            Listener::Tcp(tcp) => tcp.as_fd().try_clone_to_owned(),
            Listener::Unix(unix, _) => unix.as_fd().try_clone_to_owned(),
        }
    }

    /// Accepts one connection and says where it came from.
    pub async fn accept(&self) -> io::Result<(Stream, Endpoint)> {
        match self {
            Listener::Tcp(tcp) => {
                let (stream, peer) = tcp.accept().await?;
                Ok((Stream::Tcp(stream), Endpoint::Tcp(peer)))
            }
            Listener::Unix(unix, _) => {
                let (stream, _) = unix.accept().await?;
                Ok((Stream::Unix(stream), Endpoint::Unix(PathBuf::new())))
            }
        }
    }

    /// Closes it, after those connections were accepted that wait already. Must be called inside a tokio runtime.
    pub fn give_up(self, mut take: impl FnMut((Stream, Endpoint))) {
        // Straight from the system: the runtime may not have heard of the latest.
        let mut this = self;
        match &mut this {
            Listener::Tcp(tcp) => {
                while let Ok((stream, peer)) = accept_now(SockRef::from(&*tcp)) {
                    if let (Ok(stream), Some(peer)) = (TcpStream::from_std(stream.into()), peer.as_socket()) {
                        take((Stream::Tcp(stream), Endpoint::Tcp(peer)));
                    }
                }
            }
            Listener::Unix(unix, file) => {
                // Nobody finds it from here on, so that there is an end to those who wait.
                drop(std::mem::replace(file, SocketFile::new(Path::new(""), false)));
                while let Ok((stream, _)) = accept_now(SockRef::from(&*unix)) {
                    if let Ok(stream) = UnixStream::from_std(stream.into()) {
                        take((Stream::Unix(stream), Endpoint::Unix(PathBuf::new())));
                    }
                }
            }
        }
    }

    /// Whether others that agree to it may be bound to its port (SO_REUSEPORT).
    pub fn share_port(&self, agree: bool) -> io::Result<()> {
        match self {
            Listener::Tcp(tcp) => SockRef::from(tcp).set_reuse_port(agree),
            Listener::Unix(..) => Ok(()),
        }
    }

    /// Changes how many connections may wait to be accepted.
    pub fn set_backlog(&self, options: Options) -> io::Result<()> {
        match self {
            Listener::Tcp(tcp) => SockRef::from(tcp).listen(options.queue()),
            Listener::Unix(unix, _) => SockRef::from(unix).listen(options.queue()),
        }
    }

    /// The address that clients connect to, when there is only one.
    pub fn accepts_on(&self) -> Option<Endpoint> {
        self.local().ok().filter(|local| match local {
            Endpoint::Tcp(address) => !address.ip().is_unspecified(),
            Endpoint::Unix(_) => true,
        })
    }

    /// The address it is bound to, with the port that the kernel chose.
    pub fn local(&self) -> io::Result<Endpoint> {
        match self {
            Listener::Tcp(tcp) => tcp.local_addr().map(Endpoint::Tcp),
            Listener::Unix(_, file) => Ok(Endpoint::Unix(file.path.clone())),
        }
    }
}

/// A connection that waits, ready for the runtime.
fn accept_now(socket: SockRef<'_>) -> io::Result<(Socket, SockAddr)> {
    loop {
        match socket.accept() {
            // It left before its turn, or a signal came.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
            accepted => {
                let (stream, peer) = accepted?;
                stream.set_nonblocking(true)?;
                return Ok((stream, peer));
            }
        }
    }
}
