//! A WebSocket that only tells: text messages go out, and of what comes in nothing counts but Ping and Close.

use std::io;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use longwire_wire::CloseCode;
use longwire_wire::frame::{Header, MAX_CONTROL, MAX_HEADER, OpCode, apply_mask};
use longwire_wire::handshake::{RequestFault, accept_key, check_request};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::answer::{self, Answer};

/// How long the other end may take to take a message.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes read at a time.
const CHUNK: usize = 1024;

/// The answer to a request for a WebSocket: 101, or what is wrong with it.
pub(super) fn accept<B>(request: &http::Request<B>) -> Result<Answer, Box<Answer>> {
    let headers: &HeaderMap = request.headers();
    let lookup = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
    let upgrades = longwire_wire::handshake::is_websocket_upgrade(lookup("upgrade"), lookup("connection"));
    let minor = u8::from(request.version() == http::Version::HTTP_11);
    let key = check_request(request.method().as_str(), minor, lookup);
    let key = match key {
        Ok(key) if upgrades => accept_key(key),
        Ok(_) => return Err(refused("this is a WebSocket: ask with \"Upgrade: websocket\"", false)),
        Err(fault) => return Err(refused(&fault.to_string(), matches!(fault, RequestFault::Version(_)))),
    };
    let mut answer = Answer::default();
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(key) = HeaderValue::from_str(&key) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    }
    Ok(answer)
}

fn refused(words: &str, is_version: bool) -> Box<Answer> {
    let status = if is_version { StatusCode::UPGRADE_REQUIRED } else { StatusCode::BAD_REQUEST };
    let mut answer = answer::error(status, words);
    answer.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    Box::new(answer)
}

/// The open WebSocket.
pub(super) struct Socket<S> {
    stream: S,
    /// What has come and is not yet a whole header or control frame.
    buffer: Vec<u8>,
    /// Payload of a message that is still to come, and to be passed over.
    skip: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(super) fn new(stream: S) -> Socket<S> {
        Socket { stream, buffer: Vec::new(), skip: 0 }
    }

    /// Sends a text message. Fails where the other end does not take it in time.
    pub(super) async fn tell(&mut self, text: &[u8]) -> io::Result<()> {
        self.send(OpCode::Text, text).await
    }

    /// Sends Close, and no more.
    pub(super) async fn close(&mut self, code: CloseCode, reason: &str) -> io::Result<()> {
        let payload = [&code.0.to_be_bytes(), reason.as_bytes()].concat();
        self.send(OpCode::Close, &payload).await?;
        self.stream.shutdown().await
    }

    /// Answers what comes until the other end is done. May be dropped at any time.
    pub(super) async fn listen(&mut self) -> io::Result<()> {
        loop {
            while let Some((header, payload)) = self.take()? {
                match header.opcode {
                    OpCode::Ping => self.send(OpCode::Pong, &payload).await?,
                    OpCode::Close => return self.send(OpCode::Close, &payload).await,
                    _ => {}
                }
            }
            let mut chunk = [0; CHUNK];
            match self.stream.read(&mut chunk).await? {
                0 => return Ok(()),
                size => self.buffer.extend_from_slice(&chunk[..size]),
            }
        }
    }

    /// The next control frame that is there.
    fn take(&mut self) -> io::Result<Option<(Header, Vec<u8>)>> {
        loop {
            let passed = self.buffer.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.buffer.drain(..passed);
            self.skip -= passed as u64;
            let fault = |words: &str| Err(io::Error::new(io::ErrorKind::InvalidData, words));
            let (header, size) = match Header::parse(&self.buffer) {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(None),
                Err(violation) => return fault(violation.sentence()),
            };
            let Some(mask) = header.mask else { return fault("a client masks what it sends") };
            if !header.opcode.is_control() {
                self.buffer.drain(..size);
                self.skip = header.len;
                continue;
            }
            let end = size + usize::try_from(header.len).unwrap_or(MAX_CONTROL);
            let Some(payload) = self.buffer.get(size..end) else { return Ok(None) };
            let mut payload = payload.to_vec();
            apply_mask(mask, 0, &mut payload);
            self.buffer.drain(..end);
            return Ok(Some((header, payload)));
        }
    }

