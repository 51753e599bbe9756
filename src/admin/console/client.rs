//! Asking an admin address from the command line.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use longwire_conf::Loaded;
use longwire_conf::model::{Address, Admin};
use serde_json::Value;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where the configuration is when nobody says.
const FILE: &str = "/etc/longwire/longwire.conf";

/// Reads a configuration file, whose relative paths count from a folder.
pub type Load = fn(&Path, Option<&Path>) -> Loaded;

/// Where to ask, as it was typed.
#[derive(Debug, Default)]
pub(in crate::admin) struct Target {
    admin: Option<String>,
    token: Option<PathBuf>,
    file: Option<PathBuf>,
    prefix: Option<PathBuf>,
}

impl Target {
    /// Takes an argument that says where; `false` when it says something else.
    pub(in crate::admin) fn take(
        &mut self,
        name: &str,
        parser: &mut lexopt::Parser,
    ) -> Result<bool, lexopt::Error> {
        match name {
            "--admin" => self.admin = Some(parser.value()?.to_string_lossy().into_owned()),
            "--token" => self.token = Some(parser.value()?.into()),
            "-c" => self.file = Some(parser.value()?.into()),
            "-p" => self.prefix = Some(parser.value()?.into()),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// An admin address that can be asked.
#[derive(Debug)]
pub(in crate::admin) struct Client {
    address: Address,
    token: Option<String>,
}

impl Client {
    /// Finds the address: what was typed, or the first `admin` of the configuration, a Unix socket before others.
    pub(in crate::admin) fn find(target: &Target, load: Load) -> Result<Client, String> {
        let (address, token) = match &target.admin {
            Some(typed) => (parse(typed)?, None),
            None => configured(target, load)?,
        };
        let token = target.token.clone().or(token).map(|file| {
            let text = std::fs::read_to_string(&file);
            text.map(|text| text.trim().to_owned())
                .map_err(|error| format!("the token file {} cannot be read: {error}", file.display()))
        });
        // Whoever may not read it can still look.
        let token = if target.token.is_some() { token.transpose()? } else { token.and_then(Result::ok) };
        Ok(Client { address, token })
    }

    /// The status and the body of what is at a path.
    pub(in crate::admin) fn get(&self, path: &str) -> Result<(u16, Vec<u8>), String> {
        self.ask("GET", path, "")
    }

    /// Posts JSON to a path.
    pub(in crate::admin) fn post(&self, path: &str, body: &Value) -> Result<(u16, Vec<u8>), String> {
        self.ask("POST", path, &body.to_string())
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Result<(u16, Vec<u8>), String> {
        let host = match &self.address {
            Address::Unix(_) => "localhost".to_owned(),
            address => text(address),
        };
        let length = body.len();
        let authorization =
            self.token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}Content-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        self.exchange(request.as_bytes())
            .and_then(|answer| split(&answer))
            .map_err(|error| self.unreachable(&error))
    }

    fn exchange(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        fn talk(mut stream: impl Read + Write, request: &[u8]) -> io::Result<Vec<u8>> {
            stream.write_all(request)?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            Ok(answer)
        }
        match &self.address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                talk(stream, request)
            }
            address => {
                let stream = TcpStream::connect(text(address))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                talk(stream, request)
            }
        }
    }

    fn unreachable(&self, error: &io::Error) -> String {
        let address = text(&self.address);
        let hint = match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                ": does Longwire run, and with this \"admin\"?"
            }
            io::ErrorKind::PermissionDenied => ": the socket is open to the user alone that Longwire runs as",
            _ => "",
        };
        format!("the admin address {address} cannot be asked ({error}){hint}")
    }
}

/// An address as it is dialled and shown.
fn text(address: &Address) -> String {
    match address {
        Address::Unix(path) => format!("unix:{}", path.display()),
        Address::Ip(ip, port) => std::net::SocketAddr::new(*ip, *port).to_string(),
        Address::Name(name, port) => format!("{name}:{port}"),
    }
}

/// `http://HOST:PORT`, `HOST:PORT`, `PORT` or `unix:PATH`.
fn parse(typed: &str) -> Result<Address, String> {
    if let Some(path) = typed.strip_prefix("unix:") {
        return Ok(Address::Unix(path.into()));
    }
    let rest = typed.strip_prefix("http://").unwrap_or(typed).trim_end_matches('/');
    if let Ok(port) = rest.parse() {
        return Ok(Address::Ip([127, 0, 0, 1].into(), port));
    }
    if let Ok(address) = rest.parse::<std::net::SocketAddr>() {
        return Ok(Address::Ip(address.ip(), address.port()));
    }
    let named = rest.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse().ok()?)));
    match named.filter(|(name, _)| !name.is_empty() && !name.contains(['/', ':', ' '])) {
        Some((name, port)) => Ok(Address::Name(name.to_owned(), port)),
        None => {
            Err(format!("\"{typed}\" is no admin address: 127.0.0.1:9191, http://localhost:9191, unix:/path"))
        }
    }
}

/// The address in a configuration, and the file with its token.
fn configured(target: &Target, load: Load) -> Result<(Address, Option<PathBuf>), String> {
    let file = match &target.file {
        Some(file) => file.clone(),
        None if Path::new(FILE).exists() => FILE.into(),
        None => {
            return Err(
                "where is it? --admin ADDRESS, or -c FILE for the configuration that has \"admin\"".into()
            );
        }
    };
    let loaded = load(&file, target.prefix.as_deref());
    let shown = file.display();
    let Some(config) = loaded.config else {
        return Err(format!("the configuration {shown} cannot be read: longwire -t -c {shown} says why"));
    };
    let all = config.main.admin.iter().map(|admin| &admin.value);
    let chosen = all.min_by_key(|admin| !matches!(admin.address, Address::Unix(_)));
    let Some(Admin { address, token, .. }) = chosen else {
        return Err(format!(
            "the configuration {shown} has no \"admin\": write \"admin unix:/run/longwire/admin.sock;\", or \"admin \
             127.0.0.1:9191 token=FILE;\" for browsers too, and reload"
        ));
    };
    let address = match address {
        // Where it listens everywhere, it listens here.
        Address::Ip(ip, port) if ip.is_unspecified() => {
            let here =
                if ip.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
            Address::Ip(here, *port)
        }
        address => address.clone(),
    };
    Ok((address, token.as_ref().map(|file| file.value.clone())))
}

/// Status and body of an answer. It ends with the connection, and has not more than its body behind its head.
fn split(answer: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    match head.parse(answer) {
        Ok(httparse::Status::Complete(length)) => {
            Ok((head.code.unwrap_or_default(), answer.get(length..).unwrap_or_default().to_vec()))
        }
        _ => Err(io::Error::other("that is no answer of HTTP")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_in_many_ways() {
        for (typed, dialled) in [
            ("9191", "127.0.0.1:9191"),
            ("127.0.0.1:9191", "127.0.0.1:9191"),
            ("http://[::1]:9191/", "[::1]:9191"),
            ("http://localhost:9191", "localhost:9191"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
        ] {
            assert_eq!(parse(typed).map(|address| text(&address)).as_deref(), Ok(dialled));
        }
        for typed in ["", "localhost", "http://a/b:1", "a b:1"] {
            assert!(parse(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn an_answer_is_split() {
        let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(split(answer).unwrap(), (404, b"{}".to_vec()));
        assert!(split(b"HTTP/1.1 200").is_err());
    }
}
