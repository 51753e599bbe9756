//! Traces for OpenTelemetry: the directives of nginx's otel module.

use std::time::Duration;

use super::{ALL, Entry, HTTP, add, set};
use crate::address;
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::model::{Address, Endpoint, Exporter, Propagation, Spanned};
use crate::token::Word;
use crate::tree::Directive;
use crate::value;

pub(super) const TABLE: &[Entry] = &[
    Entry {
        block: true,
        ..set(
            "otel_exporter",
            HTTP,
            (0, 0),
            "",
            "",
            "Where spans are sent. Inside: `endpoint [http:// | https://]HOST[:PORT][/PATH]`, by OTLP over gRPC (port 4317 when none is given), or with a path, such as `http://127.0.0.1:4318/v1/traces`, by OTLP over HTTP; `interval TIME` (5s), the longest that a span waits for others; `batch_size NUMBER` (512), spans that are sent together; `batch_count NUMBER` (4), how many times as many may wait: what comes on top is dropped and counted; `header NAME VALUE`, for each export; `trusted_certificate FILE`, for `https`, in place of what the system trusts. See [traces.md](traces.md).",
            exporter,
        )
    },
    set(
        "otel_service_name",
        HTTP,
        (1, 1),
        "NAME",
        "longwire",
        "The resource attribute `service.name`. nginx's default is `unknown_service:nginx`.",
        |b, d| b.config.otel.service_name = Some(d.args[0].value.clone()),
    ),
    add(
        "otel_resource_attr",
        HTTP,
        (2, 2),
        "NAME VALUE",
        "",
        "An attribute of the resource that spans come from. The last one of a name counts.",
        |b, d| {
            let [name, value] = [0, 1].map(|at| d.args[at].value.clone());
            b.config.otel.resource.retain(|(known, _)| *known != name);
            b.config.otel.resource.push((name, value));
        },
    ),
    set(
        "otel_trace",
        ALL,
        (1, 1),
        "on | off | $VARIABLE",
        "off",
        "Whether requests are traced: for the values `on` and `1`. What holds at the first location of a request is decided for all of it. A handshake's span ends when its 101 has left.",
        trace,
    ),
    set(
        "otel_trace_context",
        ALL,
        (1, 1),
        "extract | inject | propagate | ignore",
        "ignore",
        "What becomes of the trace in the headers `traceparent` and `tracestate`: `extract` goes on with that of the request, `inject` tells it to backends, `propagate` does both.",
        trace_context,
    ),
    set(
        "otel_span_name",
        ALL,
        (1, 1),
        "NAME",
        "the location",
        "The name of a request's span. It may have variables.",
        |b, d| b.level.layer.tracing.span_name = b.template(&d.args[0]).map(Some),
    ),
    add(
        "otel_span_attr",
        ALL,
        (2, 2),
        "NAME VALUE",
        "",
        "An attribute of a request's span. The value may have variables. Inherited only by a level that has none of its own.",
        |b, d| {
            if let Some(value) = b.template(&d.args[1]) {
                let attributes = b.level.layer.tracing.span_attr.get_or_insert_default();
                attributes.push((d.args[0].value.clone(), value));
            }
        },
    ),
];

fn trace(b: &mut Builder<'_>, d: &Directive) {
    let Some(value) = b.template(&d.args[0]) else { return };
    b.config.otel.used = true;
    b.otel_trace.get_or_insert(d.span);
    b.level.layer.tracing.trace = Some(Some(value));
}

fn trace_context(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[0];
    let (extract, inject) = match word.value.to_ascii_lowercase().as_str() {
        "ignore" => (false, false),
        "extract" => (true, false),
        "inject" => (false, true),
        "propagate" => (true, true),
        _ => {
            let message = format!("invalid value \"{}\"", word.value);
            let help = "write \"extract\", \"inject\", \"propagate\" or \"ignore\"";
            return b.report(Diagnostic::error(word.span, message).help(help));
        }
    };
    b.config.otel.used |= extract || inject;
    b.level.layer.tracing.context = Some(Propagation { extract, inject });
}

/// What stands in `otel_exporter {}`, as typed.
#[derive(Default)]
struct Typed {
    endpoint: Option<Spanned<Endpoint>>,
    interval: Option<Duration>,
    batch_size: Option<usize>,
    batch_count: Option<usize>,
    headers: Vec<(String, String)>,
    trusted_certificate: Option<Spanned<std::path::PathBuf>>,
}

