//! Names at the name servers of `resolver`: DNS over UDP, over TCP where an answer does not fit.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question, RCODE, TYPE};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::lock;
use crate::clock::{self, micros};

/// How long one name server is waited for before the next is asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it is remembered that there is no such name, unless `valid` says otherwise; as in nginx.
const NOT_FOUND: Duration = Duration::from_secs(10);
/// Most names that are remembered; names out of variables may be anything that clients send.
const MAX_NAMES: usize = 4096;
/// Most names that stand for other names, one after the other.
const MAX_ALIASES: usize = 8;
/// The longest answer over UDP that is asked for (no EDNS: RFC 1035 section 4.2.1), with room to spare.
const MAX_DATAGRAM: usize = 4096;

/// Where a name is, and how long that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// What was found, never empty.
    pub found: Vec<T>,
    /// Until when, microseconds of the process's clock.
    pub until_us: u64,
}

/// A record of type SRV.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// Lower ones come first.
    pub priority: u16,
    /// Share among those of one priority.
    pub weight: u16,
    /// Its port.
    pub port: u16,
    /// Its name.
    pub target: String,
}

/// Why a name is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameFault {
    /// There is no such name, or nothing of the kind that was asked for. For how long that holds.
    NotFound(Duration),
    /// No name server answered in time.
    TimedOut,
    /// A name server could not or would not say.
    Failed(String),
}

impl fmt::Display for NameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameFault::NotFound(_) => f.write_str("Host not found"),
            NameFault::TimedOut => f.write_str("Operation timed out"),
            NameFault::Failed(reason) => f.write_str(reason),
        }
    }
}

/// A name server's answer to one question.
#[derive(Debug, Clone, Default)]
struct Records {
    addresses: Vec<IpAddr>,
    services: Vec<Service>,
    alias: Option<String>,
    ttl: u32,
}

type Known = Result<(Records, u64), (NameFault, u64)>;
/// Held while a name is asked for, so that all who want it wait for one answer.
type Shelf = Arc<tokio::sync::Mutex<Option<Known>>>;

/// Asks name servers and remembers what they said.
#[derive(Debug)]
pub struct Resolver {
    servers: Vec<SocketAddr>,
    valid: Option<Duration>,
    ipv4: bool,
    ipv6: bool,
    turn: AtomicUsize,
    known: Mutex<HashMap<(String, u16), Shelf>>,
}

impl Resolver {
    /// Asks these servers in turn; `valid` in place of the answers' own time to live.
    pub fn new(servers: Vec<SocketAddr>, valid: Option<Duration>, ipv4: bool, ipv6: bool) -> Resolver {
        Resolver { servers, valid, ipv4, ipv6, turn: AtomicUsize::new(0), known: Mutex::default() }
    }

    /// Whether another one would ask the same servers in the same way.
    pub fn is_like(&self, other: &Resolver) -> bool {
        let rules = |r: &Resolver| (r.valid, r.ipv4, r.ipv6);
        self.servers == other.servers && rules(self) == rules(other)
    }

    /// The addresses of a name, sorted.
    pub async fn addresses(&self, name: &str, timeout: Duration) -> Result<Answer<IpAddr>, NameFault> {
        let work = async {
            let ask =
                |wanted, kind| async move { if wanted { Some(self.follow(name, kind).await) } else { None } };
            let both = tokio::join!(ask(self.ipv4, TYPE::A), ask(self.ipv6, TYPE::AAAA));
            let (mut found, mut until_us, mut fault) = (Vec::new(), u64::MAX, None);
            for answer in [both.0, both.1].into_iter().flatten() {
                match answer {
                    Ok((records, until)) => {
                        found.extend(records.addresses);
                        until_us = until_us.min(until);
                    }
                    // That a family is missing says nothing where the other one is there.
                    Err(other @ NameFault::NotFound(_)) => fault = fault.or(Some(other)),
                    Err(other) => fault = Some(other),
                }
            }
            found.sort();
            found.dedup();
            match (found.is_empty(), fault) {
                (false, _) => Ok(Answer { found, until_us }),
                (true, fault) => Err(fault.unwrap_or(NameFault::NotFound(self.valid.unwrap_or(NOT_FOUND)))),
            }
        };
        tokio::time::timeout(timeout, work).await.unwrap_or(Err(NameFault::TimedOut))
    }

