//! Sources, sinks and codecs

pub mod codec;
