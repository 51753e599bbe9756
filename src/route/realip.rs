//! Pure: the client behind proxies, as `set_real_ip_from` and the proxies of `geo` tell it.

use core::net::IpAddr;

use longwire_conf::cidr;
use longwire_conf::model::{Guard, RealIpHeader, Source};

use super::facts::{Facts, Peer};

/// The address that stands in place of the one that the connection came from; `None` leaves that.
pub fn real_address(guard: &Guard, facts: &Facts) -> Option<Peer> {
    let came_from = &facts.connection.remote;
    let trusted = |peer: &Peer| guard.real_ip_from.iter().any(|source| is_from(source, peer));
    let first = |name: &str| {
        let same = |known: &str| known.len() == name.len() && known.replace('-', "_") == name;
        let found = facts.headers.iter().find(|(known, _)| same(known.as_str()))?;
        Some(found.1.as_bytes())
    };
    let values: Vec<&[u8]> = match &guard.real_ip_header {
        RealIpHeader::ForwardedFor => {
            facts.headers.get_all("x-forwarded-for").iter().map(http::HeaderValue::as_bytes).collect()
        }
        RealIpHeader::Header(name) => first(name).into_iter().collect(),
        RealIpHeader::ProxyProtocol => {
            let [client, _] = facts.connection.announced.as_ref()?;
            return trusted(came_from).then(|| client.clone());
        }
    };
    forwarded(came_from, &values, trusted, guard.real_ip_recursive)
}

/// Whether a rule is about somebody.
pub fn is_from(source: &Source, peer: &Peer) -> bool {
    match (source, peer) {
        (Source::All, _) | (Source::Unix, Peer::Unix(_)) => true,
        (Source::Net(net), Peer::Ip(address, _)) => net.contains(*address),
        _ => false,
    }
}

/// Walks lists of addresses from the last one of the last line on, as long as the one before is trusted; without
/// `recursive` one step only. `None` when the connection itself is not trusted, or nothing can be read.
pub fn forwarded(
    came_from: &Peer,
    lines: &[&[u8]],
    trusted: impl Fn(&Peer) -> bool,
    recursive: bool,
) -> Option<Peer> {
    let mut found: Option<Peer> = None;
    for line in lines.iter().rev() {
        let mut rest = *line;
        loop {
            if !trusted(found.as_ref().unwrap_or(came_from)) {
                return found;
            }
            let (before, last) = last_word(rest);
            let Some(next) = std::str::from_utf8(last).ok().and_then(cidr::address_port) else {
                return found;
            };
            found = Some(Peer::Ip(canonical(next.0), next.1));
            if !recursive {
                return found;
            }
            if before.is_empty() {
                break;
            }
            rest = before;
        }
    }
    found
}

/// An IPv4 address written as IPv6 is the IPv4 address.
pub(super) fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The last word of a list, and what stands before it.
fn last_word(list: &[u8]) -> (&[u8], &[u8]) {
    let separates = |byte: &u8| matches!(byte, b' ' | b',');
    let end = list.iter().rposition(|byte| !separates(byte)).map_or(list.len().min(1), |at| at + 1);
    let list = list.get(..end).unwrap_or_default();
    match list.iter().rposition(separates) {
        Some(at) => (list.get(..at).unwrap_or_default(), list.get(at + 1..).unwrap_or_default()),
        None => (&[], list),
    }
}

#[cfg(test)]
mod tests {
    use longwire_conf::cidr::Cidr;

    use super::super::fixture::facts;
    use super::*;

    fn peer(text: &str) -> Peer {
        Peer::Ip(text.parse().unwrap(), 0)
    }

    fn walk(lines: &[&str], recursive: bool) -> Option<String> {
        let nets = ["10.0.0.0/8", "2001:db8::/32"].map(|text| Cidr::parse(text).unwrap().0);
        let trusted = |peer: &Peer| nets.iter().any(|net| is_from(&Source::Net(*net), peer));
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        forwarded(&peer("10.0.0.1"), &lines, trusted, recursive).map(|found| match found {
            Peer::Ip(ip, port) => format!("{ip}|{port}"),
            Peer::Unix(path) => path,
        })
    }

    /// What nginx made of the same headers.
    #[test]
    fn lists_are_walked_as_in_nginx() {
        let table: [(&[&str], Option<&str>, Option<&str>); 14] = [
            (&["1.1.1.1"], Some("1.1.1.1|0"), Some("1.1.1.1|0")),
            (&["1.1.1.1, 2.2.2.2"], Some("2.2.2.2|0"), Some("2.2.2.2|0")),
            (&["1.1.1.1, 10.0.0.9"], Some("10.0.0.9|0"), Some("1.1.1.1|0")),
            (&["1.1.1.1,10.0.0.9 , "], Some("10.0.0.9|0"), Some("1.1.1.1|0")),
            (&["10.0.0.8, 10.0.0.9"], Some("10.0.0.9|0"), Some("10.0.0.8|0")),
            (&["junk, 10.0.0.9"], Some("10.0.0.9|0"), Some("10.0.0.9|0")),
            (&["junk"], None, None),
            (&[""], None, None),
            (&["1.1.1.1:81"], Some("1.1.1.1|81"), Some("1.1.1.1|81")),
            (&["[2001:db8::5]:82"], Some("2001:db8::5|82"), Some("2001:db8::5|82")),
            (&["1.1.1.1", "10.0.0.9"], Some("10.0.0.9|0"), Some("1.1.1.1|0")),
            (&["1.1.1.1", "2.2.2.2"], Some("2.2.2.2|0"), Some("2.2.2.2|0")),
            (&["junk", "10.0.0.9"], Some("10.0.0.9|0"), Some("10.0.0.9|0")),
            (&[], None, None),
        ];
        for (lines, once, through) in table {
            assert_eq!(walk(lines, false).as_deref(), once, "{lines:?}");
            assert_eq!(walk(lines, true).as_deref(), through, "{lines:?}, recursive");
        }
    }

    #[test]
    fn only_trusted_peers_are_believed() {
        let mut request = facts("/");
        request.headers.insert("x-real-ip", http::HeaderValue::from_static("198.51.100.9"));
        let mut guard = Guard::default();
        assert_eq!(real_address(&guard, &request), None);
        guard.real_ip_from = [Source::Net(Cidr::parse("192.0.2.7").unwrap().0)].into();
        assert_eq!(real_address(&guard, &request), Some(peer("198.51.100.9")));
        guard.real_ip_header = RealIpHeader::Header("cf_connecting_ip".to_owned());
        assert_eq!(real_address(&guard, &request), None);
        guard.real_ip_header = RealIpHeader::ProxyProtocol;
        assert_eq!(real_address(&guard, &request), None);
        let mut connection = (*request.connection).clone();
        connection.announced = Some([peer("203.0.113.5"), peer("127.0.0.1")]);
        request.connection = connection.into();
        assert_eq!(real_address(&guard, &request), Some(peer("203.0.113.5")));
        guard.real_ip_from = [Source::Unix].into();
        assert_eq!(real_address(&guard, &request), None);
    }
}
