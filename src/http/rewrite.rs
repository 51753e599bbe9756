//! The rules of the rewrite module, done one after the other.

use longwire_conf::model::{Assigned, Condition, FileTest, If, Level, Location, Rewrite, Rule, Then};

use super::disk::metadata;
use super::exchange::{Exchange, Step};
use super::phases::{Answered, answered};
use crate::metrics::HandshakeFault;
use crate::route::answer;
use crate::route::facts::Captures;
use crate::route::rewrite::{Rewritten, Tested, rewritten, test};
use crate::route::uri::text;

/// What comes after the rules of a place.
pub(super) enum Flow<'a> {
    /// The next phase, at the place of an `if` if one took the request in.
    Next {
        /// That place.
        location: Option<&'a Location>,
        /// The path was changed, and a location is to be sought for it.
        changed: bool,
    },
    /// They answered.
    Done(Step),
}

/// Does the rules of a place.
pub(super) async fn run<'a>(x: &mut Exchange, rules: &'a [Rule]) -> Flow<'a> {
    let (mut location, mut changed) = (None, false);
    // An `if` stands in no other, so this is never longer than two.
    let mut work: Vec<(_, Option<&If>)> = vec![(rules.iter(), None)];
    while let Some((rest, block)) = work.last_mut() {
        let Some(rule) = rest.next() else {
            work.pop();
            continue;
        };
        match rule {
            Rule::Set(variable, value) => {
                let value = text(x.scope().render(value));
                match variable {
                    Assigned::Args => x.facts.set_args(value),
                    Assigned::Named(name) => x.facts.set(name, value),
                }
            }
            Rule::If(block) => {
                if holds(x, &block.condition).await {
                    if let Some(inner) = &block.location {
                        location = Some(x.enter(inner));
                        if let Some(step) = x.unsupported() {
                            return Flow::Done(step);
                        }
                    }
                    work.push((block.rules.iter(), Some(block)));
                }
            }
            Rule::Rewrite(rule) => match rewrite(x, rule) {
                Err((status, location)) => return Flow::Done(Step::Status(status, location)),
                Ok(false) => {}
                Ok(true) => {
                    changed = rule.then != Then::Break;
                    if rule.then != Then::Next {
                        break;
                    }
                }
            },
            Rule::Break => {
                x.facts.course.location_stale |= changed;
                changed = false;
                break;
            }
            Rule::Unsupported(lack) => return Flow::Done(x.lacks(lack)),
            Rule::Return(rule, at) => {
                let by = block.map(|block| format!(", by the \"if\" in {},", block.at)).unwrap_or_default();
                let code = rule.code;
                let redirects = matches!(code, 301 | 302 | 303 | 307 | 308);
                let kind = if redirects { HandshakeFault::Redirected } else { HandshakeFault::NotProxied };
                x.blame(
                    kind,
                    format_args!(
                        "\"return {code}\" in {at}{by} answers at this place, nothing is proxied here"
                    ),
                );
                let answer = answer::answer(rule, &x.settings, &x.scope());
                x.warn_unset();
                return Flow::Done(answered(answer));
            }
        }
    }
    x.warn_unset();
    Flow::Next { location, changed }
}

/// Whether a condition holds.
async fn holds(x: &mut Exchange, condition: &Condition) -> bool {
    let tested = test(condition, &x.scope());
    match tested {
        Tested::Holds(holds) => holds,
        Tested::Matched(holds, captures) => {
            x.facts.recapture(captures);
            holds
        }
        Tested::File(path, test, negated) => {
            use std::os::unix::fs::PermissionsExt as _;
            let found = metadata(path).await.is_ok_and(|file| match test {
                FileTest::File => file.is_file(),
                FileTest::Directory => file.is_dir(),
                FileTest::Exists => true,
                FileTest::Executable => file.permissions().mode() & 0o100 != 0,
            });
            found != negated
        }
    }
}

/// Does a `rewrite`: whether it matched, or the answer that it makes.
fn rewrite(x: &mut Exchange, rule: &Rewrite) -> Result<bool, Answered> {
    let captures = Captures::of(&rule.regex, &x.facts.uri);
    let matches = captures.is_some();
    if x.settings.rewrite_log {
        let verb = if matches { "matches" } else { "does not match" };
        x.log(Level::Notice, format_args!("\"{}\" {verb} \"{}\"", rule.regex.as_str(), x.facts.uri));
    }
    x.facts.recapture(captures);
    if !matches {
        return Ok(false);
    }
    let rewritten = rewritten(rule, &x.scope());
    match rewritten {
        Rewritten::Redirect(status, url) => {
            let shown = String::from_utf8_lossy(&url).into_owned();
            if x.settings.rewrite_log {
                x.log(Level::Notice, format_args!("rewritten redirect: \"{shown}\""));
            }
            x.blame(
                HandshakeFault::Redirected,
                format_args!(
                    "\"rewrite\" in {} answered {status} to \"{shown}\", and WebSocket clients do not follow redirects",
                    rule.at
                ),
            );
            Err((status, Some(url)))
        }
        Rewritten::Uri(uri, args) => {
            if x.settings.rewrite_log {
                x.log(Level::Notice, format_args!("rewritten data: \"{uri}\", args: \"{args}\""));
            }
            if uri.is_empty() {
                x.trouble(
                    HandshakeFault::Configuration,
                    format_args!("the rewritten URI has a zero length ({})", rule.at),
                );
                return Err((500, None));
            }
            x.facts.change_uri(uri, args, rule.then == Then::Break);
            Ok(true)
        }
    }
}
