//! Dead letters: events that could not be used, kept whole with the reason.

use crate::error::Code;
use crate::record::RecordRef;

/// Why one row was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The stable code.
    pub code: Code,
    /// What was seen and what is allowed.
    pub message: String,
}

/// A refused event: the original record with the step and the reason.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The original record: bytes, key, headers, offset.
    pub record: RecordRef,
    /// The offset of the event whose arrival caused the refusal; see [`crate::rows::MetaColumns::trigger`].
    pub trigger: u64,
    /// Where it was refused: `decode`, `check <name>`, or a step's name.
    pub step: String,
    /// Why.
    pub rejection: Rejection,
}
