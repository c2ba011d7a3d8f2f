//! The codes of decoding and encoding, `MS0400` to `MS0449`.

use millstream_core::Code;

/// Bytes that are not a JSON text.
pub const NOT_JSON: Code = Code::new("MS0401", "the event is not valid JSON");
/// Bytes that are not UTF-8.
pub const NOT_UTF8: Code = Code::new("MS0402", "the event is not valid UTF-8");
/// No bytes, or nothing but white space.
pub const EMPTY: Code = Code::new("MS0403", "the event is empty");
/// A record without a value.
pub const TOMBSTONE: Code = Code::new("MS0404", "the record has no value");
/// A JSON text that is not an object.
pub const NOT_AN_OBJECT: Code = Code::new("MS0405", "the event is not a JSON object");
/// One key twice in one object.
pub const DUPLICATE_KEY: Code = Code::new("MS0406", "a key stands twice in one object");
/// A value of another type than the declared one.
pub const WRONG_TYPE: Code = Code::new("MS0407", "a field has another type than declared");
/// A number that the declared type can't hold.
pub const OUT_OF_RANGE: Code = Code::new("MS0408", "a number does not fit its declared type");
/// A required field that is null or absent.
pub const MISSING: Code = Code::new("MS0409", "a required field is missing");
/// A field that is not declared, under `strict: true`.
pub const UNDECLARED: Code = Code::new("MS0410", "a field is not declared");
/// Lists and objects nested too deeply.
pub const TOO_DEEP: Code = Code::new("MS0411", "the event is nested too deeply");
/// A CSV record with quotes out of place.
pub const BROKEN_QUOTES: Code = Code::new("MS0412", "the quotes of a CSV record don't match");
/// A CSV record with more or fewer fields than the header.
pub const FIELD_COUNT: Code = Code::new("MS0413", "a CSV record has the wrong number of fields");
/// A header that does not have what the schema declares.
pub const HEADER: Code = Code::new("MS0420", "the CSV header does not fit the schema");
/// A `default:` that is not a value of its field's type.
pub const BAD_DEFAULT: Code = Code::new("MS0421", "a default does not fit its field's type");
/// More bytes in one batch than a column can address.
pub const BATCH_TOO_LARGE: Code = Code::new("MS0422", "a batch is too large to decode");
/// A column of a type that the output's format can't hold.
pub const UNWRITABLE_TYPE: Code = Code::new("MS0430", "a column's type can't be written in this format");
/// `include: event` where it has no meaning.
pub const NO_EVENT: Code = Code::new("MS0431", "the original event can't be included");
/// Rows that can't be put in the bytes of an output.
pub const ENCODE: Code = Code::new("MS0432", "rows can't be encoded");
/// A Parquet file or its staged rows that can't be read or written.
pub const PARQUET: Code = Code::new("MS0433", "a Parquet file can't be written");

/// Every code of decoding and encoding.
pub const ALL: &[Code] = &[
    NOT_JSON,
    NOT_UTF8,
    EMPTY,
    TOMBSTONE,
    NOT_AN_OBJECT,
    DUPLICATE_KEY,
    WRONG_TYPE,
    OUT_OF_RANGE,
    MISSING,
    UNDECLARED,
    TOO_DEEP,
    BROKEN_QUOTES,
    FIELD_COUNT,
    HEADER,
    BAD_DEFAULT,
    BATCH_TOO_LARGE,
    UNWRITABLE_TYPE,
    NO_EVENT,
    ENCODE,
    PARQUET,
];
