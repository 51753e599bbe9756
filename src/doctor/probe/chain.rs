//! The chain of certificates that a server shows: what stands in it, and whether it is trusted.

use std::path::Path;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{AuthorityInfoAccessSyntax, SubjectAltName};

use crate::clock::unix_us;
use crate::doctor::facts::{Certificate, Mistrust};
use crate::tls::{ClientCertificate, system_roots};

/// Certificates that are trusted.
pub(super) struct Roots(Vec<CertificateDer<'static>>);

impl Roots {
    /// Those of a file, or of the system (`SSL_CERT_FILE` as OpenSSL reads it, else the usual places).
    pub(super) fn load(file: Option<&Path>) -> Result<Roots, String> {
        let path = file.map(Path::to_owned).or_else(system_roots);
        let path =
            path.ok_or("no trusted certificates on this system: install ca-certificates, or use --ca")?;
        let shown = path.display();
        let text = std::fs::read(&path).map_err(|error| format!("{shown}: {error}"))?;
        let roots: Vec<_> = CertificateDer::pem_slice_iter(&text).flatten().collect();
        if roots.is_empty() { Err(format!("{shown}: no certificate in this file")) } else { Ok(Roots(roots)) }
    }

    /// Why a chain is not trusted for this host, with details.
    pub(super) fn judge(&self, chain: &[CertificateDer<'_>], host: &str) -> Option<(Mistrust, String)> {
        let (leaf, rest) = chain.split_first()?;
        let parsed = match x509_cert::Certificate::from_der(leaf) {
            Ok(parsed) => parsed.tbs_certificate,
            Err(error) => return Some((Mistrust::Other, format!("the certificate does not parse: {error}"))),
        };
        let pinned = self.0.iter().any(|root| root == leaf);
        if !pinned && parsed.subject == parsed.issuer {
            return Some((Mistrust::SelfSigned, "it is its own issuer".into()));
        }
        let now = unix_us() / 1_000_000;
        if parsed.validity.not_after.to_unix_duration().as_secs() < now {
            return Some((Mistrust::Expired, format!("it ended on {}", parsed.validity.not_after)));
        }
        if parsed.validity.not_before.to_unix_duration().as_secs() > now {
            return Some((Mistrust::NotYetValid, format!("it begins on {}", parsed.validity.not_before)));
        }
        let end = match webpki::EndEntityCert::try_from(leaf) {
            Ok(end) => end,
            Err(error) => return Some((Mistrust::Other, format!("{error:?}"))),
        };
        if !pinned && let Err(error) = self.verify(&end, rest, now) {
            let kind = match error {
                webpki::Error::UnknownIssuer => Mistrust::UnknownIssuer,
                webpki::Error::CertExpired { .. } => Mistrust::Expired,
                webpki::Error::CertNotValidYet { .. } => Mistrust::NotYetValid,
                _ => Mistrust::Other,
            };
            return Some((kind, format!("{error:?}")));
        }
        let name = ServerName::try_from(host).ok()?;
        let fault = end.verify_is_valid_for_subject_name(&name).err()?;
        Some((Mistrust::Name, fault.to_string()))
    }

    fn verify(
        &self,
        end: &webpki::EndEntityCert<'_>,
        rest: &[CertificateDer<'_>],
        now: u64,
    ) -> Result<(), webpki::Error> {
        let anchors: Vec<_> =
            self.0.iter().filter_map(|root| webpki::anchor_from_trusted_cert(root).ok()).collect();
        let algorithms = default_provider().signature_verification_algorithms;
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now));
        let usage = webpki::KeyUsage::server_auth();
        end.verify_for_usage(algorithms.all, &anchors, rest, now, usage, None, None).map(|_| ())
    }

    /// Whether a root comes from the organisation that issued the chain's last certificate: then what stands between
    /// is missing.
    pub(super) fn knows_organisation(&self, chain: &[CertificateDer<'_>]) -> bool {
        let organisation = |name: &x509_cert::name::Name| {
            let text = name.to_string();
            text.split(',').find_map(|part| part.trim().strip_prefix("O=").map(str::to_owned))
        };
        let Some(last) = chain.last().and_then(|last| x509_cert::Certificate::from_der(last).ok()) else {
            return false;
        };
        let Some(wanted) = organisation(&last.tbs_certificate.issuer) else { return false };
        self.0
            .iter()
            .filter_map(|root| x509_cert::Certificate::from_der(root).ok())
            .any(|root| organisation(&root.tbs_certificate.subject).is_some_and(|known| known == wanted))
    }
}

/// What stands in a certificate.
pub(super) fn describe(der: &CertificateDer<'_>) -> Certificate {
    let words = ClientCertificate::new(der.to_vec());
    let parsed = x509_cert::Certificate::from_der(der).ok().map(|parsed| parsed.tbs_certificate);
    let names = parsed.as_ref().and_then(|parsed| parsed.get::<SubjectAltName>().ok().flatten());
    let access = parsed.as_ref().and_then(|parsed| parsed.get::<AuthorityInfoAccessSyntax>().ok().flatten());
    Certificate {
        subject: words.subject().unwrap_or_default(),
        issuer: words.issuer().unwrap_or_default(),
        names: names.iter().flat_map(|(_, names)| &names.0).filter_map(name_text).take(50).collect(),
        begins: words.begins().unwrap_or_default(),
        ends: words.ends().unwrap_or_default(),
        days_left: words.days_left(unix_us() / 1_000_000).unwrap_or_default(),
        issuer_at: access.iter().flat_map(|(_, access)| &access.0).find_map(|one| {
            match &one.access_location {
                GeneralName::UniformResourceIdentifier(uri)
                    if one.access_method.to_string() == "1.3.6.1.5.5.7.48.2" =>
                {
                    Some(uri.to_string())
                }
                _ => None,
            }
        }),
    }
}

fn name_text(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(bytes) => match bytes.as_bytes() {
            bytes if bytes.len() == 4 => {
                bytes.first_chunk::<4>().map(|four| std::net::Ipv4Addr::from(*four).to_string())
            }
            bytes => bytes.first_chunk::<16>().map(|all| std::net::Ipv6Addr::from(*all).to_string()),
        },
        _ => None,
    }
}
