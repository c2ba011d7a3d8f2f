//! One CSV record into its fields.

use crate::codec::codes::BROKEN_QUOTES;
use crate::codec::problem::{Parsed, Problem, shorten};

/// A field of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    /// What stands between the quotes, or the whole field.
    raw: &'a str,
    quoted: bool,
    /// Whether a quote is doubled in it.
    doubled: bool,
}

impl<'a> Field<'a> {
    /// The field's text, `None` for null: nothing at all, without quotes. `scratch` holds it where it does
    /// not stand in the record as such.
    pub(crate) fn text<'b>(&self, scratch: &'b mut String) -> Option<&'b str>
    where
        'a: 'b,
    {
        if self.doubled {
            scratch.clear();
            scratch
                .extend(self.raw.split("\"\"").enumerate().flat_map(|(i, part)| [if i > 0 { "\"" } else { "" }, part]));
            return Some(scratch);
        }
        (self.quoted || !self.raw.is_empty()).then_some(self.raw)
    }
}

/// A record without its line end.
pub(crate) fn without_line_end(record: &str) -> &str {
    let record = record.strip_suffix('\n').unwrap_or(record);
    record.strip_suffix('\r').unwrap_or(record)
}

/// Splits a record (without its line end) into fields, which are put into `fields`.
///
/// A quote inside a field that did not begin with one is a character like others; behind a closing quote only
/// a comma or the end may stand.
pub(crate) fn split<'a>(record: &'a str, fields: &mut Vec<Field<'a>>) -> Parsed<()> {
    fields.clear();
    let bytes = record.as_bytes();
    let mut at = 0;
    loop {
        let rest = record.get(at..).unwrap_or_default();
        let (field, length) = if rest.starts_with('"') {
            quoted(rest)?
        } else {
            let length = memchr::memchr(b',', rest.as_bytes()).unwrap_or(rest.len());
            (Field { raw: rest.get(..length).unwrap_or_default(), quoted: false, doubled: false }, length)
        };
        fields.push(field);
        at += length;
        match bytes.get(at) {
            Some(_) => at += 1,
            None => return Ok(()),
        }
    }
}

/// The quoted field that `rest` begins with, and its length with the quotes.
fn quoted(rest: &str) -> Parsed<(Field<'_>, usize)> {
    let bytes = rest.as_bytes();
    let (mut at, mut doubled) = (1, false);
    loop {
        let Some(quote) = memchr::memchr(b'"', bytes.get(at..).unwrap_or_default()).map(|n| at + n) else {
            return Err(Problem::new(BROKEN_QUOTES, format!("the quote before {} is never closed", shorten(rest))));
        };
        match bytes.get(quote + 1) {
            Some(b'"') => {
                doubled = true;
                at = quote + 2;
            }
            None | Some(b',') => {
                let raw = rest.get(1..quote).unwrap_or_default();
                return Ok((Field { raw, quoted: true, doubled }, quote + 1));
            }
            Some(_) => {
                let after = rest.get(quote + 1..).unwrap_or_default();
                return Err(Problem::new(
                    BROKEN_QUOTES,
                    format!(
                        "saw {} behind a closing quote, wanted a comma or the end (a quote inside is written twice)",
                        shorten(after)
                    ),
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(record: &str) -> Option<Vec<Option<String>>> {
        let mut fields = Vec::new();
        split(record, &mut fields).ok()?;
        Some(fields.iter().map(|field| field.text(&mut String::new()).map(str::to_owned)).collect())
    }

    #[test]
    fn fields() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(texts("a,b"), Some(vec![some("a"), some("b")]));
        assert_eq!(texts(""), Some(vec![None]));
        assert_eq!(texts(","), Some(vec![None, None]));
        assert_eq!(texts("\"\","), Some(vec![some(""), None]));
        assert_eq!(texts("\"a,\"\"b\"\"\nc\",d"), Some(vec![some("a,\"b\"\nc"), some("d")]));
        assert_eq!(texts("a\"b, c"), Some(vec![some("a\"b"), some(" c")]));
        assert_eq!(texts("\"a\"b,c"), None);
        assert_eq!(texts("a,\"b"), None);
        assert_eq!(texts("\""), None);
        assert_eq!(texts("\"\"\""), None);
        assert_eq!(texts("\"\"\"\""), Some(vec![some("\"")]));
    }

    proptest! {
        #[test]
        fn agrees_with_the_csv_crate(rows in proptest::collection::vec("[a,\"\n ä]{0,6}", 1..6)) {
            let mut written = Vec::new();
            csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(&mut written).write_record(&rows).unwrap();
            let written = String::from_utf8(written).unwrap();
            let got = texts(without_line_end(&written)).unwrap();
            prop_assert_eq!(got, rows.into_iter().map(Some).collect::<Vec<_>>());
        }
    }
}
