//! TLS as the far end of a socket has it.

use fastrand::Rng;

use crate::tls::{Keys, Opener, Sealer, Secret, Suite, whole_record};

/// Opens what we send, and seals what we are sent.
pub(super) struct Tls {
    opener: Opener,
    sealer: Sealer,
    received: Vec<u8>,
    /// We said that nothing more comes.
    pub(super) ended: bool,
}

impl Tls {
    /// The two ends of a connection: that of a peer, and ours. `from_server` says whether the peer is the server.
    pub(super) fn pair(rng: &mut Rng, from_server: bool) -> (Tls, Opener, Sealer) {
        let suite = [Suite::Aes128Gcm, Suite::Chacha20Poly1305][rng.usize(..2)];
        let mut secrets = [[0; 32]; 2];
        secrets.iter_mut().for_each(|secret| rng.fill(secret));
        let v12 = rng.bool();
        let keys = |which: usize| {
            let secret = &secrets[which];
            if v12 {
                let len = if suite == Suite::Aes128Gcm { 16 } else { 32 };
                Keys::tls12(suite, &secret[..len], [which as u8; 12], 0).unwrap()
            } else {
                Keys::tls13(suite, &Secret::new(secret).unwrap(), 0).unwrap()
            }
        };
        let far = Tls {
            opener: Opener::new(keys(0), !from_server),
            sealer: Sealer::new(keys(1)),
            received: Vec::new(),
            ended: false,
        };
        (far, Opener::new(keys(1), from_server), Sealer::new(keys(0)))
    }

    pub(super) fn open(&mut self, bytes: &[u8]) -> Vec<u8> {
        assert!(!self.ended || bytes.is_empty(), "something follows the end");
        self.received.extend(bytes);
        if whole_record(&self.received).is_none() {
            return Vec::new();
        }
        let mut buffer = std::mem::take(&mut self.received);
        let opened = self.opener.open(&mut buffer);
        assert!(!matches!(opened.end, Some(Err(_))), "a record of ours is broken: {:?}", opened.end);
        self.ended |= opened.end.is_some();
        self.received = buffer[opened.used..].to_vec();
        buffer.truncate(opened.data);
        buffer
    }

    pub(super) fn seal(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.sealer.seal(bytes, &mut out).unwrap();
        out
    }

    pub(super) fn close(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.sealer.close(&mut out).unwrap();
        out
    }
}
