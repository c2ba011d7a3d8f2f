//! The codes of what can be wrong with a pipeline file. `MS0110` (unknown column type) belongs to `millstream-core`.

use millstream_core::Code;

/// Not YAML.
pub const SYNTAX: Code = Code::new("MS0101", "the file is not valid YAML");
/// Too large, too deep, or not text.
pub const LIMITS: Code = Code::new("MS0102", "the file can't be read as a pipeline file");
/// Anchors, aliases, merge keys, tags, further documents, keys that are not text.
pub const UNSUPPORTED_YAML: Code = Code::new("MS0103", "a YAML feature that pipeline files don't have");
/// A field that nothing reads.
pub const UNKNOWN_FIELD: Code = Code::new("MS0104", "unknown field");
/// A field that must be there.
pub const MISSING_FIELD: Code = Code::new("MS0105", "missing field");
/// A string where a number is needed, and the like.
pub const WRONG_TYPE: Code = Code::new("MS0106", "wrong type");
/// A word that is none of those allowed.
pub const UNKNOWN_CHOICE: Code = Code::new("MS0107", "unknown choice");
/// The same key or name twice.
pub const DUPLICATE: Code = Code::new("MS0108", "the same name twice");
/// A duration that can't be read.
pub const BAD_DURATION: Code = Code::new("MS0109", "bad duration");
/// A size that can't be read.
pub const BAD_SIZE: Code = Code::new("MS0111", "bad size");
/// A name with characters that names don't have.
pub const BAD_NAME: Code = Code::new("MS0112", "bad name");
/// A name that nothing in the file has.
pub const UNRESOLVED: Code = Code::new("MS0113", "a reference to something that does not exist");
/// A `${VAR}` that is not set, or not written as it should be.
pub const VARIABLE: Code = Code::new("MS0114", "bad variable");
/// A number beyond what the field allows.
pub const OUT_OF_RANGE: Code = Code::new("MS0115", "value out of range");
/// A field that would change nothing where it stands.
pub const NO_EFFECT: Code = Code::new("MS0116", "a field that has no effect");
/// A `default:` that does not fit its column.
pub const BAD_DEFAULT: Code = Code::new("MS0117", "a default that does not fit");
/// Fields that exclude or need each other, and counts that are not allowed.
pub const STRUCTURE: Code = Code::new("MS0118", "parts that don't fit together");
/// A column that can't be what it is named as.
pub const WRONG_COLUMN: Code = Code::new("MS0119", "a column of the wrong kind");
/// No place for events that can't be used.
pub const NO_DEAD_LETTERS: Code = Code::new("MS0120", "no place for events that can't be used");

/// Every code of this crate.
pub const ALL: &[Code] = &[
    SYNTAX,
    LIMITS,
    UNSUPPORTED_YAML,
    UNKNOWN_FIELD,
    MISSING_FIELD,
    WRONG_TYPE,
    UNKNOWN_CHOICE,
    DUPLICATE,
    BAD_DURATION,
    BAD_SIZE,
    BAD_NAME,
    UNRESOLVED,
    VARIABLE,
    OUT_OF_RANGE,
    NO_EFFECT,
    BAD_DEFAULT,
    STRUCTURE,
    WRONG_COLUMN,
    NO_DEAD_LETTERS,
];
