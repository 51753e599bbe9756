//! The PROXY protocol: who the client is, told by the proxy in front (haproxy.org's specification, versions 1 and 2).

use std::io;
use std::net::{IpAddr, SocketAddr};

use ppp::{HeaderResult, v1, v2};
use tokio::io::AsyncReadExt as _;

use super::Stream;

/// The longest header that is read: addresses with their extensions; nginx takes as much.
const MAX_HEADER: usize = 4096;
/// The longest header of version 1, with its end of line.
const MAX_LINE: usize = 107;
/// The shortest header of version 1 (`PROXY UNKNOWN`), and one byte less than the fixed part of version 2.
const SHORTEST: usize = 15;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The two ends of a connection as the proxy in front saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// The client.
    pub source: SocketAddr,
    /// What the client connected to.
    pub destination: SocketAddr,
}

/// Reads the header that a connection begins with, and nothing behind it. `None`: the header tells no addresses (a
/// health check of the proxy in front, or a client without IP).
pub async fn read_announced(stream: &mut Stream) -> io::Result<Option<Announced>> {
    let mut header = vec![0; SHORTEST];
    stream.read_exact(&mut header).await?;
    if header.starts_with(SIGNATURE) {
        header.push(stream.read_u8().await?);
        let length = usize::from(u16::from_be_bytes([header[SHORTEST - 1], header[SHORTEST]]));
        if SHORTEST + 1 + length > MAX_HEADER {
            return Err(broken("it is too long"));
        }
        header.resize(SHORTEST + 1 + length, 0);
        stream.read_exact(&mut header[SHORTEST + 1..]).await?;
    } else if header.starts_with(b"PROXY ") {
        // A line comes once for each connection: reading it by bytes takes nothing from behind it.
        while !header.ends_with(b"\r\n") {
            if header.len() == MAX_LINE {
                return Err(broken("its line is too long"));
            }
            header.push(stream.read_u8().await?);
        }
    } else {
        return Err(broken("the connection does not begin with one"));
    }
    parse(&header)
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("broken PROXY protocol header: {why}"))
}

fn parse(header: &[u8]) -> io::Result<Option<Announced>> {
    let announced = |source: (IpAddr, u16), destination: (IpAddr, u16)| {
        Some(Announced { source: source.into(), destination: destination.into() })
    };
    match HeaderResult::parse(header) {
        HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
            v1::Addresses::Tcp4(a) => announced(
                (a.source_address.into(), a.source_port),
                (a.destination_address.into(), a.destination_port),
            ),
            v1::Addresses::Tcp6(a) => announced(
                (a.source_address.into(), a.source_port),
                (a.destination_address.into(), a.destination_port),
            ),
            v1::Addresses::Unknown => None,
        }),
        HeaderResult::V2(Ok(header)) if header.command == v2::Command::Local => Ok(None),
        HeaderResult::V2(Ok(header)) => Ok(match header.addresses {
            v2::Addresses::IPv4(a) => announced(
                (a.source_address.into(), a.source_port),
                (a.destination_address.into(), a.destination_port),
            ),
            v2::Addresses::IPv6(a) => announced(
                (a.source_address.into(), a.source_port),
                (a.destination_address.into(), a.destination_port),
            ),
            v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
        }),
        HeaderResult::V1(Err(error)) => Err(broken(&error.to_string())),
        HeaderResult::V2(Err(error)) => Err(broken(&error.to_string())),
    }
}

/// The header that tells a backend who the client is; `None` where there are no addresses to tell.
pub fn announce(announced: Option<&Announced>, version: Version) -> Vec<u8> {
    let addresses = announced.map(|Announced { source, destination }| one_family(*source, *destination));
    match (version, addresses) {
        (Version::One, None) => b"PROXY UNKNOWN\r\n".to_vec(),
        (Version::One, Some((source, destination))) => {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (source.ip(), destination.ip());
            format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
        }
        // LOCAL: the connection is the proxy's own.
        (Version::Two, None) => [SIGNATURE, &[0x20, 0, 0, 0]].concat(),
        (Version::Two, Some(addresses)) => {
            let kind = v2::Version::Two | v2::Command::Proxy;
            let builder =
                v2::Builder::with_addresses(kind, v2::Protocol::Stream, v2::Addresses::from(addresses));
            // Fails only for payloads that are too long, and addresses are not.
            builder.build().unwrap_or_default()
        }
    }
}

