//! Pure: `expires`: until when an answer may be kept.

use http::header::{self, HeaderMap};
use longwire_conf::model::{Expires, Expiry, Settings};

use super::files::{http_date, parse_date};
use super::headers::header_value;
use super::variables::Scope;

/// Seconds of a day.
const DAY: i64 = 24 * 60 * 60;

/// Sets `Expires` and `Cache-Control` in place of any that were there.
pub(super) fn set_expires(headers: &mut HeaderMap, settings: &Settings, scope: &Scope<'_>) {
    let expiry = match &settings.expires {
        Expires::Fixed(expiry) => *expiry,
        Expires::Variable(value, modified) => {
            let value = String::from_utf8_lossy(&scope.render(value)).into_owned();
            let Ok(expiry) = Expiry::parse(&value, *modified) else { return };
            expiry
        }
    };
    let now = i64::try_from(scope.unix_us() / 1_000_000).unwrap_or(i64::MAX / 2);
    let changed = headers.get(header::LAST_MODIFIED).and_then(|date| parse_date(date.as_bytes()));
    let changed = changed.and_then(|second| i64::try_from(second).ok());
    let (date, control) = match (expiry, changed) {
        (Expiry::Off, _) => return,
        (Expiry::Epoch, _) => ("Thu, 01 Jan 1970 00:00:01 GMT".to_owned(), "no-cache".to_owned()),
        (Expiry::Max, _) => ("Thu, 31 Dec 2037 23:55:55 GMT".to_owned(), "max-age=315360000".to_owned()),
        (Expiry::Access(0) | Expiry::Modified(0), _) => (at(now), "max-age=0".to_owned()),
        (Expiry::Daily(second), _) => {
            let next = next_time(now, second, i64::from(scope.machine.utc_offset));
            (at(next), format!("max-age={}", next - now))
        }
        (Expiry::Modified(after), Some(changed)) => {
            let age = changed.saturating_add(after) - now;
            (at(now.saturating_add(age)), control(after < 0 || age < 0, age))
        }
        (Expiry::Access(after) | Expiry::Modified(after), _) => {
            (at(now.saturating_add(after)), control(after < 0, after))
        }
    };
    headers.insert(header::EXPIRES, header_value(date.into_bytes()));
    headers.insert(header::CACHE_CONTROL, header_value(control.into_bytes()));
}

fn at(second: i64) -> String {
    http_date(u64::try_from(second).unwrap_or(0))
}

fn control(is_past: bool, age: i64) -> String {
    if is_past { "no-cache".to_owned() } else { format!("max-age={age}") }
}

/// When it is this second of the local day next.
fn next_time(now: i64, second: i64, utc_offset: i64) -> i64 {
    let today = (now + utc_offset).div_euclid(DAY) * DAY - utc_offset + second;
    if today > now { today } else { today + DAY }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{facts, listed, settings, template, with_scope};
    use super::*;

    fn run(expires: Expires, headers: &[(&str, &str)]) -> Vec<String> {
        let settings = Settings { expires, ..settings() };
        let mut answer = super::super::fixture::headers(headers);
        with_scope(&facts("/?t=-1"), &[], |scope| set_expires(&mut answer, &settings, scope));
        listed(&answer)
    }

    /// The request came on 23 November 2026 at 04:12:51 UTC.
    #[test]
    fn answers_expire_as_in_nginx() {
        let fixed = |text: &str| Expires::Fixed(Expiry::parse(text, false).unwrap());
        let table = [
            (fixed("1h"), "max-age=3600", "Mon, 23 Nov 2026 05:12:51 GMT"),
            (fixed("+1h"), "max-age=3600", "Mon, 23 Nov 2026 05:12:51 GMT"),
            (fixed("0"), "max-age=0", "Mon, 23 Nov 2026 04:12:51 GMT"),
            (fixed("-1"), "no-cache", "Mon, 23 Nov 2026 04:12:50 GMT"),
            (fixed("epoch"), "no-cache", "Thu, 01 Jan 1970 00:00:01 GMT"),
            (fixed("max"), "max-age=315360000", "Thu, 31 Dec 2037 23:55:55 GMT"),
            (fixed("@5h"), "max-age=2829", "Mon, 23 Nov 2026 05:00:00 GMT"),
            (fixed("@4h"), "max-age=85629", "Tue, 24 Nov 2026 04:00:00 GMT"),
            (Expires::Variable(template("$arg_t"), false), "no-cache", "Mon, 23 Nov 2026 04:12:50 GMT"),
            (Expires::Fixed(Expiry::Modified(60)), "max-age=60", "Mon, 23 Nov 2026 04:13:51 GMT"),
        ];
        for (expires, control, date) in table {
            let expected = [format!("cache-control: {control}"), format!("expires: {date}")];
            assert_eq!(run(expires.clone(), &[("cache-control", "private")]), expected, "{expires:?}");
        }
        let changed = [("last-modified", "Mon, 23 Nov 2026 04:12:00 GMT")];
        let shown = run(Expires::Fixed(Expiry::Modified(60)), &changed);
        assert_eq!(shown[..2], ["cache-control: max-age=9", "expires: Mon, 23 Nov 2026 04:13:00 GMT"]);
        assert_eq!(run(Expires::Fixed(Expiry::Modified(10)), &changed)[0], "cache-control: no-cache");
        for expires in [fixed("off"), Expires::Variable(template("$arg_none"), false)] {
            assert_eq!(run(expires, &[("expires", "x")]), ["expires: x"]);
        }
    }
}