    /// The SRV records of a name, by priority.
    pub async fn services(&self, name: &str, timeout: Duration) -> Result<Answer<Service>, NameFault> {
        let work = tokio::time::timeout(timeout, self.follow(name, TYPE::SRV));
        let (records, until_us) = work.await.unwrap_or(Err(NameFault::TimedOut))?;
        let mut found = records.services;
        found.sort();
        Ok(Answer { found, until_us })
    }

    /// Asks for a name and for what it stands for.
    async fn follow(&self, name: &str, kind: TYPE) -> Result<(Records, u64), NameFault> {
        let mut name = name.trim_end_matches('.').to_ascii_lowercase();
        let mut until_us = u64::MAX;
        for _ in 0..MAX_ALIASES {
            let (records, until) = self.remembered(&name, kind).await?;
            until_us = until_us.min(until);
            match records.alias {
                Some(alias) => name = alias,
                None => return Ok((records, until_us)),
            }
        }
        Err(NameFault::Failed("too many names that stand for other names".to_owned()))
    }

    async fn remembered(&self, name: &str, kind: TYPE) -> Result<(Records, u64), NameFault> {
        let shelf = self.shelf(name, kind);
        let mut known = shelf.lock().await;
        let now = clock::now_us();
        match known.as_ref() {
            Some(Ok((records, until))) if *until > now => return Ok((records.clone(), *until)),
            Some(Err((fault, until))) if *until > now => return Err(fault.clone()),
            _ => {}
        }
        let answer = self.ask_all(name, kind).await;
        let now = clock::now_us();
        match answer {
            Ok(records) => {
                let time = self.valid.unwrap_or(Duration::from_secs(records.ttl.into()));
                let until = now.saturating_add(micros(time));
                *known = Some(Ok((records.clone(), until)));
                Ok((records, until))
            }
            Err(fault) => {
                if let NameFault::NotFound(time) = fault {
                    *known = Some(Err((fault.clone(), now.saturating_add(micros(time)))));
                }
                Err(fault)
            }
        }
    }

    fn shelf(&self, name: &str, kind: TYPE) -> Shelf {
        let mut known = lock(&self.known);
        let key = (name.to_owned(), u16::from(kind));
        if known.len() >= MAX_NAMES && !known.contains_key(&key) {
            // Those that somebody waits for stay.
            known.retain(|_, shelf| Arc::strong_count(shelf) > 1);
        }
        known.entry(key).or_default().clone()
    }

    /// Asks one name server after the other until one answers.
    async fn ask_all(&self, name: &str, kind: TYPE) -> Result<Records, NameFault> {
        let mut fault = NameFault::TimedOut;
        for _ in 0..self.servers.len().max(2) {
            let turn = self.turn.fetch_add(1, Relaxed);
            let Some(server) = self.servers.get(turn % self.servers.len().max(1)) else { break };
            fault = match tokio::time::timeout(PATIENCE, ask(*server, name, kind)).await {
                Ok(Ok(Reply::Records(records))) => return Ok(records),
                Ok(Ok(Reply::NotFound)) => return Err(NameFault::NotFound(self.valid.unwrap_or(NOT_FOUND))),
                Ok(Ok(Reply::Refused(code))) => NameFault::Failed(format!("{server} answered {code:?}")),
                Ok(Err(error)) => NameFault::Failed(format!("{server}: {error}")),
                Err(_) => NameFault::TimedOut,
            };
        }
        Err(fault)
    }
}

