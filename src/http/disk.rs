//! The file system, asked by threads that may wait for a disk: few at a time, so that a slow one holds up nobody else.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::future::Future;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::Semaphore;

use crate::upstream::BoxError;

/// What is read of a file at a time; no more than this is held for a client.
const PIECE: u64 = 64 * 1024;

/// Threads that may wait for a disk at once; who comes then waits for his turn.
static TURNS: Semaphore = Semaphore::const_new(32);

/// What the system knows of a path.
pub(super) async fn metadata(path: Vec<u8>) -> io::Result<Metadata> {
    on_disk(move || std::fs::metadata(path_of(path))).await
}

/// The file, if it is one that can be read, and what is known of the path.
pub(super) async fn open(path: Vec<u8>) -> io::Result<(Option<File>, Metadata)> {
    on_disk(move || {
        let path = path_of(path);
        let about = std::fs::metadata(&path)?;
        // Nothing else is opened: a pipe would wait for its other end.
        let file = if about.is_file() { Some(File::open(&path)?) } else { None };
        Ok((file, about))
    })
    .await
}

#[expect(
    clippy::disallowed_methods,
    reason = "the semaphore keeps the pool small, and who waits for it is held back"
)]
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let turn = TURNS.acquire().await.map_err(io::Error::other)?;
    let work = move || {
        // Also when nobody waits for the answer any more, the thread is still at it.
        let _turn = turn;
        work()
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn path_of(path: Vec<u8>) -> PathBuf {
    OsString::from_vec(path).into()
}

/// A piece of a body.
pub(super) enum Piece {
    /// These bytes.
    Text(Bytes),
    /// These bytes of the file.
    File(Range<u64>),
}

impl Piece {
    /// Its bytes.
    pub(super) fn length(&self) -> u64 {
        match self {
            Piece::Text(text) => text.len() as u64,
            Piece::File(range) => range.end - range.start,
        }
    }
}

type Reading = Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send>>;

/// A body out of a file. One piece is read at a time, when the last one was taken.
pub(super) struct FileBody {
    file: Arc<File>,
    pieces: VecDeque<Piece>,
    reading: Option<Reading>,
    left: u64,
}

impl FileBody {
    /// Sends these pieces.
    pub(super) fn new(file: File, pieces: VecDeque<Piece>) -> FileBody {
        let left = pieces.iter().map(Piece::length).sum();
        FileBody { file: Arc::new(file), pieces, reading: None, left }
    }

    /// Begins to read what comes next; gives text at once.
    fn next(&mut self) -> Option<Bytes> {
        match self.pieces.pop_front()? {
            Piece::Text(text) => Some(text),
            Piece::File(range) => {
                let end = range.end.min(range.start.saturating_add(PIECE));
                if end < range.end {
                    self.pieces.push_front(Piece::File(end..range.end));
                }
                let file = self.file.clone();
                self.reading = Some(Box::pin(on_disk(move || {
                    let mut bytes = vec![0; (end - range.start) as usize];
                    file.read_exact_at(&mut bytes, range.start)?;
                    Ok(bytes.into())
                })));
                None
            }
        }
    }
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let bytes = loop {
            if let Some(reading) = &mut this.reading {
                let read = ready!(reading.as_mut().poll(cx));
                this.reading = None;
                match read {
                    Ok(bytes) => break bytes,
                    // Shorter than it was, say: the length was told already.
                    Err(error) => return Poll::Ready(Some(Err(error.into()))),
                }
            }
            if this.pieces.is_empty() {
                return Poll::Ready(None);
            }
            if let Some(text) = this.next() {
                break text;
            }
        };
        this.left = this.left.saturating_sub(bytes.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
