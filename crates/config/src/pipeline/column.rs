//! Declared columns: their types, and whether a default fits.

use millstream_core::{FieldType, codes::UNKNOWN_TYPE};
use serde_json::{Value as Json, json};

use crate::codes::{BAD_DEFAULT, WRONG_TYPE};
use crate::decode::{Cx, Decode, scalar, seen, shorten};
use crate::diagnostic::Diagnostic;
use crate::span::Spanned;
use crate::spec;
use crate::suggest;
use crate::text::Text;
use crate::tree::{Meaning, Node, Value};

/// How long a column type may be, in bytes.
const TYPE_BYTES_MAX: usize = 10_000;
/// How deep lists and structs of a type may be nested.
const TYPE_DEPTH_MAX: usize = 32;

impl Decode for FieldType {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let text = &scalar(node, cx, "a column type", "float64")?.text;
        let depth = text.value.bytes().filter(|&b| b == b'<').count();
        if text.value.len() > TYPE_BYTES_MAX || depth > TYPE_DEPTH_MAX {
            let message =
                format!("the column type of {} is too long, or nested deeper than {TYPE_DEPTH_MAX}", cx.name());
            cx.error(UNKNOWN_TYPE, node.span, message, "declare the fields you need, with `from: outer.inner`");
            return None;
        }
        let error = match Self::parse(&text.value) {
            Ok(kind) => return Some(kind),
            Err(error) => error,
        };
        let message = if text.is_expanded() || error.message().starts_with(&format!("`{}` is not", text.value.trim())) {
            format!("{} has the column type `{}`, which does not exist", cx.name(), shorten(text.shown()))
        } else {
            format!("{} has no usable column type: {}", cx.name(), error.message())
        };
        let mut diagnostic = Diagnostic::error(UNKNOWN_TYPE, node.span, message);
        diagnostic.help = error.help_text().map(str::to_owned);
        let shown = text.shown().trim();
        if shown.contains('(') && !shown.contains(')') {
            diagnostic.help = Some("inside `{ }` a type with a comma needs quotes: `\"decimal(10, 2)\"`".to_owned());
        } else if let Some(near) = near_type(shown) {
            cx.push(diagnostic.label(format!("did you mean `{near}`?")));
            // What follows is checked with the type that was meant: one slip is one message.
            return Self::parse(near).ok();
        }
        cx.push(diagnostic);
        None
    }

    fn schema() -> Json {
        let pattern = r"^(decimal\(.*\)|list<.*>|struct<.*>)$|\$\{";
        json!({ "anyOf": [{ "enum": Self::SIMPLE }, { "type": "string", "pattern": pattern }] })
    }

    fn describe() -> String {
        "a column type".to_owned()
    }
}

/// What someone who knows other systems probably means.
fn near_type(text: &str) -> Option<&'static str> {
    Some(match text.to_ascii_lowercase().as_str() {
        "int" | "integer" | "bigint" | "long" | "i64" => "int64",
        "i32" | "int4" => "int32",
        "smallint" | "short" | "i16" => "int16",
        "tinyint" | "byte" | "i8" => "int8",
        "uint" | "u64" => "uint64",
        "u32" => "uint32",
        "float" | "double" | "real" | "number" | "f64" => "float64",
        "f32" => "float32",
        "str" | "text" | "varchar" | "utf8" | "char" | "uuid" => "string",
        "datetime" | "time" | "timestamptz" => "timestamp",
        "decimal" | "numeric" => "decimal(18, 2)",
        "list" | "array" => "list<string>",
        _ => return suggest::nearest(text, FieldType::SIMPLE.iter().copied()),
    })
}

spec! {
    /// A column: where it stands in the event, its type, and what is done when it is not there. The short form is only the type.
    pub(crate) struct ColumnFields {
        /// The column's type.
        r#type: Spanned<FieldType> = required,
        /// Where the value stands in the event: the keys from the outside in, with dots between them. Default: the column's name.
        from: Text = optional,
        /// Whether an event is refused that has no value here. With a `default` none is: then it says that the column is never NULL.
        required: bool = default(false),
        /// The value to take where the event has none, or null.
        default: Default = optional,
    }
}

