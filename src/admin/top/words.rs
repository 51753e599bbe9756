//! Pure: how figures, times and codes are said in the terminal, as the page says them.

/// A count, with its thousands apart.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate: small ones with a digit behind the point.
pub(super) fn rate(n: f64) -> String {
    if n < 10.0 && n.fract() != 0.0 { format!("{n:.1}") } else { count(n.round() as u64) }
}

/// Bytes with a unit.
pub(super) fn bytes(mut n: f64) -> String {
    let mut units = ["B", "kB", "MB", "GB", "TB", "PB"].iter().peekable();
    while n >= 999.5 && units.len() > 1 {
        n /= 1000.0;
        units.next();
    }
    let unit = units.next().unwrap_or(&"");
    if *unit == "B" || n >= 9.95 { format!("{n:.0} {unit}") } else { format!("{n:.1} {unit}") }
}

/// A short time, seconds given: 250 µs, 1.2 ms, 3.4 s.
pub(super) fn brief(seconds: Option<f64>) -> String {
    let digits = |n: f64| if n < 9.95 { format!("{n:.1}") } else { format!("{n:.0}") };
    match seconds {
        None => "–".to_owned(),
        Some(s) if s < 0.001 => format!("{:.0} µs", s * 1e6),
        Some(s) if s < 1.0 => format!("{} ms", digits(s * 1000.0)),
        Some(s) if s < 60.0 => format!("{} s", digits(s)),
        Some(s) => long(s),
    }
}

/// A long time, seconds given, in its two largest units: 3 d 4 h, 12 min 5 s.
pub(super) fn long(seconds: f64) -> String {
    let mut left = seconds.max(0.0) as u64;
    let mut said = Vec::new();
    for (unit, size) in [("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)] {
        let n = left / size;
        left %= size;
        if n > 0 || !said.is_empty() {
            said.push((n, unit));
        }
    }
    let said: Vec<_> =
        said.iter().take(2).filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n} {unit}")).collect();
    if said.is_empty() { "0 s".to_owned() } else { said.join(" ") }
}

/// What a Close code says.
pub(super) fn meaning(code: u16) -> &'static str {
    match code {
        1000 => "normal end",
        1001 => "going away",
        1002 => "protocol error",
        1003 => "a kind of data that is not accepted",
        1005 => "closed without a code",
        1006 => "no Close frame came",
        1007 => "text that is not UTF-8",
        1008 => "against the policy",
        1009 => "message too big",
        1010 => "an extension is missing",
        1011 => "the server failed",
        1012 => "the service restarts",
        1013 => "overloaded, try again later",
        1014 => "the backend is gone",
        1015 => "TLS failed",
        3000..4000 => "a registered code",
        4000..5000 => "a code of the application",
        _ => "an unknown code",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_said_as_people_read_them() {
        assert_eq!([0, 12, 1234, 1_234_567].map(count), ["0", "12", "1,234", "1,234,567"]);
        assert_eq!([0.0, 0.25, 3.0, 9.94, 1234.5].map(rate), ["0", "0.2", "3", "9.9", "1,235"]);
        assert_eq!(
            [0.0, 999.0, 1000.0, 12_345.0, 88e6].map(bytes),
            ["0 B", "999 B", "1.0 kB", "12 kB", "88 MB"]
        );
        let times = [None, Some(0.00025), Some(0.0012), Some(0.0376), Some(3.44), Some(61.0)];
        assert_eq!(times.map(brief), ["–", "250 µs", "1.2 ms", "38 ms", "3.4 s", "1 min 1 s"]);
        let times = [-1.0, 0.5, 59.9, 60.0, 3605.0, 90_000.0, 86_400.0 * 400.0];
        assert_eq!(times.map(long), ["0 s", "0 s", "59 s", "1 min", "1 h", "1 d 1 h", "400 d"]);
    }
}
