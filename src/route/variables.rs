//! Pure: the values of variables, and values with variables in them.
//!
//! A value is bytes. `None` is nginx's "not found": nothing in a header, `-` in a log.

use std::borrow::Cow;

use http::HeaderMap;
use longwire_conf::template::{Part, Template, Variable};

use super::facts::{Captures, Facts};
use super::fields::{arg, cookie, header, set_cookie};
pub use super::known::{NGINX_VERSION, address, protocol, request_line};
pub use super::map::Maps;
use super::uri::{bytes, escape_args, text};

/// Maps within maps deeper than this are empty; only a cycle goes that deep.
const MAX_DEPTH: u8 = 16;

/// What is the same for every request.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// `$hostname`.
    pub hostname: String,
    /// `$pid`.
    pub pid: u32,
    /// Seconds by which local time is ahead of UTC.
    pub utc_offset: i32,
}

/// All that a value may ask for.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The request.
    pub facts: &'a Facts,
    /// The maps.
    pub maps: &'a Maps,
    /// The rest of the world.
    pub machine: &'a Machine,
}

/// A scope within a map or a rule whose expression has captures of its own.
#[derive(Clone, Copy)]
struct Frame<'a, 'c> {
    scope: Scope<'a>,
    captures: Option<&'c Captures>,
    depth: u8,
}

impl<'a> Scope<'a> {
    /// The value of a template.
    pub fn render(&self, template: &Template) -> Vec<u8> {
        self.frame().render(template)
    }

    /// The value of a template that sees the captures of an expression just matched.
    pub fn render_with(&self, template: &Template, captures: &Captures) -> Vec<u8> {
        Frame { captures: Some(captures), ..self.frame() }.render(template)
    }

    /// The value of a template where captures are escaped as arguments.
    pub(super) fn render_escaped(&self, template: &Template) -> Vec<u8> {
        let mut value = Vec::new();
        for part in &template.parts {
            match part {
                Part::Text(text) => value.extend_from_slice(text.as_bytes()),
                Part::Variable(variable) => {
                    let plain = self.value(variable).unwrap_or_default();
                    match variable {
                        Variable::Capture(_) => value.extend_from_slice(escape_args(&plain).as_bytes()),
                        _ => value.extend_from_slice(&plain),
                    }
                }
            }
        }
        value
    }

    /// Runs something that already sees the answer: its headers, and its status, forced or not.
    pub(super) fn answering<T>(
        &self,
        status: u16,
        headers: HeaderMap,
        run: impl FnOnce(&Scope<'_>, u16) -> T,
    ) -> T {
        let mut facts = self.facts.clone();
        facts.outcome.sent = headers;
        let status = facts.outcome.forced.unwrap_or(status);
        facts.outcome.status = status;
        run(&Scope { facts: &facts, ..*self }, status)
    }

    /// Whether a condition holds: not empty and not "0".
    pub fn holds(&self, condition: &Template) -> bool {
        !matches!(self.render(condition).as_slice(), b"" | b"0")
    }

    /// The value of a variable.
    pub fn value(&self, variable: &Variable) -> Option<Cow<'a, [u8]>> {
        self.frame().value(variable)
    }

    fn frame(self) -> Frame<'a, 'a> {
        Frame { scope: self, captures: None, depth: 0 }
    }
}

