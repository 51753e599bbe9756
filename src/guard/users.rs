//! `auth_basic_user_file`: the file is read anew for each request, so that what it says now counts.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::crypt::{Match, verify};

/// The longest line that is looked at; nginx knows no longer ones either.
const MAX_LINE: u64 = 8192;

/// Why somebody is not let in.
#[derive(Debug)]
pub enum Refusal {
    /// The file has no such user.
    Unknown,
    /// It has, with another password.
    Wrong,
    /// It has, with a hash of a form that is not known.
    BadHash,
    /// The file cannot be read.
    Unreadable(io::Error),
}

/// Looks a user up and compares the password. Reads and hashes on the caller's thread, which may take seconds.
pub fn admit(file: &Path, user: &[u8], password: &[u8]) -> Result<(), Refusal> {
    match find(file, user).map_err(Refusal::Unreadable)? {
        None => Err(Refusal::Unknown),
        Some(stored) => match verify(password, &stored) {
            Match::Yes => Ok(()),
            Match::No => Err(Refusal::Wrong),
            Match::Unknown => Err(Refusal::BadHash),
        },
    }
}

/// What the file stores for a user: the text between the first colon of the line and the next.
fn find(file: &Path, user: &[u8]) -> io::Result<Option<String>> {
    let mut lines = BufReader::new(File::open(PathBuf::from(file))?);
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let Some(stored) = line.strip_prefix(user).and_then(|rest| rest.strip_prefix(b":")) else { continue };
        if line.starts_with(b"#") {
            continue;
        }
        let end = stored.iter().position(|byte| matches!(byte, b':' | b'\r' | b'\n')).unwrap_or(stored.len());
        let stored = stored.get(..end).unwrap_or_default();
        return Ok(Some(String::from_utf8_lossy(stored).into_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(text: &str, user: &str, password: &str) -> &'static str {
        let path = std::env::temp_dir().join(format!("longwire-users-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let result = admit(&path, user.as_bytes(), password.as_bytes());
        std::fs::remove_file(&path).unwrap();
        match result {
            Ok(()) => "in",
            Err(Refusal::Unknown) => "unknown",
            Err(Refusal::Wrong) => "wrong",
            Err(Refusal::BadHash) => "bad hash",
            Err(Refusal::Unreadable(_)) => "unreadable",
        }
    }

    #[test]
    fn lines_are_read_as_in_nginx() {
        let text = "# all\r\nann:{PLAIN}a:comment\r\n\nbob:{PLAIN}b\nbob:{PLAIN}later\n#cat:{PLAIN}c\ndan:abc\neve:{PLAIN}e";
        for (user, password, expected) in [
            ("ann", "a", "in"),
            ("ann", "a:comment", "wrong"),
            ("bob", "b", "in"),
            ("bob", "later", "wrong"),
            ("#cat", "c", "unknown"),
            ("cat", "c", "unknown"),
            ("dan", "abc", "bad hash"),
            ("eve", "e", "in"),
            ("ev", "e", "unknown"),
            ("", "", "unknown"),
        ] {
            assert_eq!(outcome(text, user, password), expected, "{user}");
        }
        let missing = admit(Path::new("/nowhere/at/all"), b"a", b"b");
        assert!(matches!(missing, Err(Refusal::Unreadable(_))));
    }
}
