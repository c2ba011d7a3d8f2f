//! The codes of errors raised in this crate.

use millstream_core::Code;

/// A model file that is missing or can't be read.
pub const UNREADABLE: Code = Code::new("MS0301", "model file can't be read");
/// A file that is no model of a known format.
pub const NOT_A_MODEL: Code = Code::new("MS0302", "not a model");
/// A model file that is damaged or cut short.
pub const DAMAGED: Code = Code::new("MS0303", "model file is damaged");
/// A sound model that uses something not supported.
pub const UNSUPPORTED: Code = Code::new("MS0304", "model uses something not supported");
/// Inputs whose number, type or length is not the model's.
pub const INPUTS: Code = Code::new("MS0305", "inputs don't fit the model");
/// An output the model can't give.
pub const OUTPUT: Code = Code::new("MS0306", "the model has no such output");

/// Every code of this crate.
pub const ALL: &[Code] = &[UNREADABLE, NOT_A_MODEL, DAMAGED, UNSUPPORTED, INPUTS, OUTPUT];
