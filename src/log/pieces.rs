//! Texts one behind the other in one allocation, each with its length before it.

/// Collects texts.
#[derive(Debug, Default)]
pub struct Pieces(Vec<u8>);

/// Stands for the length of a text that there is none of.
const NONE: u32 = u32::MAX;

impl Pieces {
    /// Room for this many bytes.
    pub fn with_capacity(bytes: usize) -> Pieces {
        Pieces(Vec::with_capacity(bytes))
    }

    /// Adds a text. One of four gigabytes is none.
    pub fn push(&mut self, text: Option<&[u8]>) {
        let length = text.map_or(NONE, |text| u32::try_from(text.len()).unwrap_or(NONE));
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(text.filter(|_| length != NONE).unwrap_or_default());
    }

    /// Adds a number.
    pub fn push_number(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// No more than they need.
    pub fn finish(self) -> Box<[u8]> {
        self.0.into()
    }
}

/// Reads them in the same order.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next text.
    pub fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.number().filter(|length| *length != NONE)?;
        let (text, rest) = self.0.split_at_checked(length as usize)?;
        self.0 = rest;
        Some(text)
    }

    /// The next number; `None` at the end.
    pub fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_is_read() {
        let mut pieces = Pieces::with_capacity(3);
        pieces.push(Some(b"one"));
        pieces.push(None);
        pieces.push_number(7);
        pieces.push(Some(b""));
        let bytes = pieces.finish();
        let mut reader = Reader(&bytes);
        assert_eq!((reader.text(), reader.text()), (Some(&b"one"[..]), None));
        assert_eq!((reader.number(), reader.text()), (Some(7), Some(&b""[..])));
        assert_eq!((reader.number(), reader.text()), (None, None));
    }
}
