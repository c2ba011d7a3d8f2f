//! Running a planned query: a chain of operators over rows, on the worker's thread, without a clock.

pub(crate) mod eval;
pub(crate) mod join;
pub(crate) mod step;
