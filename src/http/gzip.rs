//! The body of an answer, compressed on its way.

use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body::Frame;

use crate::upstream::{Body, BoxError};

/// Compressed bytes that are gathered before they are passed on.
const PIECE: usize = 16 * 1024;
/// Bytes that are compressed before others have their turn.
const TURN: usize = 256 * 1024;

/// Bytes before and after.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    pub(super) before: AtomicU64,
    pub(super) after: AtomicU64,
}

/// A body that is compressed. What its source has given is passed on as soon as the source gives no more.
pub(super) struct Gzipped {
    inner: Body,
    /// `None` once the end was written.
    encoder: Option<GzEncoder<Vec<u8>>>,
    /// Something was written since the last flush.
    dirty: bool,
    /// What follows the data.
    trailers: Option<Frame<Bytes>>,
    sizes: Arc<Sizes>,
}

impl Gzipped {
    /// Compresses `inner` at this level, 1 to 9.
    pub(super) fn new(inner: Body, level: u32, sizes: Arc<Sizes>) -> Gzipped {
        let encoder = Some(GzEncoder::new(Vec::new(), Compression::new(level)));
        Gzipped { inner, encoder, dirty: false, trailers: None, sizes }
    }

    /// What is there, as a frame.
    fn take(&self, bytes: Vec<u8>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.sizes.after.fetch_add(bytes.len() as u64, Relaxed);
        Poll::Ready(Some(Ok(Frame::data(bytes.into()))))
    }
}

impl http_body::Body for Gzipped {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let Some(encoder) = &mut this.encoder else { return Poll::Ready(this.trailers.take().map(Ok)) };
        let mut done = 0;
        loop {
            if done >= TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match Pin::new(&mut this.inner).poll_frame(cx) {
                Poll::Pending if !this.dirty => return Poll::Pending,
                Poll::Pending => {
                    encoder.flush()?;
                    this.dirty = false;
                    let bytes = std::mem::take(encoder.get_mut());
                    return this.take(bytes);
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        this.sizes.before.fetch_add(data.len() as u64, Relaxed);
                        encoder.write_all(&data)?;
                        done += data.len();
                        this.dirty |= !data.is_empty();
                        if encoder.get_ref().len() >= PIECE {
                            let bytes = std::mem::take(encoder.get_mut());
                            return this.take(bytes);
                        }
                    }
                    Err(trailers) => {
                        this.trailers = Some(trailers);
                        break;
                    }
                },
                Poll::Ready(None) => break,
            }
        }
        let Some(encoder) = this.encoder.take() else { return Poll::Ready(None) };
        let bytes = encoder.finish()?;
        this.take(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use futures_util::StreamExt as _;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    /// A body that gives these pieces as they come.
    fn body(pieces: tokio::sync::mpsc::Receiver<&'static str>) -> Body {
        let frames = futures_util::stream::unfold(pieces, |mut pieces| async move {
            let piece = pieces.recv().await?;
            Some((Ok(Frame::data(Bytes::from_static(piece.as_bytes()))), pieces))
        });
        StreamBody::new(frames.boxed()).boxed_unsync()
    }

    fn unpacked(packed: &[u8]) -> String {
        let mut text = String::new();
        // What is there so far is no whole file.
        let _ = GzDecoder::new(packed).read_to_string(&mut text);
        text
    }

    #[tokio::test]
    async fn what_came_is_passed_on_at_once() {
        let (sender, pieces) = tokio::sync::mpsc::channel(1000);
        let sizes = Arc::new(Sizes::default());
        let mut gzipped = Gzipped::new(body(pieces), 1, sizes.clone());
        let mut packed = Vec::new();
        for (piece, so_far) in [("data: 1\n\n", "data: 1\n\n"), ("data: 2\n\n", "data: 1\n\ndata: 2\n\n")] {
            sender.try_send(piece).unwrap();
            packed.extend(gzipped.frame().await.unwrap().unwrap().into_data().unwrap());
            assert_eq!(unpacked(&packed), so_far);
        }
        drop(sender);
        packed.extend(gzipped.collect().await.unwrap().to_bytes());
        let mut whole = String::new();
        GzDecoder::new(&packed[..]).read_to_string(&mut whole).unwrap();
        assert_eq!(whole, "data: 1\n\ndata: 2\n\n");
        assert_eq!((sizes.before.load(Relaxed), sizes.after.load(Relaxed)), (18, packed.len() as u64));
    }

    #[tokio::test]
    async fn pieces_at_hand_are_compressed_together() {
        let (sender, pieces) = tokio::sync::mpsc::channel(1000);
        (0..1000).for_each(|_| sender.try_send("the same words once more, ").unwrap());
        drop(sender);
        let packed = Gzipped::new(body(pieces), 9, Arc::default()).collect().await.unwrap().to_bytes();
        assert_eq!(unpacked(&packed).len(), 26_000);
        assert!(packed.len() < 500, "{}", packed.len());
    }
}