impl<'a> Frame<'a, '_> {
    fn render(&self, template: &Template) -> Vec<u8> {
        let mut value = Vec::new();
        for part in &template.parts {
            match part {
                Part::Text(text) => value.extend_from_slice(text.as_bytes()),
                Part::Variable(variable) => {
                    value.extend_from_slice(&self.value(variable).unwrap_or_default());
                }
            }
        }
        value
    }

    fn value(&self, variable: &Variable) -> Option<Cow<'a, [u8]>> {
        let facts = self.scope.facts;
        match variable {
            Variable::Capture(number) => self.numbered(usize::from(*number)),
            Variable::Named(name) => self.named(name),
            Variable::Set(name) => self.named(name).or_else(|| {
                facts.course.used_unset(name);
                Some(Cow::Borrowed(b""))
            }),
            Variable::Map(index) => match self.scope.maps.name(*index).and_then(|name| self.named(name)) {
                // A rule may set the variable of a map.
                Some(set) => Some(set),
                None => Some(Cow::Owned(self.map(*index))),
            },
            Variable::Geo(index) => Some(self.geo(*index)),
            Variable::Split(index) => Some(self.split(*index)),
            Variable::Http(name) => header(&facts.headers, name),
            Variable::SentHttp(name) => header(&facts.outcome.sent, name),
            Variable::UpstreamHttp(name) => header(&facts.outcome.upstream, name),
            Variable::Cookie(name) => cookie(&facts.headers, name).map(Cow::Borrowed),
            Variable::UpstreamCookie(name) => set_cookie(&facts.outcome.upstream, name).map(Cow::Borrowed),
            Variable::Arg(name) => arg(&facts.args, name).map(bytes),
            Variable::Known(known) => self.scope.known(*known),
        }
    }

    fn numbered(&self, number: usize) -> Option<Cow<'a, [u8]>> {
        match self.captures {
            Some(own) if !own.numbered.is_empty() => own.numbered.get(number)?.as_deref().map(owned),
            _ => self.scope.facts.captures.get(number)?.as_deref().map(bytes),
        }
    }

    fn named(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        let of = |list: &'_ [(String, String)]| list.iter().position(|(known, _)| known == name);
        let own = self.captures.and_then(|own| own.named.get(of(&own.named)?));
        let named = &self.scope.facts.named;
        match own {
            Some((_, value)) => Some(owned(value)),
            None => named.get(of(named)?).map(|(_, value)| bytes(value)),
        }
    }

    fn geo(&self, index: usize) -> Cow<'a, [u8]> {
        let maps = self.scope.maps;
        let source = maps.geo_source(index).map(|source| self.inside(source));
        Cow::Borrowed(maps.geo(index, self.scope.facts, source.as_deref()).as_bytes())
    }

    fn split(&self, index: usize) -> Cow<'a, [u8]> {
        let maps = self.scope.maps;
        let key = maps.split_key(index).map(|key| self.inside(key)).unwrap_or_default();
        Cow::Borrowed(maps.split(index, &key).as_bytes())
    }

    /// What a block looks up, unless blocks ask each other without end.
    fn inside(&self, source: &Template) -> Vec<u8> {
        match self.depth {
            MAX_DEPTH => Vec::new(),
            depth => Frame { depth: depth + 1, ..*self }.render(source),
        }
    }

    fn map(&self, index: usize) -> Vec<u8> {
        let Some(source) = self.scope.maps.source(index).filter(|_| self.depth < MAX_DEPTH) else {
            return Vec::new();
        };
        let inner = Frame { depth: self.depth + 1, ..*self };
        let source = text(inner.render(source));
        let Some((value, captures)) = self.scope.maps.find(index, &source) else { return Vec::new() };
        let captures = if captures.numbered.is_empty() { self.captures } else { Some(&captures) };
        Frame { scope: self.scope, captures, depth: inner.depth }.render(value)
    }
}

fn owned<'a>(value: &str) -> Cow<'a, [u8]> {
    Cow::Owned(bytes(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{facts, template, with_scope};
    use super::*;

    #[test]
    fn values_are_bytes() {
        let facts = facts("/%ff%C3%A9");
        with_scope(&facts, &[], |scope| {
            assert_eq!(scope.render(&template("<$uri>")), b"</\xff\xc3\xa9>");
            assert!(scope.holds(&template("$uri")));
            assert!(
                !scope.holds(&template("0"))
                    && !scope.holds(&template("$arg_none"))
                    && scope.holds(&template("00"))
            );
        });
    }

    #[test]
    fn captures_are_taken_over() {
        let mut facts = facts("/");
        facts.named = vec![("name".to_owned(), "value".to_owned())];
        let regex = longwire_conf::pattern::Pattern::new("(?<name>x)(y)?(?<other>z)", false).unwrap();
        facts.capture(Captures::of(&regex, "-xz-").unwrap());
        facts.capture(Captures::default());
        with_scope(&facts, &[], |scope| {
            assert_eq!(scope.render(&template("$0,$1,$2,$3,$name,$other")), b"xz,x,,z,x,z");
        });
    }
}
