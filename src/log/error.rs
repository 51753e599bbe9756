//! Lines of the error log.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};

use chrono::{Local, Offset, TimeZone};
use longwire_conf::model::Level;
use serde::Serialize;

use crate::clock;
use crate::route::calendar::Moment;
use crate::route::facts::{ConnectionFacts, Facts};
use crate::route::variables::{address, request_line};

/// What a line is about. Only what is known is said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    connection: Option<&'a ConnectionFacts>,
    request: Option<&'a Facts>,
}

impl<'a> Context<'a> {
    /// About a connection without a request.
    pub fn connection(connection: &'a ConnectionFacts) -> Context<'a> {
        Context { connection: Some(connection), request: None }
    }

    /// About a request.
    pub fn request(facts: &'a Facts) -> Context<'a> {
        Context { connection: Some(&facts.connection), request: Some(facts) }
    }
}

/// Seconds by which local time is ahead of UTC at a second since 1970.
pub fn utc_offset(unix: u64) -> i32 {
    let time = i64::try_from(unix).ok().and_then(|unix| Local.timestamp_opt(unix, 0).single());
    time.map_or(0, |time| time.offset().fix().local_minus_utc())
}

/// One line with its end.
pub(super) fn line(level: Level, context: &Context<'_>, message: &dyn Display) -> String {
    let unix = clock::unix_us() / 1_000_000;
    let mut line = Moment::new(unix, utc_offset(unix)).error_log();
    let pid = std::process::id();
    // Requests wander between threads, so a thread's number would tell nothing: that of the process stands twice.
    // Writing to a string cannot fail.
    let _ = write!(line, " [{}] {pid}#{pid}: ", level.name());
    let _ = body(&mut Clean { line: &mut line, quoted: false }, context, message);
    line.push('\n');
    line
}

/// The same as an object of JSON. What is not known is left out.
#[derive(Serialize)]
struct Object<'a> {
    time: String,
    level: &'static str,
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<u64>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    referrer: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

/// One line of JSON with its end.
pub(super) fn json(level: Level, context: &Context<'_>, message: &dyn Display) -> String {
    let unix = clock::unix_us() / 1_000_000;
    let request = context.request;
    let header = |name| {
        let value = request.and_then(|facts| facts.headers.get(name));
        value.map(|value| String::from_utf8_lossy(value.as_bytes()))
    };
    let object = Object {
        time: Moment::new(unix, utc_offset(unix)).iso8601(),
        level: level.name(),
        pid: std::process::id(),
        connection: context.connection.map(|connection| connection.serial),
        message: message.to_string(),
        client: context.connection.map(|connection| address(&connection.remote).to_string()),
        server: request.map(|facts| facts.server_name.as_str()),
        request: request.map(|facts| request_line(facts).to_string()),
        upstream: request.map(|facts| facts.upstream.as_str()).filter(|upstream| !upstream.is_empty()),
        host: header(http::header::HOST),
        referrer: header(http::header::REFERER),
        request_id: request.map(|facts| facts.request_id.as_str()).filter(|id| !id.is_empty()),
    };
    // Texts and numbers can always be written.
    let mut line = serde_json::to_string(&object).unwrap_or_default();
    line.push('\n');
    line
}

fn body(line: &mut Clean<'_>, context: &Context<'_>, message: &dyn Display) -> fmt::Result {
    if let Some(connection) = context.connection {
        write!(line, "*{} ", connection.serial)?;
    }
    write!(line, "{message}")?;
    write_tail(line, context)
}

/// Who and what a line is about.
fn write_tail(line: &mut Clean<'_>, context: &Context<'_>) -> fmt::Result {
    if let Some(connection) = context.connection {
        write!(line, ", client: {}", address(&connection.remote))?;
    }
    if let Some(facts) = context.request {
        write!(line, ", server: {}", facts.server_name)?;
        line.field("request", request_line(facts).as_bytes())?;
    }
    if let Some(facts) = context.request.filter(|facts| !facts.upstream.is_empty()) {
        line.field("upstream", facts.upstream.as_bytes())?;
    }
    let headers = context.request.map(|facts| &facts.headers);
    for (field, header) in [("host", http::header::HOST), ("referrer", http::header::REFERER)] {
        if let Some(value) = headers.and_then(|headers| headers.get(header)) {
            line.field(field, value.as_bytes())?;
        }
    }
    Ok(())
}

/// Writes text so that it stays on its line, and within its quotes, whoever sent it.
struct Clean<'a> {
    line: &'a mut String,
    quoted: bool,
}

impl Clean<'_> {
    fn field(&mut self, name: &str, value: &[u8]) -> fmt::Result {
        write!(self.line, ", {name}: \"")?;
        let mut quoted = Clean { line: self.line, quoted: true };
        for chunk in value.utf8_chunks() {
            quoted.write_str(chunk.valid())?;
            for byte in chunk.invalid() {
                write!(quoted.line, "\\x{byte:02X}")?;
            }
        }
        self.line.push('"');
        Ok(())
    }
}

impl Write for Clean<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Nearly always: nothing but what can be seen.
        if text
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~') && !(self.quoted && matches!(byte, b'"' | b'\\')))
        {
            self.line.push_str(text);
            return Ok(());
        }
        for char in text.chars() {
            match char {
                '"' | '\\' if self.quoted => write!(self.line, "\\x{:02X}", u32::from(char))?,
                // The two separators end a line for some readers.
                char if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}') => {
                    for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                        write!(self.line, "\\x{byte:02X}")?;
                    }
                }
                char => self.line.push(char),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::fixture::{facts, headers};

    /// The line after date and time.
    fn rest(level: Level, context: &Context<'_>, message: &str) -> String {
        let line = line(level, context, &message);
        let pid = std::process::id();
        line["2026/11/23 04:12:51 ".len()..].replace(&format!("{pid}#{pid}"), "PID")
    }

    #[test]
    fn lines_say_what_is_known() {
        let mut facts = facts("/ws?a=\"b\"");
        facts.upstream = "http://127.0.0.1:3000/ws".to_owned();
        let client = "client: 192.0.2.7";
        let table = [
            (Context::default(), "[notice] PID: message\n".to_owned()),
            (Context::connection(&facts.connection), format!("[notice] PID: *12 message, {client}\n")),
            (
                Context::request(&facts),
                format!(
                    "[notice] PID: *12 message, {client}, server: first.example.com, \
                     request: \"GET /ws?a=\\x22b\\x22 HTTP/1.1\", upstream: \"http://127.0.0.1:3000/ws\", \
                     host: \"Example.com:8080\"\n"
                ),
            ),
        ];
        for (context, expected) in table {
            assert_eq!(rest(Level::Notice, &context, "message"), expected);
        }
    }

    #[test]
    fn nobody_can_forge_a_line() {
        let mut facts = facts("/");
        facts.headers = headers(&[("host", "a\\\"\t\u{85}b"), ("referer", "r")]);
        facts.headers.insert("referer", http::HeaderValue::from_bytes(b"\xff").unwrap());
        let out =
            rest(Level::Error, &Context::request(&facts), "bad \"x\\\n2026/11/23 [emerg]\u{1b}\u{2028}é");
        assert!(out.contains("bad \"x\\\\x0A2026/11/23 [emerg]\\x1B\\xE2\\x80\\xA8é, client"), "{out}");
        assert!(out.ends_with("host: \"a\\x5C\\x22\\x09\\xC2\\x85b\", referrer: \"\\xFF\"\n"), "{out}");
        assert_eq!(out.lines().count(), 1);
    }
}
