//! OpenSSL's notation for suites, as far as rustls has them.

/// A suite of TLS 1.2 that can be offered, by OpenSSL's name, with all that a cipher string may call it.
struct Suite {
    name: &'static str,
    bits: u16,
    tags: &'static [&'static str],
}

const fn suite(name: &'static str, bits: u16, tags: &'static [&'static str]) -> Suite {
    Suite { name, bits, tags }
}

/// In OpenSSL's order.
const SUITES: &[Suite] = &[
    suite("ECDHE-ECDSA-AES256-GCM-SHA384", 256, &["aECDSA", "ECDSA", "AES256", "AES", "AESGCM", "FIPS"]),
    suite("ECDHE-RSA-AES256-GCM-SHA384", 256, &["aRSA", "AES256", "AES", "AESGCM", "FIPS"]),
    suite("ECDHE-ECDSA-CHACHA20-POLY1305", 256, &["aECDSA", "ECDSA", "CHACHA20"]),
    suite("ECDHE-RSA-CHACHA20-POLY1305", 256, &["aRSA", "CHACHA20"]),
    suite("ECDHE-ECDSA-AES128-GCM-SHA256", 128, &["aECDSA", "ECDSA", "AES128", "AES", "AESGCM", "FIPS"]),
    suite("ECDHE-RSA-AES128-GCM-SHA256", 128, &["aRSA", "AES128", "AES", "AESGCM", "FIPS"]),
];

/// What all of them are.
const ALL: &[&str] =
    &["ALL", "DEFAULT", "HIGH", "TLSv1.2", "ECDHE", "EECDH", "kECDHE", "kEECDH", "ECDH", "PROFILE=SYSTEM"];

/// Suites of TLS 1.3, by their names.
pub(crate) const TLS13: &[&str] =
    &["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"];

impl Suite {
    /// Whether a part of a cipher string, words joined by `+`, means it.
    fn is(&self, part: &str) -> bool {
        part.split('+').all(|word| word == self.name || ALL.contains(&word) || self.tags.contains(&word))
    }
}

/// The suites of TLS 1.2 that a cipher string leaves, in its order, and the names in it that are none of them.
pub(crate) fn read(text: &str) -> (Vec<&'static str>, Vec<&str>) {
    let mut chosen: Vec<&'static Suite> = Vec::new();
    let mut dead: Vec<&'static str> = Vec::new();
    let mut missing = Vec::new();
    for word in text.split([':', ',', ' ', ';']).filter(|word| !word.is_empty()) {
        let (sign, part) = match word.split_at_checked(1) {
            Some((sign @ ("!" | "-" | "+" | "@"), rest)) => (sign, rest),
            _ => ("", word),
        };
        let fits = |suite: &&Suite| suite.is(part);
        match sign {
            "!" => {
                dead.extend(SUITES.iter().filter(fits).map(|suite| suite.name));
                chosen.retain(|suite| !fits(suite));
            }
            "-" => chosen.retain(|suite| !fits(suite)),
            "+" => {
                let (last, first) = chosen.into_iter().partition(|suite| fits(suite));
                chosen = first;
                chosen.extend::<Vec<_>>(last);
            }
            "@" if part == "STRENGTH" => chosen.sort_by_key(|suite| std::cmp::Reverse(suite.bits)),
            "@" => {}
            _ => {
                if !SUITES.iter().any(|suite| suite.is(part)) && !TLS13.contains(&part) {
                    missing.push(part);
                }
                let is_new = |suite: &&Suite| {
                    !dead.contains(&suite.name) && chosen.iter().all(|known| known.name != suite.name)
                };
                let new: Vec<_> = SUITES.iter().filter(fits).filter(is_new).collect();
                chosen.extend(new);
            }
        }
    }
    (chosen.into_iter().map(|suite| suite.name).collect(), missing)
}

/// OpenSSL's names of a group, with rustls's name for it.
const GROUPS: &[(&[&str], &str)] = &[
    (&["X25519MLKEM768"], "X25519MLKEM768"),
    (&["X25519", "x25519"], "X25519"),
    (&["prime256v1", "P-256", "secp256r1"], "secp256r1"),
    (&["secp384r1", "P-384"], "secp384r1"),
];

/// The groups of a list, in its order, and the names in it that rustls does not have. `auto` is all.
pub(crate) fn groups(text: &str) -> (Vec<&'static str>, Vec<&str>) {
    if text == "auto" {
        return (GROUPS.iter().map(|(_, name)| *name).collect(), Vec::new());
    }
    let (mut chosen, mut missing) = (Vec::new(), Vec::new());
    for word in text.split([':', '/']).filter(|word| !word.is_empty()) {
        let plain = word.trim_start_matches(['?', '*']);
        match GROUPS.iter().find(|(names, _)| names.contains(&plain)) {
            Some((_, name)) if chosen.contains(name) => {}
            Some((_, name)) => chosen.push(*name),
            None => missing.push(word),
        }
    }
    (chosen, missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `openssl ciphers` leaves of each, of those that rustls has: by number in the table above.
    #[test]
    fn strings_leave_what_openssl_leaves() {
        for (text, expected) in [
            ("HIGH:!aNULL:!MD5", "012345"),
            ("DEFAULT", "012345"),
            ("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384", "51"),
            ("ECDHE+AESGCM:ECDHE+CHACHA20", "014523"),
            ("EECDH+AESGCM:EDH+AESGCM:AES256+EECDH:AES256+EDH", "0145"),
            ("EECDH+ECDSA+AESGCM", "04"),
            ("ALL:!AES128:-CHACHA20", "01"),
            ("!AES128:ALL", "0123"),
            ("HIGH:+AES256", "234501"),
            ("ECDHE+AES128:HIGH:@STRENGTH", "012345"),
            ("HIGH:@SECLEVEL=2:!ECDSA", "135"),
            ("ECDHE-RSA-AES128-SHA:AES128-SHA:RC4", ""),
            ("RSA:kRSA:DHE", ""),
            ("HIGH:!kEECDH", ""),
            ("TLS_AES_128_GCM_SHA256", ""),
            ("nonsense", ""),
            ("", ""),
        ] {
            let (found, _) = read(text);
            let numbers = found.iter().map(|name| SUITES.iter().position(|suite| suite.name == *name));
            let shown: String = numbers.map(|number| number.unwrap_or(9).to_string()).collect();
            assert_eq!(shown, expected, "{text}");
        }
        assert_eq!(read("ECDHE-RSA-AES128-SHA:HIGH:!RC4").1, ["ECDHE-RSA-AES128-SHA"]);
    }

    #[test]
    fn groups_are_found_by_any_name() {
        assert_eq!(groups("X25519:prime256v1:P-256"), (vec!["X25519", "secp256r1"], Vec::new()));
        assert_eq!(groups("secp521r1:P-384"), (vec!["secp384r1"], vec!["secp521r1"]));
        assert_eq!(groups("auto").0.len(), 4);
    }
}
