//! SQL features over event time.

pub mod window;
