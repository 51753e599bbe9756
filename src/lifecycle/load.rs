//! Reading a configuration from the disk, and showing what was found in it.

use std::io;
use std::path::{Path, PathBuf};

use longwire_conf::{Diagnostic, Input, Loaded, Reader, Severity, Sources};

/// Reads files and globs from the disk.
#[derive(Debug)]
pub struct Disk;

impl Reader for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let pattern = pattern.to_str().ok_or(io::ErrorKind::InvalidInput)?;
        // As glob(3) in nginx: a name may begin with a dot only where the pattern says so.
        let options = glob::MatchOptions {
            require_literal_separator: true,
            require_literal_leading_dot: true,
            ..Default::default()
        };
        let found =
            glob::glob_with(pattern, options).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let mut paths: Vec<PathBuf> = found.filter_map(Result::ok).collect();
        paths.sort();
        Ok(paths)
    }
}

/// Where a configuration comes from, to be read now and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `-c`.
    pub file: PathBuf,
    /// `-p`, or the folder of the file.
    pub prefix: PathBuf,
    /// `-g`, and `-e` in its words.
    pub globals: Option<String>,
    /// `--allow-unsupported`.
    pub allow_unsupported: bool,
}

/// Reads a configuration from the disk, as it is there now.
pub fn load(origin: &Origin) -> Loaded {
    let Origin { file, prefix, globals, allow_unsupported } = origin;
    let allow_unsupported = *allow_unsupported;
    longwire_conf::load(&Disk, Input { file, prefix, globals: globals.as_deref(), allow_unsupported })
}

/// Shows diagnostics on standard error, down to the given severity.
pub fn show(diagnostics: &[Diagnostic], sources: &Sources, least: Severity) {
    let color = std::io::IsTerminal::is_terminal(&io::stderr());
    for diagnostic in diagnostics.iter().filter(|d| d.severity <= least) {
        eprint!("{}", diagnostic.render(sources, color));
    }
}
