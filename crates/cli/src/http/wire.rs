//! Records as JSON, as the HTTP API and `topic tail --format json` write them.
//!
//! Bytes that are UTF-8 are a JSON string, exact after unescaping; other bytes are `…_base64` (keys and values)
//! or `{"base64": "…"}` (headers). A value that is given as a JSON object, array, number or boolean is stored as
//! that JSON text, byte for byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use millstream_core::record::{Header, NO_TIMESTAMP};
use millstream_core::{Error, RawBatch, Result};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::codes::{RECORD, REQUEST};

/// A record to append.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRecord {
    pub key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    pub headers: Vec<Header>,
    /// Where it goes whatever its key.
    pub partition: Option<u32>,
    /// Milliseconds; `None` for the time of the append.
    pub timestamp_ms: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    key: Option<String>,
    key_base64: Option<String>,
    /// `Some` also for `null`, which is a value: a tombstone.
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    value_base64: Option<String>,
    #[serde(default)]
    headers: Map<String, Value>,
    partition: Option<u32>,
    timestamp: Option<i64>,
}

fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// Reads the JSON array of a `POST`.
///
/// # Errors
/// What does not fit, and in which record (counted from 0).
pub fn parse_array(body: &[u8]) -> Result<Vec<NewRecord>> {
    let items: Vec<&RawValue> = serde_json::from_slice(body).map_err(|cause| {
        Error::new(REQUEST, "the body is not a JSON array of records")
            .because(cause)
            .help(r#"send `[{"key": "k", "value": {"a": 1}}]`, or lines with `content-type: application/x-ndjson`"#)
    })?;
    items.iter().enumerate().map(|(i, item)| parse_record(item.get(), i)).collect()
}

fn parse_record(text: &str, index: usize) -> Result<NewRecord> {
    let bad = |what: String| {
        Error::new(REQUEST, format!("record {index}: {what}"))
            .help("a record has `value`, and may have `key`, `headers`, `partition` and `timestamp` (milliseconds)")
    };
    let wire: Wire<'_> = serde_json::from_str(text).map_err(|cause| bad(cause.to_string()))?;
    let unbase = |field: &str, text: &str| BASE64.decode(text).map_err(|cause| bad(format!("`{field}`: {cause}")));
    let key = match (wire.key, wire.key_base64) {
        (Some(_), Some(_)) => return Err(bad("`key` and `key_base64` are both there".to_owned())),
        (Some(key), None) => Some(key.into_bytes()),
        (None, Some(key)) => Some(unbase("key_base64", &key)?),
        (None, None) => None,
    };
    let value = match (wire.value, wire.value_base64) {
        (Some(_), Some(_)) => return Err(bad("`value` and `value_base64` are both there".to_owned())),
        (Some(value), None) => value_bytes(value).map_err(|cause| bad(format!("`value`: {cause}")))?,
        (None, Some(value)) => Some(unbase("value_base64", &value)?),
        (None, None) => return Err(bad("no `value`; say `\"value\": null` for a tombstone".to_owned())),
    };
    let mut headers = Vec::new();
    for (name, value) in wire.headers {
        let values = if let Value::Array(many) = value { many } else { vec![value] };
        for value in values {
            let bytes = match &value {
                Value::String(text) => text.clone().into_bytes(),
                Value::Object(object) => match object.get("base64") {
                    Some(Value::String(text)) if object.len() == 1 => unbase(&name, text)?,
                    _ => return Err(bad(format!("header `{name}` is neither text nor `{{\"base64\": …}}`"))),
                },
                _ => return Err(bad(format!("header `{name}` is neither text nor `{{\"base64\": …}}`"))),
            };
            headers.push(Header { name: name.clone(), value: bytes });
        }
    }
    Ok(NewRecord { key, value, headers, partition: wire.partition, timestamp_ms: wire.timestamp })
}

/// A string is stored as its text, everything else as it is written; `null` is a tombstone.
fn value_bytes(value: &RawValue) -> serde_json::Result<Option<Vec<u8>>> {
    match value.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(value.get()).map(|text| Some(text.into_bytes())),
        Some(b'n') => Ok(None),
        _ => Ok(Some(value.get().as_bytes().to_vec())),
    }
}

