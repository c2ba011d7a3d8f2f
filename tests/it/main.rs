//! Everything that crosses crates, tested on the built binary as a user runs it.
//!
//! Oracles are engines that were not written here: DuckDB and XGBoost, from Python, in a venv that the first test
//! to need it makes. See `CONTRIBUTING.md` for the environment variables that lengthen or narrow these tests.

// All of it is test code, which the lints know only by `#[test]`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod crash;
mod determinism;
mod docs;
mod example;
mod kafka;
mod kafka_connector;
mod kafka_operating;
mod kafka_topics;
mod messages;
mod odd_inputs;
mod oracle;
mod state_location;
mod support;
