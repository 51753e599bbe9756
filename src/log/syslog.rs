//! Lines as datagrams for a syslog server, in the form that nginx gives them (RFC 3164).

use std::io;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::sync::LazyLock;

use longwire_conf::model::{Level, Syslog, SyslogServer};

use super::error::utc_offset;
use crate::clock;
use crate::route::calendar::Moment;

/// What a line may take of a datagram; longer ones are cut.
const MAX_DATAGRAM: usize = 8192;

/// What stands before a line: `<PRI>Nov 23 04:12:51 HOST TAG: `. Without a level the severity is the configured one.
pub(super) fn header(syslog: &Syslog, level: Option<Level>) -> Vec<u8> {
    // Levels stand in the order of the severities.
    let severity = level.unwrap_or(syslog.severity) as u16;
    let unix = clock::unix_us() / 1_000_000;
    let time = Moment::new(unix, utc_offset(unix)).syslog();
    let priority = u16::from(syslog.facility) * 8 + severity;
    let host = if syslog.hostname { format!("{} ", *HOST) } else { String::new() };
    format!("<{priority}>{time} {host}{}: ", syslog.tag).into_bytes()
}

static HOST: LazyLock<String> = LazyLock::new(|| {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "-".to_owned())
});

/// A socket towards a server.
#[derive(Debug)]
pub(super) enum Wire {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Wire {
    /// Opens one. That nobody listens there shows only in what is sent.
    pub(super) fn open(server: &SyslogServer) -> io::Result<Wire> {
        Ok(match server {
            SyslogServer::Udp(host, port) => {
                let socket = connect(host, *port)?;
                socket.set_nonblocking(true)?;
                Wire::Udp(socket)
            }
            SyslogServer::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                // A server that starts later is found when something is to be sent.
                let _ = socket.connect(path);
                Wire::Unix(socket)
            }
        })
    }

    /// Sends each line as a datagram. Gives how many could not be sent.
    pub(super) fn send(&mut self, server: &SyslogServer, lines: &[u8]) -> u64 {
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let mut lost = 0;
        for line in lines {
            let line = &line[..line.len().min(MAX_DATAGRAM)];
            // A server that was started anew is another one for a Unix socket; a refusal of UDP tells of the datagram before.
            let sent = self.send_one(line).or_else(|_| {
                *self = Wire::open(server)?;
                self.send_one(line)
            });
            lost += u64::from(sent.is_err());
        }
        lost
    }

    fn send_one(&self, line: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Udp(socket) => socket.send(line),
            Wire::Unix(socket) => socket.send(line),
        }
    }
}

/// To the first address of the host that can be had.
fn connect(host: &str, port: u16) -> io::Result<UdpSocket> {
    let mut failed =
        io::Error::new(io::ErrorKind::NotFound, format!("host not found in syslog server \"{host}\""));
    for address in std::net::ToSocketAddrs::to_socket_addrs(&(host, port))? {
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        match UdpSocket::bind(any).and_then(|socket| socket.connect(address).map(|()| socket)) {
            Ok(socket) => return Ok(socket),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
