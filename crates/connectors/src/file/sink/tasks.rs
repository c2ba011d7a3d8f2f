//! What an output has open for each task that was recovered.

use std::collections::BTreeMap;

use millstream_core::{Error, Result, TaskId};

use crate::codes::{OUTPUT_MOVED, OUTPUT_UNWRITABLE};

/// A `T` for each task.
pub(super) struct PerTask<T> {
    pub(super) all: BTreeMap<TaskId, T>,
    make: Box<dyn Fn(TaskId) -> T + Send>,
    tasks: Option<u32>,
}

impl<T> PerTask<T> {
    /// None yet. `tasks`: how many the input has, if that is settled.
    pub(super) fn new(tasks: Option<u32>, make: impl Fn(TaskId) -> T + Send + 'static) -> Self {
        Self { all: BTreeMap::new(), make: Box::new(make), tasks }
    }

    /// One for a task, not among the others yet.
    pub(super) fn make(&self, task: TaskId) -> Result<T> {
        match self.tasks {
            Some(tasks) if task.partition >= tasks => Err(Error::new(
                OUTPUT_MOVED,
                format!("the last commit has a task {task}, but the input now has {tasks} partitions"),
            )
            .help("put the old number of partitions back, or begin anew with `--fresh`")),
            _ => Ok((self.make)(task)),
        }
    }

    pub(super) fn get(&mut self, task: TaskId) -> Result<&mut T> {
        self.all.get_mut(&task).ok_or_else(|| not_recovered(&format!("the output of task {task}")))
    }
}

pub(super) fn not_recovered(name: &str) -> Error {
    Error::new(OUTPUT_UNWRITABLE, format!("`{name}` was written to before it was recovered"))
}
