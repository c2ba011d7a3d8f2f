//! When to look at a key again that may never see another row.
//!
//! A calendar: keys wait in buckets of event time, and a bucket is opened when the watermark has passed it. A key
//! waits in at most one bucket and is put back while it has rows to drop, at most a few times for a window's
//! length; so each step of the watermark costs what it expires, never a look at all keys.

use std::collections::BTreeMap;

use super::partition::Partition;
use super::plan::StorePlan;

/// A key is looked at so many times, at most, while the longest window passes.
const LOOKS: i64 = 8;
/// Buckets are never narrower: 100 ms.
const NARROWEST_NS: i64 = 100_000_000;

/// Keys by the time when they have something to drop.
#[derive(Debug)]
pub struct Expiry {
    buckets: BTreeMap<i64, Vec<u32>>,
    width_ns: i64,
}

impl Expiry {
    /// An empty calendar for a plan.
    pub fn new(plan: &StorePlan) -> Self {
        let width_ns = (plan.reach_ns.unwrap_or(0) / (2 * LOOKS)).max(NARROWEST_NS);
        Self { buckets: BTreeMap::new(), width_ns }
    }

    /// Puts a key where it will have something to drop; `false` if it has no such time.
    #[inline]
    pub fn schedule(&mut self, slot: u32, key: &Partition, plan: &StorePlan, watermark: i64) -> bool {
        // As many rows stay until others follow them.
        if key.ring.len() <= plan.reach_rows {
            return false;
        }
        let (base, reach) = (key.ring.base(), plan.reach_ns.unwrap_or(0));
        let first = key.ring.time(base, plan.stride).saturating_add(reach);
        let first = first.max(key.ring.time(base + plan.reach_rows, plan.stride));
        let soonest = watermark.saturating_add(reach / LOOKS);
        let bucket = first.max(soonest).div_euclid(self.width_ns);
        self.buckets.entry(bucket).or_default().push(slot);
        true
    }

    /// Keys of a bucket that the watermark has passed, if there is one.
    pub fn due(&mut self, watermark: i64) -> Option<Vec<u32>> {
        let first = self.buckets.first_entry()?;
        let passed = first.key().saturating_add(1).saturating_mul(self.width_ns) < watermark;
        passed.then(|| first.remove())
    }
}
