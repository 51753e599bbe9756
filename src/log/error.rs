//! Lines of the error log.

use std::fmt::{self, Display, Write};

use chrono::{Local, Offset, TimeZone};
use longwire_conf::model::Level;

use crate::clock;
use crate::route::calendar::Moment;
use crate::route::facts::{ConnectionFacts, Facts};
use crate::route::variables::{address, request_line};

/// What a line is about. Only what is known is said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    connection: Option<&'a ConnectionFacts>,
    request: Option<&'a Facts>,
    upstream: Option<&'a str>,
}

impl<'a> Context<'a> {
    /// About a connection without a request.
    pub fn connection(connection: &'a ConnectionFacts) -> Context<'a> {
        Context { connection: Some(connection), ..Context::default() }
    }

    /// About a request.
    pub fn request(facts: &'a Facts) -> Context<'a> {
        Context { connection: Some(&facts.connection), request: Some(facts), upstream: None }
    }

    /// The same, at a backend: its URL, `http://127.0.0.1:3000/ws`.
    pub fn upstream(self, url: &'a str) -> Context<'a> {
        Context { upstream: Some(url), ..self }
    }
}

/// Seconds by which local time is ahead of UTC at a second since 1970.
pub fn utc_offset(unix: u64) -> i32 {
    let time = i64::try_from(unix).ok().and_then(|unix| Local.timestamp_opt(unix, 0).single());
    time.map_or(0, |time| time.offset().fix().local_minus_utc())
}

/// One line with its end.
pub(super) fn line(level: Level, context: &Context<'_>, message: impl Display) -> String {
    let unix = clock::unix_us() / 1_000_000;
    let mut line = Moment::new(unix, utc_offset(unix)).error_log();
    let pid = std::process::id();
    // Requests wander between threads, so a thread's number would tell nothing: that of the process stands twice.
    // Writing to a string cannot fail.
    let _ = write!(line, " [{}] {pid}#{pid}: ", name(level));
    let _ = body(&mut Clean { line: &mut line, quoted: false }, context, message);
    line.push('\n');
    line
}

fn body(line: &mut Clean<'_>, context: &Context<'_>, message: impl Display) -> fmt::Result {
    if let Some(connection) = context.connection {
        write!(line, "*{} ", connection.serial)?;
    }
    write!(line, "{message}")?;
    if let Some(connection) = context.connection {
        write!(line, ", client: {}", address(&connection.remote))?;
    }
    if let Some(facts) = context.request {
        write!(line, ", server: {}", facts.server_name)?;
        line.field("request", request_line(facts).as_bytes())?;
    }
    if let Some(url) = context.upstream {
        line.field("upstream", url.as_bytes())?;
    }
    let headers = context.request.map(|facts| &facts.headers);
    for (field, header) in [("host", http::header::HOST), ("referrer", http::header::REFERER)] {
        if let Some(value) = headers.and_then(|headers| headers.get(header)) {
            line.field(field, value.as_bytes())?;
        }
    }
    Ok(())
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Emerg => "emerg",
        Level::Alert => "alert",
        Level::Crit => "crit",
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Notice => "notice",
        Level::Info => "info",
        Level::Debug => "debug",
    }
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
