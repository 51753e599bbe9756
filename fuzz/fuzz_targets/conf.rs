//! Any bytes as a configuration: loading never panics, and every finding can be shown.
#![no_main]

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use longwire_conf::{Input, Reader, load};

/// One text, whatever file is asked for: an include of it includes itself. A few times only, for a text that is read
/// a thousand times says no more.
struct Text<'a> {
    text: &'a [u8],
    reads: Cell<u8>,
}

impl Reader for Text<'_> {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        self.reads.set(self.reads.get().saturating_add(1));
        if self.reads.get() > 8 { Err(io::ErrorKind::NotFound.into()) } else { Ok(self.text.to_vec()) }
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(vec![pattern.to_owned()])
    }
}

fuzz_target!(|bytes: &[u8]| {
    let text = Text { text: bytes, reads: Cell::new(0) };
    let loaded = load(&text, Input { file: Path::new("/x"), prefix: Path::new("/"), globals: None, allow_unsupported: false });
    for diagnostic in &loaded.diagnostics {
        diagnostic.render(&loaded.sources, false);
    }
});
