//! The state of one key: its rows, the frames that move over them, and what the frames keep.
//!
//! A frame is a range of positions with accumulators over it. To evaluate a row, the frame is moved to where it
//! ends at that row. Rows nearly always come in order, so nearly always the move takes the new row in and lets a
//! few old ones go: amortised O(1). For a row out of order the frame moves back by as many rows as lie behind
//! it, and forth again with the next one. Where letting rows go would cost more than starting anew (a card that
//! was silent for an hour), it starts anew: accumulators are exact, so both ways give the same.

use super::accumulator::{Accumulator, NOTHING, UNKNOWN, is_better};
use super::blocks::Blocks;
use super::intern::Interner;
use super::key::Key;
use super::plan::{AccumulatorPlan, End, FramePlan, Operation, StorePlan};
use super::prefetch::prefetch;
use super::ring::Ring;
use super::spec::Frame;
use super::ties;

/// A range of positions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    pub start: u64,
    pub end: u64,
}

/// The state of one key, laid out so that finding it and its newest row touches one cache line, and all the rest
/// another.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Partition {
    pub key: Key,
    pub ring: Ring,
    /// The first row that is not behind the watermark, as far as is known.
    pub settled: u64,
    /// One for each frame of the plan.
    pub spans: Box<[Span]>,
    /// Those of all frames.
    pub accumulators: Box<[Accumulator]>,
    /// One for each index of the plan, or none until one is needed.
    pub blocks: Box<[Blocks]>,
    /// Whether the key waits in the expiry queue.
    pub scheduled: bool,
    /// Whether it changed since changes were last counted anew.
    pub dirty: bool,
}

/// Where a row stands among the rows of its key.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its position.
    pub position: u64,
    /// After the last row of the same time.
    pub time_end: u64,
    /// After the last row of the same time and tie-breaks.
    pub peers_end: u64,
}

impl Partition {
    /// A key without rows; the first will have this position.
    pub fn new(key: Key, plan: &StorePlan, base: u64) -> Self {
        let accumulators = plan.frames.iter().flat_map(|frame| &frame.accumulators);
        Self {
            key,
            scheduled: false,
            dirty: false,
            ring: Ring::starting_at(base),
            settled: base,
            spans: plan.frames.iter().map(|_| Span { start: base, end: base }).collect(),
            accumulators: accumulators.map(AccumulatorPlan::empty).collect(),
            blocks: Box::default(),
        }
    }

    /// A slot without a key.
    pub fn vacant() -> Self {
        Self {
            key: Key::Vacant,
            scheduled: false,
            dirty: false,
            ring: Ring::default(),
            settled: 0,
            spans: Box::default(),
            accumulators: Box::default(),
            blocks: Box::default(),
        }
    }

    /// Puts a row that arrived where it belongs: after those of its time and tie-breaks that arrived before it.
    #[inline]
    pub fn place(&mut self, row: &[u64], plan: &StorePlan, interner: &mut Interner) -> Place {
        let (stride, time, end) = (plan.stride, row[0] as i64, self.ring.end());
        if self.ring.len() == 0 || self.ring.time(end - 1, stride) < time {
            self.ring.insert(end, row);
            return Place { position: end, time_end: end + 1, peers_end: end + 1 };
        }
        let after = |known: &[u64]| match time.cmp(&(known[0] as i64)) {
            std::cmp::Ordering::Equal => ties::compare_rows(&plan.ties, row, known, interner).is_ge(),
            order => order.is_ge(),
        };
        let mut position = end;
        while position > self.ring.base() && !after(self.ring.row(position - 1, stride)) {
            position -= 1;
        }
        self.insert(position, row, plan, interner);
        let mut time_end = position + 1;
        while time_end < self.ring.end() && self.ring.time(time_end, stride) == time {
            time_end += 1;
        }
        Place { position, time_end, peers_end: position + 1 }
    }

    /// Asks for what the key's own fields point to.
    #[inline]
    pub fn prefetch_state(&self, stride: usize) {
        self.ring.prefetch(self.ring.end().wrapping_sub(1), stride);
        self.ring.prefetch(self.ring.base(), stride);
        prefetch(self.spans.first());
        for accumulator in &self.accumulators {
            prefetch(Some(accumulator));
        }
    }

