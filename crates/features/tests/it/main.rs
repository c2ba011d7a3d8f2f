//! Queries from SQL text to rows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod plans;
mod refusals;
mod rows;
mod rowwise;
mod support;
mod tables;
