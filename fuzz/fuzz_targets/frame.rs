//! A header comes back as it was written, and is the same however it is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longwire_wire::frame::{Header, MAX_HEADER};

fuzz_target!(|bytes: &[u8]| {
    let found = Header::parse(bytes);
    match found {
        Ok(Some((header, size))) => {
            let mut out = [0; MAX_HEADER];
            assert_eq!(header.write(&mut out), size);
            assert_eq!(out[..size], bytes[..size]);
            assert!((0..size).all(|cut| Header::parse(&bytes[..cut]) == Ok(None)));
        }
        Ok(None) => assert!(bytes.len() < MAX_HEADER),
        // Once wrong, always wrong.
        Err(_) => {
            let first = (0..=bytes.len()).find(|&cut| Header::parse(&bytes[..cut]).is_err()).unwrap();
            assert!((first..=bytes.len()).all(|cut| Header::parse(&bytes[..cut]) == found));
        }
    }
});