enum Reply {
    Records(Records),
    NotFound,
    Refused(RCODE),
}

async fn ask(server: SocketAddr, name: &str, kind: TYPE) -> io::Result<Reply> {
    let id = getrandom::u32().map_err(io::Error::other)? as u16;
    let question = question(id, name, kind)?;
    // A socket of its own: its port is chosen by chance, which together with the id is hard to guess.
    let any =
        if server.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&question).await?;
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // What is no answer to this question is left where it came from.
        match read(&buffer[..length], id, name, kind) {
            Some(Read::Reply(reply)) => return Ok(reply),
            Some(Read::Cut) => break,
            None => {}
        }
    }
    let answer = over_tcp(server, &question).await?;
    match read(&answer, id, name, kind) {
        Some(Read::Reply(reply)) => Ok(reply),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the answer cannot be read")),
    }
}

fn question(id: u16, name: &str, kind: TYPE) -> io::Result<Vec<u8>> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, format!("{name}: {error}"));
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name).map_err(invalid)?;
    packet.questions.push(Question::new(name, kind.into(), CLASS::IN.into(), false));
    packet.build_bytes_vec().map_err(invalid)
}

/// RFC 1035 section 4.2.2: a length of two bytes before each message.
async fn over_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

enum Read {
    Reply(Reply),
    /// It did not fit: to be asked for over TCP.
    Cut,
}

/// Reads an answer; `None` when it is none to this question.
fn read(bytes: &[u8], id: u16, name: &str, kind: TYPE) -> Option<Read> {
    let packet = Packet::parse(bytes).ok()?;
    let question = packet.questions.first()?;
    let is_ours = packet.id() == id
        && packet.has_flags(PacketFlag::RESPONSE)
        && question.qtype == QTYPE::TYPE(kind)
        && same(&question.qname, name);
    if !is_ours {
        return None;
    }
    if packet.has_flags(PacketFlag::TRUNCATION) {
        return Some(Read::Cut);
    }
    Some(Read::Reply(match packet.rcode() {
        RCODE::NoError => records(&packet, name),
        RCODE::NameError => Reply::NotFound,
        other => Reply::Refused(other),
    }))
}

fn same(name: &Name<'_>, text: &str) -> bool {
    name.to_string().trim_end_matches('.').eq_ignore_ascii_case(text)
}

/// What is said of the name, and of what it stands for as far as that is in the same answer.
fn records(packet: &Packet<'_>, name: &str) -> Reply {
    let mut found = Records { ttl: u32::MAX, ..Records::default() };
    let mut name = name.to_owned();
    for _ in 0..MAX_ALIASES {
        let mut alias = None;
        for record in packet.answers.iter().filter(|record| same(&record.name, &name)) {
            match &record.rdata {
                RData::A(a) => found.addresses.push(Ipv4Addr::from(a.address).into()),
                RData::AAAA(aaaa) => found.addresses.push(Ipv6Addr::from(aaaa.address).into()),
                RData::SRV(srv) => found.services.push(Service {
                    priority: srv.priority,
                    weight: srv.weight,
                    port: srv.port,
                    target: srv.target.to_string().trim_end_matches('.').to_ascii_lowercase(),
                }),
                RData::CNAME(other) => {
                    alias = Some(other.0.to_string().trim_end_matches('.').to_ascii_lowercase());
                }
                _ => continue,
            }
            found.ttl = found.ttl.min(record.ttl);
        }
        if !found.addresses.is_empty() || !found.services.is_empty() {
            return Reply::Records(Records { alias: None, ..found });
        }
        match alias {
            Some(alias) => {
                name.clone_from(&alias);
                found.alias = Some(alias);
            }
            None => break,
        }
    }
    // An alias alone: its own answer is to be asked for.
    if found.alias.is_some() { Reply::Records(found) } else { Reply::NotFound }
}
