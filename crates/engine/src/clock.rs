//! The one clock of the engine: it decides when epochs close and when an input counts as idle, never what comes out.
//! Whatever it decides about results is journaled.

use std::time::{Duration, Instant};

/// Tells how much time has passed; a simulation turns it by hand.
pub trait Clock: Send + Sync {
    /// Time since some fixed moment; never falls.
    fn now(&self) -> Duration;
}

/// The machine's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// A clock that starts at zero now.
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