/// How records made of lines get their key and partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineOptions {
    /// The field of each value's JSON that holds its key.
    pub key_field: Option<String>,
    /// The key of every record.
    pub key: Option<String>,
    /// The partition of every record.
    pub partition: Option<u32>,
    /// What messages call the first line; 1 where nothing is said.
    pub first_line: Option<u64>,
}

/// Every non-empty line as a record: its value, byte for byte, without the line's end and a byte order mark.
///
/// # Errors
/// The number of the first line that has no key where one is wanted, and why.
pub fn parse_lines(body: &[u8], options: &LineOptions) -> Result<Vec<NewRecord>> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let lines = body.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let numbered = (options.first_line.unwrap_or(1)..).zip(lines).filter(|(_, line)| !line.is_empty());
    let record = |(number, line): (u64, &[u8])| {
        let key = match (&options.key_field, &options.key) {
            (Some(field), _) => Some(key_in(line, field).map_err(|why| {
                Error::new(RECORD, format!("line {number}: {why}")).help(
                    "nothing of this batch was appended; repair or leave out the line, or append without a key field",
                )
            })?),
            (None, key) => key.as_ref().map(|key| key.clone().into_bytes()),
        };
        Ok(NewRecord { key, value: Some(line.to_vec()), partition: options.partition, ..NewRecord::default() })
    };
    numbered.map(record).collect()
}

/// The key that stands in a field of a JSON value; `a.b` looks inside objects.
///
/// # Errors
/// A clause saying why there is none.
fn key_in(value: &[u8], field: &str) -> Result<Vec<u8>, String> {
    let value: Value = serde_json::from_slice(value).map_err(|cause| format!("not JSON: {cause}"))?;
    let direct = value.get(field);
    let found = direct.or_else(|| field.split('.').try_fold(&value, |inner, part| inner.get(part)));
    match found {
        Some(Value::String(text)) => Ok(text.clone().into_bytes()),
        Some(scalar @ (Value::Number(_) | Value::Bool(_))) => Ok(scalar.to_string().into_bytes()),
        Some(Value::Null) => Err(format!("the key field `{field}` is null")),
        Some(_) => Err(format!("the key field `{field}` is an object or a list; a key is text, a number or a boolean")),
        None => Err(format!("no field `{field}`, which was to be the key")),
    }
}

/// A stored record as JSON.
pub fn record(batch: &RawBatch, i: usize) -> Value {
    let mut out = Map::new();
    out.insert("partition".to_owned(), json!(batch.partition()));
    out.insert("offset".to_owned(), json!(batch.offset(i)));
    let timestamp = batch.timestamp_ms(i);
    if timestamp != NO_TIMESTAMP {
        out.insert("timestamp".to_owned(), json!(timestamp));
    }
    for (name, bytes) in [("key", batch.key(i)), ("value", batch.value(i))] {
        match bytes.map(std::str::from_utf8) {
            None => out.insert(name.to_owned(), Value::Null),
            Some(Ok(text)) => out.insert(name.to_owned(), json!(text)),
            Some(Err(_)) => out.insert(format!("{name}_base64"), json!(BASE64.encode(bytes.unwrap_or_default()))),
        };
    }
    let mut headers: Map<String, Value> = Map::new();
    for header in batch.headers(i) {
        let value = match std::str::from_utf8(&header.value) {
            Ok(text) => json!(text),
            Err(_) => json!({ "base64": BASE64.encode(&header.value) }),
        };
        match headers.get_mut(&header.name) {
            None => drop(headers.insert(header.name.clone(), value)),
            Some(Value::Array(many)) => many.push(value),
            Some(one) => *one = json!([one.take(), value]),
        }
    }
    if !headers.is_empty() {
        out.insert("headers".to_owned(), Value::Object(headers));
    }
    Value::Object(out)
}

