//! `error_log`, `access_log` and `log_format`.

use super::{ALL_IF, ANY, Context, Entry, HTTP, add};
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::directives::suggest;
use crate::model::{AccessLog, ErrorLog, Escape, Level, LogFormat};
use crate::template::{Template, Variable};
use crate::tree::Directive;

const MAIN_AND_ALL: &[Context] = &[Context::Main, Context::Http, Context::Server, Context::Location];

pub(super) const TABLE: &[Entry] = &[
    add(
        "error_log",
        MAIN_AND_ALL,
        (1, 2),
        "FILE | stderr [LEVEL]",
        "stderr notice",
        "Where errors are written, and from which level on (error when only a file is given). Several are written to all. nginx's default is a file.",
        error_log,
    ),
    add(
        "access_log",
        ALL_IF,
        (1, ANY),
        "FILE [FORMAT] [if=CONDITION] | off",
        "/dev/stdout combined",
        "Where requests are logged. `buffer=`, `flush=` and `gzip` are accepted without effect. nginx's default is a file. A file name with variables and `syslog:` are not there yet.",
        access_log,
    ),
    add(
        "log_format",
        HTTP,
        (2, ANY),
        "NAME [escape=default|json|none] TEXT...",
        "combined",
        "Names a format for access logs.",
        log_format,
    ),
];

const COMBINED: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#;

/// The predefined format.
pub(crate) fn combined() -> LogFormat {
    let template = Template::parse(COMBINED, Variable::builtin).unwrap_or_default();
    LogFormat { name: "combined".to_owned(), escape: Escape::Default, template }
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
    let path = match word.value.as_str() {
        "stderr" => None,
        name if is_elsewhere(name) => return elsewhere(b, d),
        _ => Some(b.path(word)),
    };
    b.level.layer.error_log.get_or_insert_default().push(ErrorLog { path, level });
}

fn level(name: &str) -> Option<Level> {
    Some(match name {
        "emerg" => Level::Emerg,
        "alert" => Level::Alert,
        "crit" => Level::Crit,
        "error" => Level::Error,
        "warn" => Level::Warn,
        "notice" => Level::Notice,
        "info" => Level::Info,
        name if name.starts_with("debug") => Level::Debug,
        _ => return None,
    })
}

fn is_elsewhere(name: &str) -> bool {
    name.starts_with("syslog:") || name.starts_with("memory:")
}

fn elsewhere(b: &mut Builder<'_>, d: &Directive) {
    b.report(
        Diagnostic::error(d.args[0].span, format!("Longwire does not have \"{}\" yet", d.args[0].value))
            .help("log to a file or to standard output, from where journald or a container's log takes it"),
    );
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
    if is_elsewhere(&word.value) {
        return elsewhere(b, d);
    }
    if word.value.contains('$') {
        let message = "Longwire does not have variables in the name of an access log yet";
        return b.report(
            Diagnostic::error(word.span, message)
                .help("write one file and put the variable into the log format"),
        );
    }
    let mut log = AccessLog { path: b.path(word), format: 0, condition: None };
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
            match b.names.formats.iter().position(|format| format == value) {
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
        None => mistake.help("formats are defined by \"log_format\" in http; \"combined\" is predefined"),
    };
    b.report(mistake);
}

fn log_format(b: &mut Builder<'_>, d: &Directive) {
    let name = d.args[0].value.clone();
    if b.config.log_formats.iter().any(|format| format.name == name) {
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
