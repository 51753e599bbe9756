//! What nginx calls the core of http: limits, timeouts, answers.

use super::{ALL, ALL_IF, ANY, Entry, HTTP_SERVER, add, set};
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::model::{AddHeader, ErrorAnswer, ErrorPage, Spanned};
use crate::tree::Directive;
use crate::value;

pub(super) const TABLE: &[Entry] = &[
    set(
        "client_header_timeout",
        HTTP_SERVER,
        (1, 1),
        "TIME",
        "60s",
        "How long the head of a request may take. That of the default server counts, as it begins before the server is known.",
        |b, d| b.level.head.client_header_timeout = b.time(d),
    ),
    set(
        "large_client_header_buffers",
        HTTP_SERVER,
        (2, 2),
        "NUMBER SIZE",
        "4 8k",
        "How long the head of a request may be: NUMBER times SIZE, in all.",
        large_client_header_buffers,
    ),
    set(
        "underscores_in_headers",
        HTTP_SERVER,
        (1, 1),
        "on | off",
        "off",
        "Whether headers with an underscore in the name are kept. Otherwise they are dropped.",
        |b, d| b.level.head.underscores_in_headers = b.flag(d),
    ),
    set(
        "ignore_invalid_headers",
        HTTP_SERVER,
        (1, 1),
        "on | off",
        "on",
        "Whether headers with other unusual names are dropped.",
        |b, d| b.level.head.ignore_invalid_headers = b.flag(d),
    ),
    set(
        "merge_slashes",
        HTTP_SERVER,
        (1, 1),
        "on | off",
        "on",
        "Whether several slashes in a path count as one when a location is sought.",
        |b, d| b.level.head.merge_slashes = b.flag(d),
    ),
    set(
        "client_max_body_size",
        ALL,
        (1, 1),
        "SIZE",
        "1m",
        "The longest request body; a longer one is answered with 413. 0 means no limit. Messages of a WebSocket are no body: see `websocket_max_message`.",
        client_max_body_size,
    ),
    set(
        "client_body_timeout",
        ALL,
        (1, 1),
        "TIME",
        "60s",
        "How long the client may be silent within a request body.",
        |b, d| b.level.layer.client_body_timeout = b.time(d),
    ),
    set(
        "send_timeout",
        ALL,
        (1, 1),
        "TIME",
        "60s",
        "How long a write to the client may be blocked.",
        |b, d| b.level.layer.send_timeout = b.time(d),
    ),
    set(
        "keepalive_timeout",
        ALL,
        (1, 2),
        "TIME [HEADER_TIME]",
        "75s",
        "How long a connection is kept open between requests; 0 closes it after each. The `Keep-Alive` header of the second argument is not sent.",
        keepalive_timeout,
    ),
    set(
        "keepalive_requests",
        ALL,
        (1, 1),
        "NUMBER",
        "1000",
        "Requests on one connection before it is closed.",
        |b, d| b.level.layer.keepalive_requests = b.number(d),
    ),
    set(
        "lingering_timeout",
        ALL,
        (1, 1),
        "TIME",
        "5s",
        "How long more data is awaited from a client whose connection is being closed.",
        |b, d| b.level.layer.lingering_timeout = b.time(d),
    ),
    set(
        "server_tokens",
        ALL,
        (1, 1),
        "on | off | build",
        "on",
        "Whether error pages and the `Server` header tell the version.",
        server_tokens,
    ),
    set(
        "server_name_in_redirect",
        ALL,
        (1, 1),
        "on | off",
        "off",
        "Whether redirects use the first server name in place of the name that was asked for.",
        |b, d| b.level.layer.server_name_in_redirect = b.flag(d),
    ),
    set("port_in_redirect", ALL, (1, 1), "on | off", "on", "Whether redirects name the port.", |b, d| {
        b.level.layer.port_in_redirect = b.flag(d)
    }),
    set(
        "absolute_redirect",
        ALL,
        (1, 1),
        "on | off",
        "on",
        "Whether redirects that Longwire makes are whole URLs.",
        |b, d| b.level.layer.absolute_redirect = b.flag(d),
    ),
    set("tcp_nodelay", ALL, (1, 1), "on | off", "on", "Whether small writes go out at once.", |b, d| {
        b.level.layer.tcp_nodelay = b.flag(d)
    }),
    add(
        "add_header",
        ALL_IF,
        (2, 3),
        "NAME VALUE [always]",
        "",
        "Adds a header to answers with status 200, 201, 204, 206, 301, 302, 303, 304, 307 or 308, with `always` to all. Inherited only by a level that adds none of its own.",
        add_header,
    ),
    set(
        "recursive_error_pages",
        ALL,
        (1, 1),
        "on | off",
        "off",
        "Whether an error within an error page has a page, too. Otherwise it gets the built-in one.",
        |b, d| b.level.layer.recursive_error_pages = b.flag(d),
    ),
    add(
        "error_page",
        ALL_IF,
        (2, ANY),
        "CODE... [=[CODE]] URI",
        "",
        "What is answered in place of an error: a path or named location to go to, or a URL to redirect to. Inherited only by a level that has none of its own.",
        error_page,
    ),
];

