//! The command line of `longwire doctor`.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::target::split_port;

/// What `longwire doctor -h` shows.
pub const HELP: &str = "\
longwire doctor URL: takes the road that a browser takes to a WebSocket, and says where it breaks, whose fault it is
and what to write where. URL is ws://, wss://, http:// or https://, of any server.

  --origin ORIGIN        Origin to send (default: the site's own, as a page of it would; \"none\" sends none)
  --subprotocol NAME     subprotocol to offer; may be repeated
  -H, --header 'N: V'    header to send besides, or in place of one (also Host); may be repeated
  -b, --cookie 'N=V'     cookies to send
  -k, --insecure         go on although the certificate is not trusted
  --ca FILE              trust these certificates (PEM) instead of the system's
  --resolve HOST:PORT:ADDRESS
                         go to ADDRESS in place of what DNS says; may be repeated
  --timeout TIME         how long a step may take (default 5s)
  --no-messages          send pings alone: no text, no large or compressed messages
  --idle TIME            then hold several WebSockets, silent and busy ones, and find what ends them (75s, 11m)
  --message TEXT         what the busy ones send (default {\"type\":\"ping\"})
  --direct URL           compare with the road past the proxy, to the backend; URL may then be written --through URL
  --json                 everything as JSON

Exit status: 0 sound, 1 a fault was found, 2 it could not tell.
";

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Everything as JSON.
    pub json: bool,
    /// What to send as `Origin`.
    pub origin: Origin,
    /// Subprotocols to offer.
    pub subprotocols: Vec<String>,
    /// Headers to send besides, or in place of others.
    pub headers: Vec<(String, String)>,
    /// Go on although the certificate is not trusted.
    pub insecure: bool,
    /// PEM file of the roots to trust.
    pub ca: Option<PathBuf>,
    /// Addresses in place of what DNS says: host, port, address.
    pub resolve: Vec<(String, u16, IpAddr)>,
    /// How long a step may take.
    pub timeout: Duration,
    /// Send messages, not only pings.
    pub messages: bool,
    /// Hold connections through a silence as long as this.
    pub idle: Option<Duration>,
    /// What the busy ones send meanwhile.
    pub message: Option<String>,
    /// The URL of the same WebSocket past the proxy.
    pub direct: Option<String>,
}

/// What to send as `Origin`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The site's own.
    Own,
    /// Nothing.
    Absent,
    /// This.
    Is(String),
}

impl Default for Options {
    fn default() -> Options {
        Options {
            json: false,
            origin: Origin::Own,
            subprotocols: Vec::new(),
            headers: Vec::new(),
            insecure: false,
            ca: None,
            resolve: Vec::new(),
            timeout: Duration::from_secs(5),
            messages: true,
            idle: None,
            message: None,
            direct: None,
        }
    }
}

/// What to do.
#[derive(Debug)]
pub enum Asked {
    /// Show the help.
    Help,
    /// Examine a URL.
    Examine(String, Box<Options>),
}

/// Reads the command line.
pub fn parse(args: &[OsString]) -> Result<Asked, String> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_args(args);
    let mut options = Options::default();
    let (mut url, mut through) = (None, None);
    let general = |error: lexopt::Error| error.to_string();
    while let Some(arg) = parser.next().map_err(general)? {
        match arg {
            Short('h' | '?') | Long("help") => return Ok(Asked::Help),
            Long("json") => options.json = true,
            Long("origin") => {
                let origin = text(&mut parser)?;
                options.origin = if origin == "none" { Origin::Absent } else { Origin::Is(line(origin)?) };
            }
            Long("subprotocol") => options.subprotocols.push(line(text(&mut parser)?)?),
            Short('H') | Long("header") => options.headers.push(header(&text(&mut parser)?)?),
            Short('b') | Long("cookie") => options.headers.push(("Cookie".into(), line(text(&mut parser)?)?)),
            Short('k') | Long("insecure") => options.insecure = true,
            Long("ca" | "cacert") => options.ca = Some(text(&mut parser)?.into()),
            Long("resolve") => options.resolve.push(resolve(&text(&mut parser)?)?),
            Long("timeout") => options.timeout = time(&text(&mut parser)?)?,
            Long("no-messages") => options.messages = false,
            Long("idle") => options.idle = Some(time(&text(&mut parser)?)?),
            Long("message") => options.message = Some(text(&mut parser)?),
            Long("direct") => options.direct = Some(text(&mut parser)?),
            Long("through") => through = Some(text(&mut parser)?),
            Value(value) if url.is_none() => url = Some(value.string().map_err(general)?),
            other => return Err(other.unexpected().to_string()),
        }
    }
    if through.is_some() && url.as_ref().is_some_and(|url| through.as_ref() != Some(url)) {
        return Err("--through is the URL itself: write one of them".into());
    }
    if through.is_some() && options.direct.is_none() {
        return Err("--through goes with --direct URL: compare it with the road past the proxy".into());
    }
    url.or(through)
        .map(|url| Asked::Examine(url, Box::new(options)))
        .ok_or_else(|| "no URL: name what a browser opens".into())
}

