//! Queries from SQL text to rows.

mod plans;
mod refusals;
mod rows;
mod rowwise;
mod support;
mod tables;
