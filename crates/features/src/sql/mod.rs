//! From SQL text to a plan that only says what a stream can do.
//!
//! Three passes: [`parse`] gives a syntax tree; [`prepare`] walks it, resolves every name, refuses what a
//! stream can't do (with spans, all problems at once) and rewrites what the planner is too strict about;
//! [`provider`] hands the prepared tree to DataFusion's planner. What that refuses, [`blame`] pins on the
//! smallest expression.

pub(crate) mod blame;
pub(crate) mod frames;
pub(crate) mod from;
pub(crate) mod functions;
pub(crate) mod parse;
pub(crate) mod prepare;
pub(crate) mod provider;
pub(crate) mod scope;
pub(crate) mod walk;
