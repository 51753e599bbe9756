//! Pure: what stands in a certificate, worded as nginx words it in `$ssl_client_*`.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use x509_cert::Certificate;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::{Decode as _, Encode as _, Tag, Tagged as _};
use x509_cert::name::Name;
use x509_cert::time::Time;

/// Names that OpenSSL knows; it writes all others as numbers.
const NAMES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.20", "telephoneNumber"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.45", "x500UniqueIdentifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.97", "organizationIdentifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("1.2.840.113549.1.9.2", "unstructuredName"),
    ("1.3.6.1.4.1.311.60.2.1.1", "jurisdictionL"),
    ("1.3.6.1.4.1.311.60.2.1.2", "jurisdictionST"),
    ("1.3.6.1.4.1.311.60.2.1.3", "jurisdictionC"),
];

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The certificate of a client. It is read anew for each field: most connections are asked for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate(pub(super) Vec<u8>);

impl ClientCertificate {
    /// From its DER, which is read only when it is asked about.
    pub fn new(der: Vec<u8>) -> ClientCertificate {
        ClientCertificate(der)
    }

    /// `$ssl_client_s_dn`: the subject by RFC 2253.
    pub fn subject(&self) -> Option<String> {
        Some(rfc2253(&self.read()?.tbs_certificate.subject))
    }

    /// `$ssl_client_i_dn`: the issuer by RFC 2253.
    pub fn issuer(&self) -> Option<String> {
        Some(rfc2253(&self.read()?.tbs_certificate.issuer))
    }

    /// `$ssl_client_s_dn_legacy`.
    pub fn subject_legacy(&self) -> Option<String> {
        Some(one_line(&self.read()?.tbs_certificate.subject))
    }

    /// `$ssl_client_i_dn_legacy`.
    pub fn issuer_legacy(&self) -> Option<String> {
        Some(one_line(&self.read()?.tbs_certificate.issuer))
    }

    /// `$ssl_client_serial`, in hexadecimal.
    pub fn serial(&self) -> Option<String> {
        let certificate = self.read()?;
        let bytes = certificate.tbs_certificate.serial_number.as_bytes();
        // A leading zero only keeps the number from being negative.
        let bytes = if let [0, rest @ ..] = bytes
            && !rest.is_empty()
        {
            rest
        } else {
            bytes
        };
        Some(hex(bytes, true))
    }

    /// `$ssl_client_fingerprint`: SHA-1 of the whole.
    pub fn fingerprint(&self) -> String {
        hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.0).as_ref(), false)
    }

    /// `$ssl_client_raw_cert`: PEM, ending with a newline.
    pub fn pem(&self) -> String {
        let body = base64::engine::general_purpose::STANDARD.encode(&self.0);
        let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
        for line in body.as_bytes().chunks(64) {
            pem.extend(line.iter().map(|byte| char::from(*byte)));
            pem.push('\n');
        }
        pem + "-----END CERTIFICATE-----\n"
    }

    /// `$ssl_client_v_start`.
    pub fn begins(&self) -> Option<String> {
        Some(date(&self.read()?.tbs_certificate.validity.not_before))
    }

    /// `$ssl_client_v_end`.
    pub fn ends(&self) -> Option<String> {
        Some(date(&self.read()?.tbs_certificate.validity.not_after))
    }

    /// `$ssl_client_v_remain`: whole days until its end, counted from these seconds since 1970.
    pub fn days_left(&self, now: u64) -> Option<u64> {
        let end = self.read()?.tbs_certificate.validity.not_after.to_unix_duration().as_secs();
        Some(end.saturating_sub(now) / (24 * 60 * 60))
    }

    fn read(&self) -> Option<Certificate> {
        Certificate::from_der(&self.0).ok()
    }
}

/// As OpenSSL prints a time.
fn date(time: &Time) -> String {
    let date = time.to_date_time();
    let month = MONTHS.get(usize::from(date.month()).wrapping_sub(1)).unwrap_or(&"");
    let (hour, minute, second) = (date.hour(), date.minutes(), date.seconds());
    format!("{month} {:2} {hour:02}:{minute:02}:{second:02} {} GMT", date.day(), date.year())
}

fn hex(bytes: &[u8], upper: bool) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = if upper { write!(text, "{byte:02X}") } else { write!(text, "{byte:02x}") };
        text
    })
}

/// A name by RFC 2253, last part first, as OpenSSL's `XN_FLAG_RFC2253`.
fn rfc2253(name: &Name) -> String {
    let part = |part: &AttributeTypeAndValue| {
        let oid = part.oid.to_string();
        match NAMES.iter().find(|(known, _)| *known == oid) {
            Some((_, short)) => match text(part) {
                Some(value) => format!("{short}={}", escaped(&value)),
                None => format!("{short}={}", dumped(part)),
            },
            None => format!("{oid}={}", dumped(part)),
        }
    };
    let set = |parts: Vec<String>| parts.into_iter().rev().collect::<Vec<_>>().join("+");
    let sets = name.0.iter().rev().map(|parts| set(parts.0.iter().map(part).collect()));
    sets.collect::<Vec<_>>().join(",")
}

/// A name as OpenSSL's `X509_NAME_oneline`.
fn one_line(name: &Name) -> String {
    let mut line = String::new();
    for part in name.0.iter().flat_map(|parts| parts.0.iter()) {
        let oid = part.oid.to_string();
        let short = NAMES.iter().find(|(known, _)| *known == oid).map_or(oid.as_str(), |(_, short)| short);
        let _ = write!(line, "/{short}=");
        for byte in part.value.value() {
            let _ = match byte {
                b' '..=b'~' => write!(line, "{}", char::from(*byte)),
                byte => write!(line, "\\x{byte:02X}"),
            };
        }
    }
    line
}

/// The value of a type of text.
fn text(part: &AttributeTypeAndValue) -> Option<String> {
    let bytes = part.value.value();
    match part.value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::VisibleString | Tag::NumericString => {
            String::from_utf8(bytes.to_vec()).ok()
        }
        Tag::TeletexString => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString => {
            let units: Vec<u16> =
                bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    }
}

fn dumped(part: &AttributeTypeAndValue) -> String {
    format!("#{}", hex(&part.value.to_der().unwrap_or_default(), true))
}

fn escaped(value: &str) -> String {
    let mut text = String::new();
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        let edge = (at == 0 && matches!(byte, b' ' | b'#')) || (at == last && byte == b' ');
        let _ = match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => write!(text, "\\{}", char::from(byte)),
            byte if edge => write!(text, "\\{}", char::from(byte)),
            b' '..=b'~' => write!(text, "{}", char::from(byte)),
            byte => write!(text, "\\{byte:02X}"),
        };
    }
    text
}
