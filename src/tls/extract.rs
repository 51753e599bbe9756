//! Takes a connection out of rustls: what remains is a socket, two keys, and the bytes that were under way.

use std::io::{ErrorKind, Read as _, Write as _};

use rustls::{Connection, ConnectionTrafficSecrets as Exposed, ProtocolVersion};
use tokio_rustls::TlsStream;

use super::fault::Fault;
use super::keys::{Keys, Secret, Suite, Version};
use super::record::{Opener, Sealer, whole_record};
use super::stream::Secured;
use crate::net::Stream;

/// KeyUpdates that are looked for between the handshake and now.
const MAX_UPDATES: usize = 64;

/// A connection out of rustls.
#[derive(Debug)]
pub struct Extracted {
    /// The socket.
    pub socket: Stream,
    /// For what the peer sends.
    pub opener: Opener,
    /// For what is sent to it.
    pub sealer: Sealer,
    /// Data that rustls had decrypted.
    pub data: Vec<u8>,
    /// Records that it had not, the last of them perhaps cut.
    pub received: Vec<u8>,
    /// Records of ours that have not left.
    pub unsent: Vec<u8>,
    /// The peer has said that nothing more will come.
    pub ended: bool,
}

impl Secured {
    /// Why this connection cannot be taken out of rustls, if it cannot.
    pub fn obstacle(&self) -> Option<&'static str> {
        let (tap, common) = self.stream.get_ref();
        if common.is_handshaking() {
            return Some("the TLS handshake is not over");
        }
        if !tap.is_between_records() {
            return Some("a TLS record is half read");
        }
        match common.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => None,
            Some(ProtocolVersion::TLSv1_3) if tap.given().is_none() => Some("a TLS message may be half read"),
            Some(ProtocolVersion::TLSv1_3)
                if self.secrets.client.is_some() && self.secrets.server.is_some() =>
            {
                None
            }
            Some(ProtocolVersion::TLSv1_3) => Some("the TLS 1.3 traffic secrets are unknown"),
            _ => Some("an unusual version of TLS"),
        }
    }

    /// Takes the connection out of rustls. Nothing may be read or written there any more, so that no sequence number
    /// is used twice. Where that fails, the socket remains, and the reason.
    pub fn extract(self) -> Result<Extracted, (Stream, String)> {
        let Secured { stream, secrets } = self;
        let (tap, connection, sent, received) = match stream {
            TlsStream::Client(tls) => {
                let (tap, connection) = tls.into_inner();
                (tap, Connection::from(connection), secrets.client, secrets.server)
            }
            TlsStream::Server(tls) => {
                let (tap, connection) = tls.into_inner();
                (tap, Connection::from(connection), secrets.server, secrets.client)
            }
        };
        match take_out(connection, sent, received, tap.given().unwrap_or_default()) {
            Err(reason) => Err((tap.into_parts().0, reason)),
            Ok(Taken { opener, sealer, data, unsent, ended }) => {
                let (socket, received) = tap.into_parts();
                Ok(Extracted { socket, opener, sealer, data, received: received.to_vec(), unsent, ended })
            }
        }
    }
}

/// What comes out of rustls itself: see [`Extracted`].
struct Taken {
    opener: Opener,
    sealer: Sealer,
    data: Vec<u8>,
    unsent: Vec<u8>,
    ended: bool,
}

/// `given`: the records that rustls was given since it last gave data.
fn take_out(
    mut connection: Connection,
    sent: Option<Secret>,
    received: Option<Secret>,
    given: &[u8],
) -> Result<Taken, String> {
    let from_server = matches!(connection, Connection::Client(_));
    let ended = connection.process_new_packets().map_err(|e| e.to_string())?.peer_has_closed();
    let data = drain(&mut connection)?;
    let unsent = unsent(&mut connection)?;
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => Version::Tls12,
        _ => Version::Tls13,
    };
    let exposed = connection.dangerous_extract_secrets().map_err(|e| e.to_string())?;
    let (seq, key) = exposed.rx;
    // TLS 1.2 has no messages after the handshake that could be cut.
    let given = if version == Version::Tls13 { last_records(given, seq) } else { Vec::new() };
    let before = seq - given.len() as u64; // no more than `seq` were asked for
    let mut opener = Opener::new(keys(version, (before, key), received)?, from_server);
    let mut given = given.concat();
    opener.open(&mut given);
    if opener.keys().seq() != seq {
        return Err("the last TLS records do not open again".into());
    }
    let sealer = Sealer::new(keys(version, exposed.tx, sent)?);
    Ok(Taken { opener, sealer, data, unsent, ended })
}

/// The last of these records, at most so many.
fn last_records(mut bytes: &[u8], most: u64) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while let Some((record, rest)) = whole_record(bytes).filter(|len| *len > 0).map(|len| bytes.split_at(len))
    {
        records.push(record);
        bytes = rest;
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    records.split_off(records.len().saturating_sub(most))
}

/// All data that rustls has decrypted.
fn drain(connection: &mut Connection) -> Result<Vec<u8>, String> {
    let mut data = Vec::new();
    match connection.reader().read_to_end(&mut data) {
        // It has no more (and the peer has not closed), or it has seen the socket's end, which will be seen again.
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::UnexpectedEof) => Ok(data),
        Err(e) => Err(e.to_string()),
        Ok(_) => Ok(data),
    }
}

/// All records that rustls has made. An answer to a KeyUpdate waits until something is written, be it nothing.
fn unsent(connection: &mut Connection) -> Result<Vec<u8>, String> {
    let mut records = Vec::new();
    connection.writer().write(&[]).map_err(|e| e.to_string())?;
    while connection.wants_write() {
        connection.write_tls(&mut records).map_err(|e| e.to_string())?;
    }
    Ok(records)
}

/// Keys of ours from those of rustls. In TLS 1.3 they must follow from the secret, or it could not be moved on.
fn keys(version: Version, exposed: (u64, Exposed), secret: Option<Secret>) -> Result<Keys, String> {
    let (seq, exposed) = exposed;
    let (suite, key, iv) = match &exposed {
        Exposed::Aes128Gcm { key, iv } => (Suite::Aes128Gcm, key, iv),
        Exposed::Aes256Gcm { key, iv } => (Suite::Aes256Gcm, key, iv),
        Exposed::Chacha20Poly1305 { key, iv } => (Suite::Chacha20Poly1305, key, iv),
        _ => return Err("an unusual cipher suite".into()),
    };
    let iv = iv.as_ref().try_into().map_err(|_| "an unusual IV")?;
    let made = match version {
        Version::Tls12 => Keys::tls12(suite, key.as_ref(), iv, seq),
        Version::Tls13 => {
            let secret = secret.and_then(|secret| Keys::find(suite, secret, key.as_ref(), MAX_UPDATES));
            Keys::tls13(suite, &secret.ok_or("the key does not follow from the traffic secret")?, seq)
        }
    };
    made.map_err(|fault: Fault| fault.to_string())
}

#[cfg(test)]
mod tests;
