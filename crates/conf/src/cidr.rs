//! Addresses and networks as text, exactly as nginx reads them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Somebody's address, or a network of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// Its first address.
    pub first: IpAddr,
    /// Leading bits that count.
    pub bits: u8,
}

/// Why a text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid;

impl Cidr {
    /// Parses `192.0.2.0/24`, `2001:db8::/32` or a single address. The second value says whether bits beyond the mask
    /// were set: they are cut off.
    ///
    /// ```
    /// # use longwire_conf::cidr::Cidr;
    /// assert!(Cidr::parse("10.1.2.3/8").is_ok_and(|(net, cut)| cut && net.to_string() == "10.0.0.0/8"));
    /// assert!(Cidr::parse("10.0.0.0/33").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<(Cidr, bool), Invalid> {
        let (host, bits) = match text.split_once('/') {
            Some((host, bits)) => (host, Some(decimal(bits).ok_or(Invalid)?)),
            None => (text, None),
        };
        let address = address(host).ok_or(Invalid)?;
        let most = width(address);
        let bits =
            u8::try_from(bits.unwrap_or(most.into())).ok().filter(|bits| *bits <= most).ok_or(Invalid)?;
        let first = masked(address, bits);
        Ok((Cidr { first, bits }, first != address))
    }

    /// A single address.
    pub fn host(address: IpAddr) -> Cidr {
        Cidr { first: address, bits: width(address) }
    }

    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4() && masked(address, self.bits) == self.first
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// An address with the bits behind the first `bits` set to zero.
pub fn masked(address: IpAddr, bits: u8) -> IpAddr {
    let bits = u32::from(bits);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(bits)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(bits)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

/// How many bits an address has.
fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// An IP address without a port.
pub fn address(text: &str) -> Option<IpAddr> {
    match v4(text) {
        Some(v4) => Some(v4.into()),
        None => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
    }
}

/// An IP address, and the port if one follows: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`.
pub fn address_port(text: &str) -> Option<(IpAddr, u16)> {
    if let Some(address) = address(text) {
        return Some((address, 0));
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once("]:")?,
        None => text.split_once(':')?,
    };
    let port = u16::try_from(decimal(port)?).ok().filter(|port| *port > 0)?;
    Some((address(host)?, port))
}

/// Four numbers with dots between; unlike in most programs zeros may lead, or a number be missing, and 255.255.255.255
/// is none.
fn v4(text: &str) -> Option<Ipv4Addr> {
    let (mut address, mut octet, mut dots) = (0u32, 0u32, 0);
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' => octet = octet * 10 + u32::from(byte - b'0'),
            b'.' => {
                address = (address << 8) + octet;
                (octet, dots) = (0, dots + 1);
            }
            _ => return None,
        }
        if octet > 255 || dots > 3 {
            return None;
        }
    }
    let address = (address << 8) + octet;
    (dots == 3 && address != u32::MAX).then(|| Ipv4Addr::from_bits(address))
}

fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_are_read_as_in_nginx() {
        let shown =
            |text| Cidr::parse(text).map(|(net, cut)| format!("{net}{}", if cut { " cut" } else { "" }));
        for (text, expected) in [
            ("127.0.0.1", "127.0.0.1/32"),
            ("10.1.2.3/8", "10.0.0.0/8 cut"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("::1/127", "::/127 cut"),
            ("010.0.0.1", "10.0.0.1/32"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(expected), "{text}");
        }
        for bad in
            ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "10.0.0.0/255.0.0.0", "host", "1.2.3.4.5"]
        {
            assert_eq!(Cidr::parse(bad), Err(Invalid), "{bad}");
        }
    }

    #[test]
    fn an_address_lies_in_its_networks() {
        let net = |text: &str| Cidr::parse(text).unwrap().0;
        assert!(net("10.0.0.0/8").contains(ip("10.255.0.1")) && !net("10.0.0.0/8").contains(ip("11.0.0.1")));
        assert!(net("0.0.0.0/0").contains(ip("1.2.3.4")) && !net("0.0.0.0/0").contains(ip("::1")));
        assert!(net("2001:db8::/32").contains(ip("2001:db8:1::")) && !net("::/0").contains(ip("1.2.3.4")));
    }

    #[test]
    fn ports_may_follow() {
        for (text, expected) in [
            ("192.0.2.1", Some(("192.0.2.1", 0))),
            ("192.0.2.1:8080", Some(("192.0.2.1", 8080))),
            ("2001:db8::1", Some(("2001:db8::1", 0))),
            ("[2001:db8::1]:443", Some(("2001:db8::1", 443))),
            ("[2001:db8::1]", None),
            ("192.0.2.1:0", None),
            ("192.0.2.1:", None),
            ("192.0.2.1:65536", None),
            ("unknown", None),
            ("", None),
            ("255.255.255.255", None),
        ] {
            assert_eq!(address_port(text), expected.map(|(host, port)| (ip(host), port)), "{text}");
        }
    }
}
