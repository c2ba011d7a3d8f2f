//! Dead letters: the original event with its origin, step and reason.
//!
//! In a log the record is the original one (key, value, headers, timestamp) with the reason in headers
//! `ms.*`, so that it can be sent again as it is. In text and Parquet it is a row of [`COLUMNS`]; bytes that
//! are not UTF-8 stand in the `_base64` column instead.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use millstream_core::record::{Header, NO_TIMESTAMP};
use millstream_core::{Chunk, DeadLetter, Encoder, Error, Result, Rows};

use super::csv::write_record;
use super::records::{Records, all_or_nothing};
use super::stage::StageEncoder;
use crate::codec::codes::ENCODE;
use crate::codec::json::write;
use crate::codec::{EncodeContext, OutputFormat};

/// The columns of a dead letter, in order.
pub(crate) const COLUMNS: [&str; 14] = [
    "pipeline",
    "source",
    "topic",
    "partition",
    "offset",
    "timestamp_ms",
    "step",
    "code",
    "error",
    "key",
    "key_base64",
    "headers",
    "payload",
    "payload_base64",
];

pub(crate) fn encoder(context: &EncodeContext) -> Result<Box<dyn Encoder>> {
    let form = match context.format {
        _ if context.boundaries => Form::Log,
        OutputFormat::Json => Form::Json,
        OutputFormat::Csv => Form::Csv,
        OutputFormat::Parquet => Form::Parquet(Box::new(StageEncoder::new(schema())?)),
    };
    Ok(Box::new(DeadLetterEncoder { pipeline: context.pipeline.clone(), source: context.source.clone(), form }))
}

struct DeadLetterEncoder {
    pipeline: String,
    source: String,
    form: Form,
}

enum Form {
    Log,
    Json,
    Csv,
    Parquet(Box<StageEncoder>),
}

/// The error of an encoder that was made for rows.
pub(crate) fn not_dead_letters() -> Error {
    Error::new(ENCODE, "an output of rows was given a dead letter")
}

impl Encoder for DeadLetterEncoder {
    fn write(&mut self, _rows: &Rows, _chunk: &mut Chunk) -> Result<()> {
        Err(Error::new(ENCODE, "the output of dead letters was given rows"))
    }

    fn write_dead_letter(&mut self, letter: &DeadLetter, chunk: &mut Chunk) -> Result<()> {
        let values = Values::new(&self.pipeline, &self.source, letter);
        all_or_nothing(chunk, |chunk| {
            match &mut self.form {
                Form::Log => write_log(&values, letter, chunk),
                Form::Json => write_json(&values, &mut chunk.data),
                Form::Csv => write_csv(&values, &mut chunk.data),
                Form::Parquet(stage) => return stage.write_batch(&batch(&values)?, chunk),
            }
            chunk.rows += 1;
            Ok(())
        })
    }
}

/// Bytes as text: as they are, or in base64 where they are not UTF-8.
enum Text<'a> {
    Plain(&'a str),
    Base64(String),
}

impl<'a> Text<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        std::str::from_utf8(bytes).map_or_else(|_| Self::Base64(STANDARD.encode(bytes)), Self::Plain)
    }

    fn plain(&self) -> Option<&str> {
        if let Self::Plain(text) = self { Some(text) } else { None }
    }

    fn base64(&self) -> Option<&str> {
        if let Self::Base64(text) = self { Some(text) } else { None }
    }

    /// Appends `,"name":` or `,"name_base64":` and the text.
    fn member(&self, name: &str, out: &mut Vec<u8>) {
        let (suffix, text) = match self {
            Self::Plain(text) => ("", *text),
            Self::Base64(text) => ("_base64", text.as_str()),
        };
        out.extend_from_slice(format!(",\"{name}{suffix}\":").as_bytes());
        write::string(text, out);
    }
}

/// What a dead letter says.
struct Values<'a> {
    pipeline: &'a str,
    source: &'a str,
    topic: Option<&'a str>,
    partition: u32,
    offset: u64,
    timestamp_ms: Option<i64>,
    step: &'a str,
    code: &'static str,
    error: &'a str,
    key: Option<Text<'a>>,
    headers: &'a [Header],
    payload: Option<Text<'a>>,
}

impl<'a> Values<'a> {
    fn new(pipeline: &'a str, source: &'a str, letter: &'a DeadLetter) -> Self {
        Self {
            pipeline,
            source,
            topic: letter.record.batch.topic.as_deref(),
            partition: letter.record.batch.partition(),
            offset: letter.record.offset(),
            timestamp_ms: Some(letter.record.timestamp_ms()).filter(|&time| time != NO_TIMESTAMP),
            step: &letter.step,
            code: letter.rejection.code.id,
            error: &letter.rejection.message,
            key: letter.record.key().map(Text::new),
            headers: letter.record.headers(),
            payload: letter.record.value().map(Text::new),
        }
    }

