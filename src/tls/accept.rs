//! What a server offers to its clients: versions, certificates, tickets.

use std::sync::Arc;

use longwire_conf::model::Tls;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::{LazyConfigAcceptor, TlsStream};

use super::secrets::{self, Collector};
use super::tap::Tap;
use super::{Conn, Secured};
use crate::net::Stream;

/// What one server offers; chosen by SNI once the ClientHello is there.
pub type Offer = Arc<ServerConfig>;

/// Builds what a server offers. `certificates` is not empty.
pub fn offer(tls: &Tls, certificates: Vec<Arc<CertifiedKey>>) -> Result<Offer, String> {
    let mut versions = Vec::new();
    if tls.protocols.tls13 {
        versions.push(&rustls::version::TLS13);
    }
    if tls.protocols.tls12 {
        versions.push(&rustls::version::TLS12);
    }
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&versions)
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Certificates(certificates)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = tls.prefer_server_ciphers;
    config.enable_secret_extraction = true;
    config.key_log = Arc::new(Collector);
    if tls.session_tickets {
        config.ticketer = Ticketer::new().map_err(|error| error.to_string())?;
    } else {
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

/// The same with HTTP/2 before HTTP/1.1.
pub fn with_http2(offer: &Offer) -> Offer {
    let mut config = ServerConfig::clone(offer);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// Performs a handshake as a server. `choose` gives the offer for the name that SNI tells, in lower case, or empty.
pub async fn handshake(
    stream: Stream,
    choose: impl FnOnce(&str) -> Result<Offer, String>,
) -> Result<Conn, String> {
    let work = async {
        let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), Tap::new(stream))
            .await
            .map_err(|e| e.to_string())?;
        let name = start.client_hello().server_name().unwrap_or_default().to_ascii_lowercase();
        start.into_stream(choose(&name)?).await.map_err(|e| e.to_string())
    };
    let (tls, secrets) = secrets::collect(work).await;
    Ok(Conn::Tls(Box::new(Secured { stream: TlsStream::Server(tls?), secrets })))
}

/// `ssl_reject_handshake on`: no certificate fits, so rustls answers with an alert.
pub fn rejecting_offer() -> Result<Offer, String> {
    offer(&Tls::default(), Vec::new())
}

/// Picks the first certificate that the client's signature schemes allow (RSA beside ECDSA).
#[derive(Debug)]
struct Certificates(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.iter().find(|c| c.key.choose_scheme(hello.signature_schemes()).is_some()).cloned()
    }
}
