//! Certificates made in memory, and a TLS client that trusts them.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use super::conn::Conn;
use super::{Folder, WAIT};

/// A self-signed certificate with its key.
pub struct Identity {
    pub chain_pem: String,
    pub key_pem: String,
    der: CertificateDer<'static>,
}

impl Identity {
    pub fn new(names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|n| n.to_string()).collect();
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        Identity { chain_pem: cert.pem(), key_pem: signing_key.serialize_pem(), der: cert.der().clone() }
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
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_string()).unwrap();
        let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut tcp = TcpStream::connect_timeout(&addr, WAIT)?;
        tcp.set_read_timeout(Some(WAIT))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        let mut conn = Conn::with(tcp.try_clone()?, Box::new(StreamOwned::new(tls, tcp)));
        conn.masks = true;
        Ok(conn)
    }
}
