//! A request goes out, and what comes back is noted.

use std::time::Duration;

use longwire_wire::handshake;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};

use super::dial::{Dialer, Failure, Stream, end_of, tls_error};
use super::request::Request;
use super::socket::WebSocket;
use crate::doctor::facts::{AnswerFault, End, Exchange, TlsError};

/// The longest head that is read.
const MAX_HEAD: usize = 64 * 1024;
/// The most of a body that is read.
const MAX_BODY: usize = 64 * 1024;
/// The most of a body that is kept.
const KEPT_BODY: usize = 4 * 1024;
/// How long the body may take once the head is there.
const BODY_LIMIT: Duration = Duration::from_millis(1000);

impl Dialer {
    /// A request over a connection of its own, with the whole answer.
    pub async fn ask(&self, request: &Request) -> Exchange {
        self.exchange(request).await.0
    }

    /// A handshake over a connection of its own, with the WebSocket if there is one then.
    pub async fn open(&self, request: &Request) -> (Exchange, Option<WebSocket>) {
        let (exchange, rest) = self.exchange(request).await;
        let socket = rest.filter(|_| exchange.is_open()).map(|(stream, early)| {
            let deflate =
                exchange.all("sec-websocket-extensions").any(|value| value.contains("permessage-deflate"));
            WebSocket::new(stream, early, deflate)
        });
        (exchange, socket)
    }

    /// The answer; with a 101 also the connection, and what came behind the head.
    async fn exchange(&self, request: &Request) -> (Exchange, Option<(Stream, Vec<u8>)>) {
        match self.connect().await {
            Ok(stream) => over(stream, request, self.limit).await,
            Err(failure) => {
                let tls = match &failure {
                    Failure::Tls(error, _) => Some(*error),
                    Failure::Tcp(..) => None,
                };
                let exchange = Exchange {
                    path: request.path.clone(),
                    failure: Some(failure.text().to_owned()),
                    tls_error: tls,
                    ..Exchange::default()
                };
                (exchange, None)
            }
        }
    }
}

/// Sends a request over a connection and reads the answer.
pub async fn over(
    mut stream: Stream,
    request: &Request,
    limit: Duration,
) -> (Exchange, Option<(Stream, Vec<u8>)>) {
    let began = Instant::now();
    let mut seen = Exchange { path: request.path.clone(), ..Exchange::default() };
    let mut input = Vec::new();
    // An answer may come although the request could not be written to its end.
    let _ = timeout_at(began + limit, stream.write_all(&request.bytes())).await;
    let head = loop {
        match head(&input) {
            Head::Partial if input.len() < MAX_HEAD => {}
            Head::Whole(head) if (100..200).contains(&head.status) && head.status != 101 => {
                input.drain(..head.size);
                continue;
            }
            Head::Whole(head) => break head,
            Head::Partial | Head::Broken => {
                seen.not_http = Some(shown(&input));
                seen.ms = began.elapsed().as_millis() as u64;
                return (seen, None);
            }
        }
        if !more(&mut stream, &mut input, began + limit, &mut seen).await {
            seen.not_http = (!input.is_empty()).then(|| shown(&input));
            seen.ms = began.elapsed().as_millis() as u64;
            return (seen, None);
        }
    };
    seen.ms = began.elapsed().as_millis() as u64;
    let rest = input.split_off(head.size);
    (seen.status, seen.minor, seen.reason) = (Some(head.status), Some(head.minor), Some(head.reason));
    seen.headers = head.headers;
    if head.status == 101 {
        check(request, &mut seen);
        return (seen, Some((stream, rest)));
    }
    body(&mut stream, rest, &mut seen).await;
    (seen, None)
}

/// Reads once. `false` at the end, whose kind is noted.
async fn more(stream: &mut Stream, input: &mut Vec<u8>, until: Instant, seen: &mut Exchange) -> bool {
    match timeout_at(until, stream.read_buf(input)).await {
        Err(_) => seen.timed_out = true,
        Ok(Ok(0)) => seen.end = Some(End::Fin),
        Ok(Ok(_)) => return true,
        Ok(Err(error)) => {
            let end = end_of(&error);
            seen.end = Some(end);
            // In TLS 1.3 the server may turn the client down after the client's handshake is done.
            if end == End::Error {
                seen.tls_error = Some(tls_error(&error)).filter(|kind| *kind != TlsError::Other);
            }
        }
    }
    false
}

