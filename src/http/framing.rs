//! Pure: follows the bytes of a client's connection from request head to request head, and refuses bad heads.
//!
//! hyper forgives what a proxy must not: it drops a Content-Length beside a Transfer-Encoding in silence, and it
//! closes on a bad head without the words that nginx would say. So each head is looked at here before hyper sees it,
//! with the same parser (httparse), so that both agree on where a head ends.

use httparse::{EMPTY_HEADER, Request, Status};
use longwire_wire::handshake::is_websocket_upgrade;

use super::target::Watched;

/// The first byte of a TLS connection: a record of the handshake.
const TLS_HANDSHAKE: u8 = 22;
/// Most header lines of one head.
pub(super) const MAX_HEADERS: usize = 128;

const VERSION: &str = "client sent a version that is not HTTP/1.0 or HTTP/1.1";

/// A head that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// 400, 408, 414, 494 (sent as 400), 501 or 505.
    pub status: u16,
    /// Why, for the error log.
    pub reason: &'static str,
}

/// Where in the stream of requests a connection is.
#[derive(Debug)]
pub(super) enum Phase {
    /// Between requests: nothing of the next one is there.
    Idle,
    /// In the middle of a head.
    Head(Vec<u8>),
    /// This many bytes of a body are still to come.
    Body(u64),
    /// In a chunked body.
    Chunked(Chunk),
    /// A WebSocket handshake was read: what follows is no HTTP, whatever becomes of the handshake.
    Handshake,
    /// A chunked body is broken, and nothing after it is HTTP.
    Broken,
}

/// Where in a chunked body.
#[derive(Debug, Clone, Copy)]
pub(super) enum Chunk {
    /// In the size line; the size so far, and whether an extension has begun.
    Size(u64, bool),
    /// In the data and its closing CRLF.
    Data(u64),
    /// In the trailer. hyper ends its lines by CRLF only, so a lone LF must not end one here.
    Trailer(Trailer),
}

/// Where in a trailer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trailer {
    /// At the beginning of a line.
    Begin,
    /// In a line.
    Line,
    /// Behind the CR of a line; whether the line is empty.
    Cr(bool),
}

/// Follows one connection.
#[derive(Debug)]
pub(super) struct Framing {
    phase: Phase,
    max_head: usize,
    /// Line ends in the head so far.
    lines: usize,
    target: Watched,
    /// Targets of the heads that are whole, as they were sent.
    targets: Vec<Vec<u8>>,
}

impl Framing {
    /// `max_head`: bytes of the longest head.
    pub(super) fn new(max_head: usize) -> Framing {
        Framing { phase: Phase::Idle, max_head, lines: 0, target: Watched::new(), targets: Vec::new() }
    }

    /// Where it is.
    pub(super) fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Bytes that the client sent, in order. Tells how many of them hyper may see: those behind the break of a body
    /// it must not. An error tells how many stand before the head that is refused; nothing more may be fed then.
    ///
    /// In targets it puts what hyper can hold in the place of what it cannot ([`Watched`]).
    pub(super) fn feed(&mut self, bytes: &mut [u8]) -> Result<usize, (usize, Refusal)> {
        let count = bytes.len();
        let mut rest = bytes;
        while !rest.is_empty() && !matches!(self.phase, Phase::Broken) {
            let good = count - rest.len();
            rest = self.step(rest).map_err(|refusal| (good, refusal))?;
        }
        Ok(count - rest.len())
    }

