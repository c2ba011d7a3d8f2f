//! Sizes as they are written: `64MiB`, `1GB`, `500kB`.

use std::fmt;

use crate::codes::BAD_SIZE;
use crate::diagnostic::Diagnostic;
use crate::text::Text;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// For the JSON Schema; a variable is let through.
pub(crate) const PATTERN: &str = r"^\d+(B|kB|KiB|MB|MiB|GB|GiB|TB|TiB)$|\$\{";

/// As it is written, in the largest unit that divides it.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, bytes) =
            UNITS.iter().find(|(_, bytes)| self.0 > 0 && self.0.is_multiple_of(*bytes)).copied().unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

/// Why a text is not a size.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    what: String,
    meant: Option<String>,
}

impl Problem {
    pub(crate) fn diagnostic(&self, name: &str, text: &Text) -> Diagnostic {
        // What a variable holds may be a secret, and a part of it says too much already.
        let what = if text.is_expanded() { "what it stands for is none" } else { &self.what };
        let message = format!("{name} must be a size, found `{}`: {what}", crate::decode::shorten(text.shown()));
        let diagnostic = Diagnostic::error(BAD_SIZE, text.span, message)
            .help("a whole number and a unit: `B`, `kB`, `MB`, `GB`, `TB` (powers of 1000), `KiB`, `MiB`, `GiB`, `TiB` (powers of 1024)");
        match &self.meant {
            Some(meant) if !text.is_expanded() => diagnostic.label(format!("did you mean `{meant}`?")),
            _ => diagnostic,
        }
    }
}

/// Reads a size.
pub(crate) fn parse(text: &str) -> Result<ByteSize, Problem> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    if digits.is_empty() {
        return Err(Problem { what: "it must begin with a whole number".to_owned(), meant: None });
    }
    let Some((_, bytes)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let wanted = unit.trim();
        let meant = match wanted.to_lowercase().as_str() {
            "" => Some("B"),
            "k" => Some("kB"),
            "m" | "g" | "t" => {
                UNITS.iter().map(|(name, _)| *name).find(|n| n.len() == 2 && n.starts_with(&*wanted.to_uppercase()))
            }
            lower => UNITS.iter().map(|(name, _)| *name).find(|name| name.to_lowercase() == lower),
        };
        let what = match unit {
            "" => "it has no unit".to_owned(),
            _ if unit.starts_with('.') => "only whole numbers are allowed".to_owned(),
            _ if wanted != unit => "there is a space in it".to_owned(),
            _ => format!("`{unit}` is not a unit"),
        };
        return Err(Problem { what, meant: meant.map(|unit| format!("{digits}{unit}")) });
    };
    let bytes = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(*bytes));
    bytes.map(ByteSize).ok_or_else(|| Problem { what: "it is beyond 64 bits".to_owned(), meant: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes) in
            [("0B", 0), ("17B", 17), ("500kB", 500_000), ("1GB", 1_000_000_000), ("64MiB", 64 << 20), ("3TiB", 3 << 40)]
        {
            assert_eq!(parse(text), Ok(ByteSize(bytes)), "{text}");
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_size_says_what_was_meant() {
        for (text, what, meant) in [
            ("", "it must begin with a whole number", None),
            ("64", "it has no unit", Some("64B")),
            ("64M", "`M` is not a unit", Some("64MB")),
            ("64 MB", "there is a space in it", Some("64MB")),
            ("64mib", "`mib` is not a unit", Some("64MiB")),
            ("64KB", "`KB` is not a unit", Some("64kB")),
            ("1.5GB", "only whole numbers are allowed", None),
            ("64parsecs", "`parsecs` is not a unit", None),
            ("99999999999TB", "it is beyond 64 bits", None),
        ] {
            let problem = parse(text).unwrap_err();
            assert_eq!((problem.what.as_str(), problem.meant.as_deref()), (what, meant), "{text}");
        }
    }
}
