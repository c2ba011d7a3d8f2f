//! Sources, sinks and codecs.
//!
//! One folder a connector, one line each in [`registry`]. A connector has two halves: a *spec*, made by `check`
//! from what stands in the pipeline file and nothing else, and what the spec opens: a
//! [`Source`](millstream_core::Source) for each partition, a [`Sink`](millstream_core::Sink) for each output.

pub mod backend;
pub mod codec;
pub mod codes;
mod env;
pub mod file;
pub mod kafka;
pub mod log;
pub mod look;
mod partitioned;
pub mod registry;
mod spec;

pub use backend::Backend;
pub use codec::EncodeContext;
pub use env::Env;
pub use spec::{SinkSpec, SourceSpec};
