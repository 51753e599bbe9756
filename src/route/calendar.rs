//! Pure: seconds since 1970 as a date, in the forms that logs and cookies use.

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A second on somebody's calendar and clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    year: i64,
    /// From 1.
    month: u8,
    day: u8,
    /// Of the day.
    second: u32,
    utc_offset: i32,
    /// Since 1970.
    days: i64,
}

impl Moment {
    /// A second since 1970, where local time is `utc_offset` seconds ahead of UTC.
    pub fn new(unix: u64, utc_offset: i32) -> Moment {
        let local = i64::try_from(unix).unwrap_or(i64::MAX / 2) + i64::from(utc_offset);
        let (days, second) = (local.div_euclid(86_400), local.rem_euclid(86_400) as u32);
        // Years that begin in March end with the leap day; 400 of them have always 146,097 days.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * from_march + 2) / 5 + 1) as u8;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 } as u8;
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        Moment { year, month, day, second, utc_offset, days }
    }

    /// `23/Nov/2026:04:12:51 +0000`.
    pub fn common_log(&self) -> String {
        let month = MONTHS.get(usize::from(self.month) - 1).copied().unwrap_or_default();
        format!("{:02}/{month}/{}:{} {}", self.day, self.year, self.time(), self.zone(""))
    }

    /// `2026-11-23T04:12:51+00:00`.
    pub fn iso8601(&self) -> String {
        format!("{}-{:02}-{:02}T{}{}", self.year, self.month, self.day, self.time(), self.zone(":"))
    }

    /// `2026/11/23 04:12:51`.
    pub fn error_log(&self) -> String {
        format!("{}/{:02}/{:02} {}", self.year, self.month, self.day, self.time())
    }

    /// `Nov 23 04:12:51`, the day at least two wide (RFC 3164, 4.1.2).
    pub fn syslog(&self) -> String {
        let month = MONTHS.get(usize::from(self.month) - 1).copied().unwrap_or_default();
        format!("{month} {:2} {}", self.day, self.time())
    }

    /// `Mon, 23-Nov-26 04:12:51 GMT`, as nginx writes it in cookies: years of more than 2037 have four digits.
    pub fn cookie(&self) -> String {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        let weekday = DAYS.get(self.days.rem_euclid(7) as usize).copied().unwrap_or_default();
        let month = MONTHS.get(usize::from(self.month) - 1).copied().unwrap_or_default();
        let year = if self.year > 2037 { self.year.to_string() } else { format!("{:02}", self.year % 100) };
        format!("{weekday}, {:02}-{month}-{year} {} GMT", self.day, self.time())
    }

    fn time(&self) -> String {
        format!("{:02}:{:02}:{:02}", self.second / 3_600, self.second / 60 % 60, self.second % 60)
    }

    fn zone(&self, separator: &str) -> String {
        let sign = if self.utc_offset < 0 { '-' } else { '+' };
        let minutes = self.utc_offset.unsigned_abs() / 60;
        format!("{sign}{:02}{separator}{:02}", minutes / 60, minutes % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_on_both_sides_of_leap_days() {
        let table = [
            (0, 0, "1970-01-01T00:00:00+00:00"),
            (951_782_399, 0, "2000-02-28T23:59:59+00:00"),
            (951_782_400, 0, "2000-02-29T00:00:00+00:00"),
            (1_795_407_171, 0, "2026-11-23T04:12:51+00:00"),
            (1_795_407_171, 19_800, "2026-11-23T09:42:51+05:30"),
            (1_795_407_171, -18_000, "2026-11-22T23:12:51-05:00"),
            (4_107_542_400, 0, "2100-03-01T00:00:00+00:00"),
            (0, -3_600, "1969-12-31T23:00:00-01:00"),
        ];
        for (unix, offset, expected) in table {
            assert_eq!(Moment::new(unix, offset).iso8601(), expected);
        }
        let moment = Moment::new(1_795_407_171, -12_600);
        assert_eq!(moment.common_log(), "23/Nov/2026:00:42:51 -0330");
        assert_eq!(moment.error_log(), "2026/11/23 00:42:51");
        assert_eq!(Moment::new(1_795_407_171, 0).cookie(), "Mon, 23-Nov-26 04:12:51 GMT");
        assert_eq!(Moment::new(4_107_542_400, 0).cookie(), "Mon, 01-Mar-2100 00:00:00 GMT");
    }
}
