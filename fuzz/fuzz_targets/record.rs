//! The input is records of any kind and content, cut anywhere and sometimes altered: what is opened was said, also by a
//! connection that was saved and restored. Or it is taken for a saved connection.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longwire::tls::{Keys, MAX_RECORD, Opener, Sealer, Secret, Suite, restore, save, whole_record};

fn keys(how: u8) -> Keys {
    let suite = [Suite::Aes128Gcm, Suite::Aes256Gcm, Suite::Chacha20Poly1305][usize::from(how >> 2) % 3];
    let (key, secret) = match suite {
        Suite::Aes128Gcm => (16, 32),
        Suite::Aes256Gcm => (32, 48),
        Suite::Chacha20Poly1305 => (32, 32),
    };
    match how & 1 {
        0 => Keys::tls13(suite, &Secret::new(&vec![7; secret]).unwrap(), 0).unwrap(),
        _ => Keys::tls12(suite, &vec![7; key], [9; 12], 0).unwrap(),
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&how, mut rest)) = input.split_first() else { return };
    if how & 128 != 0 {
        let Ok(mut state) = restore(rest) else { return };
        let again = save(&state.opener, &state.sealer, &state.received, &state.unsent, state.end);
        assert!(restore(&again).is_ok_and(|state| {
            *again == *save(&state.opener, &state.sealer, &state.received, &state.unsent, state.end)
        }));
        state.opener.open(&mut state.received);
        let _ = state.sealer.seal(b"data", &mut state.unsent);
        return;
    }
    let (mut sealer, mut opener) = (Sealer::new(keys(how)), Opener::new(keys(how), how & 2 == 0));
    let (mut said, mut heard, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    while let [kind, len, cut, more @ ..] = rest {
        let (content, more) = more.split_at(usize::from(*len).min(more.len()));
        rest = more;
        let mut wire = Vec::new();
        match kind % 8 {
            0 => wire.extend_from_slice(content),
            1 => sealer.seal(content, &mut wire).unwrap(),
            kind => sealer.record(kind + 18, content, &mut wire).unwrap(),
        }
        if kind % 8 == 1 || kind % 8 == 5 {
            said.extend_from_slice(content);
        }
        if let Some(byte) = wire.get_mut(usize::from(kind / 8) * 8) {
            *byte ^= u8::from(*cut == 255);
        }
        let (front, back) = wire.split_at(usize::from(*cut).min(wire.len()));
        for piece in [front, back] {
            if cut % 2 == 1 {
                let state = restore(&save(&opener, &sealer, &kept, &[], None)).unwrap();
                (opener, sealer, kept) = (state.opener, state.sealer, state.received);
            }
            kept.extend_from_slice(piece);
            let opened = opener.open(&mut kept);
            assert!(opened.data <= opened.used && opened.used <= kept.len());
            heard.extend_from_slice(&kept[..opened.data]);
            assert!(said.starts_with(&heard), "what was not said is heard");
            kept.drain(..opened.used);
            if opened.end.is_some() {
                return;
            }
            assert!(whole_record(&kept).is_none() && kept.len() < MAX_RECORD);
        }
    }
});
