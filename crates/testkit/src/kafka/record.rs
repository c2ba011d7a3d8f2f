//! A record as clients outside of the tested program see it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::failure::{Failure, Result};

/// A record to write, or one that was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Where it is; `None` lets the client choose by key.
    pub partition: Option<i32>,
    /// Its place; of records that were read only.
    pub offset: Option<i64>,
    /// Milliseconds; `None` is the time of writing.
    pub timestamp_ms: Option<i64>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// A record of two texts.
    pub fn text(key: &str, value: &str) -> Self {
        Self { key: Some(key.into()), value: Some(value.into()), ..Self::default() }
    }

    /// The same in a certain partition.
    #[must_use]
    pub fn in_partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// The same at a certain time.
    #[must_use]
    pub fn at_ms(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }

    /// The same with a further header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), Some(value.into())));
        self
    }

    /// The value as text; empty for a tombstone.
    pub fn value_text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }

    /// The key as text; empty if there is none.
    pub fn key_text(&self) -> String {
        String::from_utf8_lossy(self.key.as_deref().unwrap_or_default()).into_owned()
    }

    /// A header's value as text.
    pub fn header_text(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(n, _)| n == name)?;
        Some(String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned())
    }

    pub(super) fn to_json(&self) -> Value {
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| json!([name, encode(value.as_deref())])).collect();
        json!({
            "partition": self.partition, "timestamp": self.timestamp_ms, "headers": headers,
            "key_base64": encode(self.key.as_deref()), "value_base64": encode(self.value.as_deref()),
        })
    }

    pub(super) fn from_json(line: &Value) -> Result<Self> {
        let mut headers = Vec::new();
        for header in line["headers"].as_array().into_iter().flatten() {
            headers.push((header[0].as_str().unwrap_or_default().to_owned(), decode(&header[1])?));
        }
        Ok(Self {
            partition: line["partition"].as_i64().and_then(|partition| i32::try_from(partition).ok()),
            offset: line["offset"].as_i64(),
            timestamp_ms: line["timestamp"].as_i64(),
            key: decode(&line["key_base64"])?,
            value: decode(&line["value_base64"])?,
            headers,
        })
    }
}

fn encode(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| STANDARD.encode(bytes))
}

fn decode(text: &Value) -> Result<Option<Vec<u8>>> {
    let decode = |text| STANDARD.decode(text).map_err(|e| Failure::new(format!("`{text}` is not base64: {e}")));
    text.as_str().map(decode).transpose()
}