fn large_client_header_buffers(b: &mut Builder<'_>, d: &Directive) {
    let Some(count) = value::number(&d.args[0].value).filter(|&count| count > 0) else {
        return b.invalid(d, &d.args[0], "a number of buffers", "write for example \"4 8k\"");
    };
    let Some(size) = b.size(d, &d.args[1]) else { return };
    b.level.head.max_head = Some(count.saturating_mul(size).try_into().unwrap_or(usize::MAX));
}

fn client_max_body_size(b: &mut Builder<'_>, d: &Directive) {
    b.level.layer.client_max_body_size =
        b.size(d, &d.args[0]).map(|size| Some(size).filter(|&size| size > 0));
}

fn keepalive_timeout(b: &mut Builder<'_>, d: &Directive) {
    b.level.layer.keepalive_timeout = b.time_of(d, &d.args[0]);
    if let Some(header) = d.args.get(1) {
        b.time_of(d, header);
    }
}

fn server_tokens(b: &mut Builder<'_>, d: &Directive) {
    b.level.layer.server_tokens = match d.args[0].value.as_str() {
        "build" => Some(true),
        "" => Some(false),
        _ => b.flag(d),
    };
}

fn add_header(b: &mut Builder<'_>, d: &Directive) {
    let always = match d.args.get(2) {
        Some(word) if word.value == "always" => true,
        Some(word) => {
            let message = format!("invalid parameter \"{}\"", word.value);
            return b.report(
                Diagnostic::error(word.span, message)
                    .label("only \"always\" may stand here")
                    .help("a value with spaces needs quotes"),
            );
        }
        None => false,
    };
    if !header_name(b, d) {
        return;
    }
    let Some(value) = b.template(&d.args[1]) else { return };
    let header = AddHeader { name: d.args[0].value.clone(), value, always };
    b.level.layer.add_header.get_or_insert_default().push(header);
}

/// Whether the first argument can be the name of a header; reports it if not.
pub(super) fn header_name(b: &mut Builder<'_>, d: &Directive) -> bool {
    let word = &d.args[0];
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let good = !word.value.is_empty() && word.value.bytes().all(is_token);
    if !good {
        let message = format!("\"{}\" cannot be the name of a header", word.value);
        let help = "write the name alone, the value behind a space: \"X-Name value\"";
        b.report(Diagnostic::error(word.span, message).help(help));
    }
    good
}

fn error_page(b: &mut Builder<'_>, d: &Directive) {
    let [before @ .., target] = d.args.as_slice() else { return };
    let (codes, answer) = match before {
        [codes @ .., last] if last.value.starts_with('=') => (codes, last.value.strip_prefix('=')),
        codes => (codes, None),
    };
    let answer = match answer {
        None => ErrorAnswer::Keep,
        Some("") => ErrorAnswer::Page,
        Some(code) => match code.parse() {
            Ok(code) => ErrorAnswer::Code(code),
            Err(_) => {
                return b.invalid(d, &before[before.len() - 1], "a status", "write \"=200\", or \"=\" alone");
            }
        },
    };
    let mut statuses = Vec::new();
    for word in codes {
        match word.value.parse().ok().filter(|code| (300..=599).contains(code)) {
            Some(499) | None => {
                let message = format!("value \"{}\" must be between 300 and 599", word.value);
                return b.report(Diagnostic::error(word.span, message).label("not a status that has a page"));
            }
            Some(code) => statuses.push(code),
        }
    }
    if statuses.is_empty() {
        return b.report(
            Diagnostic::error(d.span, "invalid number of arguments in \"error_page\" directive")
                .label("no status is given"),
        );
    }
    let span = target.span;
    let Some(target) = b.template(target) else { return };
    if let Some(name) = target.as_literal().and_then(|target| target.strip_prefix('@')) {
        b.level.named_pages.push(Spanned { value: name.to_owned(), span });
    }
    b.level.layer.error_page.get_or_insert_default().push(ErrorPage { codes: statuses, answer, target });
}
