//! Event time and watermarks.
//!
//! All event times are nanoseconds since 1970-01-01T00:00:00Z in an `i64` (years 1677 to 2262), whatever the
//! unit of the column they come from.

use crate::error::Result;
use crate::state::{StateReader, StateWriter};

/// Nanoseconds since the Unix epoch.
pub type EventTime = i64;

/// The event time of a row whose source declares none.
pub const NO_EVENT_TIME: EventTime = EventTime::MIN;

/// The watermark before any event: nothing is late.
pub const WATERMARK_START: EventTime = EventTime::MIN;

/// The watermark of one input: the greatest event time seen, minus `lateness`.
///
/// It never goes back. An event is *late* if its time is less than the watermark that held **before** it;
/// an event whose time equals the watermark is not late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    lateness_ns: i64,
    max_seen: EventTime,
    value: EventTime,
}

impl Watermark {
    /// A watermark that has seen nothing.
    pub fn new(lateness_ns: i64) -> Self {
        Self { lateness_ns, max_seen: WATERMARK_START, value: WATERMARK_START }
    }

    /// The value: no event before it is expected any more.
    pub fn value(&self) -> EventTime {
        self.value
    }

    /// The greatest event time seen, or [`WATERMARK_START`].
    pub fn max_seen(&self) -> EventTime {
        self.max_seen
    }

    /// Observes one event and says whether it is late.
    #[inline]
    pub fn observe(&mut self, time: EventTime) -> bool {
        let late = time < self.value;
        if time > self.max_seen {
            self.max_seen = time;
            self.value = self.value.max(time.saturating_sub(self.lateness_ns));
        }
        late
    }

    /// Where an input that has ended, or is idle on evidence, would be moved: just past all that was seen.
    /// `None` if that would change nothing.
    pub fn at_end(&self) -> Option<EventTime> {
        let end = self.max_seen.saturating_add(1);
        (self.max_seen != WATERMARK_START && end > self.value).then_some(end)
    }

    /// Moves the watermark forward for a journaled reason; never back.
    pub fn advance_to(&mut self, value: EventTime) {
        self.value = self.value.max(value);
    }

    /// Writes the state; `lateness` is configuration and is not written.
    pub fn snapshot(&self, out: &mut StateWriter) {
        out.i64(self.max_seen);
        out.i64(self.value);
    }

    /// Reads what [`Watermark::snapshot`] wrote.
    pub fn restore(&mut self, state: &mut StateReader<'_>) -> Result<()> {
        self.max_seen = state.i64()?;
        self.value = state.i64()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_measured_before_the_event() {
        let mut w = Watermark::new(3);
        assert!(!w.observe(10));
        assert_eq!(w.value(), 7);
        assert!(!w.observe(7), "equal to the watermark is not late");
        assert!(w.observe(6));
        assert!(!w.observe(100));
        assert_eq!(w.at_end(), Some(101));
        w.advance_to(101);
        assert_eq!(w.at_end(), None);
        assert!(w.observe(100));
    }
}
