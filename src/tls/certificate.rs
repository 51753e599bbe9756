//! Certificates: read from PEM files, or made in memory where a configuration names none.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

/// Why a certificate cannot be used. Names the file.
#[derive(Debug)]
pub struct CertificateError {
    /// The file at fault.
    pub path: PathBuf,
    /// It is the key's file, not the certificate's.
    pub in_key: bool,
    /// This process has no right to read it.
    pub denied: bool,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

/// Certificates that were loaded, by their files.
#[derive(Default)]
pub struct Loaded(HashMap<[PathBuf; 2], Known>);

struct Known {
    certificate: Arc<CertifiedKey>,
    /// How both files looked, as far as that could be seen.
    looks: [Option<Look>; 2],
}

/// What tells a file from another of its name: device, inode, bytes, and when it was changed.
pub(super) type Look = (u64, u64, u64, i64, i64);

/// A certificate, and what is to be said about it.
pub type Found = (Arc<CertifiedKey>, Option<String>);

impl Loaded {
    /// Loads a chain with its key. A process that gave up its rights may not be able to read them again: then what
    /// `before` has stays in force, unless the files are seen to have changed.
    pub fn load(
        &mut self,
        chain: &Path,
        key: &Path,
        before: Option<&Loaded>,
    ) -> Result<Found, CertificateError> {
        let files = [chain.to_owned(), key.to_owned()];
        // Before they are read: what is changed meanwhile looks changed the next time.
        let looks = [look(chain), look(key)];
        let (certificate, warning) = match load(chain, key) {
            Ok(certificate) => (certificate, None),
            Err(error) => {
                let known = before.filter(|_| error.denied).and_then(|before| before.0.get(&files));
                let Some(Known { certificate, looks: known }) = known else { return Err(error) };
                let pairs = || looks.iter().zip(known);
                if pairs().any(|pair| matches!(pair, (Some(now), Some(then)) if now != then)) {
                    return Err(error);
                }
                let seen = pairs().all(|(now, _)| now.is_some());
                let warning =
                    format!("{error}: the certificate that was read before stays in force, changed or not");
                (certificate.clone(), (!seen).then_some(warning))
            }
        };
        let known = before.and_then(|before| before.0.get(&files)).map_or([None; 2], |known| known.looks);
        let looks = [looks[0].or(known[0]), looks[1].or(known[1])];
        self.0.insert(files, Known { certificate: certificate.clone(), looks });
        Ok((certificate, warning))
    }
}

pub(super) fn look(path: &Path) -> Option<Look> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

/// Reads a chain (leaf first) and its key, and checks that they belong together.
pub fn load(chain: &Path, key: &Path) -> Result<Arc<CertifiedKey>, CertificateError> {
    let fault = |path: &Path, reason| CertificateError {
        path: path.to_owned(),
        in_key: false,
        denied: false,
        reason,
    };
    let is_denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    let text = std::fs::read(chain).map_err(|error| CertificateError {
        denied: is_denied(&error),
        ..fault(chain, format!("cannot load the certificate: {error}"))
    })?;
    let certificates = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fault(chain, format!("this is not a PEM certificate: {error}")))?;
    if certificates.is_empty() {
        return Err(fault(chain, "no \"-----BEGIN CERTIFICATE-----\" in this file".into()));
    }
    let chain_fault = fault;
    let fault = |path: &Path, reason| CertificateError { in_key: true, ..chain_fault(path, reason) };
    let text = std::fs::read(key).map_err(|error| CertificateError {
        denied: is_denied(&error),
        ..fault(key, format!("cannot load the certificate key: {error}"))
    })?;
    if text.windows(9).any(|word| word == b"ENCRYPTED") {
        let remedy = "store it without a passphrase: openssl pkey -in OLD -out NEW";
        return Err(fault(key, format!("the key is encrypted: {remedy}")));
    }
    let private = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|error| fault(key, format!("no usable private key in this file: {error}")))?;
    CertifiedKey::from_der(certificates, private, &default_provider()).map(Arc::new).map_err(|error| {
        match error {
            rustls::Error::InconsistentKeys(_) => {
                fault(key, format!("this key does not belong to the certificate in {}", chain.display()))
            }
            rustls::Error::InvalidCertificate(error) => {
                chain_fault(chain, format!("the certificate does not parse: {error:?}"))
            }
            error => fault(key, format!("the key cannot be used: {error}")),
        }
    })
}

/// The chain of a PEM file, for `proxy_ssl_trusted_certificate`.
pub(super) fn load_roots(path: &Path) -> Result<rustls::RootCertStore, CertificateError> {
    let fault =
        |reason: String| CertificateError { path: path.to_owned(), in_key: false, denied: false, reason };
    let text = std::fs::read(path).map_err(|error| fault(format!("cannot load: {error}")))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| fault(format!("not a PEM certificate: {error}")))?;
        roots.add(certificate).map_err(|error| fault(format!("not usable as a root: {error}")))?;
    }
    if roots.is_empty() {
        return Err(fault("no certificate in this file".into()));
    }
    Ok(roots)
}

/// Where Linux systems keep the roots that they trust.
const SYSTEM: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The file with the roots that the system trusts (`SSL_CERT_FILE` as OpenSSL reads it, else the usual places).
pub fn system_roots() -> Option<PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    named.or_else(|| SYSTEM.iter().map(PathBuf::from).find(|path| path.exists()))
}

/// A certificate for the given names, made in memory, that nobody trusts. Names that DNS does not know are left out.
pub fn self_signed(names: &[String]) -> Result<Arc<CertifiedKey>, String> {
    let mut wanted: Vec<String> = names.iter().filter(|n| is_dns_name(n)).cloned().collect();
    wanted.extend(["localhost".into(), "127.0.0.1".into(), "::1".into()]);
    let made = rcgen::generate_simple_self_signed(wanted).map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    CertifiedKey::from_der(vec![made.cert.der().clone()], key, &default_provider())
        .map(Arc::new)
        .map_err(|error| error.to_string())
}

fn is_dns_name(name: &str) -> bool {
    let plain = name.strip_prefix("*.").unwrap_or(name);
    plain.contains(|c: char| c.is_ascii_alphanumeric())
        && plain.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
        && !plain.starts_with('.')
        && !plain.ends_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dns_names_go_into_a_made_certificate() {
        for (name, good) in [
            ("example.com", true),
            ("*.example.com", true),
            ("_", false),
            ("", false),
            (".example.com", false),
            ("www.*", false),
        ] {
            assert_eq!(is_dns_name(name), good, "{name:?}");
        }
    }

    #[test]
    fn a_certificate_is_made_even_when_no_name_fits() {
        assert!(self_signed(&["_".into(), String::new()]).is_ok());
    }
}