/// A column of a source: short or long form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ColumnSpec {
    pub(crate) kind: FieldType,
    pub(crate) path: Option<Vec<String>>,
    pub(crate) required: bool,
    pub(crate) default: Option<Json>,
}

impl Decode for ColumnSpec {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if !matches!(node.value, Value::Map(_)) {
            let kind = FieldType::decode(node, cx)?;
            return Some(Self { kind, path: None, required: false, default: None });
        }
        let fields = ColumnFields::decode(node, cx)?;
        let path = fields.from.as_ref().and_then(|from| split_path(from, cx));
        let kind = fields.r#type.value;
        let default = fields.default.and_then(|default| default.fit(&kind, cx));
        Some(Self { kind, path, required: fields.required, default })
    }

    fn schema() -> Json {
        json!({ "anyOf": [FieldType::schema(), ColumnFields::schema()] })
    }

    fn describe() -> String {
        "a column type, or a map with `type` and more".to_owned()
    }
}

fn split_path(from: &Text, cx: &mut Cx) -> Option<Vec<String>> {
    let path: Vec<String> = from.value.split('.').map(str::to_owned).collect();
    if path.iter().any(String::is_empty) {
        let message = format!("`from` of {} is not a path: `{}`", cx.name(), shorten(from.shown()));
        cx.error(
            WRONG_TYPE,
            from.span,
            message,
            "write the keys from the outside in with dots between them: `payment.amount`",
        );
        return None;
    }
    Some(path)
}

/// A default, as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Default(Node);

impl Decode for Default {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.is_null() {
            let message = "a default of null is what holds without one";
            cx.error(BAD_DEFAULT, node.span, message, "leave `default` out, or give a value");
            return None;
        }
        Some(Self(node.clone()))
    }

    fn schema() -> Json {
        json!({})
    }

    fn describe() -> String {
        "a value of the column's type".to_owned()
    }
}

impl Default {
    /// The value as an event would carry it, if it is one of `kind`.
    fn fit(self, kind: &FieldType, cx: &mut Cx) -> Option<Json> {
        let node = &self.0;
        let mut value = Json::decode(node, cx)?;
        if let (FieldType::Decimal(..), Value::Scalar(scalar)) = (kind, &node.value)
            && matches!(scalar.meaning(), Meaning::Int(_) | Meaning::Float(_))
        {
            // A float would lose digits that a decimal keeps.
            value = json!(scalar.text.value);
        }
        if let (FieldType::String, Value::Scalar(scalar)) = (kind, &node.value)
            && scalar.text.is_expanded()
        {
            value = json!(scalar.text.value);
        }
        let Err(wanted) = fits(kind, &value) else { return Some(value) };
        let message = format!("the default of {} must be {wanted}, found {}", cx.name(), seen(node));
        let diagnostic = Diagnostic::error(BAD_DEFAULT, node.span, message);
        cx.push(match (kind, &node.value) {
            (FieldType::String, Value::Scalar(scalar)) => {
                diagnostic.help(format!("put it into quotes: `\"{}\"`", shorten(scalar.text.shown())))
            }
            _ => diagnostic.help("it is written as an event would carry it"),
        });
        None
    }
}

/// Whether a JSON value is one of a column type; `Err` says what is wanted.
fn fits(kind: &FieldType, value: &Json) -> Result<(), String> {
    let fine = match kind {
        FieldType::String => value.is_string(),
        FieldType::Bool => value.is_boolean(),
        FieldType::Number(number) => return number_fits(number, value),
        FieldType::Decimal(precision, scale) => decimal_fits(*precision, scale.unsigned_abs(), value),
        FieldType::Timestamp(_) => value.is_i64(),
        FieldType::Rfc3339 => value.as_str().is_some_and(is_rfc3339),
        FieldType::Date => value.as_str().is_some_and(is_date),
        FieldType::List(item) => {
            value.as_array().is_some_and(|items| items.iter().all(|i| i.is_null() || fits(item, i).is_ok()))
        }
        FieldType::Struct(fields) => value.as_object().is_some_and(|object| {
            object.iter().all(|(name, value)| {
                fields.iter().any(|(field, kind)| field == name && (value.is_null() || fits(kind, value).is_ok()))
            })
        }),
    };
    if fine { Ok(()) } else { Err(wanted(kind)) }
}

