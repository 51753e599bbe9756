//! `GET /api/configuration`: the configuration in force, as `-T` shows it, without what looks like a secret.

use longwire_conf::redacted;
use serde::Serialize;

use super::answer::{self, Answer};
use super::ask::Ask;

#[derive(Serialize)]
struct File {
    path: String,
    text: String,
}

#[derive(Serialize)]
struct Shown {
    files: Vec<File>,
}

/// Answers.
pub(super) async fn show(ask: Ask) -> Answer {
    let files = ask.service.snapshot.sources.files().iter();
    let shown = |file: &longwire_conf::source::File| File {
        path: file.path.display().to_string(),
        text: redacted(&file.text),
    };
    answer::json(&Shown { files: files.map(shown).collect() })
}
