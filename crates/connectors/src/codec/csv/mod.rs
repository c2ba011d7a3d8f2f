//! CSV (RFC 4180, comma): records to columns, rows to records.

pub(crate) mod decode;
pub(crate) mod split;
