//! The codes of errors raised in this crate, and how ranges are shared out:
//! `01xx` pipeline file, `02xx` SQL, `03xx` models, `04xx` decoding and validation, `05xx` sources and sinks,
//! `06xx` log, state and recovery, `07xx` command line, `08xx` the engine while it runs.

use crate::error::Code;

/// A type in a `schema:` that is none of the known ones.
pub const UNKNOWN_TYPE: Code = Code::new("MS0110", "unknown column type");
/// Bytes of a snapshot or a commit record that do not read back.
pub const STATE_CORRUPT: Code = Code::new("MS0601", "stored state is damaged");

/// Every code of this crate.
pub const ALL: &[Code] = &[UNKNOWN_TYPE, STATE_CORRUPT];
