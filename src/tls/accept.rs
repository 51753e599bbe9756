//! What a server offers to its clients: versions, certificates, tickets.

use std::sync::Arc;

use longwire_conf::model::Tls;
use rustls::ProtocolVersion::{TLSv1_2, TLSv1_3};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedCipherSuite};
use tokio_rustls::{LazyConfigAcceptor, TlsStream};

use super::client::{Asking, Client, Judge};
use super::secrets::{self, Collector};
use super::session::Cache;
use super::tap::Tap;
use super::tickets::Keys;
use super::{Conn, Secured, names, session};
use crate::clock;
use crate::net::Stream;

/// What one server offers; chosen by SNI once the ClientHello is there.
#[derive(Clone)]
pub struct Offer {
    config: Arc<ServerConfig>,
    /// The same with HTTP/2 before HTTP/1.1.
    http2: Arc<ServerConfig>,
    /// How clients' certificates are judged, where they are asked for.
    judge: Option<Arc<Judge>>,
    /// Sessions that are kept.
    cache: Option<Cache>,
}

/// How sessions of a server are resumed, beside what its settings say.
#[derive(Default)]
pub struct Resumption<'a> {
    /// Of tickets.
    pub keys: Keys,
    /// The same server in the configuration before: it goes on with its sessions.
    pub previous: Option<&'a Offer>,
}

/// What a client told of itself in the handshake.
#[derive(Debug, Default)]
pub struct Hello {
    /// Its certificate.
    pub client: Option<Arc<Client>>,
    /// Suites that it offered, for [`suites`](super::suites).
    pub ciphers: Vec<u16>,
    /// Groups that it offered, for [`groups`](super::groups).
    pub curves: Vec<u16>,
    /// The group that was chosen; a session resumed by TLS 1.2 has none.
    pub curve: Option<u16>,
}

/// Builds what a server offers. `certificates` is not empty.
pub fn offer(
    tls: &Tls,
    certificates: Vec<Arc<CertifiedKey>>,
    asking: Option<Asking>,
    resumption: Resumption<'_>,
) -> Result<Offer, String> {
    let mut versions = Vec::new();
    if tls.protocols.tls13 {
        versions.push(&rustls::version::TLS13);
    }
    if tls.protocols.tls12 {
        versions.push(&rustls::version::TLS12);
    }
    let rules = asking.as_ref().map(|asking| asking.rules(tls)).unwrap_or_default();
    let (verifier, judge) = match asking {
        Some(Asking { verifier, judge }) => (verifier, Some(judge)),
        None => (WebPkiClientVerifier::no_client_auth(), None),
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider(tls)))
        .with_protocol_versions(&versions)
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(Certificates(certificates)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = tls.prefer_server_ciphers;
    config.enable_secret_extraction = true;
    config.key_log = Arc::new(Collector);
    let Resumption { keys, previous } = resumption;
    let previous = previous.and_then(|offer| offer.cache.as_ref());
    let cache = session::resume(&mut config, tls, keys, rules, previous);
    let mut http2 = config.clone();
    http2.alpn_protocols.insert(0, b"h2".to_vec());
    Ok(Offer { config: Arc::new(config), http2: Arc::new(http2), judge, cache })
}

impl Offer {
    /// Whether clients are asked for certificates.
    pub fn asks(&self) -> bool {
        self.judge.is_some()
    }

    /// Whether what this finds of clients' certificates is what the other does.
    pub fn judges_as(&self, other: &Offer) -> bool {
        match (&self.judge, &other.judge) {
            (Some(one), Some(other)) => one.is_like(other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

/// Suites and groups that a server offers, in its order.
fn provider(tls: &Tls) -> CryptoProvider {
    let mut provider = default_provider();
    let mut suites = Vec::new();
    for (version, chosen) in [(TLSv1_3, &tls.ciphers13), (TLSv1_2, &tls.ciphers)] {
        let mut all: Vec<_> = provider
            .cipher_suites
            .iter()
            .filter(|suite| suite.version().version == version)
            .copied()
            .collect();
        if let Some(chosen) = chosen {
            let place = |suite: &SupportedCipherSuite| {
                let name = names::suite(suite.suite());
                chosen.iter().position(|known| *known == name)
            };
            all.retain(|suite| place(suite).is_some());
            all.sort_by_key(place);
        }
        suites.extend(all);
    }
    provider.cipher_suites = suites;
    if let Some(chosen) = &tls.curves {
        let group = |name: &&str| {
            provider.kx_groups.iter().copied().find(|group| group.name().as_str() == Some(*name))
        };
        provider.kx_groups = chosen.iter().filter_map(group).collect();
    }
    provider
}

/// What is offered where HTTP/2 is on.
pub fn with_http2(offer: Offer) -> Offer {
    Offer { config: offer.http2.clone(), ..offer }
}

/// Performs a handshake as a server. `choose` gives the offer for the name that SNI tells, in lower case, or empty.
pub async fn handshake(
    stream: Stream,
    choose: impl FnOnce(&str) -> Result<Offer, String>,
) -> Result<(Conn, Hello), String> {
    let work = async {
        let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), Tap::new(stream))
            .await
            .map_err(|e| e.to_string())?;
        let said = start.client_hello();
        let name = said.server_name().unwrap_or_default().to_ascii_lowercase();
        let mut hello = Hello {
            ciphers: said.cipher_suites().iter().map(|suite| u16::from(*suite)).collect(),
            curves: said.named_groups().unwrap_or_default().iter().map(|group| u16::from(*group)).collect(),
            ..Hello::default()
        };
        let Offer { config, judge, .. } = choose(&name)?;
        let tls = start.into_stream(config).await.map_err(|e| e.to_string())?;
        let connection = tls.get_ref().1;
        hello.curve = connection.negotiated_key_exchange_group().map(|group| u16::from(group.name()));
        if let (Some(judge), Some(sent)) = (judge, connection.peer_certificates()) {
            hello.client = judge.judge(sent, clock::unix_us() / 1_000_000).map(Arc::new);
        }
        Ok::<_, String>((tls, hello))
    };
    let (done, secrets) = secrets::collect(work).await;
    let (tls, hello) = done?;
    Ok((Conn::Tls(Box::new(Secured { stream: TlsStream::Server(tls), secrets })), hello))
}

/// `ssl_reject_handshake on`: no certificate fits, so rustls answers with an alert.
pub fn rejecting_offer() -> Result<Offer, String> {
    offer(&Tls::default(), Vec::new(), None, Resumption::default())
}

/// Picks the first certificate that the client's signature schemes allow (RSA beside ECDSA).
#[derive(Debug)]
struct Certificates(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.iter().find(|c| c.key.choose_scheme(hello.signature_schemes()).is_some()).cloned()
    }
}
