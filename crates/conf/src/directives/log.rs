//! `error_log`, `access_log` and `log_format`.

use super::{ALL_IF, ANY, Context, Entry, HTTP, add};
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::directives::suggest;
use crate::model::{AccessLog, ErrorLog, Escape, Level, LogFormat, LogTarget, Spanned, Syslog};
use crate::names::PREDEFINED;
use crate::template::{Template, Variable};
use crate::token::Word;
use crate::tree::Directive;

const MAIN_AND_ALL: &[Context] = &[Context::Main, Context::Http, Context::Server, Context::Location];

pub(super) const TABLE: &[Entry] = &[
    add(
        "error_log",
        MAIN_AND_ALL,
        (1, 2),
        "FILE | stderr | syslog:server=ADDRESS[,PARAMETER=VALUE...] [LEVEL]",
        "stderr notice",
        "Where errors are written, and from which level on (error when only a file is given). Several are written to all. nginx's default is a file. `syslog:` as in `access_log`; there each line has the severity of its level.",
        error_log,
    ),
    add(
        "access_log",
        ALL_IF,
        (1, ANY),
        "FILE | syslog:server=ADDRESS[,PARAMETER=VALUE...] [FORMAT] [if=CONDITION] | off",
        "/dev/stdout combined",
        "Where requests are logged. `buffer=`, `flush=` and `gzip` are accepted without effect. nginx's default is a file. A syslog server has an `ADDRESS` of UDP (port 514 when none is given) or `unix:PATH`; parameters are `facility` (local7), `severity` (info), `tag` (longwire) and `nohostname`. A file name with variables is not there yet.",
        access_log,
    ),
    add(
        "log_format",
        HTTP,
        (2, ANY),
        "NAME [escape=default|json|none] TEXT...",
        "combined",
        "Names a format for access logs. `combined` and `json` are predefined; `json` has the request and, for a WebSocket, what the tunnel carried and how it ended.",
        log_format,
    ),
    add(
        "log_json",
        &[Context::Main, Context::Http],
        (1, 1),
        "on | off",
        "off",
        "Writes all logs as JSON, one object a line: error logs, and access logs without a format of their own (as `json`). Lines about a request have its `request_id`, from the handshake to the end of its tunnel.",
        |b, d| {
            if let Some(on) = b.flag(d) {
                b.config.log_json = on;
            }
        },
    ),
];

const COMBINED: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#;

/// Numbers stand without quotes only where there is always one.
const JSON: &str = concat!(
    r#"{"time":"$time_iso8601","connection":$connection,"request_id":"$request_id","client":"$remote_addr","#,
    r#""user":"$remote_user","method":"$request_method","uri":"$request_uri","protocol":"$server_protocol","#,
    r#""host":"$host","server":"$server_name","status":$status,"seconds":$request_time,"#,
    r#""bytes_received":$request_length,"bytes_sent":$bytes_sent,"referrer":"$http_referer","#,
    r#""user_agent":"$http_user_agent","upstream":"$upstream_addr","upstream_status":"$upstream_status","#,
    r#""tunnel":{"seconds":"$websocket_duration","messages_received":"$websocket_messages_received","#,
    r#""messages_sent":"$websocket_messages_sent","close_code":"$websocket_close_code","#,
    r#""ended_by":"$websocket_ended_by","reason":"$websocket_reason","#,
    r#""client_round_trip":"$websocket_client_rtt","backend_round_trip":"$websocket_backend_rtt"}}"#,
);

/// The predefined formats, in the order of [`PREDEFINED`]. The first is what `log_json` makes it.
pub(crate) fn formats() -> [LogFormat; 3] {
    [("", Escape::Default, COMBINED), ("combined", Escape::Default, COMBINED), ("json", Escape::Json, JSON)]
        .map(|(name, escape, text)| {
            let template = Template::parse(text, Variable::builtin).unwrap_or_default();
            LogFormat { name: name.to_owned(), escape, template }
        })
}

fn error_log(b: &mut Builder<'_>, d: &Directive) {
    let level = match d.args.get(1) {
        None => Level::Error,
        Some(word) => match level(&word.value) {
            Some(level) => level,
            None => {
                let message = format!("invalid log level \"{}\"", word.value);
                let help = "levels are debug, info, notice, warn, error, crit, alert and emerg";
                return b.report(Diagnostic::error(word.span, message).help(help));
            }
        },
    };
    let word = &d.args[0];
    let target = match word.value.as_str() {
        "stderr" => LogTarget::Stderr,
        _ => match target(b, word) {
            Some(target) => target,
            None => return,
        },
    };
    let target = Spanned { value: target, span: word.span };
    b.level.layer.error_log.get_or_insert_default().push(ErrorLog { target, level });
}

