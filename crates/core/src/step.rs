//! What a step of a pipeline is: a deterministic state machine over rows.

use crate::dead_letter::DeadLetter;
use crate::error::Result;
use crate::rows::Rows;
use crate::state::{StateReader, StateWriter};
use crate::time::{EventTime, WATERMARK_START};

/// How the watermark moved while the events of a batch arrived. Never empty when given to a step.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Offsets of the events of the batch (or the one offset a journaled advance applies at), rising.
    pub offsets: Vec<u64>,
    /// The watermark right after each of them; never falls.
    pub watermarks: Vec<EventTime>,
}

impl Progress {
    /// The watermark after the whole batch.
    pub fn watermark(&self) -> EventTime {
        self.watermarks.last().copied().unwrap_or(WATERMARK_START)
    }

    /// The offset of the first event after which the watermark was past `time`; `None` if it never was.
    /// That event *triggers* what waits for `time` to be complete.
    pub fn trigger_past(&self, time: EventTime) -> Option<u64> {
        let i = self.watermarks.partition_point(|&w| w <= time);
        self.offsets.get(i).copied()
    }
}

/// What a step gives for a batch.
#[derive(Debug, Default)]
pub struct StepOutput {
    /// Rows, in order. Order by trigger holds within and across batches.
    pub rows: Vec<Rows>,
    /// Events refused here; `step` may be left empty, the engine fills in the step's name.
    pub rejected: Vec<DeadLetter>,
    /// Late events dropped by policy.
    pub late_dropped: u64,
}

/// How much state a step holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSize {
    /// Keys held.
    pub keys: u64,
    /// Rows held in windows and buffers.
    pub rows: u64,
    /// Bytes, estimated.
    pub bytes: u64,
}

/// A step: rows in, rows out, state between.
///
/// Law: `process` is a pure function of the state and its arguments. No clock, no randomness, no environment,
/// no network, no order of a hash map. The rows that come out, and their order, must not depend on how the
/// input was cut into batches.
pub trait Step: Send {
    /// Processes the rows that arrived (perhaps none), then lets the watermark act.
    ///
    /// A row that can't be processed goes to `out.rejected`; an `Err` stops the task.
    ///
    /// # Errors
    /// Only what no single row is to blame for.
    fn process(&mut self, rows: Rows, progress: &Progress, out: &mut StepOutput) -> Result<()>;

    /// Writes the state. Stateless steps write nothing.
    fn snapshot(&self, _out: &mut StateWriter) {}

    /// Whether state and changes are written as [entries](crate::entries), so that they can be merged without the step.
    fn writes_entries(&self) -> bool {
        false
    }

    /// From now on, changes are counted anew: the state as it stands is part of a snapshot.
    /// Restoring state and applying changes count anew too.
    fn mark_saved(&mut self) {}

    /// Writes what changed since changes were last counted anew, and counts anew. What [`Step::apply_changes`] makes
    /// of it, on top of the state as it was then, equals the state now. By default it writes the whole state.
    fn take_changes(&mut self, out: &mut StateWriter) {
        self.snapshot(out);
        self.mark_saved();
    }

    /// Applies what [`Step::take_changes`] wrote to the state it was taken on.
    ///
    /// # Errors
    /// The bytes are damaged.
    fn apply_changes(&mut self, state: &mut StateReader<'_>) -> Result<()> {
        self.restore(state)
    }

    /// Reads the state that [`Step::snapshot`] wrote for a step with the same fingerprint.
    ///
    /// # Errors
    /// The bytes are damaged.
    fn restore(&mut self, _state: &mut StateReader<'_>) -> Result<()> {
        Ok(())
    }

    /// How much state there is.
    fn state_size(&self) -> StateSize {
        StateSize::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trigger_is_the_first_event_past_a_time() {
        let p = Progress { offsets: vec![4, 5, 6], watermarks: vec![10, 10, 20] };
        assert_eq!(p.trigger_past(9), Some(4));
        assert_eq!(p.trigger_past(10), Some(6));
        assert_eq!(p.trigger_past(20), None);
        assert_eq!(p.watermark(), 20);
    }
}