/// Both as IPv6 where they differ, as a header has one family.
fn one_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    (mapped(source), mapped(destination))
}

/// Versions of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    One,
    /// Binary.
    Two,
}

impl From<u8> for Version {
    /// 1 is the first, anything else the second: the configuration knows no other.
    fn from(number: u8) -> Version {
        if number == 1 { Version::One } else { Version::Two }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// What is read of these bytes, written one after the other, and what is left behind.
    async fn read(bytes: &[u8]) -> (io::Result<Option<Announced>>, Vec<u8>) {
        let (ours, mut theirs) = tokio::net::UnixStream::pair().unwrap();
        let bytes = bytes.to_vec();
        let writer = tokio::spawn(async move {
            for byte in bytes {
                if theirs.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        });
        let mut stream = Stream::Unix(ours);
        let result = read_announced(&mut stream).await;
        writer.await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        (result, rest)
    }

    fn both(ip: &str) -> Announced {
        Announced {
            source: SocketAddr::new(ip.parse().unwrap(), 4711),
            destination: SocketAddr::new(ip.parse().unwrap(), 443),
        }
    }

    #[tokio::test]
    async fn what_is_announced_is_read_and_nothing_behind_it() {
        for ip in ["192.0.2.7", "2001:db8::7"] {
            for version in [Version::One, Version::Two] {
                let sent = both(ip);
                let mut bytes = announce(Some(&sent), version);
                bytes.extend_from_slice(b"GET / HTTP/1.1");
                let (found, rest) = read(&bytes).await;
                assert_eq!(found.unwrap(), Some(sent));
                assert_eq!(rest, b"GET / HTTP/1.1");
            }
        }
    }

    #[tokio::test]
    async fn addresses_of_two_families_become_one() {
        let sent =
            Announced { source: both("2001:db8::7").source, destination: both("192.0.2.7").destination };
        for version in [Version::One, Version::Two] {
            let found = read(&announce(Some(&sent), version)).await.0.unwrap().unwrap();
            assert_eq!(found.source, sent.source);
            assert_eq!(found.destination.to_string(), "[::ffff:192.0.2.7]:443");
        }
    }

    #[tokio::test]
    async fn a_header_without_addresses_is_one() {
        for version in [Version::One, Version::Two] {
            assert_eq!(read(&announce(None, version)).await.0.unwrap(), None);
        }
        assert_eq!(read(b"PROXY UNKNOWN\r\nG").await.0.unwrap(), None);
        assert_eq!(read(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\nG").await.0.unwrap(), None);
        let mut local = SIGNATURE.to_vec();
        local.extend_from_slice(&[0x20, 0, 0, 0]);
        assert_eq!(read(&local).await.0.unwrap(), None);
    }

    #[tokio::test]
    async fn extensions_of_version_2_are_skipped() {
        let mut bytes = announce(Some(&both("192.0.2.7")), Version::Two);
        bytes[15] += 5;
        bytes.extend_from_slice(&[4, 0, 2, 0, 0]);
        bytes.push(b'G');
        let (found, rest) = read(&bytes).await;
        assert_eq!(found.unwrap(), Some(both("192.0.2.7")));
        assert_eq!(rest, b"G");
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let long = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
        let endless = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
        let cases: [&[u8]; 6] = [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"PROXY TCP4 1.2.3.4 nonsense 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n",
            b"PROXY",
            &long,
            &endless,
        ];
        for bytes in cases {
            let text = String::from_utf8_lossy(bytes);
            assert!(read(bytes).await.0.is_err(), "{text}");
        }
    }
}
