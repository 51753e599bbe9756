//! Pure: `geo` and `split_clients`.

use std::collections::BTreeSet;

use core::net::IpAddr;
use longwire_conf::cidr::{self, Cidr, masked};
use longwire_conf::model::{Geo, Source, Split};

use super::facts::{Facts, Peer};
use super::realip::{canonical, forwarded, is_from};

/// A `geo` block with the lengths of its networks, longest first, so that the smallest network is found first.
#[derive(Debug, Clone)]
pub(super) struct GeoTable {
    pub(super) geo: Geo,
    lengths: [Vec<u8>; 2],
}

impl GeoTable {
    pub(super) fn new(geo: &Geo) -> GeoTable {
        let lengths = |v4: bool| {
            let found: BTreeSet<u8> =
                geo.nets.keys().filter(|net| net.first.is_ipv4() == v4).map(|net| net.bits).collect();
            found.into_iter().rev().collect()
        };
        GeoTable { geo: geo.clone(), lengths: [lengths(true), lengths(false)] }
    }

    /// The value for a request; `text`: what the source variable says, if there is one.
    pub(super) fn find(&self, facts: &Facts, text: Option<&[u8]>) -> &str {
        let peer = match text {
            None => facts.connection.remote.clone(),
            Some(text) => {
                let address = std::str::from_utf8(text).ok().and_then(cidr::address);
                address.map_or(Peer::Unix(String::new()), |ip| Peer::Ip(canonical(ip), 0))
            }
        };
        let trusted = |peer: &Peer| self.geo.proxies.iter().any(|net| is_from(&Source::Net(*net), peer));
        let lines: Vec<&[u8]> =
            facts.headers.get_all("x-forwarded-for").iter().map(http::HeaderValue::as_bytes).collect();
        let peer = match self.geo.proxies.is_empty() {
            true => peer,
            false => forwarded(&peer, &lines, trusted, self.geo.proxy_recursive).unwrap_or(peer),
        };
        // As in nginx: who has no address has the last one.
        let address = match peer {
            Peer::Ip(address, _) => address,
            Peer::Unix(_) => IpAddr::from([255; 4]),
        };
        let found = if self.geo.by_ranges { self.in_range(address) } else { self.in_net(address) };
        found.unwrap_or(&self.geo.default)
    }

    fn in_net(&self, address: IpAddr) -> Option<&str> {
        let lengths = &self.lengths[usize::from(address.is_ipv6())];
        lengths.iter().find_map(|bits| {
            self.geo.nets.get(&Cidr { first: masked(address, *bits), bits: *bits }).map(String::as_str)
        })
    }

    fn in_range(&self, address: IpAddr) -> Option<&str> {
        let address = match address {
            IpAddr::V4(v4) => v4.to_bits(),
            IpAddr::V6(_) => u32::MAX,
        };
        let (_, (last, value)) = self.geo.ranges.range(..=address).next_back()?;
        (address <= *last).then_some(value)
    }
}

/// The part that a key falls into; empty when no part is left for it.
pub(super) fn part<'a>(split: &'a Split, key: &[u8]) -> &'a str {
    let hash = murmur_hash2(key);
    let found = split.parts.iter().find(|(bound, _)| hash < *bound || *bound == 0);
    found.map_or("", |(_, value)| value)
}

/// MurmurHash2 of 32 bits with the seed that nginx takes: the length.
fn murmur_hash2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in words.by_ref() {
        let mut k = word.iter().rev().fold(0u32, |k, byte| (k << 8) | u32::from(*byte));
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0u32, |k, byte| (k << 8) | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::fixture::{facts, template};
    use super::*;

    fn geo(nets: &[(&str, &str)]) -> Geo {
        let net = |(text, value): &(&str, &str)| (Cidr::parse(text).unwrap().0, (*value).to_owned());
        Geo { nets: nets.iter().map(net).collect(), default: "D".to_owned(), ..Geo::default() }
    }

    #[test]
    fn the_smallest_network_decides() {
        let table = GeoTable::new(&geo(&[
            ("10.0.0.0/8", "ten"),
            ("10.1.0.0/16", "ten-one"),
            ("10.1.2.3", "me"),
            ("2001:db8::/32", "six"),
        ]));
        let request = facts("/");
        for (address, value) in [
            ("10.1.2.3", "me"),
            ("10.1.2.4", "ten-one"),
            ("10.2.0.0", "ten"),
            ("::ffff:10.2.0.0", "ten"),
            ("2001:db8::7", "six"),
            ("11.0.0.0", "D"),
            ("nothing", "D"),
        ] {
            assert_eq!(table.find(&request, Some(address.as_bytes())), value, "{address}");
        }
        assert_eq!(table.find(&request, None), "D");
    }

    #[test]
    fn ranges_have_both_ends() {
        let mut geo = Geo { by_ranges: true, default: "D".to_owned(), ..Geo::default() };
        let at = |text: &str| text.parse::<std::net::Ipv4Addr>().unwrap().to_bits();
        geo.ranges.insert(at("10.0.0.5"), (at("10.0.0.9"), "r".to_owned()));
        let (table, request) = (GeoTable::new(&geo), facts("/"));
        for (address, value) in
            [("10.0.0.4", "D"), ("10.0.0.5", "r"), ("10.0.0.9", "r"), ("10.0.0.10", "D"), ("::1", "D")]
        {
            assert_eq!(table.find(&request, Some(address.as_bytes())), value, "{address}");
        }
    }

    #[test]
    fn proxies_of_a_geo_are_looked_through() {
        let mut geo = geo(&[("10.0.0.0/8", "ten"), ("192.0.2.0/24", "proxy")]);
        let mut request = facts("/");
        request.headers.insert("x-forwarded-for", http::HeaderValue::from_static("10.1.1.1, 192.0.2.9"));
        assert_eq!(GeoTable::new(&geo).find(&request, None), "proxy");
        geo.proxies = vec![Cidr::parse("192.0.2.0/24").unwrap().0];
        assert_eq!(GeoTable::new(&geo).find(&request, None), "proxy");
        geo.proxy_recursive = true;
        assert_eq!(GeoTable::new(&geo).find(&request, None), "ten");
        let mut stranger = (*request.connection).clone();
        stranger.remote = Peer::Ip([203, 0, 113, 1].into(), 1);
        request.connection = Arc::new(stranger);
        assert_eq!(GeoTable::new(&geo).find(&request, None), "D");
    }

    /// Values of the function as published, with the length as its seed.
    #[test]
    fn keys_hash_as_in_nginx() {
        let split = Split {
            key: template("$remote_addr"),
            parts: vec![(0x8000_0000, "low".to_owned()), (0, "high".to_owned())],
        };
        for text in ["", "a", "ab", "abc", "abcd", "abcde"] {
            let expected = if murmur_hash2(text.as_bytes()) < 0x8000_0000 { "low" } else { "high" };
            assert_eq!(part(&split, text.as_bytes()), expected);
        }
        assert_eq!(murmur_hash2(b""), 0);
        assert_eq!(part(&Split { parts: Vec::new(), ..split }, b"x"), "");
    }
}