    /// Targets of the heads that have become whole since the last time, as they were sent.
    pub(super) fn take_targets(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.targets)
    }

    /// Takes bytes up to the next change of phase; gives back what follows.
    fn step<'b>(&mut self, bytes: &'b mut [u8]) -> Result<&'b mut [u8], Refusal> {
        Ok(match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Idle => match bytes.iter().position(|b| !matches!(b, b'\r' | b'\n')) {
                None => &mut [],
                Some(start) => {
                    self.phase = Phase::Head(Vec::new());
                    self.lines = 0;
                    self.target = Watched::new();
                    &mut bytes[start..]
                }
            },
            Phase::Head(head) => self.feed_head(head, bytes)?,
            Phase::Body(left) => {
                let taken = left.min(bytes.len() as u64);
                if taken < left {
                    self.phase = Phase::Body(left - taken);
                }
                &mut bytes[taken as usize..]
            }
            Phase::Chunked(chunk) => {
                let (rest, next) = feed_chunk(chunk, bytes);
                self.phase = next;
                let taken = bytes.len() - rest.len();
                &mut bytes[taken..]
            }
            last @ (Phase::Handshake | Phase::Broken) => {
                self.phase = last;
                &mut []
            }
        })
    }

    /// Takes what belongs to the head; gives back what follows it.
    fn feed_head<'b>(&mut self, mut head: Vec<u8>, bytes: &'b mut [u8]) -> Result<&'b mut [u8], Refusal> {
        if head.is_empty() && bytes.first() == Some(&TLS_HANDSHAKE) {
            return Err(Refusal {
                status: 400,
                reason: "client spoke TLS to a port without it: is \"ssl\" missing in the \"listen\", or is it http:// or ws:// here?",
            });
        }
        let before = head.len();
        let room = self.max_head.saturating_sub(before);
        let count = bytes.len().min(room);
        let taken = &mut bytes[..count];
        self.target.pass(taken);
        head.extend_from_slice(taken);
        self.lines += taken.iter().filter(|byte| **byte == b'\n').count();
        // Look for the end only where it can be new: a head that drips must not be parsed for each drop.
        let ended = has_end(&head[before.saturating_sub(3)..]);
        if !ended && self.lines > MAX_HEADERS + 1 {
            // hyper would find the same, and say it in its own words.
            return Err(malformed(httparse::Error::TooManyHeaders));
        }
        if !ended && head.len() < self.max_head {
            self.phase = Phase::Head(head);
            return Ok(&mut []);
        }
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let mut request = Request::new(&mut headers);
        match request.parse(&head) {
            Ok(Status::Complete(length)) => {
                self.phase = check(&request)?;
                self.targets.push(std::mem::replace(&mut self.target, Watched::new()).into_sent());
                let taken = length.saturating_sub(before).min(bytes.len());
                Ok(&mut bytes[taken..])
            }
            Ok(Status::Partial) if head.len() >= self.max_head => Err(match head.contains(&b'\n') {
                false => Refusal { status: 414, reason: "client sent too long URI" },
                true => Refusal { status: 494, reason: "client sent too large request head" },
            }),
            Ok(Status::Partial) => {
                self.phase = Phase::Head(head);
                Ok(&mut [])
            }
            Err(httparse::Error::Version) if speaks_later_http(&head) => {
                Err(Refusal { status: 505, reason: VERSION })
            }
            Err(error) => Err(malformed(error)),
        }
    }
}

/// Whether the request line names a version of HTTP behind 1.x. What begins an HTTP/2 connection is no request line.
fn speaks_later_http(head: &[u8]) -> bool {
    let line = head.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or(head);
    let version = line.rsplit(|byte| *byte == b' ').next().unwrap_or(line);
    let major = version.strip_prefix(b"HTTP/").and_then(|rest| rest.split(|byte| *byte == b'.').next());
    let major = major.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u16>().ok());
    major.is_some_and(|major| major > 1) && !line.starts_with(b"PRI ")
}

fn has_end(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|w| w == b"\n\n") || bytes.windows(3).any(|w| w == b"\n\r\n")
}

fn malformed(error: httparse::Error) -> Refusal {
    let bad = |reason| Refusal { status: 400, reason };
    match error {
        httparse::Error::TooManyHeaders => Refusal { status: 494, reason: "client sent too many headers" },
        httparse::Error::HeaderName => {
            bad("client sent invalid header line: the name has a character that none may have")
        }
        httparse::Error::HeaderValue => {
            bad("client sent invalid header line: the value has a control character")
        }
        httparse::Error::Version => bad(VERSION),
        httparse::Error::NewLine => bad("client sent a stray CR or LF in the request head"),
        httparse::Error::Status | httparse::Error::Token => bad("client sent invalid request line"),
    }
}

/// Checks a whole head and says what follows it.
fn check(request: &Request<'_, '_>) -> Result<Phase, Refusal> {
    let bad = |reason| Err(Refusal { status: 400, reason });
    if request.path.is_none_or(|target| target.parse::<http::Uri>().is_err()) {
        return bad("client sent invalid request line: no URI has such characters");
    }
    let is_letter = |byte: u8| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'-');
    if !request.method.is_some_and(|method| method.bytes().all(is_letter)) {
        return bad("client sent invalid method");
    }
    let values = |name: &'static str| {
        request.headers.iter().filter(move |h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value)
    };
    match values("host").count() {
        0 if request.version == Some(1) => {
            return bad("client sent HTTP/1.1 request without \"Host\" header");
        }
        0 | 1 => {}
        _ => return bad("client sent more than one \"Host\" header"),
    }
    let mut lengths = values("content-length");
    let length = lengths.next();
    if lengths.next().is_some() {
        return bad("client sent more than one \"Content-Length\" header");
    }
    let length = match length.map(parse_length) {
        None => 0,
        Some(Some(length)) => length,
        Some(None) => return bad("client sent invalid \"Content-Length\" header"),
    };
    let mut encodings = values("transfer-encoding");
    if let Some(encoding) = encodings.next() {
        if request.version == Some(0) {
            return bad("client sent HTTP/1.0 request with \"Transfer-Encoding\" header");
        }
        if encodings.next().is_some() {
            return bad("client sent more than one \"Transfer-Encoding\" header");
        }
        if !encoding.eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal { status: 501, reason: "client sent unknown \"Transfer-Encoding\"" });
        }
        if values("content-length").next().is_some() {
            return bad("client sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time");
        }
        return Ok(Phase::Chunked(Chunk::Size(0, false)));
    }
    if is_websocket_upgrade(values("upgrade"), values("connection")) {
        return Ok(Phase::Handshake);
    }
    Ok(if length == 0 { Phase::Idle } else { Phase::Body(length) })
}

