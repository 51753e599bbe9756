//! What lines need that are begun in one process and written by another: where they go, and how they look.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use longwire_conf::model::{AccessLog, ErrorLog, Escape, Level, LogFormat, LogTarget, Spanned, Syslog};
use longwire_conf::source::Span;
use longwire_conf::template::{Known, Part, Template, Variable};

use super::access::is_told;
use crate::saved::{Malformed, Reader, Writer};

const ESCAPES: [Escape; 3] = [Escape::Default, Escape::Json, Escape::None];

const TEXT: u8 = 0;
const TOLD: u8 = 1;
const KEPT: u8 = 2;

/// Error logs: each its target (flag, bytes: a path, or `syslog:...`; none is standard error) and the number of its level.
pub fn save_errors(w: &mut Writer, logs: &[ErrorLog]) {
    w.list(logs.iter(), |w, log| {
        let target = (log.target.value != LogTarget::Stderr).then_some(&log.target);
        w.option(target, |w, target| w.bytes(&bytes(&target.value)));
        w.u8(number(&Level::ALL, log.level));
    });
}

/// See [`save_errors`].
pub fn restore_errors(r: &mut Reader<'_>) -> Result<Vec<ErrorLog>, Malformed> {
    r.list(|r| {
        let target = r.option(target)?;
        let target = target.unwrap_or(Spanned { value: LogTarget::Stderr, span: Span::default() });
        let level = Level::ALL.get(usize::from(r.u8()?)).copied();
        Ok(ErrorLog { target, level: level.ok_or(Malformed::Invalid("level of a log"))? })
    })
}

/// An access log: its target, and its format as the number of its escaping and its parts. These are texts (0), variables that
/// are told at the end (1 and the name), and variables of which the value was kept (2), whichever they are.
pub fn save_access(w: &mut Writer, log: &AccessLog, format: &LogFormat) {
    w.bytes(&bytes(&log.target.value));
    w.u8(number(&ESCAPES, format.escape));
    w.list(format.template.parts.iter(), |w, part| match part {
        Part::Text(text) => {
            w.u8(TEXT);
            w.text(text);
        }
        Part::Variable(Variable::Known(known)) if is_told(&Variable::Known(*known)) => {
            w.u8(TOLD);
            let known = Known::ALL.iter().find(|(one, ..)| one == known);
            w.text(known.map_or("", |(_, name, _)| name));
        }
        Part::Variable(_) => w.u8(KEPT),
    });
}

/// See [`save_access`]; the log's format is the one of that number.
pub fn restore_access(r: &mut Reader<'_>, format: usize) -> Result<(AccessLog, LogFormat), Malformed> {
    let target = target(r)?;
    let escape = ESCAPES.get(usize::from(r.u8()?)).copied();
    let escape = escape.ok_or(Malformed::Invalid("escaping of a log"))?;
    let parts = r.list(|r| {
        Ok(match r.u8()? {
            TEXT => Part::Text(r.text()?.to_owned()),
            TOLD => {
                let name = r.text()?;
                let known = Known::ALL.iter().find(|(_, one, _)| *one == name);
                let variable = known.map(|(known, ..)| Variable::Known(*known)).filter(is_told);
                Part::Variable(variable.ok_or(Malformed::Invalid("variable of a log"))?)
            }
            // Any that is not told stands for what was kept.
            KEPT => Part::Variable(Variable::Named(String::new())),
            _ => return Err(Malformed::Invalid("part of a log's format")),
        })
    })?;
    let format_of = LogFormat { name: String::new(), escape, template: Template { parts } };
    Ok((AccessLog { target, format, condition: None }, format_of))
}

/// A path, or the text of a syslog server: no path is relative here, so none begins like that.
fn bytes(target: &LogTarget) -> Vec<u8> {
    match target {
        LogTarget::File(path) => path.as_os_str().as_bytes().to_vec(),
        other => other.to_string().into_bytes(),
    }
}

fn target(r: &mut Reader<'_>) -> Result<Spanned<LogTarget>, Malformed> {
    let bytes = r.bytes()?;
    let syslog = std::str::from_utf8(bytes).ok().and_then(|text| text.strip_prefix("syslog:"));
    let value = match syslog.map(Syslog::parse) {
        Some(Ok(syslog)) => LogTarget::Syslog(syslog),
        Some(Err(_)) => return Err(Malformed::Invalid("syslog server of a log")),
        None => LogTarget::File(PathBuf::from(OsStr::from_bytes(bytes))),
    };
    Ok(Spanned { value, span: Span::default() })
}

fn number<T: PartialEq>(all: &[T], one: T) -> u8 {
    all.iter().position(|known| *known == one).unwrap_or_default() as u8 // fits: there are few
}

#[cfg(test)]
mod tests {
    use super::super::access;
    use super::super::pieces::{Pieces, Reader as Kept};
    use super::*;
    use crate::route::fixture::{facts, headers, template, with_scope};

    fn file(path: &str) -> Spanned<LogTarget> {
        Spanned { value: LogTarget::File(path.into()), span: Span::default() }
    }

    /// A line of which the values were kept here and whose format came from elsewhere is the line that it would have been.
    #[test]
    fn a_line_is_the_same_in_another_process() {
        let text =
            "a $remote_addr \"$request\" $status $args <$http_user_agent> $body_bytes_sent $hostname z";
        for escape in ESCAPES {
            let format = LogFormat { name: "f".to_owned(), escape, template: template(text) };
            let log =
                AccessLog { target: file("/logs/\u{e9}"), format: 4, condition: Some(template("$arg_x")) };
            let mut facts = facts("/a?b");
            facts.headers = headers(&[("user-agent", "a\"b")]);
            let mut kept = Pieces::default();
            with_scope(&facts, &[], |scope| access::keep(&format, scope, &mut kept));
            let kept = kept.finish();
            let mut w = Writer::default();
            save_access(&mut w, &log, &format);
            let bytes = w.finish();
            let mut r = Reader::new(&bytes);
            let (brought, other) = restore_access(&mut r, 2).unwrap();
            assert_eq!((r.end(), &brought.target, brought.format), (Ok(()), &log.target, 2));
            let line =
                |format| with_scope(&facts, &[], |scope| access::complete(format, &mut Kept(&kept), scope));
            assert_eq!(line(&other), line(&format));
            // And on to the next process.
            let mut w = Writer::default();
            save_access(&mut w, &brought, &other);
            assert_eq!(*w.finish(), *bytes);
            for cut in 0..bytes.len() {
                assert!(restore_access(&mut Reader::new(&bytes[..cut]), 0).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn error_logs_keep_path_and_level() {
        let syslog = "server=[::1]:5140,facility=daemon,severity=warn,tag=x,nohostname";
        let syslog = LogTarget::Syslog(Syslog::parse(syslog).unwrap());
        let spanned = |value| Spanned { value, span: Span::default() };
        let logs = [
            ErrorLog { target: file("/logs/e"), level: Level::Warn },
            ErrorLog { target: spanned(LogTarget::Stderr), level: Level::Debug },
            ErrorLog { target: spanned(syslog), level: Level::Info },
        ];
        let mut w = Writer::default();
        save_errors(&mut w, &logs);
        let bytes = w.finish();
        let brought = restore_errors(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(brought, logs);
    }
}
