//! Drives the binary as a user would.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

mod changes;
mod check;
mod http;
mod misc;
mod model;
mod operating;
mod run;
mod support;
mod topic;
