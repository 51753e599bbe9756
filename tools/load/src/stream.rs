//! One kind of stream for plain TCP and TLS.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, SignatureScheme,
};

/// A stream that never blocks.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<(ClientConnection, TcpStream)>),
}

impl Stream {
    /// The socket, for the poll.
    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => &mut tls.1,
        }
    }

    /// The handshake took up an earlier session.
    pub(crate) fn resumed(&self) -> bool {
        matches!(self, Stream::Tls(tls) if tls.0.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// Reads what is there.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (session, socket) = match self {
            Stream::Plain(socket) => return socket.read(buffer),
            Stream::Tls(tls) => (&mut tls.0, &mut tls.1),
        };
        loop {
            match session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            if session.read_tls(socket)? == 0 {
                return Ok(0);
            }
            session.process_new_packets().map_err(io::Error::other)?;
            // The handshake answers at once, and an answer that has to wait goes with the next write.
            ignore_blocked(flush(session, socket))?;
        }
    }

    /// Writes as much as is taken.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (session, socket) = match self {
            Stream::Plain(socket) => return socket.write(bytes),
            Stream::Tls(tls) => (&mut tls.0, &mut tls.1),
        };
        flush(session, socket)?;
        let count = session.writer().write(bytes)?;
        ignore_blocked(flush(session, socket))?;
        Ok(count)
    }

    /// Sends what TLS holds.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(_) => Ok(()),
            Stream::Tls(tls) => flush(&mut tls.0, &mut tls.1),
        }
    }
}

fn flush(session: &mut ClientConnection, socket: &mut TcpStream) -> io::Result<()> {
    while session.wants_write() {
        session.write_tls(socket)?;
    }
    Ok(())
}

fn ignore_blocked(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        result => result,
    }
}

/// TLS towards the proxy: whatever certificate it shows, with or without taking up earlier sessions.
pub(crate) fn tls_config(resume: bool) -> Result<Arc<ClientConfig>, String> {
    let mut provider = default_provider();
    // Browsers ask for AES with 128 bits first, and the server follows.
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    let provider = Arc::new(provider);
    let verifier = Arc::new(Unverified(provider.signature_verification_algorithms));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = if resume { Resumption::in_memory_sessions(1024) } else { Resumption::disabled() };
    Ok(Arc::new(config))
}

/// A session towards `host`.
pub(crate) fn session(config: &Arc<ClientConfig>, host: &str) -> Result<ClientConnection, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    ClientConnection::new(config.clone(), name).map_err(|error| error.to_string())
}

/// Takes every certificate: a benchmark talks to the proxy that it has just started.
#[derive(Debug)]
struct Unverified(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
