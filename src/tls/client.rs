//! Certificates of clients. The handshake takes any whose key signed it; whether it is trusted is found out afterwards,
//! as a fact of the connection, so that the request can be answered. The rules and words are OpenSSL's.

use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use longwire_conf::Span;
use longwire_conf::model::{Spanned, Tls, VerifyClient};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, aws_lc_rs::default_provider, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError as BadCertificate, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use x509_cert::crl::CertificateList;
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{Decode as _, Encode as _, Reader as _, SliceReader};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use x509_cert::{Certificate, Version};

use super::tickets::Rules;
use super::x509::ClientCertificate;

/// What a client showed of itself.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its certificate.
    pub certificate: ClientCertificate,
    /// Why it is not trusted, if it is not.
    pub fault: Option<Mistrust>,
}

/// Why a certificate is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mistrust {
    /// OpenSSL's number for it.
    pub code: u16,
    /// In OpenSSL's words.
    pub reason: &'static str,
    /// `optional_no_ca` lets it pass.
    pub no_ca: bool,
}

const fn fault(code: u16, reason: &'static str) -> Mistrust {
    Mistrust { code, reason, no_ca: false }
}

const fn no_ca(code: u16, reason: &'static str) -> Mistrust {
    Mistrust { code, reason, no_ca: true }
}

const ALONE: Mistrust = no_ca(18, "self-signed certificate");
const OWN_ROOT: Mistrust = no_ca(19, "self-signed certificate in certificate chain");
const NO_ISSUER: Mistrust = fault(2, "unable to get issuer certificate");
const NO_LOCAL_ISSUER: Mistrust = no_ca(20, "unable to get local issuer certificate");
const UNKNOWN_ISSUER: Mistrust = no_ca(21, "unable to verify the first certificate");
const PURPOSE: Mistrust = fault(26, "unsuitable certificate purpose");
const PATH_LENGTH: Mistrust = fault(25, "path length constraint exceeded");
const CRITICAL: Mistrust = fault(34, "unhandled critical extension");
const SIGNATURE: Mistrust = fault(7, "certificate signature failure");
const NOT_YET: Mistrust = fault(9, "certificate is not yet valid");
const EXPIRED: Mistrust = fault(10, "certificate has expired");
const NO_CRL: Mistrust = fault(3, "unable to get certificate CRL");
const CRL_SIGNATURE: Mistrust = fault(8, "CRL signature failure");
const CRL_NOT_YET: Mistrust = fault(11, "CRL is not yet valid");
const CRL_EXPIRED: Mistrust = fault(12, "CRL has expired");
const REVOKED: Mistrust = fault(23, "certificate revoked");
const UNREADABLE: Mistrust = fault(28, "certificate rejected");

/// A certificate, read.
#[derive(Debug, Clone)]
struct Read {
    der: Vec<u8>,
    certificate: Certificate,
    subject: Vec<u8>,
    issuer: Vec<u8>,
    signed: Signed,
}

/// Something with a signature.
#[derive(Debug, Clone)]
struct Signed {
    /// What is signed.
    message: Vec<u8>,
    /// The algorithm, without tag and length.
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

impl Signed {
    /// The three parts that certificates and revocation lists have.
    fn read(der: &[u8]) -> x509_cert::der::Result<Signed> {
        SliceReader::new(der)?.sequence(|inner| {
            let message = inner.tlv_bytes()?.to_vec();
            let algorithm = AnyRef::decode(inner)?.value().to_vec();
            let signature = x509_cert::der::asn1::BitStringRef::decode(inner)?;
            Ok(Signed { message, algorithm, signature: signature.raw_bytes().to_vec() })
        })
    }

    /// Whether the key of this certificate signed it.
    fn is_by(&self, issuer: &Certificate) -> bool {
        let key = &issuer.tbs_certificate.subject_public_key_info;
        let Ok(algorithm) = key.algorithm.to_der() else { return false };
        let Ok(algorithm) = AnyRef::from_der(&algorithm).map(|any| any.value().to_vec()) else {
            return false;
        };
        algorithms().all.iter().any(|known| {
            *known.signature_alg_id() == *self.algorithm
                && *known.public_key_alg_id() == *algorithm
                && known
                    .verify_signature(key.subject_public_key.raw_bytes(), &self.message, &self.signature)
                    .is_ok()
        })
    }
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    default_provider().signature_verification_algorithms
}

impl Read {
    fn new(der: &[u8]) -> x509_cert::der::Result<Read> {
        let certificate = Certificate::from_der(der)?;
        let signed = Signed::read(der)?;
        let (subject, issuer) =
            (certificate.tbs_certificate.subject.to_der()?, certificate.tbs_certificate.issuer.to_der()?);
        Ok(Read { der: der.to_vec(), certificate, subject, issuer, signed })
    }

