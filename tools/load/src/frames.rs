//! Frames as both ends of the load see them: messages made beforehand, and a reader that walks over what comes.

use longwire_wire::frame::{Header, MAX_HEADER, OpCode};

/// The key of every frame. One key for all spares the clients the masking; a proxy cannot know.
const KEY: [u8; 4] = [0x5A, 0xC3, 0x17, 0x88];

/// What a [`Reader`] came by.
pub(crate) enum Piece<'a> {
    /// A frame begins.
    Begin(Header),
    /// Payload of the frame that began last, unmasked.
    Payload(&'a [u8]),
    /// The frame is complete.
    End(Header),
}

/// Walks over the frames of one direction.
#[derive(Default)]
pub(crate) struct Reader {
    held: [u8; MAX_HEADER],
    held_len: usize,
    header: Option<Header>,
    done: u64,
}

impl Reader {
    /// Tells of every piece in `input`, which is unmasked in place.
    pub(crate) fn feed(
        &mut self,
        mut input: &mut [u8],
        mut tell: impl FnMut(Piece<'_>),
    ) -> Result<(), String> {
        while !input.is_empty() {
            let Some(header) = self.header else {
                let Some((header, size)) = self.begin(input)? else { return Ok(()) };
                input = &mut input[size..];
                tell(Piece::Begin(header));
                if header.len == 0 {
                    tell(Piece::End(header));
                } else {
                    (self.header, self.done) = (Some(header), 0);
                }
                continue;
            };
            let left = usize::try_from(header.len - self.done).unwrap_or(usize::MAX);
            let (payload, rest) = input.split_at_mut(left.min(input.len()));
            if let Some(key) = header.mask {
                mask(key, self.done, payload);
            }
            tell(Piece::Payload(payload));
            self.done += payload.len() as u64;
            if self.done == header.len {
                self.header = None;
                tell(Piece::End(header));
            }
            input = rest;
        }
        Ok(())
    }

    /// The header that `input` begins with or completes, and how many bytes of `input` belong to it.
    fn begin(&mut self, input: &[u8]) -> Result<Option<(Header, usize)>, String> {
        let before = self.held_len;
        let more = input.len().min(MAX_HEADER - before);
        self.held[before..before + more].copy_from_slice(&input[..more]);
        self.held_len += more;
        let found = Header::parse(&self.held[..self.held_len]).map_err(|fault| fault.to_string())?;
        Ok(found.map(|(header, size)| {
            self.held_len = 0;
            (header, size - before)
        }))
    }
}

/// Masks or unmasks eight bytes at a time. `offset` is the place of the first byte in the whole payload.
fn mask(mut key: [u8; 4], offset: u64, payload: &mut [u8]) {
    key.rotate_left((offset % 4) as usize);
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    rest.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
}

/// A frame of a client, masked.
pub(crate) fn client_frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    frame(opcode, Some(KEY), payload)
}

/// A frame of a server.
pub(crate) fn server_frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    frame(opcode, None, payload)
}

fn frame(opcode: OpCode, key: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let header = Header { fin: true, rsv: 0, opcode, mask: key, len: payload.len() as u64 };
    let mut bytes = header_bytes(&header);
    let begin = bytes.len();
    bytes.extend_from_slice(payload);
    if let Some(key) = key {
        mask(key, 0, &mut bytes[begin..]);
    }
    bytes
}

/// A header as it stands on the wire.
pub(crate) fn header_bytes(header: &Header) -> Vec<u8> {
    let mut bytes = [0; MAX_HEADER];
    let size = header.write(&mut bytes);
    bytes[..size].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_cut_anywhere_gives_the_same_messages() {
        let messages: Vec<Vec<u8>> =
            [0, 1, 125, 126, 70_000].map(|len| (0..len).map(|n| n as u8).collect()).to_vec();
        let wire: Vec<u8> = messages.iter().flat_map(|m| client_frame(OpCode::Binary, m)).collect();
        for cut in [1, 2, 3, 7, 13, 64, 4096, wire.len()] {
            let (mut reader, mut found, mut current) = (Reader::default(), Vec::new(), Vec::new());
            for part in wire.clone().chunks_mut(cut) {
                let tell = |piece: Piece<'_>| match piece {
                    Piece::Begin(_) => current = Vec::new(),
                    Piece::Payload(bytes) => current.extend_from_slice(bytes),
                    Piece::End(_) => found.push(std::mem::take(&mut current)),
                };
                reader.feed(part, tell).unwrap();
            }
            assert!(found == messages, "cut into {cut}");
        }
    }
}
