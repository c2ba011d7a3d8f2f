//! Dates and RFC 3339 timestamps, from text and to text.

use chrono::{Datelike, NaiveDate};

/// Microseconds since 1970-01-01T00:00:00Z of an RFC 3339 timestamp.
///
/// `T` may be a space, an offset or `Z` is required, and `23:59:60Z` is the first second of the next day.
/// Digits beyond the microsecond are cut off, never rounded: an event never moves into its own future.
pub(crate) fn parse_rfc3339(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let days = i64::from(parse_date(text.get(..10)?)?);
    if !matches!(bytes.get(10)?, b'T' | b't' | b' ') || bytes.get(13) != Some(&b':') || bytes.get(16) != Some(&b':') {
        return None;
    }
    let (hour, minute, second) = (two(bytes, 11, 23)?, two(bytes, 14, 59)?, two(bytes, 17, 60)?);
    let mut at = 19;
    let mut micros = 0;
    if bytes.get(at) == Some(&b'.') {
        let first = at + 1;
        at = first;
        while let Some(digit) = bytes.get(at).filter(|byte| byte.is_ascii_digit()) {
            if at - first < 6 {
                micros = micros * 10 + i64::from(digit - b'0');
            }
            at += 1;
        }
        let places = at - first;
        if places == 0 {
            return None;
        }
        micros *= 10i64.pow(6usize.saturating_sub(places) as u32);
    }
    let offset_minutes = match bytes.get(at)? {
        b'Z' | b'z' if bytes.len() == at + 1 => 0,
        sign @ (b'+' | b'-') if bytes.len() == at + 6 && bytes.get(at + 3) == Some(&b':') => {
            let minutes = two(bytes, at + 1, 23)? * 60 + two(bytes, at + 4, 59)?;
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    let minutes = hour * 60 + minute - offset_minutes;
    if second == 60 && minutes.rem_euclid(24 * 60) != 23 * 60 + 59 {
        return None;
    }
    Some(((days * 24 * 60 + minutes) * 60 + second) * 1_000_000 + micros)
}

/// Days since 1970-01-01 of a date `YYYY-MM-DD`.
pub(crate) fn parse_date(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes.get(4) != Some(&b'-') || bytes.get(7) != Some(&b'-') {
        return None;
    }
    let year = two(bytes, 0, 99)? * 100 + two(bytes, 2, 99)?;
    let date = NaiveDate::from_ymd_opt(year as i32, two(bytes, 5, 12)? as u32, two(bytes, 8, 31)? as u32)?;
    Some(date.to_epoch_days())
}

fn two(bytes: &[u8], at: usize, max: i64) -> Option<i64> {
    let tens = bytes.get(at)?.checked_sub(b'0').filter(|&digit| digit < 10)?;
    let ones = bytes.get(at + 1)?.checked_sub(b'0').filter(|&digit| digit < 10)?;
    let value = i64::from(tens * 10 + ones);
    (value <= max).then_some(value)
}

/// Appends a date; false (and nothing) if it lies beyond what a calendar holds.
pub(crate) fn write_date(days: i64, out: &mut Vec<u8>) -> bool {
    let date = i32::try_from(days).ok().and_then(NaiveDate::from_epoch_days);
    let Some(date) = date else { return false };
    let (year, month, day) = (date.year(), date.month(), date.day());
    if (0..=9999).contains(&year) {
        push_digits(year as u64, 4, out);
    } else {
        // ISO 8601's expanded years carry a sign.
        out.push(if year < 0 { b'-' } else { b'+' });
        push_digits(u64::from(year.unsigned_abs()), 4, out);
    }
    out.push(b'-');
    push_digits(u64::from(month), 2, out);
    out.push(b'-');
    push_digits(u64::from(day), 2, out);
    true
}

/// Appends a timestamp in UTC with as many places as its unit has (`per_second` a power of ten); false (and
/// nothing) if it lies beyond what a calendar holds.
pub(crate) fn write_rfc3339(value: i64, per_second: i64, out: &mut Vec<u8>) -> bool {
    let (seconds, fraction) = (value.div_euclid(per_second), value.rem_euclid(per_second));
    if !write_date(seconds.div_euclid(86_400), out) {
        return false;
    }
    let second = seconds.rem_euclid(86_400) as u64;
    out.push(b'T');
    push_digits(second / 3600, 2, out);
    out.push(b':');
    push_digits(second / 60 % 60, 2, out);
    out.push(b':');
    push_digits(second % 60, 2, out);
    if per_second > 1 {
        out.push(b'.');
        push_digits(fraction as u64, per_second.ilog10() as usize, out);
    }
    out.push(b'Z');
    true
}

/// Appends `value` with at least `width` digits (at most 20).
fn push_digits(value: u64, width: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(value);
    out.extend(std::iter::repeat_n(b'0', width.saturating_sub(text.len())));
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn timestamps_with_offsets_and_fractions() {
        let base = 1_748_851_200_000_000;
        for (text, micros) in [
            ("2025-06-02T08:00:00Z", base),
            ("2025-06-02t08:00:00z", base),
            ("2025-06-02 08:00:00+00:00", base),
            ("2025-06-02T10:00:00+02:00", base),
            ("2025-06-02T00:30:00-07:30", base),
            ("2025-06-02T08:00:00.5Z", base + 500_000),
            ("2025-06-02T08:00:00.123456Z", base + 123_456),
            ("2025-06-02T08:00:00.123456999Z", base + 123_456),
            ("1969-12-31T23:59:59.9999999Z", -1),
            ("1970-01-01T00:00:00-00:00", 0),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000_000),
            ("2017-01-01T00:59:60+01:00", 1_483_228_800_000_000),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000_000),
        ] {
            assert_eq!(parse_rfc3339(text), Some(micros), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_timestamp() {
        for text in [
            "",
            "yesterday",
            "2025-06-02",
            "2025-06-02T08:00:00",
            "2025-06-02T08:00Z",
            "2025-06-31T08:00:00Z",
            "2025-13-01T08:00:00Z",
            "2025-06-02T24:00:00Z",
            "2025-06-02T08:60:00Z",
            "2025-06-02T08:00:60Z",
            "2025-06-02T08:00:00.Z",
            "2025-06-02T08:00:00+0200",
            "2025-06-02T08:00:00+02",
            "2025-06-02T08:00:00Zx",
            "2025-6-2T08:00:00Z",
            "+2025-06-02T08:00:00Z",
            "2025-06-02T08:00:00,5Z",
            "2025-06-02T08:00:00+24:00",
            "2025-06-0äT08:00:00Z",
            "1748851200000",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn dates() {
        assert_eq!(parse_date("1970-01-01"), Some(0));
        assert_eq!(parse_date("2024-02-29"), Some(19_782));
        assert_eq!(parse_date("2023-02-29"), None);
        assert_eq!(parse_date("2024-2-29"), None);
        assert_eq!(parse_date("2024/02/29"), None);
        let mut out = Vec::new();
        assert!(write_date(-719_529, &mut out));
        assert_eq!(out, b"-0001-12-31");
        assert!(!write_date(i64::MAX, &mut out));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(micros in -62_167_219_200_000_000i64..253_402_300_800_000_000) {
            let mut out = Vec::new();
            prop_assert!(write_rfc3339(micros, 1_000_000, &mut out));
            prop_assert_eq!(parse_rfc3339(std::str::from_utf8(&out).unwrap()), Some(micros));
        }

        #[test]
        fn reading_agrees_with_chrono(text in "[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-][01][0-9]:[0-5][0-9])") {
            let theirs = chrono::DateTime::parse_from_rfc3339(&text).ok().map(|t| t.timestamp_micros());
            prop_assert_eq!(parse_rfc3339(&text), theirs);
        }
    }
}
