//! Lines of the access log.

use longwire_conf::model::{Escape, LogFormat};
use longwire_conf::template::{Known, Part, Variable};

use super::pieces::{Pieces, Reader};
use crate::route::variables::Scope;

/// One line with its end.
pub(super) fn line(format: &LogFormat, scope: &Scope<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    for part in &format.template.parts {
        match part {
            Part::Text(text) => line.extend_from_slice(text.as_bytes()),
            Part::Variable(variable) => escape(&mut line, format.escape, scope.value(variable).as_deref()),
        }
    }
    line.push(b'\n');
    line
}

/// Keeps of something that lasts what its line will need beside what [`is_told`] at its end: nothing else of it has
/// to be kept. What depends on maps is taken as it is now.
pub(super) fn keep(format: &LogFormat, scope: &Scope<'_>, kept: &mut Pieces) {
    for variable in variables(format).filter(|variable| !is_told(variable)) {
        kept.push(scope.value(variable).as_deref());
    }
}

/// The line at its end.
pub(super) fn complete(format: &LogFormat, kept: &mut Reader<'_>, scope: &Scope<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    for part in &format.template.parts {
        match part {
            Part::Text(text) => line.extend_from_slice(text.as_bytes()),
            Part::Variable(variable) if is_told(variable) => {
                escape(&mut line, format.escape, scope.value(variable).as_deref());
            }
            Part::Variable(_) => escape(&mut line, format.escape, kept.text()),
        }
    }
    line.push(b'\n');
    line
}

fn variables(format: &LogFormat) -> impl Iterator<Item = &Variable> {
    format.template.parts.iter().filter_map(|part| match part {
        Part::Variable(variable) => Some(variable),
        Part::Text(_) => None,
    })
}

/// Whether it tells what backends took and gave.
pub(super) fn asks_backends(format: &LogFormat) -> bool {
    variables(format).any(|variable| {
        matches!(
            variable,
            Variable::Known(
                Known::UpstreamBytesReceived
                    | Known::UpstreamBytesSent
                    | Known::UpstreamResponseLength
                    | Known::UpstreamResponseTime
            )
        )
    })
}

/// Whether the facts of the end tell a variable: it is decided then, or kept for the error log anyway.
pub(super) fn is_told(variable: &Variable) -> bool {
    let Variable::Known(known) = variable else { return false };
    let kept = matches!(known, Known::RemoteAddr | Known::Request | Known::ServerName | Known::Status);
    kept || is_late(*known)
}

/// What is known only when a tunnel has ended.
fn is_late(known: Known) -> bool {
    matches!(
        known,
        Known::BodyBytesSent
            | Known::BytesSent
            | Known::ConnectionTime
            | Known::Msec
            | Known::RequestCompletion
            | Known::RequestLength
            | Known::RequestTime
            | Known::TimeIso8601
            | Known::TimeLocal
            | Known::UpstreamBytesReceived
            | Known::UpstreamBytesSent
            | Known::UpstreamResponseLength
            | Known::UpstreamResponseTime
            | Known::WebsocketDuration
            | Known::WebsocketMessagesReceived
            | Known::WebsocketMessagesSent
            | Known::WebsocketCloseCode
            | Known::WebsocketEndedBy
            | Known::WebsocketReason
            | Known::WebsocketClientRtt
            | Known::WebsocketBackendRtt
    )
}

/// Appends a value. Only the default escaping shows that there is none.
fn escape(line: &mut Vec<u8>, escape: Escape, value: Option<&[u8]>) {
    match (escape, value) {
        (Escape::Default, None) => line.push(b'-'),
        (_, None) => {}
        (Escape::None, Some(value)) => line.extend_from_slice(value),
        (Escape::Default, Some(value)) => value.iter().for_each(|byte| match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => push_hex(line, b"\\x", *byte),
            byte => line.push(*byte),
        }),
        (Escape::Json, Some(value)) => value.iter().for_each(|byte| match byte {
            b'"' | b'\\' => line.extend([b'\\', *byte]),
            b'\n' => line.extend(b"\\n"),
            b'\r' => line.extend(b"\\r"),
            b'\t' => line.extend(b"\\t"),
            0x08 => line.extend(b"\\b"),
            0x0c => line.extend(b"\\f"),
            0..=0x1f => push_hex(line, b"\\u00", *byte),
            byte => line.push(*byte),
        }),
    }
}

