//! What the tests share: files in a table, comparison with files on the disk.

#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use longwire_conf::{Input, Loaded, Reader};

/// Files by path. A mask may have one `*`, in its last part.
#[derive(Debug, Default)]
pub(crate) struct Table(pub(crate) BTreeMap<PathBuf, Vec<u8>>);

impl Table {
    /// The same with one more file.
    pub(crate) fn with(mut self, path: &str, text: impl AsRef<[u8]>) -> Table {
        self.0.insert(PathBuf::from(path), text.as_ref().to_vec());
        self
    }
}

impl Reader for Table {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let pattern = pattern.to_string_lossy().into_owned();
        let Some((start, end)) = pattern.split_once('*') else { return Ok(Vec::new()) };
        let matches = |path: &&PathBuf| {
            path.to_string_lossy().starts_with(start) && path.to_string_lossy().ends_with(end)
        };
        Ok(self.0.keys().filter(matches).cloned().collect())
    }
}

/// Loads `/etc/longwire/test.conf` out of a table.
pub(crate) fn load_table(table: &Table) -> Loaded {
    load_with(table, false)
}

/// The same with or without `--allow-unsupported`.
pub(crate) fn load_with(table: &Table, allow_unsupported: bool) -> Loaded {
    let (file, prefix) = (Path::new("/etc/longwire/test.conf"), Path::new("/prefix"));
    longwire_conf::load(table, Input { file, prefix, globals: None, allow_unsupported })
}

/// Loads one text.
pub(crate) fn load(text: &str) -> Loaded {
    load_table(&Table::default().with("/etc/longwire/test.conf", text))
}

/// Everything found, as a terminal shows it.
pub(crate) fn rendered(loaded: &Loaded) -> String {
    loaded.diagnostics.iter().map(|diagnostic| diagnostic.render(&loaded.sources, false)).collect()
}

/// Compares a text with a file; writes the file when `UPDATE` is set. Gives the differing lines.
pub(crate) fn compare(file: &Path, text: &str) -> Result<(), String> {
    if std::env::var_os("UPDATE").is_some() {
        return std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()));
    }
    let expected = std::fs::read_to_string(file).unwrap_or_default();
    if expected == text {
        return Ok(());
    }
    let mut difference = format!("{} differs (UPDATE=1 rewrites it):\n", file.display());
    let (old, new): (Vec<_>, Vec<_>) = (expected.lines().collect(), text.lines().collect());
    let same_start = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let rest = old[same_start..].iter().rev().zip(new[same_start..].iter().rev());
    let same_end = rest.take_while(|(old, new)| old == new).count();
    old[same_start..old.len() - same_end].iter().for_each(|line| difference += &format!("- {line}\n"));
    new[same_start..new.len() - same_end].iter().for_each(|line| difference += &format!("+ {line}\n"));
    Err(difference)
}
