//! Values from text: what JSON numbers, JSON strings and CSV fields have in common.

pub(crate) mod number;
pub(crate) mod time;
