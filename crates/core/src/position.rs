//! Tasks and positions.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A task: the unit of order, state and time. It is partition `partition` of the pipeline's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId(pub u32);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a task stands in its input: the offset of the next record it will read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The next offset. Offsets rise within a partition; they need not be dense.
    pub offset: u64,
    /// What the source needs besides the offset to go on from here (a file's name and byte, say). Opaque to
    /// everyone else; empty where the offset says it all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cursor: String,
}
