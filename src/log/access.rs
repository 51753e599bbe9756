//! Lines of the access log.

use longwire_conf::model::{Escape, LogFormat};
use longwire_conf::template::Part;

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
