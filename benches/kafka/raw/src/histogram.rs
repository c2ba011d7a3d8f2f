//! Latencies of one run. There are few enough to keep them all.

/// Microseconds, in any order until `sort`.
#[derive(Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    /// One more.
    pub fn add(&mut self, micros: u128) {
        self.0.push(u32::try_from(micros).unwrap_or(u32::MAX));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Once, before percentiles are asked for.
    pub fn sort(&mut self) {
        self.0.sort_unstable();
    }

    /// The smallest one that `share` of all are not above, in ms.
    pub fn percentile_ms(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).map_or(f64::NAN, |micros| f64::from(*micros) / 1e3)
    }
}