    /// The headers as a JSON list, in which a name may stand twice; `None` if there are none.
    fn headers_json(&self) -> Option<String> {
        if self.headers.is_empty() {
            return None;
        }
        let mut out = Vec::new();
        for header in self.headers {
            out.extend_from_slice(if out.is_empty() { b"[{\"name\":" } else { b",{\"name\":" });
            write::string(&header.name, &mut out);
            Text::new(&header.value).member("value", &mut out);
            out.push(b'}');
        }
        out.push(b']');
        Some(String::from_utf8_lossy(&out).into_owned())
    }

    fn texts(&self) -> [Option<Cow<'_, str>>; COLUMNS.len()] {
        let plain = |text: &'_ str| Some(Cow::Owned(text.to_owned()));
        let key = self.key.as_ref();
        let payload = self.payload.as_ref();
        [
            Some(self.pipeline.into()),
            Some(self.source.into()),
            self.topic.map(Cow::Borrowed),
            Some(self.partition.to_string().into()),
            Some(self.offset.to_string().into()),
            self.timestamp_ms.map(|time| time.to_string().into()),
            Some(self.step.into()),
            Some(self.code.into()),
            Some(self.error.into()),
            key.and_then(Text::plain).and_then(plain),
            key.and_then(Text::base64).and_then(plain),
            self.headers_json().map(Cow::Owned),
            payload.and_then(Text::plain).and_then(plain),
            payload.and_then(Text::base64).and_then(plain),
        ]
    }
}

/// An object with the members of [`COLUMNS`], in order; what is not there is left out.
fn write_json(values: &Values<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"pipeline\":");
    write::string(values.pipeline, out);
    out.extend_from_slice(b",\"source\":");
    write::string(values.source, out);
    if let Some(topic) = values.topic {
        Text::Plain(topic).member("topic", out);
    }
    out.extend_from_slice(format!(",\"partition\":{},\"offset\":{}", values.partition, values.offset).as_bytes());
    if let Some(time) = values.timestamp_ms {
        out.extend_from_slice(format!(",\"timestamp_ms\":{time}").as_bytes());
    }
    for (name, text) in [("step", values.step), ("code", values.code), ("error", values.error)] {
        Text::Plain(text).member(name, out);
    }
    if let Some(key) = &values.key {
        key.member("key", out);
    }
    if let Some(headers) = values.headers_json() {
        out.extend_from_slice(b",\"headers\":");
        out.extend_from_slice(headers.as_bytes());
    }
    if let Some(payload) = &values.payload {
        payload.member("payload", out);
    }
    out.extend_from_slice(b"}\n");
}

fn write_csv(values: &Values<'_>, out: &mut Vec<u8>) {
    let texts = values.texts();
    write_record(texts.iter().map(Option::as_deref), out);
}

fn write_log(values: &Values<'_>, letter: &DeadLetter, chunk: &mut Chunk) {
    let record = &letter.record;
    let mut headers = record.headers().to_vec();
    let mut add = |name: &str, value: String| headers.push(Header { name: name.to_owned(), value: value.into_bytes() });
    add("ms.pipeline", values.pipeline.to_owned());
    add("ms.source", values.source.to_owned());
    if let Some(topic) = values.topic {
        add("ms.topic", topic.to_owned());
    }
    add("ms.partition", values.partition.to_string());
    add("ms.offset", values.offset.to_string());
    add("ms.step", values.step.to_owned());
    add("ms.code", values.code.to_owned());
    add("ms.error", values.error.to_owned());
    Records::push(record.key(), record.value(), record.timestamp_ms(), values.partition, headers, chunk);
}

fn schema() -> SchemaRef {
    let kind = |name: &str| match name {
        "partition" => DataType::UInt32,
        "offset" => DataType::UInt64,
        "timestamp_ms" => DataType::Int64,
        _ => DataType::Utf8,
    };
    Arc::new(Schema::new(COLUMNS.map(|name| Field::new(name, kind(name), true)).to_vec()))
}

fn batch(values: &Values<'_>) -> Result<RecordBatch> {
    let texts = values.texts();
    let arrays = COLUMNS.iter().zip(&texts).map(|(name, text)| -> ArrayRef {
        match *name {
            "partition" => Arc::new(UInt32Array::from(vec![values.partition])),
            "offset" => Arc::new(UInt64Array::from(vec![values.offset])),
            "timestamp_ms" => Arc::new(Int64Array::from(vec![values.timestamp_ms])),
            _ => Arc::new(StringArray::from(vec![text.as_deref()])),
        }
    });
    RecordBatch::try_new(schema(), arrays.collect())
        .map_err(|error| Error::new(ENCODE, "a dead letter does not make a row").because(error))
}
