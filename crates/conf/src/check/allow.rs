//! Pure: `# longwire: allow RULE-ID`, on the line of a finding or on the one before, silences it there.

use crate::source::{Sources, Span};

/// Whether a comment allows what a rule finds at a place.
pub(super) fn allows(sources: &Sources, span: Span, rule: &str) -> bool {
    let Some(file) = sources.files().get(span.file as usize) else { return false };
    let Some(before) = file.text.get(..span.start as usize) else { return false };
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = file.text[start..].lines().next().unwrap_or("");
    let above = file.text[..start].lines().next_back().unwrap_or("").trim_start();
    says(line, rule) || (above.starts_with('#') && says(above, rule))
}

fn says(line: &str, rule: &str) -> bool {
    let comment = line.match_indices('#').find_map(|(at, _)| {
        line[at + 1..].trim_start().strip_prefix("longwire:")?.trim_start().strip_prefix("allow ")
    });
    comment.is_some_and(|ids| ids.split([',', ' ']).any(|id| id.trim() == rule))
}

#[cfg(test)]
mod tests {
    use super::says;

    #[test]
    fn a_comment_names_rules() {
        assert!(says("location /ws { # longwire: allow upgrade-missing", "upgrade-missing"));
        assert!(says("#longwire: allow a, upgrade-missing", "upgrade-missing"));
        assert!(!says("# longwire: allow upgrade-missing-too", "upgrade-missing"));
        assert!(!says("# longwire: upgrade-missing", "upgrade-missing"));
        assert!(!says("allow upgrade-missing;", "upgrade-missing"));
    }
}
