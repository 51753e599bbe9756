//! The record layer against rustls: what one seals the other opens, whatever the suite and wherever it is cut.

use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};

use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, Connection, ConnectionTrafficSecrets as Exposed, ExtractedSecrets,
    KeyLog, RootCertStore, ServerConfig, ServerConnection, SupportedCipherSuite,
};

use super::super::keys::{Keys, Secret};
use super::*;

const SUITES: [SupportedCipherSuite; 6] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// Client and server secret of the handshake.
#[derive(Debug, Default)]
struct Log(Mutex<[Option<Secret>; 2]>);

impl KeyLog for Log {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        let index = match label {
            "CLIENT_TRAFFIC_SECRET_0" => 0,
            "SERVER_TRAFFIC_SECRET_0" => 1,
            _ => return,
        };
        self.0.lock().unwrap()[index] = Secret::new(secret);
    }
}

/// A rustls connection, and our own record layer in the place of its peer.
pub(in crate::tls) struct Both {
    pub(in crate::tls) rustls: Connection,
    pub(in crate::tls) opener: Opener,
    pub(in crate::tls) sealer: Sealer,
}

impl Both {
    /// Shakes hands, and takes one of both out. The last of the server's tickets may still be under way to us.
    fn new(suite: SupportedCipherSuite, we_serve: bool) -> Both {
        let mut provider = default_provider();
        provider.cipher_suites = vec![suite];
        let provider = Arc::new(provider);
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let log = Arc::new(Log::default());
        let versions = [suite.version()];
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.enable_secret_extraction = true;
        client.key_log = log.clone();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        server.enable_secret_extraction = true;
        let name = ServerName::try_from("a.example").unwrap();
        let mut client = Connection::from(ClientConnection::new(Arc::new(client), name).unwrap());
        let mut server = Connection::from(ServerConnection::new(Arc::new(server)).unwrap());
        while client.is_handshaking() || server.is_handshaking() {
            carry(&mut client, &mut server);
            carry(&mut server, &mut client);
        }
        carry(&mut server, &mut client);
        let (rustls, ours) = if we_serve { (client, server) } else { (server, client) };
        let [of_client, of_server] = std::mem::take(&mut *log.0.lock().unwrap());
        let (sent, received) = if we_serve { (of_server, of_client) } else { (of_client, of_server) };
        let ExtractedSecrets { tx, rx } = ours.dangerous_extract_secrets().unwrap();
        let opener = Opener::new(keys(rx, received), !we_serve);
        Both { rustls, opener, sealer: Sealer::new(keys(tx, sent)) }
    }

    /// What rustls sends for these data.
    pub(in crate::tls) fn sent_by_rustls(&mut self, data: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        for piece in data.chunks(10_000) {
            self.rustls.writer().write_all(piece).unwrap();
            while self.rustls.wants_write() {
                self.rustls.write_tls(&mut wire).unwrap();
            }
        }
        wire
    }

    pub(in crate::tls) fn feed(&mut self, mut wire: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let mut data = Vec::new();
        while !wire.is_empty() {
            self.rustls.read_tls(&mut wire).unwrap();
            self.rustls.process_new_packets()?;
            let _ = self.rustls.reader().read_to_end(&mut data);
        }
        Ok(data)
    }

    /// What the opener makes of bytes that come in these pieces.
    fn receive<'a>(&mut self, pieces: impl Iterator<Item = &'a [u8]>) -> Result<Vec<u8>, Fault> {
        let (mut kept, mut data) = (Vec::new(), Vec::new());
        for piece in pieces {
            kept.extend_from_slice(piece);
            let opened = self.opener.open(&mut kept);
            data.extend_from_slice(&kept[..opened.data]);
            kept.drain(..opened.used);
            if opened.update_requested {
                self.sealer.owe_update();
            }
            if let Some(end) = opened.end {
                return end.map(|()| data);
            }
        }
        assert!(kept.is_empty(), "a record is left");
        Ok(data)
    }

    fn sealed(&mut self, data: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        self.sealer.seal(data, &mut wire).unwrap();
        wire
    }

    pub(in crate::tls) fn is_tls13(&self) -> bool {
        self.opener.keys().version() == Version::Tls13
    }
}

fn carry(from: &mut Connection, to: &mut Connection) {
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    let mut wire = &wire[..];
    while !wire.is_empty() {
        to.read_tls(&mut wire).unwrap();
        to.process_new_packets().unwrap();
    }
}

