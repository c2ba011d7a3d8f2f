//! Sources, sinks and codecs