    fn names_itself(&self) -> bool {
        self.subject == self.issuer
    }

    fn extension<T: for<'a> x509_cert::der::Decode<'a>>(&self, oid: &str) -> Option<Result<T, Mistrust>> {
        let extensions = self.certificate.tbs_certificate.extensions.as_ref()?;
        let found = extensions.iter().find(|one| one.extn_id.to_string() == oid)?;
        Some(T::from_der(found.extn_value.as_bytes()).map_err(|_| UNREADABLE))
    }

    /// Extensions that say more than is looked at here.
    fn has_unknown_demands(&self) -> bool {
        // Names that a CA may sign for are not looked at, so no such CA is trusted.
        let names = "2.5.29.30";
        let known = ["2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.31", "2.5.29.32", "2.5.29.37"];
        self.certificate.tbs_certificate.extensions.iter().flatten().any(|one| {
            let oid = one.extn_id.to_string();
            oid == names || (one.critical && !known.contains(&oid.as_str()))
        })
    }

    /// Whether it may be used by a client (RFC 5280 sections 4.2.1.3 and 4.2.1.12, as OpenSSL's `sslclient`).
    fn check_purpose(&self, is_ca: bool) -> Result<(), Mistrust> {
        if let Some(purposes) = self.extension::<ExtendedKeyUsage>("2.5.29.37")
            && !purposes?.0.iter().any(|purpose| purpose.to_string() == "1.3.6.1.5.5.7.3.2")
        {
            return Err(PURPOSE);
        }
        let usage = self.extension::<KeyUsage>("2.5.29.15").transpose()?;
        if !is_ca {
            let fits = usage.is_none_or(|usage| usage.digital_signature() || usage.key_agreement());
            return if fits { Ok(()) } else { Err(PURPOSE) };
        }
        let basic = self.extension::<BasicConstraints>("2.5.29.19").transpose()?;
        let old_root = self.certificate.tbs_certificate.version == Version::V1 && self.names_itself();
        let is_ca = basic.as_ref().map_or(old_root, |basic| basic.ca);
        if !is_ca || usage.is_some_and(|usage| !usage.key_cert_sign()) {
            return Err(PURPOSE);
        }
        Ok(())
    }

