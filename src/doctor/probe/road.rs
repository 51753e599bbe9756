//! The road below HTTP: name, addresses, TCP, TLS.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::Budget;
use super::chain::{Roots, describe};
use super::dial::{Dialer, Failure, Seen, tcp, tls};
use crate::doctor::facts::{Address, Dns, DnsError, Facts, TcpError, Tls, TlsError};
use crate::doctor::options::Options;
use crate::doctor::target::Target;

/// How long a look-up may take.
const DNS_LIMIT: Duration = Duration::from_secs(3);
/// How long TCP may take: two retries of a lost SYN.
const TCP_LIMIT: Duration = Duration::from_millis(3_200);
/// How long TLS may take.
const TLS_LIMIT: Duration = Duration::from_secs(3);
/// More addresses than this are not tried.
const MAX_ADDRESSES: usize = 8;

/// Goes as far as a connection can be had. `None` where the road ends, for reasons that stand in the facts.
pub async fn reach(
    target: &Target,
    options: &Options,
    budget: Budget,
    facts: &mut Facts,
) -> Result<Option<Dialer>, String> {
    let dns = look_up(target, options, budget.step(DNS_LIMIT)).await;
    let addresses: Vec<SocketAddr> = dns
        .addresses
        .iter()
        .filter_map(|text| text.parse().ok())
        .map(|ip: IpAddr| (ip, target.port).into())
        .collect();
    facts.dns = Some(dns);
    let limit = budget.step(TCP_LIMIT);
    let tried = join_all(addresses.iter().map(|address| knock(*address, limit))).await;
    let first =
        tried.iter().zip(&addresses).find(|(seen, _)| seen.error.is_none()).map(|(_, address)| *address);
    facts.addresses = tried;
    let Some(address) = first else { return Ok(None) };
    let dialer = Dialer { target: target.clone(), address, limit: budget.step(options.timeout) };
    if !target.secure {
        return Ok(Some(dialer));
    }
    let roots = Roots::load(options.ca.as_deref())?;
    let seen = shake(&dialer, &roots, budget).await;
    let goes_on = seen.error.is_none() && (seen.mistrust.is_none() || options.insecure);
    facts.tls = Some(seen);
    Ok(goes_on.then_some(dialer))
}

/// The addresses of the target's name.
async fn look_up(target: &Target, options: &Options, limit: Duration) -> Dns {
    let mut dns = Dns { name: target.host.clone(), ..Dns::default() };
    if let Ok(ip) = target.host.parse::<IpAddr>() {
        dns.addresses.push(ip.to_string());
        return dns;
    }
    let given = |(host, port, _): &&(String, u16, IpAddr)| {
        host.eq_ignore_ascii_case(&target.host) && *port == target.port
    };
    dns.addresses.extend(options.resolve.iter().filter(given).map(|(_, _, ip)| ip.to_string()));
    if !dns.addresses.is_empty() {
        return dns;
    }
    let began = Instant::now();
    match timeout(limit, tokio::net::lookup_host((target.host.as_str(), target.port))).await {
        Err(_) => {
            dns.error = Some(DnsError::NoAnswer);
            dns.message = Some(format!("no answer within {} ms", limit.as_millis()));
        }
        Ok(Err(error)) => {
            let text = error.to_string();
            // The resolver's codes do not come through, its words do (glibc's, musl's).
            let passing = ["Temporary failure", "Try again", "System error"].iter().any(|w| text.contains(w));
            dns.error = Some(if passing { DnsError::NoAnswer } else { DnsError::NoSuchName });
            dns.message = Some(text);
        }
        Ok(Ok(found)) => {
            for address in found.take(MAX_ADDRESSES) {
                let text = address.ip().to_string();
                if !dns.addresses.contains(&text) {
                    dns.addresses.push(text);
                }
            }
            if dns.addresses.is_empty() {
                dns.error = Some(DnsError::NoSuchName);
            }
        }
    }
    dns.ms = began.elapsed().as_millis() as u64;
    dns
}

/// Tries TCP at an address.
async fn knock(address: SocketAddr, limit: Duration) -> Address {
    let began = Instant::now();
    let mut seen = Address { address: address.to_string(), ..Address::default() };
    match tcp(address, limit).await {
        Ok(_) => {}
        Err(Failure::Tcp(error, message)) => (seen.error, seen.message) = (Some(error), Some(message)),
        Err(Failure::Tls(_, message)) => (seen.error, seen.message) = (Some(TcpError::Other), Some(message)),
    }
    seen.ms = began.elapsed().as_millis() as u64;
    seen
}

/// A TLS handshake as a browser begins it for a WebSocket.
async fn shake(dialer: &Dialer, roots: &Roots, budget: Budget) -> Tls {
    let began = Instant::now();
    let host = dialer.target.host.as_str();
    let mut facts = Tls { name: host.to_owned(), ..Tls::default() };
    let (seen, outcome) = match tcp(dialer.address, budget.step(TCP_LIMIT)).await {
        Err(failure) => (Seen::default(), Err(failure)),
        Ok(stream) => tls(stream, host, &["http/1.1"], budget.step(TLS_LIMIT)).await,
    };
    (facts.error, facts.message) = match outcome {
        Ok(_) => (None, None),
        Err(Failure::Tls(error, message)) => (Some(error), Some(message)),
        Err(Failure::Tcp(_, message)) => (Some(TlsError::Closed), Some(message)),
    };
    facts.chain = seen.chain.iter().map(describe).collect();
    if let Some((mistrust, message)) = roots.judge(&seen.chain, host) {
        facts.mistrust = Some(mistrust);
        facts.message.get_or_insert(message);
        facts.issuer_known = roots.knows_organisation(&seen.chain);
    }
    (facts.version, facts.alpn, facts.asks_certificate) = (seen.version, seen.alpn, seen.asks_certificate);
    facts.ms = began.elapsed().as_millis() as u64;
    facts
}
