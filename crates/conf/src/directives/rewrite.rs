//! The rewrite module: `set`, `if`, `rewrite`, `break`, `return`.

use super::{ALL_IF, Context, Entry, REWRITE, SERVER_LOCATION, add, block, set};
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::level::{Level, TypedRule};
use crate::model::{Assigned, Condition, FileTest, Return, Rewrite, Rule, Then};
use crate::pattern::{self, Pattern};
use crate::source::Span;
use crate::template::{Template, Variable};
use crate::token::Word;
use crate::tree::Directive;

pub(super) const TABLE: &[Entry] = &[
    add(
        "set",
        REWRITE,
        (2, 2),
        "$VARIABLE VALUE",
        "",
        "Sets a variable of the request, for all that comes after it. One that is used before it is set is empty. `$args` changes the arguments of the request.",
        set_variable,
    ),
    block(
        "if",
        SERVER_LOCATION,
        (1, super::ANY),
        "(CONDITION)",
        "Does the rules in it when the condition holds: a variable that is neither empty nor \"0\"; `$variable = TEXT` or `!=`; `$variable ~ REGEX`, or `~*`, `!~`, `!~*`; `-f`, `-d`, `-e` or `-x` and a path, or these with a `!` before. In a location the request is then at a place of its own that inherits everything but `try_files`: what stands in the block, `proxy_pass` or `add_header` say, replaces what stands around it, and of several blocks whose conditions hold the last counts.",
        condition,
    ),
    add(
        "rewrite",
        REWRITE,
        (2, 3),
        "REGEX REPLACEMENT [last | break | redirect | permanent]",
        "",
        "Replaces the path of a request that matches. The request's arguments follow those of the replacement, unless that ends with `?`. With `last` a location is sought for the new path at once, with `break` this place goes on with it, without either when all rules here are done; more than ten such searches are answered with 500. A replacement that begins with `http://`, `https://` or `$scheme`, or the word `redirect` (302) or `permanent` (301), makes a redirect.",
        rewrite,
    ),
    add("break", REWRITE, (0, 0), "", "", "Ends the rules of this place.", |b, _| {
        b.level.rules.push(TypedRule::Plain(Rule::Break));
    }),
    add(
        "return",
        REWRITE,
        (1, 2),
        "CODE [TEXT | URL] | URL",
        "",
        "Answers at once. 444 closes the connection without an answer.",
        answer,
    ),
    set(
        "rewrite_log",
        ALL_IF,
        (1, 1),
        "on | off",
        "off",
        "Whether the error log says at `notice` what rules did.",
        |b, d| {
            b.level.layer.rewrite_log = b.flag(d);
        },
    ),
    set(
        "uninitialized_variable_warn",
        ALL_IF,
        (1, 1),
        "on | off",
        "on",
        "Whether the error log says at `warn` that a variable was used before it was set.",
        |b, d| b.level.layer.uninitialized_variable_warn = b.flag(d),
    ),
];

impl Builder<'_> {
    fn rule(&mut self, rule: Rule) {
        self.level.rules.push(TypedRule::Plain(rule));
    }
}

fn set_variable(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[0];
    let Some(name) = word.value.strip_prefix('$').filter(|name| !name.is_empty()) else {
        let message = format!("invalid variable name \"{}\"", word.value);
        return b.report(Diagnostic::error(word.span, message).help("a variable begins with \"$\""));
    };
    let name = name.to_ascii_lowercase();
    let assigned = match Variable::builtin(&name) {
        Some(Variable::Known(_)) if name == "args" => Assigned::Args,
        Some(Variable::Known(_)) => {
            let message = format!("the duplicate \"{name}\" variable");
            let label = "this variable is known already and cannot be set";
            return b.report(Diagnostic::error(word.span, message).label(label));
        }
        _ => Assigned::Named(name),
    };
    let Some(value) = b.template(&d.args[1]) else { return };
    b.rule(Rule::Set(assigned, value));
}

fn condition(b: &mut Builder<'_>, d: &Directive) {
    // What stands in the block is read even when the condition is wrong, for its own mistakes.
    let condition = read_condition(b, d);
    let (context, outer) = match b.context {
        Context::Server => (Context::IfServer, None),
        _ => (Context::IfLocation, b.level.matcher.clone()),
    };
    let level = Box::new(b.inside(context, d, Level { matcher: outer, ..Level::default() }));
    let Some(condition) = condition else { return };
    let at = b.at(d.span);
    b.level.rules.push(TypedRule::If { condition, level, at });
}

fn invalid_condition(b: &mut Builder<'_>, d: &Directive, span: Span) {
    let shown = d.args.iter().map(|word| word.value.as_str()).collect::<Vec<_>>().join(" ");
    let help = "write \"if ($variable)\", \"if ($variable = text)\", \"if ($variable ~ regex)\" or \"if (-f path)\"; conditions cannot be joined";
    b.report(Diagnostic::error(span, format!("invalid condition \"{shown}\"")).help(help));
}

/// The words between the parentheses, which may stand alone or straight at a word.
fn between_parentheses(d: &Directive) -> Option<Vec<Word>> {
    let mut words = d.args.clone();
    let first = words.first_mut()?;
    first.value = first.value.strip_prefix('(')?.to_owned();
    if first.value.is_empty() && !first.quoted {
        words.remove(0);
    }
    let last = words.last_mut()?;
    last.value = last.value.strip_suffix(')')?.to_owned();
    if last.value.is_empty() && !last.quoted {
        words.pop();
    }
    Some(words)
}

