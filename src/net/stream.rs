//! One stream type over TCP and Unix sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, Socket, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use super::Endpoint;

/// A connected socket.
#[derive(Debug)]
pub enum Stream {
    /// TCP over IPv4 or IPv6.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

/// Connects to an endpoint, from `bind` when that is given (`proxy_bind`).
pub async fn connect(to: &Endpoint, bind: Option<IpAddr>) -> io::Result<Stream> {
    match to {
        Endpoint::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
        Endpoint::Tcp(address) => {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            if let Some(ip) = bind {
                socket.bind(SocketAddr::new(ip, 0))?;
            }
            let stream = socket.connect(*address).await?;
            stream.set_nodelay(true)?;
            Ok(Stream::Tcp(stream))
        }
    }
}

/// An error of the system as nginx writes it: `111: Connection refused`.
pub fn os_text(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(code) => format!("{code}: {}", text.trim_end_matches(&format!(" (os error {code})"))),
        None => text,
    }
}

impl Stream {
    /// The socket itself, out of the runtime; it stays non-blocking.
    pub fn into_socket(self) -> io::Result<Socket> {
        match self {
            Stream::Tcp(tcp) => tcp.into_std().map(Socket::from),
            Stream::Unix(unix) => unix.into_std().map(Socket::from),
        }
    }

    /// This end.
    pub fn local(&self) -> io::Result<Endpoint> {
        match self {
            Stream::Tcp(tcp) => tcp.local_addr().map(Endpoint::Tcp),
            Stream::Unix(unix) => {
                Ok(Endpoint::Unix(unix.local_addr()?.as_pathname().map(Into::into).unwrap_or_default()))
            }
        }
    }

    /// Waits for the first byte and looks at it: a TLS connection begins with a handshake record (22). A Unix socket
    /// is taken at its word.
    pub async fn begins_like_tls(&self) -> io::Result<bool> {
        let Stream::Tcp(tcp) = self else { return Ok(true) };
        let mut first = [0];
        let count = tcp.peek(&mut first).await?;
        Ok(count == 0 || first == [22])
    }

    /// How long sent bytes may stay unacknowledged before the kernel gives the connection up (TCP_USER_TIMEOUT).
    /// Unix sockets have no such thing.
    pub fn set_user_timeout(&self, timeout: Duration) {
        if let Stream::Tcp(tcp) = self {
            // Failing to set it costs only promptness.
            let _ = SockRef::from(tcp).set_tcp_user_timeout(Some(timeout));
        }
    }

    /// Turns on the kernel's keepalive probes (`so_keepalive`, `proxy_socket_keepalive`).
    pub fn set_keepalive(&self) {
        if let Stream::Tcp(tcp) = self {
            let _ = SockRef::from(tcp).set_tcp_keepalive(&TcpKeepalive::new());
        }
    }
}

/// Forwards a poll method to whichever socket it is.
macro_rules! either {
    ($self:ident, $socket:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp(socket) => {
                let $socket = Pin::new(socket);
                $call
            }
            Stream::Unix(socket) => {
                let $socket = Pin::new(socket);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, socket => socket.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, socket => socket.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, socket => socket.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, socket => socket.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, socket => socket.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
