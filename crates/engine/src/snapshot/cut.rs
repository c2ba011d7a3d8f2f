//! Cuts: a task's state, or what changed in it, on the way from its worker to the writer.
//!
//! The first cut of a task that starts empty is a full one (and small); all that follow are changes, and the writer
//! merges them. So a worker with a large state never stops to write all of it. That needs an unbroken line: changes that
//! were taken from the state and not written can't be taken again. A cut that is dropped unwritten says so itself, on
//! the worker's next cut, which then is a full one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use millstream_core::EventTime;

use super::manifest::Link;
use crate::task::Task;

/// A snapshot that a task was restored from: the changes since go on top of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Base(pub(super) Vec<Link>);

/// An unbroken line of cuts.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// What stands before the first cut, if that is one of changes.
    pub(super) base: Base,
    /// Cuts written, from the first.
    written: AtomicU64,
    /// A cut is lost.
    broken: AtomicBool,
}

impl Line {
    /// What was written can't be gone on with.
    pub(crate) fn give_up(&self) {
        self.broken.store(true, Ordering::Release);
    }
}

/// State at a position. [`Cutter`] makes them; who drops one unwritten breaks the line.
#[derive(Debug)]
pub struct StateCut {
    pub(crate) bytes: Vec<u8>,
    /// Changes to the cut before, or to the line's base; otherwise all of the state.
    pub(crate) changes: bool,
    pub(crate) watermark: EventTime,
    pub(crate) line: Arc<Line>,
    /// Counts the cuts of a line from 1.
    pub(crate) number: u64,
}

impl StateCut {
    /// The cut is part of a snapshot.
    pub(crate) fn is_written(&self) {
        self.line.written.store(self.number, Ordering::Release);
    }
}

impl Drop for StateCut {
    fn drop(&mut self) {
        if self.line.written.load(Ordering::Acquire) < self.number {
            self.line.broken.store(true, Ordering::Release);
        }
    }
}

/// What a task knows of its cuts. On the worker's thread.
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    /// `None`: the next cut is a full one.
    line: Option<Arc<Line>>,
    /// Cuts of the line so far.
    cuts: u64,
}

impl Cutter {
    /// Whether the cut before is written or lost: another one now would only wait behind it.
    pub(crate) fn is_idle(&self) -> bool {
        self.line
            .as_ref()
            .is_none_or(|line| line.broken.load(Ordering::Acquire) || line.written.load(Ordering::Acquire) == self.cuts)
    }

    /// Cuts a task.
    pub(crate) fn cut(&mut self, task: &mut Task) -> StateCut {
        if let Some(base) = task.take_base() {
            self.begin(base);
        }
        let watermark = task.watermark().value();
        self.cut_with(watermark, |changes| {
            if changes {
                return task.take_changes();
            }
            let all = task.snapshot();
            task.mark_saved();
            all
        })
    }

    /// Begins a line on top of a snapshot.
    pub(super) fn begin(&mut self, base: Base) {
        *self = Self { line: Some(Arc::new(Line { base, ..Line::default() })), cuts: 0 };
    }

    /// Makes a cut: `take` gives the changes, or (if it is asked for with `false`) all of the state.
    pub(super) fn cut_with(&mut self, watermark: EventTime, take: impl FnOnce(bool) -> Vec<u8>) -> StateCut {
        let line = self.line.take().filter(|line| !line.broken.load(Ordering::Acquire));
        let changes = line.is_some();
        let line = line.unwrap_or_else(|| {
            self.cuts = 0;
            Arc::default()
        });
        self.cuts += 1;
        self.line = Some(line.clone());
        StateCut { bytes: take(changes), changes, watermark, line, number: self.cuts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(cutter: &mut Cutter) -> StateCut {
        cutter.cut_with(0, |changes| vec![u8::from(changes)])
    }

    #[test]
    fn full_first_then_changes_until_one_is_lost() {
        let mut cutter = Cutter::default();
        assert!(cutter.is_idle());
        for number in 1..4 {
            let cut = cut(&mut cutter);
            assert_eq!((cut.number, cut.changes), (number, number > 1));
            assert!(!cutter.is_idle());
            cut.is_written();
            assert!(cutter.is_idle());
        }
        drop(cut(&mut cutter));
        assert!(cutter.is_idle());
        let full = cut(&mut cutter);
        assert_eq!((full.number, full.changes), (1, false));
    }

    #[test]
    fn a_cut_that_waits_does_not_outlive_a_broken_line() {
        let mut cutter = Cutter::default();
        cutter.begin(Base::default());
        let (first, second) = (cut(&mut cutter), cut(&mut cutter));
        assert!(first.changes && second.changes);
        drop(first);
        second.is_written();
        drop(second);
        assert!(!cut(&mut cutter).changes, "the writer refuses what follows a gap, but the worker must not rely on it");
    }
}
