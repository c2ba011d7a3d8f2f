//! Delivery guarantees, as values that can be compared before anything runs.

use std::fmt;

/// What a pipeline promises, or what a source or a sink can keep. Ordered from weakest to strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Delivery {
    /// Nothing twice; a crash may lose events.
    AtMostOnce,
    /// Nothing lost; a crash may repeat outputs.
    AtLeastOnce,
    /// Nothing lost, nothing twice.
    ExactlyOnce,
}

impl Delivery {
    /// The name in a pipeline file.
    pub fn name(self) -> &'static str {
        match self {
            Self::AtMostOnce => "at_most_once",
            Self::AtLeastOnce => "at_least_once",
            Self::ExactlyOnce => "exactly_once",
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
