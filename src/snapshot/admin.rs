//! The admin addresses of a configuration.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use longwire_conf::model::{self, Address, Spanned};
use longwire_conf::{Diagnostic, Severity, Span};

use super::fault;

/// The fewest bytes of a token: fewer can be guessed.
const SHORTEST: usize = 16;

/// Who may do what at an admin address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Who says this may change things.
    pub token: Option<String>,
    /// Names that it is asked for under, beside `localhost`, in lower case.
    pub names: Vec<String>,
    /// It is a Unix socket: whoever may open it was let in by its file.
    pub is_unix: bool,
}

/// Reads the token of an admin address.
pub(super) fn admin(
    model: &Spanned<model::Admin>,
    faults: &mut Vec<Diagnostic>,
    warnings: &mut Vec<Diagnostic>,
) -> Admin {
    let model::Admin { address, token, names, public } = &model.value;
    let mut names = names.clone();
    if let Address::Name(name, _) = address {
        names.push(name.clone());
    }
    let token = token.as_ref().and_then(|file| match read(&file.value) {
        Ok((token, is_open)) => {
            if is_open {
                warnings.push(readable(file));
            }
            Some(token)
        }
        Err(problem) => {
            let message = format!("the token file {} {problem}", file.value.display());
            let help = "make one: head -c 24 /dev/urandom | base64 > FILE; chmod 600 FILE";
            faults.push(fault(Severity::Error, file.span, message, vec![help.into()]));
            None
        }
    });
    if *public && token.is_none() {
        warnings.push(unguarded(model.span));
    }
    Admin { token, names, is_unix: matches!(address, Address::Unix(_)) }
}

/// The token, and whether everybody on this machine can read it.
fn read(path: &Path) -> Result<(String, bool), String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let is_open = std::fs::metadata(path).is_ok_and(|meta| meta.mode() & 0o004 != 0);
    let token = text.trim();
    if token.len() < SHORTEST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("holds no token: one word of at least {SHORTEST} letters, digits and signs"));
    }
    Ok((token.to_owned(), is_open))
}

fn readable(file: &Spanned<std::path::PathBuf>) -> Diagnostic {
    let message =
        format!("the token file {} can be read by every user of this machine", file.value.display());
    let help = format!("chmod 600 {}", file.value.display());
    fault(Severity::Warning, file.span, message, vec![help])
}

fn unguarded(span: Span) -> Diagnostic {
    let message = "whoever reaches this admin address sees clients and configuration".to_owned();
    let help =
        "nothing can be changed there without \"token=FILE\"; let a firewall say who reaches it".to_owned();
    fault(Severity::Warning, span, message, vec![help])
}
