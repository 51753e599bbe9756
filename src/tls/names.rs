//! Pure: OpenSSL's names of suites and groups, which are nginx's.

use rustls::CipherSuite;

/// Name of a suite, `$ssl_cipher`.
pub(super) fn suite(suite: CipherSuite) -> String {
    let Some(name) = suite.as_str() else { return format!("0x{:04x}", u16::from(suite)) };
    if let Some(rest) = name.strip_prefix("TLS13_") {
        return format!("TLS_{rest}");
    }
    let Some((exchange, cipher)) = name.trim_start_matches("TLS_").split_once("_WITH_") else {
        return name.to_owned();
    };
    let cipher = cipher.replace("AES_", "AES").replace("CHACHA20_POLY1305_SHA256", "CHACHA20_POLY1305");
    // RSA needs no word, and CBC is what all had.
    let cipher = cipher.replace("_CBC", "");
    let name = if exchange == "RSA" { cipher } else { format!("{exchange}_{cipher}") };
    name.replace('_', "-")
}

/// Suites that a client offered, `$ssl_ciphers`.
pub fn suites(offered: &[u16]) -> String {
    let names: Vec<String> = offered.iter().map(|number| suite(CipherSuite::from(*number))).collect();
    names.join(":")
}

/// Groups for the key exchange, `$ssl_curves`.
pub fn groups(offered: &[u16]) -> String {
    let name = |number: &u16| match number {
        19 => "prime192v1".to_owned(),
        21 => "secp224r1".to_owned(),
        22 => "secp256k1".to_owned(),
        23 => "prime256v1".to_owned(),
        24 => "secp384r1".to_owned(),
        25 => "secp521r1".to_owned(),
        26 => "brainpoolP256r1".to_owned(),
        27 => "brainpoolP384r1".to_owned(),
        28 => "brainpoolP512r1".to_owned(),
        29 => "X25519".to_owned(),
        30 => "X448".to_owned(),
        0x100 => "ffdhe2048".to_owned(),
        0x101 => "ffdhe3072".to_owned(),
        0x102 => "ffdhe4096".to_owned(),
        0x103 => "ffdhe6144".to_owned(),
        0x104 => "ffdhe8192".to_owned(),
        0x11eb => "SecP256r1MLKEM768".to_owned(),
        0x11ec => "X25519MLKEM768".to_owned(),
        0x11ed => "SecP384r1MLKEM1024".to_owned(),
        other => format!("0x{other:04x}"),
    };
    offered.iter().map(name).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_named_as_openssl_does() {
        let numbers = [0x1302, 0xc02f, 0xcca9, 0xc013, 0x002f, 0x009e, 0x00ff, 0x0a0a];
        let names = "TLS_AES_256_GCM_SHA384:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:\
            ECDHE-RSA-AES128-SHA:AES128-SHA:DHE-RSA-AES128-GCM-SHA256:TLS_EMPTY_RENEGOTIATION_INFO_SCSV:0x0a0a";
        assert_eq!(suites(&numbers), names);
        assert_eq!(groups(&[0x11ec, 29, 23, 0x2a2a]), "X25519MLKEM768:X25519:prime256v1:0x2a2a");
    }
}
