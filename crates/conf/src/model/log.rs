//! Where lines of logs go and how they look.

use std::fmt;
use std::path::PathBuf;

use super::{Level, Spanned};
use crate::template::Template;

/// One `error_log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorLog {
    /// Where it goes.
    pub target: Spanned<LogTarget>,
    /// Least severe level that is written.
    pub level: Level,
}

/// One `access_log`.
#[derive(Debug, Clone)]
pub struct AccessLog {
    /// Where it goes; `/dev/stdout`, opened as any file, when nothing is written.
    pub target: Spanned<LogTarget>,
    /// Index in [`Config::log_formats`](super::Config::log_formats); 0 is the one without a name.
    pub format: usize,
    /// `if=`: no line when empty or "0".
    pub condition: Option<Template>,
}

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LogTarget {
    /// Standard error.
    Stderr,
    /// A file.
    File(PathBuf),
    /// `syslog:...`
    Syslog(Syslog),
}

/// A syslog server, as nginx writes to it: datagrams in the form of RFC 3164.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Syslog {
    /// `server=`.
    pub server: SyslogServer,
    /// `facility=`, by its number (RFC 3164, 4.1.1): `local7` when nothing is written.
    pub facility: u8,
    /// `severity=` of lines that have no level of their own: `info` when nothing is written.
    pub severity: Level,
    /// `tag=`: up to 32 letters, digits and underscores.
    pub tag: String,
    /// Without `nohostname`.
    pub hostname: bool,
}

/// Where a syslog server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SyslogServer {
    /// Host and port of UDP, 514 when nothing is written.
    Udp(String, u16),
    /// A Unix datagram socket.
    Unix(PathBuf),
}

/// By their numbers in RFC 3164; `auth` is written for 4, and 9 to 15 are not all known to nginx.
const FACILITIES: [(&str, u8); 21] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("intern", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("clock", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("ntp", 12),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

impl Syslog {
    /// Reads what stands behind `syslog:`. What is wrong is told in nginx's words.
    pub fn parse(text: &str) -> Result<Syslog, String> {
        let (mut server, mut facility, mut severity, mut tag, mut hostname) = (None, None, None, None, true);
        for parameter in text.split(',') {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let twice = match key {
                "server" => server.replace(read_server(value)?).is_some(),
                "facility" => {
                    let known = FACILITIES.iter().find(|(name, _)| name.eq_ignore_ascii_case(value));
                    let (_, number) = known.ok_or_else(|| format!("unknown syslog facility \"{value}\""))?;
                    facility.replace(*number).is_some()
                }
                "severity" => {
                    let known = Level::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(value));
                    let level = known.ok_or_else(|| format!("unknown syslog severity \"{value}\""))?;
                    severity.replace(level).is_some()
                }
                "tag" => tag.replace(read_tag(value)?).is_some(),
                "nohostname" if value.is_empty() => {
                    hostname = false;
                    false
                }
                _ => return Err(format!("unknown syslog parameter \"{parameter}\"")),
            };
            if twice {
                return Err(format!("duplicate syslog \"{key}\""));
            }
        }
        Ok(Syslog {
            server: server.ok_or("no syslog server specified")?,
            facility: facility.unwrap_or(23),
            severity: severity.unwrap_or(Level::Info),
            tag: tag.unwrap_or_else(|| "longwire".to_owned()),
            hostname,
        })
    }
}

fn read_server(value: &str) -> Result<SyslogServer, String> {
    if let Some(path) = value.strip_prefix("unix:") {
        return match path {
            "" => Err("no path in the unix domain socket".to_owned()),
            path => Ok(SyslogServer::Unix(path.into())),
        };
    }
    let (host, port) = match value.rsplit_once(':') {
        // An IPv6 address has its colons in brackets.
        Some((host, port)) if !port.contains(']') => {
            let port = port.parse().ok().filter(|port| *port > 0);
            (host, port.ok_or_else(|| format!("invalid port in syslog server \"{value}\""))?)
        }
        _ => (value, 514),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err(format!("no host in syslog server \"{value}\""));
    }
    Ok(SyslogServer::Udp(host.to_owned(), port))
}

fn read_tag(value: &str) -> Result<String, String> {
    let fits = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match value.len() {
        1..=32 if fits => Ok(value.to_owned()),
        0..=32 => Err("syslog \"tag\" only allows alphanumeric characters and underscore".to_owned()),
        _ => Err("syslog tag length exceeds 32".to_owned()),
    }
}

impl fmt::Display for LogTarget {
    /// As it is written in a configuration; [`Syslog::parse`] reads it again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let syslog = match self {
            LogTarget::Stderr => return f.write_str("stderr"),
            LogTarget::File(path) => return path.display().fmt(f),
            LogTarget::Syslog(syslog) => syslog,
        };
        match &syslog.server {
            SyslogServer::Udp(host, port) if host.contains(':') => {
                write!(f, "syslog:server=[{host}]:{port}")?
            }
            SyslogServer::Udp(host, port) => write!(f, "syslog:server={host}:{port}")?,
            SyslogServer::Unix(path) => write!(f, "syslog:server=unix:{}", path.display())?,
        }
        if let Some((name, _)) = FACILITIES.iter().find(|(_, number)| *number == syslog.facility) {
            write!(f, ",facility={name}")?;
        }
        write!(f, ",severity={},tag={}", syslog.severity.name(), syslog.tag)?;
        if syslog.hostname { Ok(()) } else { f.write_str(",nohostname") }
    }
}

/// `log_format NAME [escape=...] STRING...`.
#[derive(Debug, Clone)]
pub struct LogFormat {
    /// Its name.
    pub name: String,
    /// How variables are escaped.
    pub escape: Escape,
    /// The line.
    pub template: Template,
}

/// Escaping of variables in a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Escape {
    /// `\xXX` for `"`, `\`, controls and non-ASCII; an empty value is `-`.
    #[default]
    Default,
    /// JSON string escapes; an empty value is empty.
    Json,
    /// As it is.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in [
            "server=127.0.0.1",
            "server=[::1]:5140,nohostname,tag=a_1",
            "server=unix:/dev/log,facility=daemon,severity=debug",
            "server=logs.example.com:515,facility=LOCAL0,severity=Warn,tag=x",
        ] {
            let target = LogTarget::Syslog(Syslog::parse(text).unwrap());
            let written = target.to_string();
            let again = Syslog::parse(written.strip_prefix("syslog:").unwrap()).unwrap();
            assert_eq!(LogTarget::Syslog(again), target, "{text}");
        }
        let plain = Syslog::parse("server=a").unwrap();
        assert_eq!((plain.facility, plain.severity, plain.hostname), (23, Level::Info, true));
        assert_eq!(plain.server, SyslogServer::Udp("a".to_owned(), 514));
    }

    #[test]
    fn mistakes_are_told() {
        for (text, told) in [
            ("", "unknown syslog parameter \"\""),
            ("tag=x", "no syslog server"),
            ("server=", "no host"),
            ("server=a:0", "invalid port"),
            ("server=a:x", "invalid port"),
            ("server=unix:", "no path"),
            ("server=a,server=b", "duplicate syslog \"server\""),
            ("server=a,facility=x", "unknown syslog facility \"x\""),
            ("server=a,severity=x", "unknown syslog severity \"x\""),
            ("server=a,tag=a-b", "only allows"),
            ("server=a,tag=aaaaaaaaaabbbbbbbbbbccccccccccddd", "exceeds 32"),
            ("server=a,more", "unknown syslog parameter \"more\""),
        ] {
            let error = Syslog::parse(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
