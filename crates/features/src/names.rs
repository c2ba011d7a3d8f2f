//! Words for people: suggestions for mistyped names, and types as the pipeline file writes them.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};

/// The known name that a mistyped one most likely stands for.
pub(crate) fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let length = name.chars().count();
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(&lower, &k.to_lowercase()), k))
        .filter(|&(distance, k)| {
            let shorter = length.min(k.chars().count());
            distance <= 1 + shorter / 4 && distance < shorter
        })
        .min_by_key(|&(distance, k)| (distance, k))
        .map(|(_, k)| k)
}

/// The only known name that a name of some length is a part of.
fn containing<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let mut hits = known.iter().filter(|k| k.to_lowercase().contains(&lower));
    match (hits.next(), hits.next()) {
        (Some(hit), None) if lower.chars().count() >= 3 => Some(hit),
        _ => None,
    }
}

/// "did you mean `x`?", or what there is.
pub(crate) fn did_you_mean(name: &str, known: &[&str], kind: &str) -> Option<String> {
    const LISTED_MAX: usize = 20;
    if let Some(close) = closest(name, known.iter().copied()).or_else(|| containing(name, known)) {
        return Some(format!("did you mean `{close}`?"));
    }
    if known.is_empty() {
        return None;
    }
    let listed: Vec<String> = known.iter().take(LISTED_MAX).map(|k| format!("`{k}`")).collect();
    let more = if known.len() > LISTED_MAX { ", …" } else { "" };
    Some(format!("known {kind}: {}{more}", listed.join(", ")))
}

/// A type as a `schema:` writes it, or as near as can be.
pub(crate) fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".into(),
        DataType::Boolean => "bool".into(),
        DataType::Null => "null".into(),
        DataType::Int8 => "int8".into(),
        DataType::Int16 => "int16".into(),
        DataType::Int32 => "int32".into(),
        DataType::Int64 => "int64".into(),
        DataType::UInt8 => "uint8".into(),
        DataType::UInt16 => "uint16".into(),
        DataType::UInt32 => "uint32".into(),
        DataType::UInt64 => "uint64".into(),
        DataType::Float16 => "float16".into(),
        DataType::Float32 => "float32".into(),
        DataType::Float64 => "float64".into(),
        DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => format!("decimal({p}, {s})"),
        DataType::Timestamp(unit, None) => format!("timestamp_{}", unit_name(*unit)),
        DataType::Timestamp(unit, Some(zone)) => format!("timestamp_{} with zone {zone}", unit_name(*unit)),
        DataType::Date32 | DataType::Date64 => "date".into(),
        DataType::Time32(_) | DataType::Time64(_) => "time".into(),
        DataType::Duration(unit) => format!("duration_{}", unit_name(*unit)),
        DataType::Interval(IntervalUnit::YearMonth | IntervalUnit::DayTime | IntervalUnit::MonthDayNano) => {
            "interval".into()
        }
        DataType::List(item) | DataType::LargeList(item) => format!("list<{}>", type_name(item.data_type())),
        DataType::Struct(fields) => {
            let inner: Vec<String> =
                fields.iter().map(|f| format!("{}: {}", f.name(), type_name(f.data_type()))).collect();
            format!("struct<{}>", inner.join(", "))
        }
        DataType::Dictionary(_, value) => type_name(value),
        other => other.to_string(),
    }
}

fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}

/// Nanoseconds as people write them: `5m`, `1h30m`, `250ms`.
pub(crate) fn duration(ns: i64) -> String {
    const UNITS: [(i64, &str); 7] = [
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ];
    let mut rest = ns;
    let mut text = String::new();
    for (size, name) in UNITS {
        if rest / size > 0 {
            text.push_str(&format!("{}{name}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_near() {
        let known = ["card_id", "amount", "event_time"];
        assert_eq!(closest("cardid", known), Some("card_id"));
        assert_eq!(closest("amuont", known), Some("amount"));
        assert_eq!(closest("merchant", known), None);
        assert_eq!(closest("AMOUNT", known), Some("amount"));
        assert_eq!(did_you_mean("card", &known, "columns").unwrap(), "did you mean `card_id`?");
        assert_eq!(closest("x", ["t"]), None);
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(300_000_000_000), "5m");
        assert_eq!(duration(5_400_000_000_000), "1h30m");
        assert_eq!(duration(250_000_000), "250ms");
        assert_eq!(duration(0), "0s");
    }
}
