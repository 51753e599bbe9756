//! Connections to the far end: TCP, and TLS that takes any certificate and notes what it saw.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, ClientConfig, DigitallySignedStruct, PeerIncompatible, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::doctor::facts::{End, TcpError, TlsError};
use crate::doctor::target::Target;

/// A connection, with TLS or without.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connection, whatever is below.
pub type Stream = Box<dyn Io>;

/// Why there is no connection.
#[derive(Clone, Debug)]
pub enum Failure {
    /// TCP did not get through.
    Tcp(TcpError, String),
    /// TLS did not end well.
    Tls(TlsError, String),
}

impl Failure {
    /// In words.
    pub fn text(&self) -> &str {
        match self {
            Failure::Tcp(_, text) | Failure::Tls(_, text) => text,
        }
    }
}

/// How a connection ended, from what reading or writing said.
pub fn end_of(error: &io::Error) -> End {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            End::Rst
        }
        // TLS that ends without a word of goodbye.
        io::ErrorKind::UnexpectedEof => End::Fin,
        _ => End::Error,
    }
}

/// Connects by TCP.
pub async fn tcp(address: SocketAddr, limit: Duration) -> Result<TcpStream, Failure> {
    let stream = match timeout(limit, TcpStream::connect(address)).await {
        Err(_) => {
            return Err(Failure::Tcp(
                TcpError::Timeout,
                format!("no answer within {} ms", limit.as_millis()),
            ));
        }
        Ok(Err(error)) => {
            let kind = match error.kind() {
                io::ErrorKind::ConnectionRefused => TcpError::Refused,
                io::ErrorKind::TimedOut => TcpError::Timeout,
                io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::AddrNotAvailable => TcpError::Unreachable,
                _ => TcpError::Other,
            };
            return Err(Failure::Tcp(kind, error.to_string()));
        }
        Ok(Ok(stream)) => stream,
    };
    // What is sent is small, and its round trip is measured.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// What a TLS handshake showed.
#[derive(Default, Clone, Debug)]
pub struct Seen {
    /// Certificates of the server, in DER, its own first.
    pub chain: Vec<CertificateDer<'static>>,
    /// It asked for a certificate of the client.
    pub asks_certificate: bool,
    /// `TLS 1.3` or `TLS 1.2`.
    pub version: Option<String>,
    /// What ALPN chose.
    pub alpn: Option<String>,
}

/// TLS over a connection, offering these protocols by ALPN.
pub async fn tls(
    stream: TcpStream,
    host: &str,
    alpn: &[&str],
    limit: Duration,
) -> (Seen, Result<tokio_rustls::client::TlsStream<TcpStream>, Failure>) {
    let watch = Arc::new(Watch::new());
    let made = config(&watch, alpn).and_then(|config| {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("\"{host}\" is no name that TLS can ask for"))?;
        Ok((config, name))
    });
    let (config, name) = match made {
        Ok(made) => made,
        Err(text) => return (Seen::default(), Err(Failure::Tls(TlsError::Other, text))),
    };
    let outcome = timeout(limit, TlsConnector::from(Arc::new(config)).connect(name, stream)).await;
    let mut seen = watch.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let outcome = match outcome {
        Err(_) => Err(Failure::Tls(
            TlsError::Timeout,
            format!("no end of the handshake within {} ms", limit.as_millis()),
        )),
        Ok(Err(error)) => Err(Failure::Tls(tls_error(&error), error.to_string())),
        Ok(Ok(stream)) => {
            let (_, session) = stream.get_ref();
            seen.version = session.protocol_version().map(|version| match version {
                rustls::ProtocolVersion::TLSv1_3 => "TLS 1.3".into(),
                rustls::ProtocolVersion::TLSv1_2 => "TLS 1.2".into(),
                other => format!("{other:?}"),
            });
            seen.alpn = session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
            Ok(stream)
        }
    };
    (seen, outcome)
}

fn config(watch: &Arc<Watch>, alpn: &[&str]) -> Result<ClientConfig, String> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(watch.clone())
        .with_client_cert_resolver(watch.clone());
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// The kind of a failure.
pub fn tls_error(error: &io::Error) -> TlsError {
    let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return match end_of(error) {
            End::Error => TlsError::Other,
            _ => TlsError::Closed,
        };
    };
    match inner {
        rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. } => TlsError::NotTls,
        rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::ServerSentHelloRetryRequestWithUnknownExtension,
        ) => TlsError::VersionOld,
        rustls::Error::AlertReceived(alert) => match alert {
            AlertDescription::ProtocolVersion => TlsError::VersionOld,
            AlertDescription::CertificateRequired => TlsError::CertificateRequired,
            AlertDescription::NoApplicationProtocol => TlsError::NoProtocol,
            AlertDescription::UnrecognisedName => TlsError::UnknownName,
            _ => TlsError::Alert,
        },
        _ => TlsError::Other,
    }
}

/// Takes any certificate as long as its key signed the handshake, and notes what the server showed and wanted.
#[derive(Debug)]
struct Watch {
    seen: Mutex<Seen>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Watch {
    fn new() -> Watch {
        let algorithms = default_provider().signature_verification_algorithms;
        Watch { seen: Mutex::default(), algorithms }
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl ServerCertVerifier for Watch {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(end_entity).chain(intermediates).take(10);
        self.note(|seen| seen.chain = chain.map(|one| one.clone().into_owned()).collect());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ResolvesClientCert for Watch {
    fn resolve(&self, _root_hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.note(|seen| seen.asks_certificate = true);
        None
    }

    // Without certificates the library would not ask.
    fn has_certs(&self) -> bool {
        true
    }
}

/// Makes connections on a road that is known to lead there.
#[derive(Clone, Debug)]
pub struct Dialer {
    /// What is asked for.
    pub target: Target,
    /// The address that answers.
    pub address: SocketAddr,
    /// How long a step may take.
    pub limit: Duration,
}

impl Dialer {
    /// A new connection, with TLS where the target says so (ALPN: http/1.1, as browsers offer for WebSockets).
    pub async fn connect(&self) -> Result<Stream, Failure> {
        let stream = tcp(self.address, self.limit).await?;
        if !self.target.secure {
            return Ok(Box::new(stream));
        }
        let (_, outcome) = tls(stream, &self.target.host, &["http/1.1"], self.limit).await;
        outcome.map(|stream| Box::new(stream) as Stream)
    }
}