fn exporter(b: &mut Builder<'_>, d: &Directive) {
    let mut typed = Typed::default();
    let mut whole = true;
    for inner in d.block.as_deref().unwrap_or_default() {
        if let Err(words) = exporter_directive(b, &mut typed, inner) {
            b.report(Diagnostic::error(inner.span, words));
            whole = false;
        }
    }
    match typed.endpoint {
        Some(endpoint) => {
            b.config.otel.exporter = Some(Exporter {
                endpoint,
                interval: typed.interval.unwrap_or(Duration::from_secs(5)),
                batch_size: typed.batch_size.unwrap_or(512),
                batch_count: typed.batch_count.unwrap_or(4),
                headers: typed.headers,
                trusted_certificate: typed.trusted_certificate,
            });
        }
        None if whole => {
            let mistake = Diagnostic::error(d.span, "\"otel_exporter\" requires \"endpoint\"");
            b.report(mistake.help("write for example \"endpoint 127.0.0.1:4317;\""));
        }
        None => {}
    }
}

fn exporter_directive(b: &mut Builder<'_>, typed: &mut Typed, d: &Directive) -> Result<(), String> {
    let name = d.name.value.as_str();
    let count = match name {
        "endpoint" | "interval" | "batch_size" | "batch_count" | "trusted_certificate" => 1,
        "header" => 2,
        _ => return Err(format!("unknown directive \"{name}\" in \"otel_exporter\"")),
    };
    if d.args.len() != count || d.block.is_some() {
        return Err(format!("invalid number of arguments in \"{name}\" directive of \"otel_exporter\""));
    }
    let fault = |what: &str| format!("\"{name}\" directive of \"otel_exporter\" {what}");
    let word = &d.args[0];
    let is_first = match name {
        "endpoint" => {
            let value = endpoint(&word.value).map_err(|problem| fault(&format!("has {problem}")))?;
            put(&mut typed.endpoint, Spanned { value, span: word.span })
        }
        "interval" => {
            put(&mut typed.interval, value::time(&word.value).ok_or_else(|| fault("invalid value"))?)
        }
        "batch_size" => put(&mut typed.batch_size, number(word).ok_or_else(|| fault("invalid value"))?),
        "batch_count" => put(&mut typed.batch_count, number(word).ok_or_else(|| fault("invalid value"))?),
        "header" => {
            let (name, value) = (word.value.to_ascii_lowercase(), d.args[1].value.clone());
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
            if name.is_empty() || !name.bytes().all(is_name) {
                return Err(fault("has invalid header name"));
            }
            if !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
                return Err(fault("has invalid header value"));
            }
            typed.headers.push((name, value));
            true
        }
        _ => put(&mut typed.trusted_certificate, b.conf_path(word)),
    };
    if is_first { Ok(()) } else { Err(fault("is duplicate")) }
}

/// Sets a value that may be there but once.
fn put<T>(place: &mut Option<T>, value: T) -> bool {
    place.replace(value).is_none()
}

/// A count of at least one; with `k`, `m` or `g` behind it, as nginx reads it.
fn number(word: &Word) -> Option<usize> {
    value::size(&word.value).and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0)
}

/// Reads `[http:// | https://]HOST[:PORT][/PATH]` or `unix:PATH`.
fn endpoint(text: &str) -> Result<Endpoint, &'static str> {
    let after = |scheme: &str| {
        text.get(..scheme.len())
            .filter(|head| head.eq_ignore_ascii_case(scheme))
            .map(|_| &text[scheme.len()..])
    };
    let (https, rest) = match (after("https://"), after("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => (false, text),
    };
    if rest.starts_with("unix:") {
        let address = address::parse(rest)?;
        return Ok(Endpoint { https, address, path: None, authority: "localhost".to_owned() });
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = Some(path.to_owned()).filter(|path| path.len() > 1);
    let port = match (&path, https) {
        (None, _) => 4317,
        (Some(_), true) => 443,
        (Some(_), false) => 80,
    };
    let address = match address::parse(authority)? {
        Address::Ip(ip, 0) => Address::Ip(ip, port),
        Address::Name(name, 0) => Address::Name(name, port),
        address => address,
    };
    if path.as_ref().is_some_and(|path| !path.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err("an invalid path");
    }
    let authority = authority.to_ascii_lowercase();
    Ok(Endpoint { https, address, path, authority })
}
