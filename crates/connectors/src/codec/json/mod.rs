//! JSON: events to columns, rows to objects.

pub(crate) mod cursor;
pub(crate) mod decode;
pub(crate) mod keys;
pub(crate) mod shape;
mod value;
pub(crate) mod write;