    fn check_time(&self, now: u64) -> Result<(), Mistrust> {
        let validity = &self.certificate.tbs_certificate.validity;
        if validity.not_before.to_unix_duration().as_secs() > now {
            return Err(NOT_YET);
        }
        if validity.not_after.to_unix_duration().as_secs() < now {
            return Err(EXPIRED);
        }
        Ok(())
    }
}

/// A revocation list, read.
#[derive(Debug)]
struct Revoked {
    list: CertificateList,
    issuer: Vec<u8>,
    signed: Signed,
}

/// How the certificates of a server's clients are judged.
#[derive(Debug)]
pub(super) struct Judge {
    trusted: Vec<Read>,
    /// `None`: revocation is not asked for.
    revoked: Option<Vec<Revoked>>,
    depth: usize,
}

impl Judge {
    /// Whether both come to the same verdict of everybody.
    pub(super) fn is_like(&self, other: &Judge) -> bool {
        let trusted = |judge: &Judge| judge.trusted.iter().map(|one| one.der.clone()).collect::<Vec<_>>();
        let revoked = |judge: &Judge| {
            let messages =
                |lists: &Vec<Revoked>| lists.iter().map(|list| list.signed.message.clone()).collect();
            judge.revoked.as_ref().map(messages) as Option<Vec<_>>
        };
        self.depth == other.depth && trusted(self) == trusted(other) && revoked(self) == revoked(other)
    }
}

/// A client's certificates are asked for, by these names, and judged so.
#[derive(Debug)]
pub struct Asking {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    pub(super) judge: Arc<Judge>,
}

impl Asking {
    /// What a session must have begun under to be resumed: what is asked for, and whom it is trusted to. The verdict
    /// itself is found anew for each connection, so revocations do not belong here.
    pub(super) fn rules(&self, tls: &Tls) -> Rules {
        let mut all = Context::new(&SHA256);
        all.update(&[tls.verify_client as u8]);
        all.update(&(self.judge.depth as u64).to_be_bytes());
        for one in &self.judge.trusted {
            all.update(&(one.der.len() as u64).to_be_bytes());
            all.update(&one.der);
        }
        let mut rules = Rules::default();
        rules.copy_from_slice(all.finish().as_ref());
        rules
    }
}

/// Reads the files that `ssl_verify_client` needs; `None` where it is off. The error has the place of the file.
pub fn asking(tls: &Tls) -> Result<Option<Asking>, (Span, String)> {
    if tls.verify_client == VerifyClient::Off {
        return Ok(None);
    }
    let mut trusted = Vec::new();
    let mut names = Vec::new();
    for (file, named) in [(&tls.client_certificate, true), (&tls.trusted_certificate, false)] {
        let Some(file) = file else { continue };
        for certificate in read_certificates(file)? {
            if named {
                names.push(DistinguishedName::from(certificate.subject.clone()));
            }
            trusted.push(certificate);
        }
    }
    let revoked = tls.crl.as_ref().map(read_revoked).transpose()?;
    let verifier = Arc::new(AnyClient { names, algorithms: algorithms() });
    Ok(Some(Asking { verifier, judge: Arc::new(Judge { trusted, revoked, depth: tls.verify_depth }) }))
}

fn broken(file: &Spanned<PathBuf>, reason: String) -> (Span, String) {
    (file.span, format!("{}: {reason}", file.value.display()))
}

fn read_certificates(file: &Spanned<PathBuf>) -> Result<Vec<Read>, (Span, String)> {
    let text = std::fs::read(&file.value).map_err(|error| broken(file, format!("cannot load: {error}")))?;
    let mut found = Vec::new();
    for der in CertificateDer::pem_slice_iter(&text) {
        let der = der.map_err(|error| broken(file, format!("not a PEM certificate: {error}")))?;
        let read = Read::new(&der);
        found.push(read.map_err(|error| broken(file, format!("a certificate does not parse: {error}")))?);
    }
    if found.is_empty() {
        return Err(broken(file, "no certificate in this file".into()));
    }
    Ok(found)
}

fn read_revoked(file: &Spanned<PathBuf>) -> Result<Vec<Revoked>, (Span, String)> {
    let text = std::fs::read(&file.value).map_err(|error| broken(file, format!("cannot load: {error}")))?;
    let mut found = Vec::new();
    for der in CertificateRevocationListDer::pem_slice_iter(&text) {
        let der = der.map_err(|error| broken(file, format!("not a PEM revocation list: {error}")))?;
        let read = || {
            let list = CertificateList::from_der(&der)?;
            let issuer = list.tbs_cert_list.issuer.to_der()?;
            Ok(Revoked { list, issuer, signed: Signed::read(&der)? })
        };
        let read: x509_cert::der::Result<Revoked> = read();
        found.push(read.map_err(|error| broken(file, format!("a revocation list does not parse: {error}")))?);
    }
    if found.is_empty() {
        return Err(broken(file, "no \"-----BEGIN X509 CRL-----\" in this file".into()));
    }
    Ok(found)
}

/// The longest chain that is looked at, whatever `ssl_verify_depth` says.
const MAX_CHAIN: usize = 12;

impl Judge {
    /// Judges what a client sent, leaf first, at this second since 1970.
    pub(super) fn judge(&self, sent: &[CertificateDer<'_>], now: u64) -> Option<Client> {
        let leaf = sent.first()?;
        let fault = self.check(sent, now).err();
        Some(Client { certificate: ClientCertificate(leaf.to_vec()), fault })
    }

    /// OpenSSL goes on after a fault when it is told to, as nginx does, and the last one found is what it tells.
    fn check(&self, sent: &[CertificateDer<'_>], now: u64) -> Result<(), Mistrust> {
        let sent = sent.iter().take(MAX_CHAIN).map(|der| Read::new(der));
        let sent: Vec<Read> = sent.collect::<Result<_, _>>().map_err(|_| UNREADABLE)?;
        let (chain, mut verdict) = self.chain(&sent);
        let mut note = |result: Result<(), Mistrust>| {
            if result.is_err() {
                verdict = result;
            }
        };
        let mut below = 0;
        for (at, one) in chain.iter().enumerate() {
            if one.has_unknown_demands() {
                note(Err(CRITICAL));
            }
            note(one.check_purpose(at > 0));
            let basic = one.extension::<BasicConstraints>("2.5.29.19").and_then(Result::ok);
            let most = basic.and_then(|basic| basic.path_len_constraint);
            if at > 0 && most.is_some_and(|most| below > usize::from(most)) {
                note(Err(PATH_LENGTH));
            }
            below += usize::from(at > 0 && !one.names_itself());
        }
        if let Some(revoked) = &self.revoked {
            for (at, one) in chain.iter().enumerate() {
                note(check_revoked(one, chain.get(at + 1).unwrap_or(one), revoked, now));
            }
        }
        for (at, one) in chain.iter().enumerate().rev() {
            match chain.get(at + 1) {
                Some(issuer) if !one.signed.is_by(&issuer.certificate) => note(Err(SIGNATURE)),
                None if at == 0 && !one.names_itself() => note(Err(UNKNOWN_ISSUER)),
                _ => {}
            }
            note(one.check_time(now));
        }
        verdict
    }

    /// From the leaf to a trusted root, as far as it goes.
    fn chain<'a>(&'a self, sent: &'a [Read]) -> (Vec<&'a Read>, Result<(), Mistrust>) {
        let Some(leaf) = sent.first() else { return (Vec::new(), Err(UNREADABLE)) };
        let mut chain = vec![leaf];
        let mut trusted = false;
        loop {
            let Some(last) = chain.last().copied() else { return (chain, Err(UNREADABLE)) };
            let is_trusted = self.trusted.iter().any(|one| one.der == last.der);
            if last.names_itself() {
                let verdict = match chain.len() {
                    _ if is_trusted => Ok(()),
                    1 => Err(ALONE),
                    _ => Err(OWN_ROOT),
                };
                return (chain, verdict);
            }
            trusted |= is_trusted;
            let issued = |one: &&Read| one.subject == last.issuer;
            let signed = |one: &&Read| last.signed.is_by(&one.certificate);
            let of = |all: &'a [Read]| {
                let named = || all.iter().filter(issued);
                named().find(signed).or_else(|| named().next())
            };
            let next = match of(&self.trusted) {
                Some(found) => Some((found, true)),
                None if trusted => None,
                None => of(sent.get(1..).unwrap_or_default()).map(|found| (found, false)),
            };
            match next {
                // What is trusted comes on top of the depth.
                Some((next, from_here))
                    if chain.len() <= self.depth.min(MAX_CHAIN) + usize::from(from_here) =>
                {
                    trusted |= from_here;
                    chain.push(next);
                }
                _ if trusted => return (chain, Err(NO_ISSUER)),
                _ => return (chain, Err(NO_LOCAL_ISSUER)),
            }
        }
    }
}

/// Whether the issuer's list says that this certificate counts no longer.
fn check_revoked(one: &Read, issuer: &Read, revoked: &[Revoked], now: u64) -> Result<(), Mistrust> {
    let mut lists: Vec<&Revoked> = revoked.iter().filter(|list| list.issuer == one.issuer).collect();
    // The newest counts.
    lists.sort_by_key(|list| list.list.tbs_cert_list.this_update.to_unix_duration());
    let Some(Revoked { list, signed, .. }) = lists.last().copied() else { return Err(NO_CRL) };
    let list = &list.tbs_cert_list;
    if list
        .revoked_certificates
        .iter()
        .flatten()
        .any(|entry| entry.serial_number == one.certificate.tbs_certificate.serial_number)
    {
        return Err(REVOKED);
    }
    if !signed.is_by(&issuer.certificate) {
        return Err(CRL_SIGNATURE);
    }
    if list.this_update.to_unix_duration().as_secs() > now {
        return Err(CRL_NOT_YET);
    }
    if list.next_update.is_some_and(|next| next.to_unix_duration().as_secs() < now) {
        return Err(CRL_EXPIRED);
    }
    Ok(())
}

/// Takes any certificate, also none; the signature of the handshake must be its key's.
#[derive(Debug)]
struct AnyClient {
    /// `ssl_client_certificate`: whose certificates are asked for.
    names: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The key of a certificate. rustls would refuse certificates of version 1, which many private CAs still make.
fn key_of(certificate: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, rustls::Error> {
    let bad = |_| rustls::Error::from(BadCertificate::BadEncoding);
    let certificate = Certificate::from_der(certificate).map_err(bad)?;
    Ok(certificate.tbs_certificate.subject_public_key_info.to_der().map_err(bad)?.into())
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = key_of(certificate)?;
        let bad = |_| rustls::Error::from(BadCertificate::BadSignature);
        let key = webpki::RawPublicKeyEntity::try_from(&key).map_err(bad)?;
        let fitting = self.algorithms.mapping.iter().filter(|(scheme, _)| *scheme == signed.scheme);
        let valid = fitting
            .flat_map(|(_, algorithms)| algorithms.iter())
            .any(|algorithm| key.verify_signature(*algorithm, message, signed.signature()).is_ok());
        if valid {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(BadCertificate::BadSignature.into())
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature_with_raw_key(message, &key_of(certificate)?, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
