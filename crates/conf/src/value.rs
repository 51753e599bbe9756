//! Times, sizes and numbers, exactly as nginx reads them.

use std::time::Duration;

/// Parses a time such as `60`, `500ms` or `1d 12h`: units descend, a number without one is seconds.
///
/// ```
/// # use longwire_conf::value::time;
/// assert_eq!(time("1m30s"), Some(std::time::Duration::from_secs(90)));
/// assert_eq!(time("30s1m"), None);
/// ```
pub fn time(text: &str) -> Option<Duration> {
    milliseconds(text, true).map(Duration::from_millis)
}

/// Parses a time where nginx counts in whole seconds: `ms` is not allowed.
pub fn seconds(text: &str) -> Option<Duration> {
    milliseconds(text, false).map(Duration::from_millis)
}

fn milliseconds(text: &str, with_ms: bool) -> Option<u64> {
    // Unit, its rank (ranks ascend through the text) and its length in milliseconds.
    const UNITS: &[(&str, u8, u64)] = &[
        ("y", 1, 365 * 86_400_000),
        ("M", 2, 30 * 86_400_000),
        ("w", 3, 7 * 86_400_000),
        ("d", 4, 86_400_000),
        ("h", 5, 3_600_000),
        ("ms", 8, 1),
        ("m", 6, 60_000),
        ("s", 7, 1000),
        (" ", 9, 1000),
    ];
    let (mut rest, mut rank, mut total) = (text, 0, 0u64);
    loop {
        let (value, after) = digits(rest)?;
        if after.is_empty() {
            return total.checked_add(value.checked_mul(1000)?);
        }
        let &(unit, its_rank, length) = UNITS.iter().find(|(unit, ..)| after.starts_with(unit))?;
        if its_rank <= rank || (unit == "ms" && !with_ms) || (unit == " " && rank >= 7) {
            return None;
        }
        rank = its_rank;
        total = total.checked_add(value.checked_mul(length)?)?;
        rest = after[unit.len()..].trim_start_matches(' ');
        if rest.is_empty() {
            return Some(total);
        }
    }
}

/// Parses a size such as `8k`, `10m` or `1g`; a bare number is bytes.
pub fn size(text: &str) -> Option<u64> {
    let (number, unit) = digits(text)?;
    let factor: u64 = match unit {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor).filter(|&bytes| bytes <= i64::MAX as u64)
}

/// Parses a plain number.
pub fn number(text: &str) -> Option<u64> {
    digits(text).filter(|(_, rest)| rest.is_empty()).map(|(number, _)| number)
}

/// The number at the beginning of a text, and what follows it.
fn digits(text: &str) -> Option<(u64, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}
