//! A connection that is saved anywhere goes on as if it had not been; bytes that are no connection do no harm.

use super::super::record::tests::{Both, each, noise};
use super::*;

fn saved(both: &Both) -> Zeroizing<Vec<u8>> {
    save(&both.opener, &both.sealer, &[], &[], None)
}

/// Opens what can be opened, and keeps what is left.
fn receive(state: &mut State, wire: &[u8]) -> Vec<u8> {
    state.received.extend_from_slice(wire);
    let opened = state.opener.open(&mut state.received);
    assert_eq!(opened.end, None);
    if opened.update_requested {
        state.sealer.owe_update();
    }
    let data = state.received[..opened.data].to_vec();
    state.received.drain(..opened.used);
    data
}

/// Saves a connection after each byte that comes, and goes on with what was restored. Gives the last one.
fn cut_everywhere(start: &[u8], wire: &[u8], data: &[u8]) -> State {
    let mut last = restore(start).unwrap();
    for cut in 0..=wire.len() {
        let mut state = restore(start).unwrap();
        let mut got = receive(&mut state, &wire[..cut]);
        let saved = save(&state.opener, &state.sealer, &state.received, b"unsent", None);
        state = restore(&saved).unwrap();
        assert_eq!(
            save(&state.opener, &state.sealer, &state.received, &state.unsent, state.end),
            saved,
            "cut at {cut}"
        );
        assert_eq!(state.unsent, b"unsent");
        got.extend(receive(&mut state, &wire[cut..]));
        assert!(got == data && state.received.is_empty(), "cut at {cut}");
        last = state;
    }
    last
}

#[test]
fn cut_at_every_byte_of_what_rustls_sends() {
    each(|mut both| {
        let start = saved(&both);
        let mut wire = both.sent_by_rustls(b"one");
        wire.extend(both.sent_by_rustls(&noise(40)));
        if both.is_tls13() {
            both.rustls.refresh_traffic_keys().unwrap();
        }
        wire.extend(both.sent_by_rustls(b"three"));
        let mut state = cut_everywhere(&start, &wire, &[&b"one"[..], &noise(40), b"three"].concat());
        // An update is answered, and no number is used twice.
        for text in ["back", "and again"] {
            let mut wire = Vec::new();
            state.sealer.seal(text.as_bytes(), &mut wire).unwrap();
            assert_eq!(both.feed(&wire).unwrap(), text.as_bytes());
            let saved = save(&state.opener, &state.sealer, &[], &[], None);
            state = restore(&saved).unwrap();
        }
        assert_eq!(state.sealer.keys().seq(), if both.is_tls13() { 2 } else { both.sealer.keys().seq() + 2 });
    });
}

/// Tickets and KeyUpdates that are spread over records.
#[test]
fn cut_within_messages() {
    let secret = Secret::new(&[7; 32]).unwrap();
    let keys = || Keys::tls13(Suite::Aes128Gcm, &secret, 5).unwrap();
    let mut sealer = Sealer::new(keys());
    let start = save(&Opener::new(keys(), true), &sealer, &[], &[], None);
    let mut wire = Vec::new();
    let ticket = [&[4, 0, 0, 7][..], &[1; 7]].concat();
    ticket.repeat(2).chunks(3).for_each(|piece| sealer.record(22, piece, &mut wire).unwrap());
    sealer.seal(b"data", &mut wire).unwrap();
    [&[24, 0][..], &[0, 1], &[1]].into_iter().for_each(|piece| sealer.record(22, piece, &mut wire).unwrap());
    cut_everywhere(&start, &wire, b"data");
}

#[test]
fn ends_are_kept() {
    each(|both| {
        let ends = [Ok(()), Err(Fault::BadRecord), Err(Fault::Alert(42)), Err(Fault::Internal)];
        for end in ends.into_iter().map(Some).chain([None]) {
            let saved = save(&both.opener, &both.sealer, b"r", b"u", end);
            let state = restore(&saved).unwrap();
            assert_eq!((state.end, state.received, state.unsent), (end, b"r".to_vec(), b"u".to_vec()));
        }
        let mut sealer = both.sealer;
        sealer.close(&mut Vec::new()).unwrap();
        let mut state = restore(&save(&both.opener, &sealer, &[], &[], None)).unwrap();
        assert_eq!(state.sealer.seal(b"more", &mut Vec::new()), Err(Fault::Unexpected), "it told its end");
    });
}

#[test]
fn other_bytes_are_refused_or_harmless() {
    each(|both| {
        let good = save(&both.opener, &both.sealer, &[23, 3, 3, 0], b"xyz", Some(Err(Fault::Alert(1))));
        for len in 0..good.len() {
            assert_eq!(restore(&good[..len]).err(), Some(RestoreError::Truncated), "{len} bytes");
        }
        let mut more = good.to_vec();
        more.push(0);
        assert_eq!(restore(&more).err(), Some(RestoreError::Excess));
        more[0] = 2;
        assert_eq!(restore(&more).err(), Some(RestoreError::Version(2)));
        for at in 1..good.len() {
            for byte in [0, 1, 2, 4, 24, 33, 128, 255] {
                let mut bad = good.to_vec();
                bad[at] = byte;
                let Ok(mut state) = restore(&bad) else { continue };
                let again = save(&state.opener, &state.sealer, &state.received, &state.unsent, state.end);
                assert!(restore(&again).is_ok(), "byte {at} is {byte}");
                let mut wire = Vec::new();
                let _ = state.sealer.seal(b"data", &mut wire);
                state.opener.open(&mut wire);
            }
        }
    });
    let impossible = |at: usize, value: u8, keys: Keys| {
        let sealer = Sealer::new(Keys::tls13(Suite::Aes128Gcm, &Secret::new(&[1; 32]).unwrap(), 0).unwrap());
        let mut bytes = save(&Opener::new(keys, false), &sealer, &[], &[], None).to_vec();
        bytes[at] = value;
        restore(&bytes).err()
    };
    let keys = |suite| Keys::tls12(suite, &[1; 16], [1; 12], 0).unwrap();
    assert_eq!(impossible(0, 1, keys(Suite::Aes128Gcm)), Some(RestoreError::Invalid("pair of keys")));
    let have = 1 + 2 + 16 + 12 + 8 + 1 + 4;
    assert_eq!(impossible(have, 5, keys(Suite::Aes128Gcm)), Some(RestoreError::Invalid("message")));
}
