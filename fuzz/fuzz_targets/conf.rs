//! Any bytes as a configuration: loading never panics, and every finding can be shown.
#![no_main]

use std::io;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use longwire_conf::{Input, Reader, load};

/// One text, whatever file is asked for: an include of it includes itself.
struct Text<'a>(&'a [u8]);

impl Reader for Text<'_> {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Ok(self.0.to_vec())
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(vec![pattern.to_owned()])
    }
}

fuzz_target!(|bytes: &[u8]| {
    let loaded = load(&Text(bytes), Input { file: Path::new("/x"), prefix: Path::new("/"), globals: None });
    for diagnostic in &loaded.diagnostics {
        diagnostic.render(&loaded.sources, false);
    }
});
