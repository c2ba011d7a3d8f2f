//! Drives the real task of a pipeline in memory: no thread, no clock, no store.
//!
//! A [`Driver`] loads a pipeline file as `run` does, and then the test is the worker: it says which events
//! arrive, how they are cut into batches, when the input ends and when the task is thrown away and restored.
//! What comes out is what the outputs would be given, byte for byte.
//!
//! ```no_run
//! let mut driver = millstream_testkit::Driver::load("pipeline.yaml".as_ref()).unwrap();
//! driver.feed([r#"{"card":"a","amount":1}"#]).unwrap();
//! driver.end().unwrap();
//! println!("{}", driver.text("scores"));
//! ```

pub mod kafka;
pub mod sim;

use std::path::Path;
use std::sync::Arc;

use millstream_connectors::codec::InputFormat;
use millstream_core::record::NO_TIMESTAMP;
use millstream_core::{Chunk, Error, RawBatch, Result, TaskId};
use millstream_engine::artifacts::Serving;
use millstream_engine::task::{EpochBuffer, Mode, NoProbe, Task};
use millstream_engine::{LoadOptions, Overrides, Plan, load};

/// A pipeline's first task, driven by hand.
pub struct Driver {
    plan: Arc<Plan>,
    task: Task,
    names: Vec<String>,
    buffer: EpochBuffer,
    offset: u64,
}

impl Driver {
    /// Loads a pipeline file whose source is JSON. Files it names must be there; its source and outputs are not touched.
    ///
    /// # Errors
    /// The file can't be read, or has errors: they come rendered, as `check` prints them.
    pub fn load(pipeline: &Path) -> Result<Self, String> {
        let options = LoadOptions { connect: false, env: &|_| None, overrides: Overrides::default() };
        let loaded = load(pipeline, &options).map_err(|e| e.to_string())?;
        let plan = loaded.plan.ok_or_else(|| loaded.diagnostics.render(false))?;
        let task = Self::task(&plan).map_err(|e| e.to_string())?;
        let names: Vec<String> = plan.output_descriptions().into_iter().map(|(name, _)| name).collect();
        let buffer = EpochBuffer::new(names.len());
        Ok(Self { plan, task, names, buffer, offset: 0 })
    }

    fn task(plan: &Arc<Plan>) -> Result<Task, Error> {
        Task::new(plan.clone(), TaskId::new(0), &Serving::now(plan, InputFormat::Json))
    }

    /// Feeds events as one batch.
    ///
    /// # Errors
    /// What would stop the run.
    pub fn feed<E: AsRef<[u8]>>(&mut self, events: impl IntoIterator<Item = E>) -> Result<()> {
        let mut raw = RawBatch::new(TaskId::new(0));
        for event in events {
            raw.push(self.offset, NO_TIMESTAMP, None, Some(event.as_ref()), &[]);
            self.offset += 1;
        }
        self.task.feed(Arc::new(raw), Mode::Emit(&mut self.buffer), &mut NoProbe)
    }

    /// Ends the input: the watermark moves past all that was seen.
    ///
    /// # Errors
    /// What would stop the run.
    pub fn end(&mut self) -> Result<()> {
        match self.task.watermark().at_end() {
            Some(to) => self.task.advance(self.offset, to, Mode::Emit(&mut self.buffer), &mut NoProbe),
            None => Ok(()),
        }
    }

    /// Throws the task away and restores it from its own snapshot, as a restart does.
    ///
    /// # Errors
    /// The snapshot does not read back.
    pub fn restart(&mut self) -> Result<()> {
        let state = self.task.snapshot();
        self.task = Self::task(&self.plan)?;
        self.task.restore(&state, &[])
    }

    /// What an output was given so far; `dead_letters` is one of them.
    pub fn chunk(&self, output: &str) -> Option<&Chunk> {
        self.buffer.chunks.get(self.names.iter().position(|n| n == output)?)
    }

    /// What a text output was given so far, as text; empty for an output that does not exist.
    pub fn text(&self, output: &str) -> String {
        self.chunk(output).map(|c| String::from_utf8_lossy(&c.data).into_owned()).unwrap_or_default()
    }

    /// Counts of events, predictions, dead letters and late events.
    pub fn counts(&self) -> &EpochBuffer {
        &self.buffer
    }

    /// Rows and bytes of state, by step.
    pub fn state_sizes(&self) -> Vec<(String, millstream_core::StateSize)> {
        self.task.state_sizes()
    }
}