    /// Asks for the rows that leave a frame next.
    #[inline]
    pub fn prefetch_leaving(&self, stride: usize) {
        for span in &self.spans {
            self.ring.prefetch(span.start, stride);
        }
    }

    /// Puts a row behind all others, for rows that come in order.
    #[inline]
    pub fn append(&mut self, row: &[u64]) -> u64 {
        let position = self.ring.end();
        self.ring.insert(position, row);
        position
    }

    /// Puts a row in at a position and makes everything agree with that.
    fn insert(&mut self, position: u64, row: &[u64], plan: &StorePlan, interner: &mut Interner) {
        let appended = position == self.ring.end();
        self.ring.insert(position, row);
        if appended {
            return;
        }
        for blocks in &mut self.blocks {
            blocks.invalidate_from(position);
        }
        for (span, frame) in self.spans.iter_mut().zip(&plan.frames) {
            if position >= span.end {
                continue;
            }
            let before = position <= span.start && !frame.unbounded();
            let accumulators = self.accumulators.iter_mut().skip(frame.first);
            for (accumulator, plan_of) in accumulators.zip(&frame.accumulators) {
                if let Accumulator::Extreme { at: known, .. } = accumulator
                    && *known < NOTHING
                    && *known >= position
                {
                    *known += 1;
                }
                if !before {
                    take_in(accumulator, plan_of, &self.ring, position, plan.stride, interner);
                }
            }
            span.end += 1;
            span.start += u64::from(before);
        }
    }

    /// Moves a frame so that it ends as a row's frame does, and gives its range.
    #[inline]
    pub fn move_frame(
        &mut self,
        at: usize,
        frame: &FramePlan,
        place: Place,
        stride: usize,
        interner: &mut Interner,
    ) -> Span {
        let base = self.ring.base();
        let end = match frame.end {
            End::Row => place.position + 1,
            End::Time => place.time_end,
            End::Peers => place.peers_end,
        };
        let Some(&now) = self.spans.get(at) else { return Span { start: base, end } };
        let start = match frame.frame {
            Frame::Range(None) | Frame::Rows(None) => now.start,
            Frame::Rows(Some(rows)) => place.position.saturating_sub(rows).max(base),
            Frame::Range(Some(ns)) => {
                let limit = self.ring.time(place.position, stride).saturating_sub(ns);
                let mut start = now.start.clamp(base, place.position);
                while self.ring.time(start, stride) < limit {
                    start += 1;
                }
                while start > base && self.ring.time(start - 1, stride) >= limit {
                    start -= 1;
                }
                start
            }
        };
        self.move_span(at, frame, Span { start, end }, stride, interner);
        Span { start: if frame.unbounded() { base } else { start }, end }
    }

    /// Moves a frame to a range.
    fn move_span(&mut self, at: usize, frame: &FramePlan, to: Span, stride: usize, interner: &mut Interner) {
        let Some(span) = self.spans.get_mut(at) else { return };
        let from = std::mem::replace(span, to);
        if frame.accumulators.is_empty() {
            return;
        }
        let accumulators = self.accumulators.get_mut(frame.first..).unwrap_or_default();
        let both = accumulators.iter_mut().zip(&frame.accumulators);
        // The plain case first: one row more at the end, nothing else.
        if from.start == to.start && from.end + 1 == to.end {
            for (accumulator, plan) in both {
                take_in(accumulator, plan, &self.ring, from.end, stride, interner);
            }
            return;
        }
        let kept = from.end.min(to.end).saturating_sub(from.start.max(to.start));
        let changed = (from.end - from.start) + (to.end - to.start) - 2 * kept;
        let anew = changed > to.end - to.start && !frame.unbounded();
        for (accumulator, plan) in both {
            if plan.operation.of_dropped() {
                continue;
            }
            let ring = &self.ring;
            if anew {
                accumulator.clear(plan, interner);
                for position in to.start..to.end {
                    take_in(accumulator, plan, ring, position, stride, interner);
                }
                continue;
            }
            for position in (from.start..to.start.min(from.end)).chain(to.end.max(from.start)..from.end) {
                take_back(accumulator, plan, ring, position, stride, interner);
            }
            for position in (to.start..from.start.min(to.end)).chain(from.end.max(to.start)..to.end) {
                take_in(accumulator, plan, ring, position, stride, interner);
            }
        }
    }