/// A file or a syslog server.
fn target(b: &mut Builder<'_>, word: &Word) -> Option<LogTarget> {
    if let Some(text) = word.value.strip_prefix("syslog:") {
        return match Syslog::parse(text) {
            Ok(syslog) => Some(LogTarget::Syslog(syslog)),
            Err(message) => {
                b.report(Diagnostic::error(word.span, message));
                None
            }
        };
    }
    if word.value.starts_with("memory:") {
        let message = format!("Longwire does not have \"{}\"", word.value);
        let help = "log to a file, to standard output or to a syslog server";
        b.report(Diagnostic::error(word.span, message).help(help));
        return None;
    }
    Some(LogTarget::File(b.path(word).value))
}

fn level(name: &str) -> Option<Level> {
    match name {
        // `debug_http` and its like are levels of nginx as well.
        name if name.starts_with("debug") => Some(Level::Debug),
        name => Level::ALL.into_iter().find(|level| level.name() == name),
    }
}

fn access_log(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[0];
    if word.value == "off" {
        if let Some(extra) = d.args.get(1) {
            let message = format!("invalid parameter \"{}\"", extra.value);
            return b.report(Diagnostic::error(extra.span, message).label("nothing belongs behind \"off\""));
        }
        b.level.layer.access_log = Some(Vec::new());
        return;
    }
    if word.value.contains('$') {
        let message = "Longwire does not have variables in the name of an access log yet";
        return b.report(
            Diagnostic::error(word.span, message)
                .help("write one file and put the variable into the log format"),
        );
    }
    let Some(target) = target(b, word) else { return };
    let target = Spanned { value: target, span: word.span };
    let mut log = AccessLog { target, format: 0, condition: None };
    for (at, word) in d.args.iter().enumerate().skip(1) {
        let value = word.value.as_str();
        if let Some(condition) = value.strip_prefix("if=") {
            log.condition = b.template_at(condition, word.span);
        } else if value.starts_with("buffer=")
            || value.starts_with("flush=")
            || value == "gzip"
            || value.starts_with("gzip=")
        {
            let option =
                if value.starts_with("gzip") { "access_log ... gzip" } else { "access_log ... buffer=" };
            b.without_effect(option, d.span, "lines are written as they come, as plain text");
        } else if at == 1 {
            match b.names.formats.iter().rposition(|format| format == value) {
                Some(format) => log.format = format,
                None => return unknown_format(b, d),
            }
        } else {
            let message = format!("invalid parameter \"{value}\"");
            return b.report(Diagnostic::error(word.span, message));
        }
    }
    b.level.layer.access_log.get_or_insert_default().push(log);
}

fn unknown_format(b: &mut Builder<'_>, d: &Directive) {
    let word = &d.args[1];
    let mistake = Diagnostic::error(word.span, format!("unknown log format \"{}\"", word.value));
    let near = suggest::nearest(&word.value, b.names.formats.iter().map(String::as_str));
    let mistake = match near {
        Some(near) => mistake.label(format!("did you mean \"{near}\"?")),
        None => mistake
            .help("formats are defined by \"log_format\" in http; \"combined\" and \"json\" are predefined"),
    };
    b.report(mistake);
}

fn log_format(b: &mut Builder<'_>, d: &Directive) {
    let name = d.args[0].value.clone();
    // nginx has no "json" of its own: people define theirs, and it is that one then.
    let mut formats = b.config.log_formats.iter().enumerate();
    if formats.any(|(at, format)| format.name == name && PREDEFINED.get(at) != Some(&"json")) {
        let message = format!("duplicate \"log_format\" name \"{name}\"");
        return b.report(Diagnostic::error(d.span, message));
    }
    let (escape, text) = match d.args[1].value.strip_prefix("escape=") {
        Some("json") => (Escape::Json, &d.args[2..]),
        Some("none") => (Escape::None, &d.args[2..]),
        Some("default") => (Escape::Default, &d.args[2..]),
        Some(other) => {
            let message = format!("unknown log format escaping \"{other}\"");
            return b.report(Diagnostic::error(d.args[1].span, message).help("it is default, json or none"));
        }
        None => (Escape::Default, &d.args[1..]),
    };
    // Each part is parsed on its own, so that a mistake is marked where it stands.
    let parts: Vec<Option<Template>> = text.iter().map(|word| b.template(word)).collect();
    let template =
        Template { parts: parts.into_iter().flatten().flat_map(|template| template.parts).collect() };
    b.config.log_formats.push(LogFormat { name, escape, template });
}
