//! Source texts and places in them.

use std::io;
use std::path::{Path, PathBuf};

/// A place in a source text: file number and byte range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// Index of the file in [`Sources`].
    pub file: u32,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// From the beginning of this span to the end of `other`, which stands in the same file or is left out.
    pub(crate) fn to(self, other: Span) -> Span {
        if self.file != other.file || other.end < self.end { self } else { Span { end: other.end, ..self } }
    }
}

/// How texts are found. The program reads the disk; tests read a table.
pub trait Reader {
    /// The bytes of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Files that match a glob pattern, sorted; empty when there are none.
    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>>;
}

/// One text that was read.
#[derive(Debug)]
pub struct File {
    /// Its path as it was opened.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// Where each line begins.
    lines: Vec<usize>,
}

/// Every text that was read, in the order of reading.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<File>,
}

impl Sources {
    /// All files in the order of reading.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// Path, line and column (both from 1, the column in characters) of the beginning of a span.
    pub fn locate(&self, span: Span) -> (&Path, usize, usize) {
        let Some(file) = self.files.get(span.file as usize) else { return (Path::new(""), 1, 1) };
        let before = file.text.get(..span.start as usize).unwrap_or(&file.text);
        let line = file.lines.partition_point(|&start| start <= before.len());
        let start = file.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        (&file.path, line.max(1), before[start..].chars().count() + 1)
    }

    /// The text that a span covers.
    pub fn text(&self, span: Span) -> &str {
        let text = self.files.get(span.file as usize).map_or("", |file| &file.text);
        text.get(span.start as usize..span.end as usize).unwrap_or("")
    }

    /// Takes in a text and gives its number.
    pub(crate) fn add(&mut self, path: PathBuf, bytes: Vec<u8>) -> u32 {
        // What is not UTF-8 cannot mean anything to nginx's grammar either, except inside values nobody reads.
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(newlines.map(|(at, _)| at + 1)).collect();
        self.files.push(File { path, text, lines });
        (self.files.len() - 1) as u32
    }
}