fn keys((seq, exposed): (u64, Exposed), secret: Option<Secret>) -> Keys {
    let (suite, key, iv) = match &exposed {
        Exposed::Aes128Gcm { key, iv } => (Suite::Aes128Gcm, key, iv),
        Exposed::Aes256Gcm { key, iv } => (Suite::Aes256Gcm, key, iv),
        Exposed::Chacha20Poly1305 { key, iv } => (Suite::Chacha20Poly1305, key, iv),
        _ => panic!("another suite"),
    };
    match secret {
        None => Keys::tls12(suite, key.as_ref(), iv.as_ref().try_into().unwrap(), seq).unwrap(),
        Some(secret) => {
            let found = Keys::find(suite, secret, key.as_ref(), 10).expect("the secret of this key");
            Keys::tls13(suite, &found, seq).unwrap()
        }
    }
}

pub(in crate::tls) fn each(mut test: impl FnMut(Both)) {
    for suite in SUITES {
        for we_serve in [true, false] {
            println!("{:?}, we serve: {we_serve}", suite.suite());
            test(Both::new(suite, we_serve));
        }
    }
}

pub(in crate::tls) fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

#[test]
fn what_rustls_seals_is_opened_and_the_other_way_round() {
    each(|mut both| {
        for len in [1, 2, 100, 16_383, 16_384, 16_385, 70_000] {
            let data = noise(len);
            let wire = both.sent_by_rustls(&data);
            assert!(both.receive([&wire[..]].into_iter()) == Ok(data.clone()), "{len} bytes differ");
            let wire = both.sealed(&data);
            assert!(both.feed(&wire).unwrap() == data, "{len} bytes differ on their way back");
        }
    });
}

#[test]
fn records_may_be_cut_anywhere() {
    each(|mut both| {
        let data = noise(40);
        let wire = both.sent_by_rustls(&data);
        assert_eq!(both.receive(wire.chunks(1)), Ok(data.clone()));
        for cut in 1..wire.len() {
            let wire = both.sent_by_rustls(&data);
            let (front, back) = wire.split_at(cut);
            assert_eq!(both.receive([front, back].into_iter()), Ok(data.clone()), "cut at {cut}");
        }
    });
}

#[test]
fn keys_are_updated_on_both_ways() {
    each(|mut both| {
        if !both.is_tls13() {
            return;
        }
        for round in 0..5 {
            both.rustls.refresh_traffic_keys().unwrap();
            let data = noise(100 + round);
            let before = both.sealed(b"under the old keys");
            let wire = both.sent_by_rustls(&data);
            assert_eq!(both.receive(wire.chunks(3)), Ok(data.clone()));
            assert_eq!(both.opener.keys().seq(), 1, "the update came with new keys");
            assert_eq!(both.feed(&before).unwrap(), b"under the old keys");
            let wire = both.sealed(&data);
            assert_eq!(both.sealer.keys().seq(), 1, "it was answered");
            assert_eq!(both.feed(&wire).unwrap(), data);
        }
    });
}

#[test]
fn a_key_that_is_worn_is_renewed_or_given_up() {
    each(|mut both| {
        both.sealer.blocks = MAX_BLOCKS;
        let mut wire = Vec::new();
        let result = both.sealer.seal(b"more", &mut wire);
        let chacha = both.sealer.keys().suite() == Suite::Chacha20Poly1305;
        match (both.is_tls13(), chacha) {
            (false, false) => assert_eq!(result, Err(Fault::Exhausted)),
            _ => {
                assert_eq!(both.feed(&wire).unwrap(), b"more");
                assert_eq!(both.sealer.blocks < MAX_BLOCKS, !chacha);
            }
        }
    });
}

#[test]
fn ends_are_told_and_understood() {
    each(|mut both| {
        let mut wire = both.sent_by_rustls(b"last");
        both.rustls.send_close_notify();
        wire.extend(both.sent_by_rustls(b"x"));
        while both.rustls.wants_write() {
            both.rustls.write_tls(&mut wire).unwrap();
        }
        let opened = both.opener.open(&mut wire);
        assert_eq!((opened.end, &wire[..opened.data]), (Some(Ok(())), &b"last"[..]));
        let mut wire = both.sealed(b"ours");
        both.sealer.close(&mut wire).unwrap();
        let told = wire.len();
        both.sealer.close(&mut wire).unwrap();
        assert_eq!(wire.len(), told, "it is told once");
        assert!(both.sealer.seal(b"more", &mut wire).is_err(), "nothing follows");
        assert_eq!(both.feed(&wire).unwrap(), b"ours");
        assert!(both.rustls.process_new_packets().unwrap().peer_has_closed());
    });
}

#[test]
fn what_is_altered_is_refused() {
    each(|mut both| {
        let wire = both.sent_by_rustls(b"data");
        for at in 5..wire.len() {
            let mut bad = wire.clone();
            bad[at] ^= 1;
            assert_eq!(both.opener.open(&mut bad).end, Some(Err(Fault::BadRecord)), "byte {at}");
        }
        assert_eq!(both.receive([&wire[..]].into_iter()), Ok(b"data".to_vec()), "a failure moves no number");
        let opened = both.opener.open(&mut wire.clone());
        assert_eq!(opened.end, Some(Err(Fault::BadRecord)), "a record that comes twice");
        let mut wire = Vec::new();
        both.sealer.fail(20, &mut wire).unwrap();
        assert_eq!(
            both.feed(&wire),
            Err(rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac)),
            "our alert is understood"
        );
    });
}

