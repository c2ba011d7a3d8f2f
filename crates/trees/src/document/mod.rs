//! Documents that model files are written as: maps, lists, strings and numbers, read in memory bounded by the file's size.

mod cursor;
pub(crate) mod json;
mod value;

pub(crate) use cursor::Cursor;
pub(crate) use value::{At, DEPTH_MAX, Kind, Number, Numbers, Value};
