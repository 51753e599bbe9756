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
    pub fn locate(&self, _span: Span) -> (&Path, usize, usize) {
        todo!()
    }
}