/// A pair that stands on both sides of one direction, to send what rustls would not.
fn rig(suite: SupportedCipherSuite, from_server: bool) -> (Sealer, Opener) {
    let secret = || Secret::new(&[7; 32]).unwrap();
    let (kind, tls13) = match suite.suite() {
        rustls::CipherSuite::TLS13_AES_128_GCM_SHA256 => (Suite::Aes128Gcm, true),
        _ => (Suite::Aes128Gcm, false),
    };
    let keys = || match tls13 {
        true => Keys::tls13(kind, &secret(), 0).unwrap(),
        false => Keys::tls12(kind, &[7; 16], [9; 12], 0).unwrap(),
    };
    (Sealer::new(keys()), Opener::new(keys(), from_server))
}

const TLS13: SupportedCipherSuite = cipher_suite::TLS13_AES_128_GCM_SHA256;
const TLS12: SupportedCipherSuite = cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;

/// The end that these records bring, which come one by one.
fn end_of(
    suite: SupportedCipherSuite,
    from_server: bool,
    records: &[(u8, &[u8])],
) -> Option<Result<(), Fault>> {
    let (mut sealer, mut opener) = rig(suite, from_server);
    let mut wire = Vec::new();
    records.iter().for_each(|(kind, content)| sealer.record(*kind, content, &mut wire).unwrap());
    opener.open(&mut wire).end
}

#[test]
fn messages_after_the_handshake() {
    let ticket = [&[4, 0, 0, 10][..], &[1; 10]].concat();
    let tickets = ticket.repeat(3);
    let split: Vec<(u8, &[u8])> = tickets.chunks(3).map(|piece| (HANDSHAKE, piece)).collect();
    assert_eq!(end_of(TLS13, true, &split), None, "tickets in pieces are ignored");
    assert_eq!(end_of(TLS13, true, &[(HANDSHAKE, &ticket), (DATA, b"x")]), None);
    let unexpected = Some(Err(Fault::Unexpected));
    assert_eq!(end_of(TLS13, false, &[(HANDSHAKE, &ticket)]), unexpected, "a client has none");
    assert_eq!(end_of(TLS13, true, &[(HANDSHAKE, &ticket[..5]), (DATA, b"x")]), unexpected);
    assert_eq!(end_of(TLS13, true, &[(HANDSHAKE, &[13, 0, 0, 1, 0])]), unexpected, "CertificateRequest");
    assert_eq!(end_of(TLS13, true, &[(HANDSHAKE, b"")]), unexpected);
    assert_eq!(end_of(TLS13, false, &[(HANDSHAKE, &[24, 0, 0, 2])]), unexpected, "a longer KeyUpdate");
    assert_eq!(end_of(TLS13, false, &[(HANDSHAKE, &[24, 0, 0, 1, 2])]), Some(Err(Fault::Malformed)));
    assert_eq!(end_of(TLS13, false, &[(HANDSHAKE, &[24, 0, 0, 1, 0, 24])]), unexpected, "more behind it");
    assert_eq!(end_of(TLS13, false, &[(CHANGE_CIPHER_SPEC, &[1])]), unexpected, "inside");
    assert_eq!(end_of(TLS12, false, &[(HANDSHAKE, &[1, 0, 0, 0])]), Some(Err(Fault::Renegotiation)));
    assert_eq!(end_of(TLS12, true, &[(HANDSHAKE, &[0, 0, 0, 0])]), Some(Err(Fault::Renegotiation)));
}

#[test]
fn a_key_update_in_pieces() {
    let (mut sealer, mut opener) = rig(TLS13, false);
    let mut wire = Vec::new();
    sealer.record(HANDSHAKE, &[24, 0], &mut wire).unwrap();
    sealer.record(HANDSHAKE, &[0, 1], &mut wire).unwrap();
    sealer.record(HANDSHAKE, &[1], &mut wire).unwrap();
    sealer.keys.update().unwrap();
    sealer.record(DATA, b"new", &mut wire).unwrap();
    let opened = opener.open(&mut wire);
    assert_eq!((opened.end, opened.update_requested, &wire[..opened.data]), (None, true, &b"new"[..]));
}

