//! Certificates made in memory, and a TLS client that trusts them.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use base64::Engine as _;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

use super::conn::Conn;
use super::{Folder, WAIT};

/// A self-signed certificate with its key.
pub struct Identity {
    pub chain_pem: String,
    pub key_pem: String,
    der: CertificateDer<'static>,
    key_der: PrivateKeyDer<'static>,
}

impl Identity {
    pub fn new(names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|n| n.to_string()).collect();
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let chain_pem = pem("CERTIFICATE", cert.der());
        let key = signing_key.serialize_der();
        let key_pem = pem("PRIVATE KEY", &key);
        let key_der = PrivateKeyDer::Pkcs8(key.into());
        Identity { chain_pem, key_pem, der: cert.der().clone(), key_der }
    }

    /// Writes `NAME.crt` and `NAME.key`.
    pub fn write(&self, folder: &Folder, name: &str) {
        folder.write(&format!("{name}.crt"), &self.chain_pem);
        folder.write(&format!("{name}.key"), &self.key_pem);
    }

    /// Connects by TLS as a client that trusts this certificate alone.
    pub fn connect(&self, addr: SocketAddr, name: &str) -> Result<Conn, std::io::Error> {
        self.connect_by(addr, name, rustls::ALL_VERSIONS)
    }

    /// Same with these versions of TLS.
    pub fn connect_by(
        &self,
        addr: SocketAddr,
        name: &str,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<Conn, std::io::Error> {
        connect_with(addr, name, self.client_config(versions))
    }

    /// A client that trusts this certificate alone.
    pub fn client_config(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    /// A server with this certificate.
    pub fn server_config(&self, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], self.key_der.clone_key())
            .unwrap()
    }
}

/// Connects by TLS without looking at the certificate.
pub fn connect_trusting_anyone(addr: SocketAddr, name: &str) -> Result<Conn, std::io::Error> {
    over_trusting_anyone(TcpStream::connect_timeout(&addr, WAIT)?, name)
}

/// The same over a connection that is there already.
pub fn over_trusting_anyone(tcp: TcpStream, name: &str) -> Result<Conn, std::io::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    over(tcp, name, config)
}

fn connect_with(addr: SocketAddr, name: &str, config: ClientConfig) -> Result<Conn, std::io::Error> {
    over(TcpStream::connect_timeout(&addr, WAIT)?, name, config)
}

fn over(mut tcp: TcpStream, name: &str, config: ClientConfig) -> Result<Conn, std::io::Error> {
    let name = ServerName::try_from(name.to_string()).unwrap();
    let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
    tcp.set_read_timeout(Some(WAIT))?;
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp)?;
    }
    let mut conn = Conn::with(tcp.try_clone()?, Box::new(StreamOwned::new(tls, tcp)));
    conn.masks = true;
    Ok(conn)
}

/// Takes every certificate. For the certificate that the program makes itself.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Text of the kind that certificate files hold.
fn pem(label: &str, der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|c| std::str::from_utf8(c).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

impl Identity {
    /// Takes a connection of a backend over to TLS with this certificate, as a server.
    pub fn accept(&self, conn: Conn) -> Result<Conn, std::io::Error> {
        let mut tls = ServerConnection::new(Arc::new(self.server_config(rustls::ALL_VERSIONS))).unwrap();
        let mut tcp = conn.tcp().try_clone()?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        Ok(Conn::with(tcp.try_clone()?, Box::new(StreamOwned::new(tls, tcp))))
    }
}