fn read_condition(b: &mut Builder<'_>, d: &Directive) -> Option<Condition> {
    let words = between_parentheses(d).unwrap_or_default();
    let is_variable = |word: &Word| word.value.len() > 1 && word.value.starts_with('$');
    match words.as_slice() {
        [variable] if is_variable(variable) => b.template(variable).map(Condition::Holds),
        [variable, sign, operand] if is_variable(variable) => comparison(b, variable, sign, operand),
        [test, path] => {
            let (negated, letter) = match test.value.strip_prefix('!') {
                Some(rest) => (true, rest),
                None => (false, test.value.as_str()),
            };
            let test = match letter {
                "-f" => FileTest::File,
                "-d" => FileTest::Directory,
                "-e" => FileTest::Exists,
                "-x" => FileTest::Executable,
                _ => {
                    invalid_condition(b, d, d.span);
                    return None;
                }
            };
            Some(Condition::File { path: b.template(path)?, test, negated })
        }
        _ => {
            invalid_condition(b, d, d.span);
            None
        }
    }
}

fn comparison(b: &mut Builder<'_>, variable: &Word, sign: &Word, operand: &Word) -> Option<Condition> {
    let value = b.template(variable)?;
    let negated = sign.value.starts_with('!');
    match sign.value.trim_start_matches('!') {
        "=" => Some(Condition::Equal { value, other: b.template(operand)?, negated }),
        mark @ ("~" | "~*") => {
            let regex = b.regex(operand, mark == "~*")?;
            Some(Condition::Matches { value, regex, negated })
        }
        _ => {
            let message = format!("unexpected \"{}\" in condition", sign.value);
            b.report(Diagnostic::error(sign.span, message).help("comparisons are =, !=, ~, ~*, !~ and !~*"));
            None
        }
    }
}

impl Builder<'_> {
    fn regex(&mut self, word: &Word, ignore_case: bool) -> Option<Pattern> {
        match pattern::compile(word, &word.value, ignore_case) {
            Ok(regex) => Some(regex),
            Err(mistake) => {
                self.report(mistake);
                None
            }
        }
    }
}

fn rewrite(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[1];
    if word.value.is_empty() {
        return b.report(Diagnostic::error(word.span, "empty replacement"));
    }
    let Some(regex) = b.regex(&d.args[0], false) else { return };
    let is_url = ["http://", "https://", "$scheme"].iter().any(|start| word.value.starts_with(start));
    let url = is_url.then_some(302);
    let (then, redirect) = match d.args.get(2).map(|flag| (flag.value.as_str(), flag.span)) {
        None if is_url => (Then::Last, url),
        None => (Then::Next, None),
        Some(("last", _)) => (Then::Last, url),
        Some(("break", _)) => (Then::Break, url),
        Some(("redirect", _)) => (Then::Last, Some(302)),
        Some(("permanent", _)) => (Then::Last, Some(301)),
        Some((flag, span)) => {
            let message = format!("invalid parameter \"{flag}\"");
            let help = "what may stand here is last, break, redirect or permanent";
            return b.report(Diagnostic::error(span, message).help(help));
        }
    };
    let text = word.value.strip_suffix('?').unwrap_or(&word.value);
    let keep_args = text.len() == word.value.len();
    let (path, args) = match text.split_once('?') {
        Some((path, args)) if redirect.is_none() => (path, Some(args)),
        _ => (text, None),
    };
    let has_query = text.contains('?');
    let args = match args.map(|args| b.template_at(args, word.span)) {
        Some(None) => return,
        Some(args) => args,
        None => None,
    };
    let Some(replacement) = b.template_at(path, word.span) else { return };
    let at = b.at(d.span);
    let rewrite = Rewrite { regex, replacement, args, has_query, keep_args, redirect, then, at };
    b.rule(Rule::Rewrite(Box::new(rewrite)));
}

fn answer(b: &mut Builder<'_>, d: &Directive) {
    let Some(answer) = read_answer(b, d) else { return };
    let at = b.at(d.span);
    b.rule(Rule::Return(answer, at));
}

fn read_answer(b: &mut Builder<'_>, d: &Directive) -> Option<Return> {
    let word = &d.args[0];
    let code = Some(word.value.as_str()).filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
    let Some(code) = code else {
        let is_url = ["http://", "https://", "$scheme"].iter().any(|start| word.value.starts_with(start));
        if d.args.len() == 1 && is_url {
            return b.template(word).map(|url| Return { code: 302, text: Some(url) });
        }
        invalid_code(
            b,
            word,
            "a status, or a URL that begins with http://, https:// or $scheme, belongs here",
        );
        return None;
    };
    match code.parse() {
        Ok(code @ (0 | 200..=999)) => {
            let code = if code == 0 { 200 } else { code };
            let text: Option<Template> = match d.args.get(1) {
                Some(word) => Some(b.template(word)?),
                None => None,
            };
            Some(Return { code, text })
        }
        _ => {
            invalid_code(b, word, "a status has three digits, from 200 on");
            None
        }
    }
}

fn invalid_code(b: &mut Builder<'_>, word: &Word, help: &str) {
    b.report(Diagnostic::error(word.span, format!("invalid return code \"{}\"", word.value)).help(help));
}
