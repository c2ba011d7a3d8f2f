//! A document (JSON or UBJ): a tree of maps and lists whose leaves still point into the
//! file's bytes, so that its size is bounded by the file's and arrays of numbers are parsed once, into the type wanted.

use std::borrow::Cow;

use crate::error::{LoadError, Place};

/// How deep maps and lists may nest; XGBoost's own models nest 7 deep.
pub(crate) const DEPTH_MAX: usize = 64;

/// A value of the document.
#[derive(Debug)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// A number as JSON text, not parsed yet.
    NumberText(&'a str),
    Str(Cow<'a, str>),
    Numbers(Numbers<'a>),
    List(Vec<Value<'a>>),
    Map(Vec<(Cow<'a, str>, Value<'a>)>),
}

/// A flat array of numbers (or of `true` and `false`), still in the file's bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Numbers<'a> {
    /// JSON: what stands between the brackets.
    Text(&'a str),
    /// UBJ: big-endian numbers of one kind.
    Packed(Kind, &'a [u8]),
    /// UBJ: each number with its own marker.
    Mixed(&'a [u8]),
}

/// The numeric types of UBJ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    I8,
    U8,
    I16,
    I32,
    I64,
    F32,
    F64,
}

impl Kind {
    pub(crate) fn of(marker: u8) -> Option<Self> {
        Some(match marker {
            b'i' => Self::I8,
            b'U' => Self::U8,
            b'I' => Self::I16,
            b'l' => Self::I32,
            b'L' => Self::I64,
            b'd' => Self::F32,
            b'D' => Self::F64,
            _ => return None,
        })
    }

    pub(crate) fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }

    /// Reads one number; `None` if there are too few bytes.
    pub(crate) fn read(self, bytes: &[u8]) -> Option<Number> {
        Some(match self {
            Self::I8 => Number::Int(i64::from(i8::from_be_bytes(*bytes.first_chunk()?))),
            Self::U8 => Number::Int(i64::from(*bytes.first()?)),
            Self::I16 => Number::Int(i64::from(i16::from_be_bytes(*bytes.first_chunk()?))),
            Self::I32 => Number::Int(i64::from(i32::from_be_bytes(*bytes.first_chunk()?))),
            Self::I64 => Number::Int(i64::from_be_bytes(*bytes.first_chunk()?)),
            Self::F32 => Number::Single(f32::from_be_bytes(*bytes.first_chunk()?)),
            Self::F64 => Number::Double(f64::from_be_bytes(*bytes.first_chunk()?)),
        })
    }
}

/// One number of a UBJ document.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    Int(i64),
    Single(f32),
    Double(f64),
}

impl Number {
    fn f32(self) -> f32 {
        match self {
            Self::Int(v) => v as f32,
            Self::Single(v) => v,
            Self::Double(v) => v as f32,
        }
    }

    fn i64(self) -> Option<i64> {
        match self {
            Self::Int(v) => Some(v),
            Self::Single(v) => whole(f64::from(v)),
            Self::Double(v) => whole(v),
        }
    }
}

fn whole(v: f64) -> Option<i64> {
    (v.fract() == 0.0 && v.abs() < 9e15).then_some(v as i64)
}

/// A number as it is written in JSON; `true` and `false` are 1 and 0 (XGBoost 1 writes default directions so).
fn int_text(text: &str) -> Option<i64> {
    match text {
        "true" => Some(1),
        "false" => Some(0),
        _ => text.parse().ok().or_else(|| whole(text.parse().ok()?)),
    }
}

impl<'a> Numbers<'a> {
    fn each<T>(self, of_text: fn(&str) -> Option<T>, of_number: fn(Number) -> Option<T>) -> Result<Vec<T>, String> {
        let mut out = Vec::new();
        match self {
            Self::Text(text) => {
                if text.trim_ascii().is_empty() {
                    return Ok(out);
                }
                for item in text.split(',') {
                    let item = item.trim_ascii();
                    out.push(of_text(item).ok_or_else(|| unreadable(out.len(), item))?);
                }
            }
            Self::Packed(kind, bytes) => {
                out.reserve_exact(bytes.len() / kind.size());
                for chunk in bytes.chunks_exact(kind.size()) {
                    let number = kind.read(chunk).and_then(of_number);
                    out.push(number.ok_or_else(|| unreadable(out.len(), "a fraction"))?);
                }
            }
            Self::Mixed(mut bytes) => {
                while let Some((&marker, rest)) = bytes.split_first() {
                    let kind = Kind::of(marker).ok_or("it holds more than numbers")?;
                    let number = kind.read(rest).and_then(of_number);
                    out.push(number.ok_or_else(|| unreadable(out.len(), "a fraction"))?);
                    bytes = rest.get(kind.size()..).unwrap_or_default();
                }
            }
        }
        Ok(out)
    }

    /// The numbers as float32, each rounded once.
    pub(crate) fn f32s(self) -> Result<Vec<f32>, String> {
        self.each(|text| text.parse().ok(), |number| Some(number.f32()))
    }

    /// The numbers as float64.
    pub(crate) fn f64s(self) -> Result<Vec<f64>, String> {
        self.each(
            |text| text.parse().ok(),
            |number| {
                Some(match number {
                    Number::Int(v) => v as f64,
                    Number::Single(v) => f64::from(v),
                    Number::Double(v) => v,
                })
            },
        )
    }

    /// The numbers as whole numbers.
    pub(crate) fn i64s(self) -> Result<Vec<i64>, String> {
        self.each(int_text, Number::i64)
    }
}

fn unreadable(index: usize, seen: &str) -> String {
    let seen: String = seen.chars().take(40).collect();
    format!("item {index} is `{seen}`, which is no number of the kind that belongs here")
}

impl<'a> Value<'a> {
    /// What the value is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Float(_) | Self::NumberText(_) => "a number",
            Self::Str(_) => "a string",
            Self::Numbers(_) => "a list of numbers",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    /// The value of a key, if this is a map that has it. The last one counts, as for XGBoost itself.
    pub(crate) fn find(&self, key: &str) -> Option<&Value<'a>> {
        match self {
            Self::Map(entries) => entries.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }
}

/// A value with the path to it, for messages.
#[derive(Clone, Copy)]
pub(crate) struct At<'v, 'a> {
    pub(crate) value: &'v Value<'a>,
    /// The dotted path of the map that holds the value, and the value's key in it.
    path: &'v str,
    key: &'v str,
    pub(crate) tree: Option<usize>,
}

impl<'v, 'a> At<'v, 'a> {
    pub(crate) fn root(value: &'v Value<'a>) -> Self {
        Self { value, path: "", key: "", tree: None }
    }

    /// The same value, under another name for messages.
    pub(crate) fn named(self, path: &'v str, tree: Option<usize>) -> Self {
        Self { path, key: "", tree, ..self }
    }

    pub(crate) fn place(&self) -> Place {
        let dot = if self.path.is_empty() || self.key.is_empty() { "" } else { "." };
        Place { part: format!("{}{dot}{}", self.path, self.key), tree: self.tree, node: None }
    }

    pub(crate) fn malformed(&self, problem: impl Into<String>) -> LoadError {
        LoadError::malformed(self.place(), problem)
    }

    fn wanted(&self, what: &str) -> LoadError {
        self.malformed(format!("is {}, not {what}", self.value.kind()))
    }

    /// A key that may be absent. `path` is this map's own path.
    pub(crate) fn find(&self, path: &'v str, key: &'v str) -> Option<Self> {
        self.value.find(key).map(|value| At { value, path, key, tree: self.tree })
    }

    /// A key that must be there.
    pub(crate) fn get(&self, path: &'v str, key: &'v str) -> Result<Self, LoadError> {
        self.find(path, key).ok_or_else(|| {
            let dot = if path.is_empty() { "" } else { "." };
            LoadError::malformed(
                Place { part: format!("{path}{dot}{key}"), tree: self.tree, node: None },
                "is missing; the model is cut short, or from another framework",
            )
        })
    }

    pub(crate) fn str(&self) -> Result<&'v str, LoadError> {
        match self.value {
            Value::Str(text) => Ok(text),
            _ => Err(self.wanted("a string")),
        }
    }

    /// A whole number, written as a number or (as XGBoost does) as a string.
    pub(crate) fn int(&self) -> Result<i64, LoadError> {
        let number = match self.value {
            Value::Int(v) => Some(*v),
            Value::Bool(v) => Some(i64::from(*v)),
            Value::Float(v) => whole(*v),
            Value::NumberText(text) => int_text(text),
            Value::Str(text) => int_text(text.trim_ascii()),
            _ => None,
        };
        number.ok_or_else(|| self.wanted("a whole number"))
    }

    /// A whole number from 0 to `max`.
    pub(crate) fn count(&self, max: usize) -> Result<usize, LoadError> {
        let seen = self.int()?;
        usize::try_from(seen)
            .ok()
            .filter(|&n| n <= max)
            .ok_or_else(|| self.malformed(format!("is {seen}; 0 to {max} is allowed")))
    }

    pub(crate) fn numbers(&self) -> Result<Numbers<'a>, LoadError> {
        match self.value {
            Value::Numbers(numbers) => Ok(*numbers),
            Value::List(items) if items.is_empty() => Ok(Numbers::Text("")),
            _ => Err(self.wanted("a list of numbers")),
        }
    }

    pub(crate) fn f32s(&self) -> Result<Vec<f32>, LoadError> {
        self.numbers()?.f32s().map_err(|problem| self.malformed(problem))
    }

    pub(crate) fn i64s(&self) -> Result<Vec<i64>, LoadError> {
        self.numbers()?.i64s().map_err(|problem| self.malformed(problem))
    }

    /// The items of a list; an empty list of numbers is one too.
    pub(crate) fn list(&self) -> Result<&'v [Value<'a>], LoadError> {
        match self.value {
            Value::List(items) => Ok(items),
            Value::Numbers(numbers) if numbers.i64s().is_ok_and(|n| n.is_empty()) => Ok(&[]),
            _ => Err(self.wanted("a list")),
        }
    }

    /// A list of strings.
    pub(crate) fn strings(&self) -> Result<Vec<&'v str>, LoadError> {
        self.list()?
            .iter()
            .map(|item| match item {
                Value::Str(text) => Ok(text.as_ref()),
                other => Err(self.malformed(format!("holds {}, not only strings", other.kind()))),
            })
            .collect()
    }
}