fn parse_length(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten()
}

/// Walks one step through a chunked body (RFC 9112 section 7.1).
fn feed_chunk(chunk: Chunk, bytes: &[u8]) -> (&[u8], Phase) {
    let Some((&byte, rest)) = bytes.split_first() else { return (bytes, Phase::Chunked(chunk)) };
    let next = match chunk {
        Chunk::Data(left) => {
            let taken = left.min(bytes.len() as u64);
            let next = if taken < left { Chunk::Data(left - taken) } else { Chunk::Size(0, false) };
            return (&bytes[taken as usize..], Phase::Chunked(next));
        }
        Chunk::Size(size, _) if byte == b'\n' => match size {
            0 => Chunk::Trailer(Trailer::Begin),
            // The CRLF behind the data is counted with it; hyper checks that it is one.
            size => Chunk::Data(size.saturating_add(2)),
        },
        Chunk::Size(size, extension) => match char::from(byte).to_digit(16) {
            _ if extension || byte == b'\r' => Chunk::Size(size, extension),
            None if matches!(byte, b';' | b' ' | b'\t') => Chunk::Size(size, true),
            digit => match digit.and_then(|digit| size.checked_mul(16)?.checked_add(digit.into())) {
                Some(size) => Chunk::Size(size, false),
                None => return (rest, Phase::Broken),
            },
        },
        Chunk::Trailer(trailer) => match (trailer, byte) {
            (Trailer::Cr(true), b'\n') => return (rest, Phase::Idle),
            (Trailer::Cr(false), b'\n') => Chunk::Trailer(Trailer::Begin),
            (Trailer::Cr(_), _) | (_, b'\n') => return (rest, Phase::Broken),
            (Trailer::Begin, b'\r') => Chunk::Trailer(Trailer::Cr(true)),
            (Trailer::Line, b'\r') => Chunk::Trailer(Trailer::Cr(false)),
            _ => Chunk::Trailer(Trailer::Line),
        },
    };
    (rest, Phase::Chunked(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a text whole and byte by byte: both must give the same.
    fn feed(text: &str) -> (Result<(), u16>, String) {
        let mut whole = Framing::new(1024);
        let result = whole.feed(&mut text.to_owned().into_bytes()).map(drop).map_err(|(_, r)| r.status);
        let mut drops = Framing::new(1024);
        let dripped = text.to_owned().into_bytes().chunks_mut(1).try_for_each(|b| drops.feed(b).map(drop));
        let dripped = dripped.map_err(|(_, r)| r.status);
        assert_eq!(result, dripped, "{text:?}");
        assert_eq!(format!("{:?}", whole.phase), format!("{:?}", drops.phase), "{text:?}");
        assert_eq!(whole.take_targets(), drops.take_targets(), "{text:?}");
        (result, format!("{:?}", whole.phase))
    }

    #[test]
    fn good_requests_end_where_hyper_says() {
        for (text, phase) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "Idle"),
            ("\r\nGET / HTTP/1.0\r\n\r\n", "Idle"),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc", "Body(2)"),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET", "Head([71, 69, 84])"),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;x=1\r\nabcd\r\n0\r\nT: 1\r\n\r\n",
                "Idle",
            ),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n123", "Chunked(Data(9))"),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nGET", "Broken"),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: 1\n\nGET", "Broken"),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\rGET", "Broken"),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\u{1}\u{2}",
                "Handshake",
            ),
        ] {
            assert_eq!(feed(text), (Ok(()), phase.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn bad_heads_are_refused() {
        let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(2000));
        let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(2000));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a:1\r\n".repeat(140));
        let both = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n";
        for (text, status) in [
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            (both, 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
            ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
            ("get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            ("GET / HTTP/11\r\nHost: a\r\n\r\n", 505),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
            ("\u{16}\u{3}\u{1}", 400),
            (long.as_str(), 414),
            (large.as_str(), 494),
            (many.as_str(), 494),
        ] {
            assert_eq!(feed(text).0, Err(status), "{text:?}");
        }
    }

    #[test]
    fn targets_are_kept_as_they_were_sent() {
        let mut framing = Framing::new(1024);
        let mut bytes =
            b"GET /<x>?\xff HTTP/1.1\r\nHost: a\r\n\r\nGET /#y HTTP/1.1\r\nHost: <\r\n\r\n".to_vec();
        framing.feed(&mut bytes).unwrap();
        assert_eq!(framing.take_targets(), [b"/<x>?\xff".to_vec(), b"/#y".to_vec()]);
        assert!(framing.take_targets().is_empty());
        assert_eq!(bytes, b"GET /_x_?_ HTTP/1.1\r\nHost: a\r\n\r\nGET /_y HTTP/1.1\r\nHost: <\r\n\r\n");
    }

    #[test]
    fn good_requests_before_a_bad_one_are_told_apart() {
        let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let refused = Framing::new(1024).feed(&mut format!("{good}PRI * HTTP/2.0\r\n\r\n").into_bytes());
        assert_eq!(refused.map_err(|(count, refusal)| (count, refusal.status)), Err((good.len(), 400)));
    }
}