#[test]
fn alerts() {
    for (suite, alert, end) in [
        (TLS13, &[1, 0][..], Some(Ok(()))),
        (TLS13, &[2, 0], Some(Ok(()))),
        (TLS13, &[1, 90], None),
        (TLS13, &[1, 40], Some(Err(Fault::Alert(40)))),
        (TLS12, &[1, 100], None),
        (TLS12, &[2, 40], Some(Err(Fault::Alert(40)))),
        (TLS13, &[2], Some(Err(Fault::Malformed))),
        (TLS13, &[], Some(Err(Fault::Malformed))),
        (TLS12, &[2, 40, 0], Some(Err(Fault::Malformed))),
    ] {
        assert_eq!(end_of(suite, false, &[(ALERT, alert)]), end, "{alert:?}");
    }
}

#[test]
fn records_without_data_are_bounded() {
    for suite in [TLS12, TLS13] {
        let empty = [(DATA, &b""[..]); MAX_DRY as usize];
        assert_eq!(end_of(suite, false, &empty), None);
        let more = [&empty[..], &[(DATA, b"x")], &empty].concat();
        assert_eq!(end_of(suite, false, &more), None, "data begin the count anew");
        assert_eq!(end_of(suite, false, &[&empty[..], &empty[..1]].concat()), Some(Err(Fault::Empty)));
    }
    let update: (u8, &[u8]) = (ALERT, &[1, 90]);
    assert_eq!(end_of(TLS13, false, &[update; MAX_DRY as usize + 1]), Some(Err(Fault::Empty)));
}

#[test]
fn padding_is_taken_away() {
    let (mut sealer, mut opener) = rig(TLS13, false);
    for padding in [1, 2, 100, 16_380] {
        let content = [&b"data"[..], &[DATA], &vec![0; padding - 1]].concat();
        // The type that the sealer appends is a zero: more padding.
        let mut wire = Vec::new();
        sealer.record(0, &content, &mut wire).unwrap();
        let opened = opener.open(&mut wire);
        assert_eq!((opened.end, &wire[..opened.data]), (None, &b"data"[..]));
    }
    assert_eq!(end_of(TLS13, false, &[(0, &[0; 50])]), Some(Err(Fault::Unexpected)), "nothing but padding");
}

#[test]
fn headers_and_lengths() {
    let long = vec![1; MAX_DATA + 1];
    assert_eq!(end_of(TLS13, false, &[(DATA, &long)]), Some(Err(Fault::TooLong)));
    assert_eq!(end_of(TLS12, false, &[(DATA, &long)]), Some(Err(Fault::TooLong)));
    for (suite, header, fault) in [
        (TLS13, [DATA, 3, 3, 0x48, 1], Fault::TooLong),
        (TLS12, [DATA, 3, 3, 0xff, 0xff], Fault::TooLong),
        (TLS13, [19, 3, 3, 0, 1], Fault::Unexpected),
        (TLS12, [b'G', b'E', b'T', b' ', b'/'], Fault::Unexpected),
        (TLS12, [DATA, 2, 3, 0, 1], Fault::WrongVersion),
    ] {
        let opened = rig(suite, false).1.open(&mut header.to_vec());
        assert_eq!(opened.end, Some(Err(fault)), "{header:?}");
        assert_eq!(whole_record(&header), Some(5), "it is not waited for");
    }
    for kind in [CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE] {
        let mut wire = [kind, 3, 3, 0, 1, 1];
        assert_eq!(rig(TLS13, false).1.open(&mut wire).end, Some(Err(Fault::Unexpected)), "not protected");
        assert_eq!(rig(TLS12, false).1.open(&mut wire).end, Some(Err(Fault::BadRecord)), "not protected");
    }
}

/// Ciphers are dropped when they are idle, and nobody notices: also not when a connection comes to another thread.
#[test]
fn ciphers_cool_and_come_back() {
    use super::super::cipher::{cool, count};
    let (second, mut now) = (1_000_000, 0);
    each(|mut both| {
        now += 10 * second;
        cool(now);
        let others = count();
        let wire = both.sealed(b"one");
        assert_eq!(both.feed(&wire).unwrap(), b"one");
        assert_eq!(count(), others + 1, "rustls has ciphers of its own");
        cool(now + second / 2);
        assert_eq!(count(), others + 1, "it is not yet time to look");
        for _ in 0..3 {
            now += second;
            let wire = both.sealed(b"more");
            assert_eq!(both.feed(&wire).unwrap(), b"more");
            cool(now);
            assert_eq!(count(), others + 1, "it is in use");
        }
        cool(now + second);
        assert_eq!(count(), others, "idle");
        let elsewhere = std::thread::spawn(move || (both.sealed(b"elsewhere"), both));
        let (mut wire, mut both) = elsewhere.join().unwrap();
        wire.extend(both.sealed(", and back".as_bytes()));
        assert_eq!(both.feed(&wire).unwrap(), b"elsewhere, and back");
        assert_eq!(count(), others + 1);
        drop(both);
        assert_eq!(count(), others, "it went with its owner");
    });
}
