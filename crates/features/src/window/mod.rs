//! OVER windows as an incremental operator.

pub mod spec;