/// The value of a record that [`record`] wrote; `None` is a tombstone.
pub fn value_of(record: &Value) -> Option<Vec<u8>> {
    match record.get("value_base64").and_then(Value::as_str) {
        Some(text) => BASE64.decode(text).ok(),
        None => record.get("value").and_then(Value::as_str).map(|text| text.as_bytes().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_bytes() {
        let body = br#"[{"key":"k","value":{ "n": 9007199254740993, "x": 1.10 }},{"value":"a\"b"},{"value":null},{"value_base64":"/w=="}]"#;
        let values: Vec<_> = parse_array(body).unwrap().into_iter().map(|r| r.value).collect();
        assert_eq!(values[0].as_deref(), Some(&br#"{ "n": 9007199254740993, "x": 1.10 }"#[..]));
        assert_eq!(values[1].as_deref(), Some(&b"a\"b"[..]));
        assert_eq!(values[2], None);
        assert_eq!(values[3].as_deref(), Some(&[0xff][..]));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (body, says) in [
            (r#"{"value":1}"#, "not a JSON array"),
            (r#"[{"value":1},{"valeu":1}]"#, "record 1: unknown field `valeu`"),
            (r#"[{"key":"a"}]"#, "no `value`"),
            (r#"[{"value":1,"value_base64":""}]"#, "both"),
            (r#"[{"value":1,"key_base64":"?"}]"#, "key_base64"),
            (r#"[{"value":1,"headers":{"h":1}}]"#, "header `h`"),
        ] {
            let error = parse_array(body.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(says), "{body}: {error}");
        }
    }

    #[test]
    fn records_come_back_as_they_went_in() {
        let mut batch = RawBatch::new(millstream_core::TaskId::new(3));
        let header = |name: &str, value: &[u8]| Header { name: name.to_owned(), value: value.to_vec() };
        batch.push(7, 12, Some(b"k"), Some(b"{}"), &[header("a", b"1"), header("a", b"\xff"), header("b", b"2")]);
        batch.push(8, NO_TIMESTAMP, None, Some(b"\xfe"), &[]);
        let first = record(&batch, 0);
        let wanted = json!({"partition":3,"offset":7,"timestamp":12,"key":"k","value":"{}","headers":{"a":["1",{"base64":"/w=="}],"b":"2"}});
        assert_eq!(first, wanted);
        let sent = json!([{ "key": first["key"], "value": first["value"], "headers": first["headers"] }]).to_string();
        let again = parse_array(sent.as_bytes()).unwrap().remove(0);
        assert_eq!(again.headers, batch.headers(0));
        assert_eq!(value_of(&record(&batch, 1)).as_deref(), Some(&b"\xfe"[..]));
    }

    #[test]
    fn keys_are_found() {
        assert_eq!(key_in(br#"{"a":{"b":5}}"#, "a.b"), Ok(b"5".to_vec()));
        assert_eq!(key_in(br#"{"a.b":"x"}"#, "a.b"), Ok(b"x".to_vec()));
        assert!(key_in(br#"{"a":null}"#, "a").unwrap_err().contains("null"));
        assert!(key_in(br#"{"#, "a").unwrap_err().contains("not JSON"));
    }

    #[test]
    fn lines_have_no_ends() {
        let found = parse_lines(b"\xef\xbb\xbfa\r\n\nb", &LineOptions::default()).unwrap();
        let values: Vec<_> = found.iter().map(|r| r.value.as_deref()).collect();
        assert_eq!(values, [Some(&b"a"[..]), Some(&b"b"[..])]);
        let options = LineOptions { key_field: Some("k".to_owned()), first_line: Some(10), ..LineOptions::default() };
        let error = parse_lines(b"{\"k\":1}\n\n{}\n", &options).unwrap_err();
        assert!(error.to_string().starts_with("line 12: no field `k`"), "{error}");
    }
}
