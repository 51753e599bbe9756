//! Loads configurations from the disk and prints what is found: `check FILE...`, or `check FOLDER` for a summary.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use longwire_conf::{Diagnostic, Input, Loaded, Reader, Severity};

struct Disk;

impl Reader for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let paths = glob::glob(&pattern.to_string_lossy()).map_err(io::Error::other)?;
        Ok(paths.filter_map(Result::ok).collect())
    }
}

fn load(file: &Path) -> Loaded {
    longwire_conf::load(
        &Disk,
        Input { file, prefix: Path::new("/"), globals: None, allow_unsupported: false },
    )
}

fn main() -> io::Result<()> {
    for argument in std::env::args_os().skip(1).map(PathBuf::from) {
        if argument.is_dir() {
            summary(&argument)?;
        } else {
            let loaded = load(&argument);
            for diagnostic in &loaded.diagnostics {
                print!("{}", diagnostic.render(&loaded.sources, false));
            }
            println!("{}: {}", argument.display(), if loaded.config.is_some() { "good" } else { "refused" });
        }
    }
    Ok(())
}

/// How many files of a folder load, and what keeps the others from it.
fn summary(folder: &Path) -> io::Result<()> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "conf"));
    files.sort();
    let (mut good, mut reasons) = (0, BTreeMap::<String, Vec<String>>::new());
    for file in &files {
        let loaded = load(file);
        good += usize::from(loaded.config.is_some());
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for Diagnostic { message, .. } in
            loaded.diagnostics.iter().filter(|found| found.severity == Severity::Error)
        {
            let files = reasons.entry(message.clone()).or_default();
            if files.last() != Some(&name) {
                files.push(name.clone());
            }
        }
    }
    println!("{good} of {} files load", files.len());
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, files)| std::cmp::Reverse(files.len()));
    for (message, files) in reasons {
        println!("{:4}  {message}  [{}]", files.len(), files[..files.len().min(4)].join(" "));
    }
    Ok(())
}
