//! Pure: what the rules of the rewrite module make of a request.

use longwire_conf::model::{Condition, FileTest, Rewrite};

use super::facts::{Captures, Facts};
use super::uri::{bytes, text, unescape_redirect};
use super::variables::Scope;

/// What a condition came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tested {
    /// Whether it holds.
    Holds(bool),
    /// Whether it holds, and what its expression captured, for [`Facts::recapture`].
    Matched(bool, Option<Captures>),
    /// The file system knows: whether this path is what the test asks for, turned round by the flag.
    File(Vec<u8>, FileTest, bool),
}

/// Evaluates the condition of an `if`.
pub fn test(condition: &Condition, scope: &Scope<'_>) -> Tested {
    match condition {
        Condition::Holds(value) => Tested::Holds(scope.holds(value)),
        Condition::Equal { value, other, negated } => {
            Tested::Holds((scope.render(value) == scope.render(other)) != *negated)
        }
        Condition::Matches { value, regex, negated } => {
            let captures = Captures::of(regex, &text(scope.render(value)));
            Tested::Matched(captures.is_some() != *negated, captures)
        }
        Condition::File { path, test, negated } => Tested::File(scope.render(path), *test, *negated),
    }
}

/// What a `rewrite` whose expression matched makes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewritten {
    /// A redirect to this URL.
    Redirect(u16, Vec<u8>),
    /// Another path and other arguments.
    Uri(String, String),
}

/// Evaluates a `rewrite` after its captures were taken over.
pub fn rewritten(rule: &Rewrite, scope: &Scope<'_>) -> Rewritten {
    let facts = scope.facts;
    // nginx escapes captures again where they came escaped; a plus sign would become a space elsewhere.
    let escapes = facts.was_escaped() || facts.sent_path().contains('+');
    let escaped = |template| if escapes { scope.render_escaped(template) } else { scope.render(template) };
    if let Some(status) = rule.redirect {
        let mut url = unescape_redirect(&escaped(&rule.replacement));
        if rule.keep_args && !facts.args.is_empty() {
            url.push(if rule.has_query { b'&' } else { b'?' });
            url.extend_from_slice(&bytes(&facts.args));
        }
        return Rewritten::Redirect(status, url);
    }
    let uri = text(scope.render(&rule.replacement));
    let args = match &rule.args {
        Some(args) => {
            let mut args = text(escaped(args));
            if rule.keep_args && !facts.args.is_empty() {
                args.push('&');
                args.push_str(&facts.args);
            }
            args
        }
        None if rule.keep_args => facts.args.clone(),
        None => String::new(),
    };
    Rewritten::Uri(uri, args)
}

impl Facts {
    /// Gives the request another path. With `stays` the location that was chosen for the old one goes on with it.
    pub fn change_uri(&mut self, uri: String, args: String, stays: bool) {
        (self.uri, self.args) = (uri, args);
        self.course.internal = true;
        self.course.target_stale = true;
        self.course.location_stale |= stays;
    }

    /// Leads the request to another path: what was chosen and changed for the old one is forgotten.
    pub fn lead_to(&mut self, uri: String, args: String) {
        (self.uri, self.args) = (uri, args);
        self.course.internal = true;
        self.course.target_stale = true;
        self.course.location_stale = false;
        self.course.below_alias = false;
    }
}
