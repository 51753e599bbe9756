//! What happens at a place: the rules of the rewrite module, access, files.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Location, Return};
use crate::pattern::Pattern;
use crate::template::Template;

/// Where a directive stands, for logs: `FILE:LINE`.
pub type At = Arc<str>;

/// A directive of the rewrite module. A place does them in file order.
#[derive(Debug, Clone)]
pub enum Rule {
    /// `set $variable VALUE`.
    Set(Assigned, Template),
    /// `if (...) { ... }`.
    If(Box<If>),
    /// `rewrite`.
    Rewrite(Box<Rewrite>),
    /// `break`.
    Break,
    /// `return`.
    Return(Return, At),
    /// What cannot be done for want of this.
    Unsupported(Unsupported),
}

/// Something that Longwire will never have, let through by `--allow-unsupported`. Requests that need it are answered
/// 501.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// The directive or variable, in quotes.
    pub name: String,
    /// Why it is not there.
    pub reason: String,
    /// Where it stands.
    pub at: At,
}

/// What `set` may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assigned {
    /// `$args`: changes the request.
    Args,
    /// A variable of this name.
    Named(String),
}

/// `if (CONDITION) { ... }`.
#[derive(Debug, Clone)]
pub struct If {
    /// When it holds.
    pub condition: Condition,
    /// What is done then, before the rules that follow the block.
    pub rules: Vec<Rule>,
    /// In a location: the place that the request is at from then on, with everything inherited.
    pub location: Option<Location>,
    /// Where it stands.
    pub at: At,
}

/// The condition of an `if`.
#[derive(Debug, Clone)]
pub enum Condition {
    /// `$variable`: neither empty nor "0".
    Holds(Template),
    /// `$variable = VALUE`, or `!=`.
    Equal {
        /// The variable.
        value: Template,
        /// What it is compared with.
        other: Template,
        /// `!=`.
        negated: bool,
    },
    /// `$variable ~ REGEX`, or `~*`, `!~`, `!~*`.
    Matches {
        /// The variable.
        value: Template,
        /// The expression.
        regex: Pattern,
        /// With `!`.
        negated: bool,
    },
    /// `-f PATH` and its like.
    File {
        /// The path.
        path: Template,
        /// What is asked.
        test: FileTest,
        /// With `!`.
        negated: bool,
    },
}

/// What an `if` asks of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileTest {
    /// `-f`: a regular file.
    File,
    /// `-d`: a directory.
    Directory,
    /// `-e`: anything.
    Exists,
    /// `-x`: something that may be executed.
    Executable,
}

/// `rewrite REGEX REPLACEMENT [last | break | redirect | permanent]`.
#[derive(Debug, Clone)]
pub struct Rewrite {
    /// What the path must match.
    pub regex: Pattern,
    /// The new path, or the URL of a redirect.
    pub replacement: Template,
    /// New arguments, behind a `?` of the replacement. A redirect has them in its URL.
    pub args: Option<Template>,
    /// Whether a redirect's URL has a `?` of its own.
    pub has_query: bool,
    /// Whether the arguments of the request are kept: the replacement does not end with `?`.
    pub keep_args: bool,
    /// Status of a redirect.
    pub redirect: Option<u16>,
    /// What comes after it.
    pub then: Then,
    /// Where it stands.
    pub at: At,
}

/// What comes after a `rewrite` that matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The next rule.
    Next,
    /// `last`: a location is sought for the new path.
    Last,
    /// `break`: this place goes on with the new path.
    Break,
}

/// What answers at a place.
#[derive(Debug, Clone, Default)]
pub enum Content {
    /// Files below `root`.
    #[default]
    Files,
    /// `proxy_pass`.
    Proxy(super::ProxyPass),
    /// `stub_status`.
    Status,
    /// What will never be there.
    Unsupported(Unsupported),
}

/// `limit_except METHOD... { ... }`.
#[derive(Debug, Clone)]
pub struct LimitExcept {
    /// Methods that it is not about; GET includes HEAD.
    pub methods: Vec<String>,
    /// Where requests with other methods are.
    pub location: Location,
}

/// `try_files FILE... URI`.
#[derive(Debug, Clone)]
pub struct TryFiles {
    /// What is looked for, in order.
    pub candidates: Vec<Candidate>,
    /// What becomes of the request when there is none of them.
    pub fallback: Fallback,
    /// Where it stands.
    pub at: At,
}

/// One path of a `try_files`.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Below `root`, without the slash that marks a directory.
    pub path: Template,
    /// Whether a directory is looked for, else a file.
    pub directory: bool,
}

/// The last argument of `try_files`.
#[derive(Debug, Clone)]
pub enum Fallback {
    /// `=CODE`.
    Code(u16),
    /// `@name` or a URI.
    Uri(Template),
}

/// `root` or `alias`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The folder, absolute unless it begins with a variable.
    pub path: Template,
    /// What a relative path counts from.
    pub prefix: Arc<str>,
    /// What of the request's path does not go below it.
    pub alias: Alias,
}

/// How a path is joined to a [`Root`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alias {
    /// `root`: the whole path follows.
    No,
    /// `alias`: what follows these many bytes.
    Prefix(usize),
    /// `alias` in a location by regular expression: nothing, it is the file itself.
    Whole,
}

/// `types`: media types by extension in lower case.
pub type Types = HashMap<String, String>;

/// `if_modified_since`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfModifiedSince {
    /// The header is ignored.
    Off,
    /// The times must be the same.
    Exact,
    /// The answer may be older.
    Before,
}

/// `expires`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expires {
    /// A fixed value.
    Fixed(Expiry),
    /// Read from variables for each answer; the flag is `modified`.
    Variable(Template, bool),
}

/// When an answer expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// No header.
    Off,
    /// Long ago.
    Epoch,
    /// In 2037.
    Max,
    /// Seconds from now.
    Access(i64),
    /// Seconds from its last change.
    Modified(i64),
    /// At this second of the day.
    Daily(i64),
}

impl Expiry {
    /// Reads a value of `expires`; the error says what is wrong.
    pub fn parse(text: &str, modified: bool) -> Result<Expiry, &'static str> {
        match text {
            "epoch" if !modified => return Ok(Expiry::Epoch),
            "max" if !modified => return Ok(Expiry::Max),
            "off" if !modified => return Ok(Expiry::Off),
            _ => {}
        }
        let daily = text.strip_prefix('@');
        if daily.is_some() && modified {
            return Err("daily time cannot be used with \"modified\" parameter");
        }
        let (sign, digits) = match (daily, text.strip_prefix('-')) {
            (Some(rest), _) => (1, rest),
            (None, Some(rest)) => (-1, rest),
            _ => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        let time = crate::value::seconds(digits).ok_or("invalid value")?;
        let time = i64::try_from(time.as_secs()).map_err(|_| "invalid value")?;
        match (daily, modified) {
            (Some(_), _) if time > 24 * 60 * 60 => Err("daily time value must be less than 24 hours"),
            (Some(_), _) => Ok(Expiry::Daily(time)),
            (None, true) => Ok(Expiry::Modified(sign * time)),
            (None, false) => Ok(Expiry::Access(sign * time)),
        }
    }
}

/// `satisfy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Satisfy {
    /// Every check must pass.
    All,
    /// One is enough.
    Any,
}

/// `auth_request URI`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthRequest {
    /// What is asked, as a request of its own.
    pub uri: String,
    /// Where it stands.
    pub at: At,
}
