//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) const HELP: &str = "\
longwire-load: load for a WebSocket proxy

longwire-load backend --listen ADDR      a WebSocket server: echo, and broadcast under /broadcast
longwire-load idle       --url URL ...   opens connections and leaves them alone
longwire-load echo       --url URL ...   sends messages and awaits each echo
longwire-load burst      --url URL ...   all connections send at once, again and again
longwire-load broadcast  --url URL ...   one connection sends, all receive
longwire-load handshakes --url URL ...   opens and leaves, again and again

  --url URL          ws://HOST:PORT/PATH or wss://HOST:PORT/PATH; no certificate is verified
  --connections N    connections at a time (100)
  --size BYTES       payload of a message (64)
  --rate R           messages (burst, broadcast: rounds) a second, however slow the answers are: a time counts from
                     when the message was to be sent. 0: the next message after the last answer (0)
  --count N          end after so many messages or handshakes
  --seconds S        end after so long (10)
  --every SECONDS    with --rate: the times of each such span as well, by when a message was to be sent
  --full             no TLS session is taken up again
  --hold             say \"ready\" once all are open, and begin when a line comes on standard input
  --json             the result as JSON
";

/// What to do.
pub(crate) enum Args {
    Help,
    Backend(SocketAddr),
    Load(Options),
}

/// Which scenario.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Idle,
    Echo,
    Burst,
    Broadcast,
    Handshakes,
}

/// How to run a scenario.
pub(crate) struct Options {
    pub(crate) kind: Kind,
    pub(crate) url: Url,
    pub(crate) connections: usize,
    pub(crate) size: usize,
    pub(crate) rate: f64,
    pub(crate) count: u64,
    pub(crate) time: Duration,
    /// An open loop tells the times of each such span.
    pub(crate) every: Option<Duration>,
    pub(crate) full: bool,
    pub(crate) hold: bool,
    pub(crate) json: bool,
}

/// Where the load goes.
pub(crate) struct Url {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
}

/// Reads the command line.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Args, String> {
    let mut parser = lexopt::Parser::from_args(args);
    parse_all(&mut parser).map_err(|error| error.to_string())
}

fn parse_all(parser: &mut lexopt::Parser) -> Result<Args, lexopt::Error> {
    use lexopt::prelude::*;
    let command = match parser.next()? {
        None | Some(Short('h') | Long("help")) => return Ok(Args::Help),
        Some(Value(command)) => command.string()?,
        Some(other) => return Err(other.unexpected()),
    };
    let kind = match command.as_str() {
        "backend" => return backend(parser),
        "idle" => Kind::Idle,
        "echo" => Kind::Echo,
        "burst" => Kind::Burst,
        "broadcast" => Kind::Broadcast,
        "handshakes" => Kind::Handshakes,
        _ => return Err(format!("no scenario \"{command}\"").into()),
    };
    load(parser, kind)
}

fn backend(parser: &mut lexopt::Parser) -> Result<Args, lexopt::Error> {
    use lexopt::prelude::*;
    match parser.next()? {
        Some(Long("listen")) => Ok(Args::Backend(parser.value()?.parse()?)),
        _ => Err("backend needs --listen ADDR".into()),
    }
}

fn load(parser: &mut lexopt::Parser, kind: Kind) -> Result<Args, lexopt::Error> {
    use lexopt::prelude::*;
    let url = Url { tls: false, host: String::new(), port: 0, path: String::new() };
    let mut options = Options {
        kind,
        url,
        connections: 100,
        size: 64,
        rate: 0.0,
        count: u64::MAX,
        time: Duration::from_secs(10),
        every: None,
        full: false,
        hold: false,
        json: false,
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Long("url") => options.url = parser.value()?.parse_with(parse_url)?,
            Long("connections") => options.connections = parser.value()?.parse::<usize>()?.clamp(1, 9000),
            Long("size") => options.size = parser.value()?.parse()?,
            Long("rate") => options.rate = parser.value()?.parse()?,
            Long("count") => options.count = parser.value()?.parse()?,
            Long("seconds") => options.time = parser.value()?.parse_with(seconds)?,
            Long("every") => options.every = Some(parser.value()?.parse_with(seconds)?),
            Long("full") => options.full = true,
            Long("hold") => options.hold = true,
            Long("json") => options.json = true,
            other => return Err(other.unexpected()),
        }
    }
    if options.url.host.is_empty() {
        return Err("--url is missing".into());
    }
    Ok(Args::Load(options))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "no number of seconds")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn parse_url(url: &str) -> Result<Url, String> {
    let (tls, rest) = match (url.strip_prefix("ws://"), url.strip_prefix("wss://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return Err("a URL begins with ws:// or wss://".into()),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = authority.rsplit_once(':').ok_or("the URL has no port")?;
    let port = port.parse().map_err(|_| "the URL has no port")?;
    Ok(Url { tls, host: host.into(), port, path: format!("/{path}") })
}
