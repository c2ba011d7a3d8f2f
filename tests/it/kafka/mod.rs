//! The built binary between topics of a real Kafka: crashes, pauses, outages and what they leave.
//!
//! What is read back was read by clients that were not written here. What must be there is computed by the same binary
//! from the same records in the embedded log, undisturbed; and that is held against other engines in `oracle`.

mod crash;
mod expected;
mod faults;
mod flow;
mod instance;
mod job;