    /// Drops the rows that no frame of any row to come can reach, if no event before `watermark` comes any
    /// more. Gives how many.
    #[inline]
    pub fn evict(&mut self, watermark: i64, plan: &StorePlan, interner: &mut Interner) -> u64 {
        let (base, end, stride) = (self.ring.base(), self.ring.end(), plan.stride);
        let mut keep = end;
        if let Some(reach) = plan.reach_ns {
            let limit = watermark.saturating_sub(reach);
            keep = base;
            while keep < end && self.ring.time(keep, stride) < limit {
                keep += 1;
            }
            if keep == base && !plan.forgets_ties {
                return 0;
            }
        }
        if plan.tracks_settled {
            let mut settled = self.settled.max(base);
            while settled < end && self.ring.time(settled, stride) < watermark {
                if plan.forgets_ties {
                    ties::forget(plan, self.ring.row_mut(settled, stride), interner);
                }
                settled += 1;
            }
            self.settled = settled;
            keep = keep.min(settled).min(settled.saturating_sub(plan.reach_rows)).max(base);
        }
        if keep > base { self.drop_rows(keep, plan, interner) } else { 0 }
    }

    #[cold]
    fn drop_rows(&mut self, keep: u64, plan: &StorePlan, interner: &mut Interner) -> u64 {
        let (base, stride) = (self.ring.base(), plan.stride);
        for (at, frame) in plan.frames.iter().enumerate() {
            let Some(&span) = self.spans.get(at) else { continue };
            let start = if frame.unbounded() { span.start } else { span.start.max(keep) };
            let to = Span { start, end: span.end.max(keep) };
            if (span.start, span.end) != (to.start, to.end) {
                self.move_span(at, frame, to, stride, interner);
            }
            let accumulators = self.accumulators.iter_mut().skip(frame.first);
            for (accumulator, plan_of) in accumulators.zip(&frame.accumulators) {
                match accumulator {
                    Accumulator::Dropped(_) => {
                        for position in base..keep {
                            accumulator.drop_row(plan_of, self.ring.row(position, stride), interner);
                        }
                    }
                    Accumulator::Extreme { at: known, .. } if *known < keep => *known = UNKNOWN,
                    _ => {}
                }
            }
        }
        for position in base..keep {
            plan.release_row(self.ring.row(position, stride), interner);
        }
        self.ring.drop_before(keep, stride);
        if Blocks::is_worth_a_look(base, keep) {
            for blocks in &mut self.blocks {
                blocks.drop_before(keep);
            }
        }
        keep - base
    }

    /// Forgets everything, giving back what rows hold of the interner.
    pub fn discard(&mut self, plan: &StorePlan, interner: &mut Interner) {
        for position in self.ring.base()..self.ring.end() {
            plan.release_row(self.ring.row(position, plan.stride), interner);
        }
        let plans = plan.frames.iter().flat_map(|frame| &frame.accumulators);
        for (accumulator, plan) in self.accumulators.iter_mut().zip(plans) {
            accumulator.discard(plan, interner);
        }
        *self = Self::vacant();
    }
}

/// A row enters a frame.
#[inline]
fn take_in(
    accumulator: &mut Accumulator,
    plan: &AccumulatorPlan,
    ring: &Ring,
    position: u64,
    stride: usize,
    interner: &mut Interner,
) {
    let row = ring.row(position, stride);
    let Accumulator::Extreme { at, cell: best } = accumulator else { return accumulator.add(plan, row, interner) };
    if *at == UNKNOWN || plan.need != 0 && row[1] & plan.need != plan.need {
        return;
    }
    let Operation::Extreme { greatest } = plan.operation else { return };
    let value = row[plan.cell.word];
    // Of equal values the newest is remembered: it stays longest.
    if *at == NOTHING || !is_better(plan.cell.kind, greatest, *best, value, interner) {
        (*at, *best) = (position, value);
    }
}

/// A row leaves a frame.
#[inline]
fn take_back(
    accumulator: &mut Accumulator,
    plan: &AccumulatorPlan,
    ring: &Ring,
    position: u64,
    stride: usize,
    interner: &mut Interner,
) {
    match accumulator {
        Accumulator::Extreme { at, .. } => {
            if *at == position {
                *at = UNKNOWN;
            }
        }
        other => other.remove(plan, ring.row(position, stride), interner),
    }
}