    async fn send(&mut self, opcode: OpCode, payload: &[u8]) -> io::Result<()> {
        let mut head = [0; MAX_HEADER];
        let header = Header { fin: true, rsv: 0, opcode, mask: None, len: payload.len() as u64 };
        let size = header.write(&mut head);
        let frame = [&head[..size], payload].concat();
        let sending = async {
            self.stream.write_all(&frame).await?;
            self.stream.flush().await
        };
        tokio::time::timeout(PATIENCE, sending).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
        let (mut head, mask) = ([0; MAX_HEADER], [1, 2, 3, 4]);
        let header = Header { fin: true, rsv: 0, opcode, mask: Some(mask), len: payload.len() as u64 };
        let size = header.write(&mut head);
        let mut payload = payload.to_vec();
        apply_mask(mask, 0, &mut payload);
        [&head[..size], &payload].concat()
    }

    #[tokio::test]
    async fn pings_and_close_are_answered_however_they_are_cut_and_messages_are_passed_over() {
        let frames = [
            masked(OpCode::Text, &[7; 5000]),
            masked(OpCode::Ping, b"are you there"),
            masked(OpCode::Binary, b""),
            masked(OpCode::Close, &1001u16.to_be_bytes()),
        ]
        .concat();
        for cut in [1, 2, 7, 1000, frames.len()] {
            let (mut far, near) = tokio::io::duplex(64 * 1024);
            let mut socket = Socket::new(near);
            let (heard, ()) = tokio::join!(socket.listen(), async {
                for piece in frames.chunks(cut) {
                    far.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
            });
            heard.unwrap();
            drop(socket);
            let mut told = Vec::new();
            far.read_to_end(&mut told).await.unwrap();
            assert_eq!(told, [b"\x8a\x0dare you there".as_slice(), &[0x88, 2, 0x03, 0xe9]].concat());
        }
    }

    #[tokio::test]
    async fn what_is_no_frame_of_a_client_ends_it() {
        for bytes in [&b"\x81\x01a"[..], b"\x83\x80", b"GET / HTTP/1.1\r\n"] {
            let (mut far, near) = tokio::io::duplex(64);
            far.write_all(bytes).await.unwrap();
            assert!(Socket::new(near).listen().await.is_err(), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn texts_and_close_go_out_as_frames() {
        let (mut far, near) = tokio::io::duplex(100_000);
        let mut socket = Socket::new(near);
        socket.tell(b"{}").await.unwrap();
        socket.tell(&[b'x'; 70_000]).await.unwrap();
        socket.close(CloseCode::SERVICE_RESTART, "bye").await.unwrap();
        drop(socket);
        let mut told = Vec::new();
        far.read_to_end(&mut told).await.unwrap();
        assert_eq!(&told[..6], b"\x81\x02{}\x81\x7f");
        assert!(told.ends_with(b"x\x88\x05\x03\xf4bye"));
    }

    #[test]
    fn a_handshake_is_checked() {
        let asked = |headers: &[(&str, &str)]| {
            let request = http::Request::builder().uri("/api/live");
            headers.iter().fold(request, |r, (name, value)| r.header(*name, *value)).body(()).unwrap()
        };
        let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let upgrade = [("upgrade", "websocket"), ("connection", "keep-alive, Upgrade")];
        let whole = [&upgrade[..], &[key, ("sec-websocket-version", "13")]].concat();
        let answer = accept(&asked(&whole)).unwrap();
        assert_eq!(answer.status(), 101);
        assert_eq!(answer.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let status = |headers: &[(&str, &str)]| accept(&asked(headers)).unwrap_err().status().as_u16();
        assert_eq!(status(&[]), 426);
        assert_eq!(status(&[key, ("sec-websocket-version", "13")]), 400);
        assert_eq!(status(&[&upgrade[..], &[key, ("sec-websocket-version", "8")]].concat()), 426);
    }
}
