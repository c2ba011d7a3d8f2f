//! Durations as they are written: `250ms`, `5s`, `1h30m`.

use std::time::Duration;

use crate::codes::BAD_DURATION;
use crate::diagnostic::Diagnostic;
use crate::text::Text;

/// Units and their nanoseconds, from large to small.
const UNITS: [(&str, u64); 8] = [
    ("w", 604_800_000_000_000),
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

const UNIT_WORDS: &str =
    "units: `ns`, `us`, `ms`, `s`, `m` (minutes), `h`, `d`, `w`; whole numbers only, and units may be chained: `1h30m`";

/// For the JSON Schema; a variable is let through.
pub(crate) const PATTERN: &str = r"^(\d+(ns|us|ms|s|m|h|d|w))+$|\$\{";

/// Why a text is not a duration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    what: String,
    /// What was probably meant.
    meant: Option<String>,
}

impl Problem {
    fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), meant: None }
    }

    pub(crate) fn diagnostic(&self, name: &str, text: &Text) -> Diagnostic {
        // What a variable holds may be a secret, and a part of it says too much already.
        let what = if text.is_expanded() { "what it stands for is none" } else { &self.what };
        let message = format!("{name} must be a duration, found `{}`: {what}", crate::decode::shorten(text.shown()));
        let diagnostic = Diagnostic::error(BAD_DURATION, text.span, message).help(UNIT_WORDS);
        match &self.meant {
            Some(meant) if !text.is_expanded() => diagnostic.label(format!("did you mean `{meant}`?")),
            _ => diagnostic,
        }
    }
}

/// Reads a duration of at most 292 years (what fits into nanoseconds in an `i64`).
pub(crate) fn parse(text: &str) -> Result<Duration, Problem> {
    if text.is_empty() {
        return Err(Problem::new("it is empty"));
    }
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (digits, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        if digits.is_empty() {
            return Err(not_a_number(text, rest));
        }
        let (word, next) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let Some(&(_, ns)) = UNITS.iter().find(|(unit, _)| *unit == word) else {
            return Err(bad_unit(text, digits, word));
        };
        let too_long = || Problem::new("it is longer than 292 years");
        let number: u64 = digits.parse().map_err(|_| too_long())?;
        total = number.checked_mul(ns).and_then(|part| total.checked_add(part)).ok_or_else(too_long)?;
        if total > i64::MAX as u64 {
            return Err(too_long());
        }
        rest = next;
    }
    Ok(Duration::from_nanos(total))
}

fn not_a_number(text: &str, rest: &str) -> Problem {
    if rest.starts_with('-') {
        return Problem::new("it can't be negative");
    }
    let what =
        if rest.len() == text.len() { "it must begin with a number" } else { "a number is expected before each unit" };
    Problem::new(what)
}

fn bad_unit(text: &str, digits: &str, word: &str) -> Problem {
    if word.is_empty() {
        return Problem { what: "it has no unit".to_owned(), meant: Some(format!("{text}ms` or `{text}s")) };
    }
    if word.starts_with('.') {
        return Problem { what: "only whole numbers are allowed".to_owned(), meant: in_smaller_unit(text) };
    }
    let unit = match word.trim().to_lowercase().trim_end_matches('s') {
        "week" => Some("w"),
        "d" | "day" => Some("d"),
        "h" | "hr" | "hour" => Some("h"),
        "m" | "min" | "minute" => Some("m"),
        "" | "sec" | "second" => Some("s"),
        "msec" | "milli" | "millisecond" => Some("ms"),
        "µ" | "μ" | "usec" | "micro" | "microsecond" => Some("us"),
        "nano" | "nanosecond" => Some("ns"),
        other => UNITS.iter().map(|(unit, _)| *unit).find(|unit| *unit == other || word.trim() == *unit),
    };
    // `MS` loses its `s` above.
    let unit = if word.trim().eq_ignore_ascii_case("ms") { Some("ms") } else { unit };
    let what =
        if word.trim() != word { "there is a space in it".to_owned() } else { format!("`{word}` is not a unit") };
    let whole = format!("{digits}{word}") == text;
    Problem { what, meant: unit.filter(|_| whole).map(|unit| format!("{digits}{unit}")) }
}

/// `1.5h` as `90m`.
fn in_smaller_unit(text: &str) -> Option<String> {
    let (number, word) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.')?);
    let i = UNITS.iter().position(|(unit, _)| *unit == word)?;
    let (_, ns) = UNITS.get(i)?;
    let total = number.parse::<f64>().ok()? * *ns as f64;
    UNITS.iter().skip(i + 1).find_map(|(unit, ns)| {
        let count = total / *ns as f64;
        (count.fract() == 0.0 && count >= 1.0).then(|| format!("{count}{unit}"))
    })
}

/// As it is written: the fewest units, large ones first.
pub fn show(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    // One unit that divides it reads best: `90m`, not `1h30m`; but never 3600 of something.
    if let Some((unit, ns)) = UNITS.iter().find(|(_, ns)| rest.is_multiple_of(*ns)) {
        let count = rest / ns;
        if count < 1000 {
            return format!("{count}{unit}");
        }
    }
    let mut out = String::new();
    for (unit, ns) in UNITS {
        if rest >= ns {
            out.push_str(&format!("{}{unit}", rest / ns));
            rest %= ns;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, ns) in [
            ("0s", 0),
            ("0ms", 0),
            ("7ns", 7),
            ("3us", 3_000),
            ("250ms", 250_000_000),
            ("5s", 5_000_000_000),
            ("2m", 120_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("30d", 30 * 86_400_000_000_000),
            ("1w", 7 * 86_400_000_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(ns)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_says_what_was_meant() {
        for (text, what, meant) in [
            ("", "it is empty", None),
            ("5", "it has no unit", Some("5ms` or `5s")),
            ("five", "it must begin with a number", None),
            ("-5s", "it can't be negative", None),
            ("5 s", "there is a space in it", Some("5s")),
            ("5sec", "`sec` is not a unit", Some("5s")),
            ("5 minutes", "there is a space in it", Some("5m")),
            ("5MS", "`MS` is not a unit", Some("5ms")),
            ("5µs", "`µs` is not a unit", Some("5us")),
            ("5S", "`S` is not a unit", Some("5s")),
            ("3months", "`months` is not a unit", None),
            ("1.5h", "only whole numbers are allowed", Some("90m")),
            ("0.5s", "only whole numbers are allowed", Some("500ms")),
            ("999999999w", "it is longer than 292 years", None),
            ("99999999999999999999s", "it is longer than 292 years", None),
            ("1h-3m", "`h-` is not a unit", None),
        ] {
            let problem = parse(text).unwrap_err();
            assert_eq!((problem.what.as_str(), problem.meant.as_deref()), (what, meant), "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for ns in [0, 1, 999, 50_000_000, 60_000_000_000, 5_400_000_000_000, 90_061_001_002_003, i64::MAX as u64] {
            let duration = Duration::from_nanos(ns);
            assert_eq!(parse(&show(duration)), Ok(duration));
        }
        assert_eq!(show(Duration::from_millis(50)), "50ms");
        assert_eq!(show(Duration::from_secs(60)), "1m");
        assert_eq!(show(Duration::from_secs(5400)), "90m");
    }
}