fn text(parser: &mut lexopt::Parser) -> Result<String, String> {
    parser.value().and_then(lexopt::ValueExt::string).map_err(|error| error.to_string())
}

/// Text that fits in a line of a head.
fn line(text: String) -> Result<String, String> {
    if text.contains(['\r', '\n', '\0']) { Err(format!("{text:?} must be one line")) } else { Ok(text) }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once(':').ok_or_else(|| format!("\"{text}\" is no header: write 'Name: value'"))?;
    let name = name.trim();
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("\"{name}\" is no name of a header"));
    }
    Ok((name.to_owned(), line(value.trim().to_owned())?))
}

fn resolve(text: &str) -> Result<(String, u16, IpAddr), String> {
    let fault = || format!("\"{text}\" must be HOST:PORT:ADDRESS, such as example.com:443:127.0.0.1");
    let (host, rest) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").ok_or_else(fault)?,
        None => text.split_once(':').ok_or_else(fault)?,
    };
    let (port, address) = rest.split_once(':').ok_or_else(fault)?;
    let (_, port) = split_port(&format!("x:{port}")).map_err(|_| fault())?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), port.ok_or_else(fault)?, address.parse().map_err(|_| fault())?))
}

/// A time as nginx writes it: `500ms`, `75s`, `11m`; seconds without a unit.
pub fn time(text: &str) -> Result<Duration, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let ms = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    let total = number.parse::<u64>().ok().and_then(|number| number.checked_mul(ms));
    match total {
        // A day is longer than anybody waits.
        Some(total @ 1..=86_400_000) => Ok(Duration::from_millis(total)),
        _ => Err(format!("\"{text}\" is no time: write 500ms, 75s or 11m")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &[&str]) -> Result<(String, Options), String> {
        let args: Vec<OsString> = line.iter().map(OsString::from).collect();
        match parse(&args)? {
            Asked::Examine(url, options) => Ok((url, *options)),
            Asked::Help => Err("help".into()),
        }
    }

    #[test]
    fn options_are_those_that_users_of_curl_expect() {
        let (url, options) = parsed(&[
            "ws://a",
            "-H",
            "X-A: b: c",
            "-b",
            "s=1",
            "-k",
            "--resolve",
            "a:80:::1",
            "--timeout",
            "300ms",
        ])
        .unwrap();
        assert_eq!(url, "ws://a");
        assert_eq!(options.headers, [("X-A".into(), "b: c".into()), ("Cookie".into(), "s=1".into())]);
        assert_eq!(options.resolve, [("a".into(), 80, "::1".parse().unwrap())]);
        assert_eq!(options.timeout, Duration::from_millis(300));
        assert!(options.insecure && options.messages);
        let (url, options) = parsed(&["--through", "ws://a", "--direct", "ws://b", "--idle", "11m"]).unwrap();
        assert_eq!((url.as_str(), options.direct.as_deref()), ("ws://a", Some("ws://b")));
        assert_eq!(options.idle, Some(Duration::from_secs(660)));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for line in [
            &["--json"][..],
            &["ws://a", "ws://b"],
            &["ws://a", "-H", "nothing"],
            &["ws://a", "-H", "a: b\r\nc: d"],
            &["ws://a", "--resolve", "a:b:c"],
            &["ws://a", "--timeout", "soon"],
            &["ws://a", "--timeout", "0s"],
            &["ws://a", "--through", "ws://b", "--direct", "ws://c"],
            &["--through", "ws://b"],
        ] {
            assert!(parsed(line).is_err(), "{line:?}");
        }
    }
}
