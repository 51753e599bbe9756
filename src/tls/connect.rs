//! TLS towards backends (`proxy_ssl_*`).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use longwire_conf::Span;
use longwire_conf::model::{Protocols, ProxySsl, Spanned};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio_rustls::{TlsConnector, TlsStream};
use zeroize::Zeroizing;

use super::secrets::{self, Collector};
use super::tap::Tap;
use super::{CertificateError, Conn, Secured, certificate, load, system_roots};
use crate::net::Stream;

/// Settings with the contents of their files, as a digest: connections of equal ones are as good as each other.
pub type Fingerprint = [u8; 32];

/// Makes TLS connections to backends.
#[derive(Clone)]
pub struct Connector {
    inner: TlsConnector,
    fingerprint: Fingerprint,
}

impl Connector {
    /// What its connections can be told by.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Performs the handshake. `name` is what SNI and verification use (`proxy_ssl_name`).
    pub async fn connect(&self, stream: Stream, name: &str) -> io::Result<Conn> {
        let plain = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(plain).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("\"{name}\" is no name that TLS can ask for: set proxy_ssl_name"),
            )
        })?;
        let (tls, secrets) = secrets::collect(self.inner.connect(name, Tap::new(stream))).await;
        Ok(Conn::Tls(Box::new(Secured { stream: TlsStream::Client(tls?), secrets })))
    }
}

/// Builds a connector from `proxy_ssl_*`.
pub fn connector(settings: &ProxySsl) -> Result<Connector, CertificateError> {
    speaking(settings, b"http/1.1")
}

/// Builds a connector to a server that has to prove its name by the roots of this file, else by those of the system.
pub fn verifying(trusted: Option<&Spanned<PathBuf>>, protocol: &[u8]) -> Result<Connector, CertificateError> {
    let system = || system_roots().map(|value| Spanned { value, span: Span::default() });
    let Some(trusted) = trusted.cloned().or_else(system) else {
        let reason = "no trusted certificates on this system: install ca-certificates, or name a file".into();
        return Err(CertificateError { path: "https".into(), in_key: false, denied: false, reason });
    };
    let settings = ProxySsl {
        verify: true,
        trusted: Some(trusted),
        name: None,
        server_name: true,
        protocols: Protocols::default(),
        session_reuse: true,
        certificate: None,
    };
    speaking(&settings, protocol)
}

fn speaking(settings: &ProxySsl, protocol: &[u8]) -> Result<Connector, CertificateError> {
    let provider = Arc::new(default_provider());
    let mut versions = Vec::new();
    if settings.protocols.tls13 {
        versions.push(&rustls::version::TLS13);
    }
    if settings.protocols.tls12 {
        versions.push(&rustls::version::TLS12);
    }
    let general = |reason: String| CertificateError {
        path: "proxy_ssl_*".into(),
        in_key: false,
        denied: false,
        reason,
    };
    let verifier: Arc<dyn ServerCertVerifier> = match (&settings.trusted, settings.verify) {
        (Some(file), true) => {
            let roots = Arc::new(certificate::load_roots(&file.value)?);
            WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
                .build()
                .map_err(|error| general(error.to_string()))?
        }
        (None, true) => {
            return Err(general("proxy_ssl_verify needs proxy_ssl_trusted_certificate".into()));
        }
        (_, false) => Arc::new(Unverified(provider.signature_verification_algorithms)),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| general(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &settings.certificate {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let key = load(&pair.chain.value, &pair.key.value)?;
            builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)))
        }
    };
    config.enable_sni = settings.server_name;
    config.alpn_protocols = vec![protocol.to_vec()];
    config.enable_secret_extraction = true;
    config.key_log = Arc::new(Collector);
    if !settings.session_reuse {
        config.resumption = Resumption::disabled();
    }
    Ok(Connector { inner: TlsConnector::from(Arc::new(config)), fingerprint: fingerprint(settings) })
}

fn fingerprint(settings: &ProxySsl) -> Fingerprint {
    let ProxySsl { verify, trusted, name: _, server_name, protocols, session_reuse, certificate } = settings;
    let pair = certificate.iter().flat_map(|pair| [&pair.chain, &pair.key]);
    let mut all = Context::new(&SHA256);
    all.update(&[*verify, *server_name, *session_reuse, protocols.tls12, protocols.tls13].map(u8::from));
    for file in trusted.iter().chain(pair) {
        // A file that cannot be read was said already, or has gone this moment: it is like no other then.
        let content = Zeroizing::new(std::fs::read(&file.value).unwrap_or_default());
        all.update(&(content.len() as u64).to_be_bytes());
        all.update(&content);
    }
    let mut fingerprint = Fingerprint::default();
    fingerprint.copy_from_slice(all.finish().as_ref());
    fingerprint
}

/// `proxy_ssl_verify off`, nginx's default: any certificate will do, but the signature must be its own.
#[derive(Debug)]
struct Unverified(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