fn push_hex(line: &mut Vec<u8>, lead: &[u8], byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    line.extend_from_slice(lead);
    line.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::fixture::{facts, headers, template, with_scope};

    fn lines(text: &str, target: &str, sent: &[(&str, &str)]) -> [String; 3] {
        let mut facts = facts(target);
        facts.headers = headers(sent);
        [Escape::Default, Escape::Json, Escape::None].map(|escape| {
            let format = LogFormat { name: "f".to_owned(), escape, template: template(text) };
            let line = with_scope(&facts, &[], |scope| line(&format, scope));
            String::from_utf8_lossy(&line).into_owned()
        })
    }

    /// What nginx wrote.
    #[test]
    fn values_are_escaped_as_in_nginx() {
        let text = "<$http_nope|$arg_e|$args|$m0|$remote_user|$http_x|$upstream_addr|$is_args|$cookie_a>";
        let [default, json, none] = lines(text, "/log?e=", &[("x", "a\"b\\c\td\u{e9}")]);
        assert_eq!(default, "<-||e=||-|a\\x22b\\x5Cc\\x09d\\xC3\\xA9|-|?|->\n");
        assert_eq!(json, "<||e=|||a\\\"b\\\\c\\td\u{e9}||?|>\n");
        assert_eq!(none, "<||e=|||a\"b\\c\td\u{e9}||?|>\n");
        assert_eq!(lines(text, "/log", &[("cookie", "a=")])[0], "<-|-|-||-|-|-||>\n");
    }

    #[test]
    fn controls_cannot_end_a_line() {
        let [default, json, _] = lines("$uri", "/%0a%0d%08%0c%01%7f%ff", &[]);
        assert_eq!(default, "/\\x0A\\x0D\\x08\\x0C\\x01\\x7F\\xFF\n");
        assert_eq!(json, "/\\n\\r\\b\\f\\u0001\u{7f}\u{fffd}\n");
    }

    #[test]
    fn the_combined_format_looks_like_nginx_s() {
        let combined = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
                        \"$http_referer\" \"$http_user_agent\"";
        let [line, ..] = lines(combined, "/ws?a", &[("user-agent", "curl/8")]);
        let expected =
            "192.0.2.7 - - [23/Nov/2026:04:12:51 +0000] \"GET /ws?a HTTP/1.1\" 000 0 \"-\" \"curl/8\"\n";
        assert_eq!(line, expected);
    }

    #[test]
    fn what_is_kept_completes_the_line() {
        let text = "$remote_addr \"$request\" $status [$time_local] $body_bytes_sent $websocket_reason $args \
                    $http_user_agent $arg_none $server_name $uri";
        let format = LogFormat { name: "f".to_owned(), escape: Escape::Default, template: template(text) };
        let mut whole = facts("/a?b=c");
        whole.headers = headers(&[("user-agent", "a\"b")]);
        whole.outcome.status = 101;
        let mut kept = Pieces::default();
        with_scope(&whole, &[], |scope| keep(&format, scope, &mut kept));
        // All that is left of the request.
        let mut end = facts("/other");
        end.target.clone_from(&whole.target);
        end.outcome.status = 101;
        end.outcome.body_bytes_sent = 7;
        whole.outcome.body_bytes_sent = 7;
        let kept = kept.finish();
        let mut reader = Reader(&kept);
        let completed = with_scope(&end, &[], |scope| complete(&format, &mut reader, scope));
        assert_eq!(completed, with_scope(&whole, &[], |scope| line(&format, scope)));
        assert_eq!(reader.number(), None, "all was read");
    }

    #[test]
    fn the_combined_format_keeps_little() {
        let combined = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
                        \"$http_referer\" \"$http_user_agent\"";
        let format =
            LogFormat { name: "f".to_owned(), escape: Escape::Default, template: template(combined) };
        let mut facts = facts("/ws?a");
        facts.headers = headers(&[("user-agent", "curl/8")]);
        let mut kept = Pieces::default();
        with_scope(&facts, &[], |scope| keep(&format, scope, &mut kept));
        assert_eq!(kept.finish().len(), 3 * 4 + "curl/8".len());
    }
}
