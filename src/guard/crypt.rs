//! Pure: passwords against what `htpasswd` and `openssl passwd` make of them.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use sha_crypt::{PasswordVerifier as _, ShaCrypt};

/// What came of comparing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// It is the password.
    Yes,
    /// It is another one.
    No,
    /// The form of the hash is not known.
    Unknown,
}

/// Whether `stored` was made of `password`. Takes as long as the form of `stored` wants: bcrypt up to seconds.
pub(super) fn verify(password: &[u8], stored: &str) -> Match {
    let equal = |a: &[u8], b: &[u8]| verify_slices_are_equal(a, b).is_ok();
    let is_right = if let Some(plain) = stored.strip_prefix("{PLAIN}") {
        equal(password, plain.as_bytes())
    } else if let Some(code) = stored.strip_prefix("{SHA}") {
        equal(STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, password)).as_bytes(), code.as_bytes())
    } else if let Some(code) = stored.strip_prefix("{SSHA}") {
        let decoded = STANDARD.decode(code).unwrap_or_default();
        let (hash, salt) = decoded.split_at(decoded.len().min(20));
        equal(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[password, salt].concat()).as_ref(), hash)
    } else if let Some(magic) = ["$apr1$", "$1$"].into_iter().find(|magic| stored.starts_with(magic)) {
        equal(md5_crypt(password, magic, stored).as_bytes(), stored.as_bytes())
    } else if ["$2y$", "$2a$", "$2b$"].iter().any(|magic| stored.starts_with(magic)) {
        bcrypt::verify(password, stored).unwrap_or(false)
    } else if stored.starts_with("$5$") || stored.starts_with("$6$") {
        ShaCrypt::default().verify_password(password, stored).is_ok()
    } else {
        return Match::Unknown;
    };
    if is_right { Match::Yes } else { Match::No }
}

/// The MD5 crypt of FreeBSD and Apache: a thousand rounds that mix password and salt.
fn md5_crypt(password: &[u8], magic: &str, stored: &str) -> String {
    let salt = stored.get(magic.len()..).unwrap_or("").split('$').next().unwrap_or("");
    // At most eight letters count.
    let salt = salt.get(..8.min(salt.len())).unwrap_or("");
    let mut hash = Md5::digest([password, salt.as_bytes(), password].concat());
    let mut all = [password, magic.as_bytes(), salt.as_bytes()].concat();
    all.extend(hash.iter().cycle().take(password.len()));
    let mut bits = password.len();
    while bits > 0 {
        all.push(if bits & 1 == 1 { 0 } else { password.first().copied().unwrap_or(0) });
        bits >>= 1;
    }
    hash = Md5::digest(&all);
    for round in 0..1000 {
        let mut next = Md5::new();
        let odd = round % 2 == 1;
        next.update(if odd { password } else { &hash[..] });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if odd { &hash[..] } else { password });
        hash = next.finalize();
    }
    let byte = |at: usize| u32::from(hash.get(at).copied().unwrap_or(0));
    let mut text = format!("{magic}{salt}$");
    for (a, b, c) in [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)] {
        letters(&mut text, byte(a) << 16 | byte(b) << 8 | byte(c), 4);
    }
    letters(&mut text, byte(11), 2);
    text
}

/// Six bits a letter, the lowest first.
fn letters(text: &mut String, mut bits: u32, count: usize) {
    const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for _ in 0..count {
        text.push(char::from(ALPHABET[(bits & 63) as usize]));
        bits >>= 6;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl passwd` and `htpasswd` for the password `secret`.
    const SECRET: [&str; 9] = [
        "{PLAIN}secret",
        "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "$apr1$4DWtzKbW$2WILQN1xpAyrrrjSY0YpS1",
        "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1",
        "$5$saltsaltsalt$TihBZCRsJxAxHgKub.mCOdu9X7QLi980jJxe7T2aZg7",
        "$6$saltsaltsalt16ch$7aI/jUf.pR/ZuGC.PuAxz5YjpXvWmCmG1Txb1twc4orLj2jPod1n3QjhekK2Tvv9FIzn7AW6FLHNzCNauMGlb.",
        "$5$rounds=10000$salty$nud1Puhdswbrj67Gnnia0rhzx6..D65hkzVrZpr0PR4",
        "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
        "{SSHA}dj2lH1ocucmj5OQsjP6mQrVx6FhOYUNs",
    ];

    #[test]
    fn passwords_match_what_other_programs_made() {
        for stored in SECRET {
            assert_eq!(verify(b"secret", stored), Match::Yes, "{stored}");
            for wrong in [&b"secre"[..], b"secrets", b"Secret", b""] {
                assert_eq!(verify(wrong, stored), Match::No, "{stored}");
            }
        }
    }

    #[test]
    fn long_passwords_and_short_salts_match() {
        for (password, stored) in [
            ("a password that is longer than sixteen letters", "$apr1$x$qMiBQIbHPrWyXYAZFjw/g0"),
            ("x", "$1$12345678$7y7mHQRucjgVYVF1mZqKC1"),
        ] {
            assert_eq!(verify(password.as_bytes(), stored), Match::Yes, "{stored}");
        }
    }

    #[test]
    fn what_is_no_hash_lets_nobody_in() {
        for stored in ["", "secret", "rl.3StKT.4T8M", "$y$j9T$abc$def", "$7$x", "{MD5}x", "!"] {
            assert_eq!(verify(b"secret", stored), Match::Unknown, "{stored}");
        }
        for stored in [
            "$apr1$",
            "$1$",
            "$5$",
            "$6$rounds=5$x$y",
            "$2y$",
            "$2y$99$x",
            "{SSHA}",
            "{SHA}",
            "$apr1$\u{e9}$x",
            "$apr1$1234567\u{e9}$x",
        ] {
            assert_eq!(verify(b"secret", stored), Match::No, "{stored}");
        }
    }
}