fn wanted(kind: &FieldType) -> String {
    match kind {
        FieldType::String => "a string".to_owned(),
        FieldType::Bool => "`true` or `false`".to_owned(),
        FieldType::Number(number) => format!("a number that fits {}", number.to_string().to_lowercase()),
        FieldType::Decimal(precision, scale) => format!("a number that fits decimal({precision}, {scale})"),
        FieldType::Timestamp(_) => "a whole number (since 1970-01-01, in the column's unit)".to_owned(),
        FieldType::Rfc3339 => "a timestamp such as `\"2025-06-02T08:00:00Z\"`".to_owned(),
        FieldType::Date => "a date such as `2025-06-02`".to_owned(),
        FieldType::List(_) => "a list whose items have the declared type".to_owned(),
        FieldType::Struct(_) => "a map with the declared fields".to_owned(),
    }
}

fn number_fits(kind: &arrow::datatypes::DataType, value: &Json) -> Result<(), String> {
    use arrow::datatypes::DataType as T;
    let whole = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    let within = |min: i128, max: i128| whole.is_some_and(|value| (min..=max).contains(&value));
    let fine = match kind {
        T::Float64 => value.is_number(),
        T::Float32 => value.as_f64().is_some_and(|value| (value as f32).is_finite()),
        T::Int8 => within(i8::MIN.into(), i8::MAX.into()),
        T::Int16 => within(i16::MIN.into(), i16::MAX.into()),
        T::Int32 => within(i32::MIN.into(), i32::MAX.into()),
        T::Int64 => within(i64::MIN.into(), i64::MAX.into()),
        T::UInt8 => within(0, u8::MAX.into()),
        T::UInt16 => within(0, u16::MAX.into()),
        T::UInt32 => within(0, u32::MAX.into()),
        _ => within(0, u64::MAX.into()),
    };
    if fine { Ok(()) } else { Err(wanted(&FieldType::Number(kind.clone()))) }
}

fn decimal_fits(precision: u8, scale: u8, value: &Json) -> bool {
    let text = match value {
        Json::String(text) => text.clone(),
        Json::Number(number) => number.to_string(),
        _ => return false,
    };
    let digits = text.strip_prefix(['-', '+']).unwrap_or(&text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let all_digits = whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit());
    let whole_digits = whole.trim_start_matches('0').len();
    let some_digits = digits.bytes().any(|b| b.is_ascii_digit());
    some_digits
        && all_digits
        && fraction.len() <= usize::from(scale)
        && whole_digits <= usize::from(precision - scale.min(precision))
}

fn is_rfc3339(text: &str) -> bool {
    chrono::DateTime::parse_from_rfc3339(text).is_ok()
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<chrono::NaiveDate>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_fit_or_not() {
        for (kind, value, fine) in [
            ("string", json!("a"), true),
            ("string", json!(0), false),
            ("bool", json!(true), true),
            ("bool", json!("true"), false),
            ("int8", json!(127), true),
            ("int8", json!(128), false),
            ("int64", json!(1.5), false),
            ("uint64", json!(u64::MAX), true),
            ("uint8", json!(-1), false),
            ("float64", json!(1), true),
            ("float32", json!(1e300), false),
            ("decimal(5, 2)", json!("123.45"), true),
            ("decimal(5, 2)", json!("123.450"), true),
            ("decimal(5, 2)", json!("1234.5"), false),
            ("decimal(5, 2)", json!("1.234"), false),
            ("decimal(5, 2)", json!("abc"), false),
            ("decimal(5, 2)", json!("-"), false),
            ("timestamp_ms", json!(0), true),
            ("timestamp_ms", json!("2025-06-02T08:00:00Z"), false),
            ("timestamp", json!("2025-06-02T08:00:00Z"), true),
            ("timestamp", json!("2025-06-02"), false),
            ("date", json!("2025-06-02"), true),
            ("date", json!("2025-6-2"), false),
            ("list<int64>", json!([1, null]), true),
            ("list<int64>", json!(["a"]), false),
            ("struct<a: int64>", json!({"a": 1}), true),
            ("struct<a: int64>", json!({"b": 1}), false),
        ] {
            assert_eq!(fits(&FieldType::parse(kind).unwrap(), &value).is_ok(), fine, "{kind} {value}");
        }
    }
}
