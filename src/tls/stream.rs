//! One stream type, with TLS on it or without.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use super::names;
use super::secrets::Secrets;
use super::tap::Tap;
use crate::net::Stream;

/// A connection to a client or a backend.
#[derive(Debug)]
pub enum Conn {
    /// Without TLS.
    Plain(Stream),
    /// With TLS.
    Tls(Box<Secured>),
}

/// A connection with TLS by rustls, which can leave rustls: see [`Secured::extract`].
#[derive(Debug)]
pub struct Secured {
    pub(super) stream: TlsStream<Tap>,
    /// Traffic secrets of TLS 1.3.
    pub(super) secrets: Secrets,
}

/// What a TLS handshake agreed on.
#[derive(Debug, Clone)]
pub struct Session {
    /// `TLSv1.3`.
    pub protocol: &'static str,
    /// OpenSSL's name of the suite.
    pub cipher: String,
    /// SNI, as the server saw it.
    pub server_name: Option<String>,
    /// ALPN.
    pub alpn: Option<String>,
    /// Whether it was resumed.
    pub resumed: bool,
}

impl Conn {
    /// The socket under it.
    pub fn socket(&self) -> &Stream {
        match self {
            Conn::Plain(stream) => stream,
            Conn::Tls(tls) => tls.stream.get_ref().0.socket(),
        }
    }

    /// What the TLS handshake agreed on.
    pub fn session(&self) -> Option<Session> {
        let Conn::Tls(tls) = self else { return None };
        let common = tls.stream.get_ref().1;
        let server_name = match &tls.stream {
            TlsStream::Server(server) => server.get_ref().1.server_name().map(str::to_owned),
            TlsStream::Client(_) => None,
        };
        Some(Session {
            protocol: match common.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "TLSv1.3",
            },
            cipher: common.negotiated_cipher_suite().map(|s| names::suite(s.suite())).unwrap_or_default(),
            server_name,
            alpn: common.alpn_protocol().map(|p| String::from_utf8_lossy(p).into_owned()),
            resumed: common.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        })
    }
}

/// Forwards a poll method to whichever stream it is.
macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Conn::Plain(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Conn::Tls(stream) => {
                let $stream = Pin::new(&mut stream.stream);
                $call
            }
        }
    };
}

impl AsyncRead for Conn {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match self.get_mut() {
            Conn::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Conn::Tls(secured) => {
                let polled = Pin::new(&mut secured.stream).poll_read(cx, buf);
                if buf.filled().len() > before {
                    secured.stream.get_mut().0.forget();
                }
                polled
            }
        }
    }
}

impl AsyncWrite for Conn {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Conn::Plain(stream) => stream.is_write_vectored(),
            Conn::Tls(secured) => secured.stream.is_write_vectored(),
        }
    }
}
