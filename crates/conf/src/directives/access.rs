//! Who may: `auth_request`, `satisfy`, `limit_except`.

use super::{ALL, ANY, Context, Entry, LOCATION, add, block, set};
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::level::Level;
use crate::model::{AuthRequest, Satisfy};
use crate::template::Variable;
use crate::tree::Directive;

pub(super) const TABLE: &[Entry] = &[
    set(
        "auth_request",
        ALL,
        (1, 1),
        "URI | off",
        "off",
        "Asks a location first, by a GET without body and without `Upgrade`: a status from 200 to 299 lets the request pass, 401 and 403 are its answer, any other gives 500.",
        auth_request,
    ),
    add(
        "auth_request_set",
        ALL,
        (2, 2),
        "$VARIABLE VALUE",
        "",
        "Sets a variable when `auth_request` has been answered, mostly from `$upstream_http_...` of that answer. Inherited only by a level that has none of its own.",
        auth_request_set,
    ),
    set(
        "satisfy",
        ALL,
        (1, 1),
        "all | any",
        "all",
        "Whether every check of access must let a request pass, or one is enough.",
        satisfy,
    ),
    block(
        "limit_except",
        LOCATION,
        (1, ANY),
        "METHOD...",
        "What stands in it holds for requests with other methods than these. GET includes HEAD.",
        limit_except,
    ),
];

fn auth_request(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[0];
    let at = b.at(d.span);
    b.level.layer.auth_request = Some(match word.value.as_str() {
        "off" => None,
        uri => Some(AuthRequest { uri: uri.to_owned(), at }),
    });
}

fn auth_request_set(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[0];
    let Some(name) = word.value.strip_prefix('$').filter(|name| !name.is_empty()) else {
        let message = format!("invalid variable name \"{}\"", word.value);
        return b.report(Diagnostic::error(word.span, message).help("a variable begins with \"$\""));
    };
    let name = name.to_ascii_lowercase();
    if matches!(Variable::builtin(&name), Some(Variable::Known(_))) {
        let message = format!("the duplicate \"{name}\" variable");
        return b.report(Diagnostic::error(word.span, message).label("this variable cannot be set"));
    }
    let Some(value) = b.template(&d.args[1]) else { return };
    b.level.layer.auth_request_set.get_or_insert_default().push((name, value));
}

fn satisfy(b: &mut Builder<'_>, d: &Directive) {
    b.level.layer.satisfy = match d.args[0].value.as_str() {
        "all" => Some(Satisfy::All),
        "any" => Some(Satisfy::Any),
        _ => return b.invalid(d, &d.args[0], "one of its values", "write \"all\" or \"any\""),
    };
}

const METHODS: &[&str] = &[
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "MKCOL",
    "COPY",
    "MOVE",
    "OPTIONS",
    "PROPFIND",
    "PROPPATCH",
    "LOCK",
    "UNLOCK",
    "PATCH",
];

fn limit_except(b: &mut Builder<'_>, d: &Directive) {
    let mut methods = Vec::new();
    for word in &d.args {
        let method = word.value.to_ascii_uppercase();
        if !METHODS.contains(&method.as_str()) {
            let message = format!("invalid method \"{}\"", word.value);
            return b.report(Diagnostic::error(word.span, message));
        }
        if method == "GET" {
            methods.push("HEAD".to_owned());
        }
        methods.push(method);
    }
    let matcher = b.level.matcher.clone();
    let level = b.inside(Context::LimitExcept, d, Level { matcher, ..Level::default() });
    b.level.limit_except = Some((methods, Box::new(level)));
}
