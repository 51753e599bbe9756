//! Pure: values as bytes and back, for what one process hands to the next.
//!
//! Numbers are little-endian, bytes and texts stand behind their length (u32), what may be missing behind a flag. A time
//! is its distance from a `now` that both sides agree on. Formats built from these say their version themselves.

use std::fmt;

use zeroize::Zeroizing;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// They end too early.
    Truncated,
    /// More bytes follow than belong to it.
    Excess,
    /// A value that cannot be; says which.
    Invalid(&'static str),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Truncated => f.write_str("the bytes end too early"),
            Malformed::Excess => f.write_str("bytes follow that belong to nothing"),
            Malformed::Invalid(what) => write!(f, "an impossible {what}"),
        }
    }
}

impl std::error::Error for Malformed {}

/// Collects bytes. They may hold secrets: what it leaves behind is wiped.
#[derive(Debug, Default)]
pub struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    /// Nothing yet, with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer(Zeroizing::new(Vec::with_capacity(bytes)))
    }

    /// All that was written.
    pub fn finish(self) -> Zeroizing<Vec<u8>> {
        self.0
    }

    /// Bytes as they are: whoever reads them knows how many.
    pub fn raw(&mut self, bytes: &[u8]) {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            // A vector that grows by itself would leave its old memory as it is.
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(2 * self.0.capacity())));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.raw(&[value]);
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) {
        self.raw(&value.to_le_bytes());
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.raw(&value.to_le_bytes());
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    /// One byte, 0 or 1.
    pub fn flag(&mut self, value: bool) {
        self.u8(value.into());
    }

    /// Bytes behind their length. Four gigabytes are too many; nothing here comes near.
    pub fn bytes(&mut self, value: &[u8]) {
        self.u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        self.raw(value);
    }

    /// A text behind its length.
    pub fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// What may be missing, behind a flag.
    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Writer, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// A list behind its length.
    pub fn list<T>(
        &mut self,
        values: impl ExactSizeIterator<Item = T>,
        mut write: impl FnMut(&mut Writer, T),
    ) {
        self.u32(u32::try_from(values.len()).unwrap_or(u32::MAX));
        values.for_each(|value| write(self, value));
    }

    /// A time in microseconds, as its distance from `now_us`. `u64::MAX`, which is never, stays that.
    pub fn time(&mut self, at_us: u64, now_us: u64) {
        let distance = match at_us {
            u64::MAX => i64::MAX,
            at => (i128::from(at) - i128::from(now_us)).clamp(i64::MIN.into(), i64::MAX.into()) as i64, // fits
        };
        self.raw(&distance.to_le_bytes());
    }
}

/// Reads them in the same order.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Begins at the front.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// So many bytes as they are.
    pub fn raw(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    /// The same as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(*array)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// One byte that is 0 or 1.
    pub fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Invalid("flag")),
        }
    }

    /// Bytes behind their length.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u32()?;
        self.raw(length as usize)
    }

    /// A text behind its length.
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        str::from_utf8(self.bytes()?).map_err(|_| Malformed::Invalid("text"))
    }

    /// What may be missing, behind a flag.
    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    /// A list behind its length, of things of at least one byte.
    pub fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Reader<'a>) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let length = self.u32()? as usize;
        // Whoever claims more than there are bytes is not given the memory for it.
        let mut values = Vec::with_capacity(length.min(self.0.len()).min(64));
        for _ in 0..length {
            values.push(read(self)?);
        }
        Ok(values)
    }

    /// A time in microseconds, from its distance.
    pub fn time(&mut self, now_us: u64) -> Result<u64, Malformed> {
        Ok(match self.array().map(i64::from_le_bytes)? {
            i64::MAX => u64::MAX,
            distance => now_us.saturating_add_signed(distance),
        })
    }

    /// Nothing may be left.
    pub fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Excess) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes one of each.
    fn written() -> Zeroizing<Vec<u8>> {
        let mut w = Writer::default();
        w.u8(1);
        w.u16(2);
        w.u32(3);
        w.u64(4);
        w.flag(true);
        w.bytes(b"bytes");
        w.text("text");
        w.option(Some(7), Writer::u8);
        w.option(None, Writer::u8);
        w.list([5, 6].into_iter(), Writer::u16);
        w.time(900, 1000);
        w.time(u64::MAX, 1000);
        w.raw(&[8, 9]);
        w.finish()
    }

    fn read(bytes: &[u8]) -> Result<(), Malformed> {
        let mut r = Reader::new(bytes);
        assert_eq!((r.u8()?, r.u16()?, r.u32()?, r.u64()?, r.flag()?), (1, 2, 3, 4, true));
        assert_eq!((r.bytes()?, r.text()?), (&b"bytes"[..], "text"));
        assert_eq!((r.option(Reader::u8)?, r.option(Reader::u8)?), (Some(7), None));
        assert_eq!(r.list(Reader::u16)?, [5, 6]);
        assert_eq!((r.time(5000)?, r.time(5000)?), (4900, u64::MAX));
        assert_eq!(r.raw(2)?, [8, 9]);
        r.end()
    }

    #[test]
    fn what_was_written_is_read_and_every_cut_is_noticed() {
        let bytes = written();
        assert_eq!(read(&bytes), Ok(()));
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut]), Err(Malformed::Truncated), "cut at {cut}");
        }
        assert_eq!(read(&[&bytes[..], &[0]].concat()), Err(Malformed::Excess));
    }

    #[test]
    fn lengths_are_not_believed() {
        let mut w = Writer::default();
        w.u32(u32::MAX);
        let bytes = w.finish();
        assert_eq!(Reader::new(&bytes).list(Reader::u8), Err(Malformed::Truncated));
        assert_eq!(Reader::new(&bytes).bytes(), Err(Malformed::Truncated));
    }

    #[test]
    fn a_time_before_the_clock_began_is_its_beginning() {
        let mut w = Writer::default();
        w.time(0, 1000);
        assert_eq!(Reader::new(&w.finish()).time(10), Ok(0));
    }
}