/// Reads the body as far as it is wanted.
async fn body(stream: &mut Stream, mut bytes: Vec<u8>, seen: &mut Exchange) {
    let chunked = seen.all("transfer-encoding").any(|value| value.to_ascii_lowercase().contains("chunked"));
    let length = seen.header("content-length").and_then(|value| value.trim().parse::<usize>().ok());
    let until = Instant::now() + BODY_LIMIT;
    let done = |bytes: &[u8]| {
        bytes.len() >= MAX_BODY
            || (chunked && bytes.ends_with(b"0\r\n\r\n"))
            || (!chunked && length.is_some_and(|length| bytes.len() >= length))
    };
    let empty = matches!(seen.status, Some(204 | 304));
    let mut late = Exchange::default();
    while !empty && !done(&bytes) && more(stream, &mut bytes, until, &mut late).await {}
    seen.end = late.end;
    if late.tls_error.is_some() {
        seen.tls_error = late.tls_error;
    }
    let mut bytes = if chunked { unchunked(&bytes) } else { bytes };
    seen.body_bytes = bytes.len();
    bytes.truncate(KEPT_BODY);
    seen.body = String::from_utf8_lossy(&bytes).into_owned();
}

/// The content of a chunked body, as far as it is whole.
fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Ok(httparse::Status::Complete((at, size))) = httparse::parse_chunk_size(bytes) {
        let Some(rest) = bytes.get(at..) else { break };
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(rest.len());
        if size == 0 {
            break;
        }
        let (chunk, rest) = rest.split_at(size);
        content.extend_from_slice(chunk);
        bytes = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    }
    content
}

enum Head {
    Partial,
    Broken,
    Whole(Whole),
}

struct Whole {
    size: usize,
    status: u16,
    minor: u8,
    reason: String,
    headers: Vec<(String, String)>,
}

fn head(input: &[u8]) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut answer = httparse::Response::new(&mut headers);
    match answer.parse(input) {
        Err(_) => Head::Broken,
        Ok(httparse::Status::Partial) => Head::Partial,
        Ok(httparse::Status::Complete(size)) => {
            let text = |header: &httparse::Header<'_>| {
                (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned())
            };
            Head::Whole(Whole {
                size,
                status: answer.code.unwrap_or_default(),
                minor: answer.version.unwrap_or_default(),
                reason: answer.reason.unwrap_or_default().to_owned(),
                headers: answer.headers.iter().map(text).collect(),
            })
        }
    }
}

/// Checks a 101 as a browser does.
fn check(request: &Request, seen: &mut Exchange) {
    let key = request.header("sec-websocket-key").unwrap_or_default();
    seen.accept_due = Some(handshake::accept_key(key));
    let sent = |name: &'static str| {
        let of_name = move |(n, _): &&(String, String)| n.eq_ignore_ascii_case(name);
        request.headers.iter().filter(of_name).map(|(_, value)| value.as_bytes())
    };
    let answered = |name: &'static str| {
        let of_name = move |(n, _): &&(String, String)| n.eq_ignore_ascii_case(name);
        seen.headers.iter().filter(of_name).map(|(_, value)| value.as_bytes())
    };
    use handshake::AnswerFault as Fault;
    let fault = handshake::check_answer(key, sent, answered).err().map(|fault| match fault {
        Fault::Upgrade(_) => AnswerFault::Upgrade,
        Fault::Connection(_) => AnswerFault::Connection,
        Fault::Accept { .. } | Fault::AcceptRepeated => AnswerFault::Accept,
        Fault::Protocol { .. } | Fault::ProtocolRepeated => AnswerFault::Protocol,
        Fault::Extension { .. } => AnswerFault::Extension,
    });
    seen.answer_fault = fault;
}

/// Bytes as text that can be read: what is no ASCII as `\xNN`.
pub fn shown(bytes: &[u8]) -> String {
    let start = bytes.get(..bytes.len().min(120)).unwrap_or_default();
    start.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined_also_when_cut() {
        assert_eq!(unchunked(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), b"abcde");
        assert_eq!(unchunked(b"5\r\nabc"), b"abc");
        assert_eq!(unchunked(b"ffffffffffffffff\r\nabc"), b"abc");
        assert_eq!(unchunked(b"zz\r\n"), b"");
    }
}
