//! A row of JSON as the values of a model's features.

use std::fmt;

use millstream_trees::{Categories, Feature};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// One value as it stands in a line.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Null,
    Number(f64),
    Text(String),
    /// What no feature can be: `true`, a list, an object.
    Other(&'static str),
}

/// A line: an object in the order of its fields, or a list.
#[derive(Debug)]
enum Line {
    Fields(Vec<(String, Cell)>),
    Values(Vec<Cell>),
}

/// Reads rows for a model.
pub(super) struct Reader<'a> {
    features: &'a [Feature],
    /// Whether every feature has a name; otherwise the fields of an object count by their place.
    named: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(features: &'a [Feature]) -> Self {
        Self { features, named: features.iter().all(|feature| feature.name.is_some()) }
    }

    /// Adds the values of a line to `values`, or says what is wrong with it.
    pub(super) fn read(&self, line: &[u8], values: &mut Vec<f64>) -> Result<(), String> {
        match serde_json::from_slice::<Line>(line).map_err(|e| problem(&e))? {
            Line::Fields(mut fields) if self.named => {
                for (place, feature) in self.features.iter().enumerate() {
                    let name = feature.name.as_deref().unwrap_or_default();
                    let is_it = |(field, _): &(String, Cell)| field == name;
                    // Fields mostly stand in the order of the features.
                    let at = match fields.get(place) {
                        Some(field) if is_it(field) => Some(place),
                        _ => fields.iter().position(is_it),
                    };
                    let cell =
                        at.and_then(|at| fields.get_mut(at)).map(|(_, cell)| std::mem::replace(cell, Cell::Null));
                    let cell = cell.ok_or_else(|| format!("there is no field `{name}`"))?;
                    values.push(value(feature, &cell).map_err(|e| format!("field `{name}` {e}"))?);
                }
                Ok(())
            }
            Line::Fields(fields) => {
                let what = "fields, and names of features are not in the model file";
                self.in_order(fields.iter().map(|(name, cell)| (Some(name.as_str()), cell)), what, values)
            }
            Line::Values(cells) => self.in_order(cells.iter().map(|cell| (None, cell)), "values", values),
        }
    }

    fn in_order<'c>(
        &self,
        cells: impl ExactSizeIterator<Item = (Option<&'c str>, &'c Cell)>,
        what: &str,
        values: &mut Vec<f64>,
    ) -> Result<(), String> {
        if cells.len() != self.features.len() {
            return Err(format!("there are {} {what}; the model takes {}", cells.len(), self.features.len()));
        }
        for (place, ((name, cell), feature)) in cells.zip(self.features).enumerate() {
            let called = || match name.or(feature.name.as_deref()) {
                Some(name) => format!("field `{name}`"),
                None => format!("value {place} (counted from 0)"),
            };
            values.push(value(feature, cell).map_err(|e| format!("{} {e}", called()))?);
        }
        Ok(())
    }
}

/// Says what is wrong with a JSON text; the line is ours to count.
fn problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    match error.column() {
        0 => format!("it can't be read: {text}"),
        column => format!("it can't be read at byte {column}: {text}"),
    }
}

fn value(feature: &Feature, cell: &Cell) -> Result<f64, String> {
    let has_text = matches!(feature.categories.as_deref(), Some(Categories::Text(_) | Categories::Hashed));
    match cell {
        Cell::Null => Ok(f64::NAN),
        Cell::Number(number) => Ok(feature.encode_number(*number)),
        Cell::Text(text) if has_text => Ok(feature.encode_text(text)),
        Cell::Text(text) => match text.as_str() {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            other => {
                let seen: String = other.chars().take(40).collect();
                Err(format!(
                    "is the string \"{seen}\"; a number, null, \"NaN\", \"Infinity\" and \"-Infinity\" are allowed"
                ))
            }
        },
        Cell::Other(what) => Err(format!("is {what}; a number, a string or null is allowed")),
    }
}

struct CellVisitor;

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Cell, E> {
        Ok(Cell::Null)
    }

    fn visit_f64<E>(self, number: f64) -> Result<Cell, E> {
        Ok(Cell::Number(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Cell, E> {
        Ok(Cell::Number(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Cell, E> {
        Ok(Cell::Number(number as f64))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cell, E> {
        Ok(Cell::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Cell, E> {
        Ok(Cell::Other(if truth { "true" } else { "false" }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Cell, A::Error> {
        while items.next_element::<serde::de::IgnoredAny>()?.is_some() {}
        Ok(Cell::Other("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Cell, A::Error> {
        while fields.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {}
        Ok(Cell::Other("an object"))
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CellVisitor)
    }
}

struct LineVisitor;

impl<'de> Visitor<'de> for LineVisitor {
    type Value = Line;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object by feature names or a list in their order")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Line, A::Error> {
        let mut cells = Vec::new();
        while let Some(cell) = items.next_element()? {
            cells.push(cell);
        }
        Ok(Line::Values(cells))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Line, A::Error> {
        let mut fields: Vec<(String, Cell)> = Vec::new();
        while let Some((name, cell)) = entries.next_entry::<String, Cell>()? {
            fields.push((name, cell));
        }
        Ok(Line::Fields(fields))
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LineVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Feature {
        Feature { name: Some(name.to_owned()), ..Feature::default() }
    }

    fn read(features: &[Feature], line: &str) -> Result<Vec<f64>, String> {
        let mut values = Vec::new();
        Reader::new(features).read(line.as_bytes(), &mut values).map(|()| values)
    }

    #[test]
    fn rows_in_all_forms() {
        let features = [named("a"), named("b")];
        assert_eq!(
            read(&features, r#"{"b": "-Infinity", "x": [1], "a": 9.9e-36}"#).unwrap(),
            [9.9e-36, f64::NEG_INFINITY]
        );
        assert_eq!(read(&features, "[1, 2.5]").unwrap(), [1.0, 2.5]);
        assert!(read(&features, r#"[null, "NaN"]"#).unwrap().iter().all(|x| x.is_nan()));
        let nameless = [Feature::default(), Feature::default()];
        assert_eq!(read(&nameless, r#"{"z": 1, "a": 2}"#).unwrap(), [1.0, 2.0], "in the order of the line");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let features = [named("a"), named("b")];
        let wrong = |line: &str| read(&features, line).unwrap_err();
        assert_eq!(wrong(r#"{"a": 1}"#), "there is no field `b`");
        assert!(wrong(r#"{"a": 1, "b": "x"}"#).starts_with(r#"field `b` is the string "x"; a number"#));
        assert_eq!(wrong(r#"{"a": 1, "b": true}"#), "field `b` is true; a number, a string or null is allowed");
        assert_eq!(wrong("[1]"), "there are 1 values; the model takes 2");
        assert!(wrong("7").contains("expected an object by feature names"), "{}", wrong("7"));
        assert!(wrong(r#"{"a": 1"#).starts_with("it can't be read at byte 7"), "{}", wrong(r#"{"a": 1"#));
    }
}
