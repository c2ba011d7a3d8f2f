//! One simulated process: the engine's parts, stepped by hand.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use millstream_core::Sink;
use millstream_engine::clock::Clock;
use millstream_engine::{Around, Lanes, Live, Plan, RunOptions, Snapshot, SnapshotStore, WorkerStep, prepare};

use super::Bug;
use super::cluster::{Cluster, SimSink};
use super::random::Random;

/// Snapshots that may wait to be written; more than a process hands over at once when it ends.
const SNAPSHOTS_WAITING_MAX: usize = 64;

/// A process of the pipeline.
pub(super) struct Process {
    pub(super) number: u64,
    lanes: Lanes,
    live: Arc<Live>,
    snapshots: Arc<SnapshotStore>,
    snapshots_out: Receiver<Snapshot>,
    keep: usize,
    bug: Option<Bug>,
    /// Steps it sleeps through.
    asleep: u64,
    expired: bool,
    ended: bool,
    /// Steps in a row in which nothing was to be done.
    idle: u32,
}

impl Process {
    pub(super) fn start(
        plan: &Arc<Plan>,
        cluster: &Cluster,
        clock: Arc<dyn Clock>,
        scratch: &Path,
        number: u64,
        bug: Option<Bug>,
    ) -> Result<Self, String> {
        let live = plan.live();
        let snapshots = SnapshotStore::open(&scratch.to_string_lossy(), plan.name()).map_err(|e| e.to_string())?;
        let snapshots = Arc::new(snapshots);
        let (snapshots_in, snapshots_out) = sync_channel(SNAPSHOTS_WAITING_MAX);
        let around = Around {
            backend: &cluster.backend(number),
            clock,
            snapshots: snapshots.clone(),
            snapshots_in,
            sinks: &|name| Ok(Box::new(SimSink(name.to_owned())) as Box<dyn Sink>),
        };
        let lanes = prepare(plan, &RunOptions::default(), &live, &around).map_err(|e| e.to_string())?;
        Ok(Self {
            number,
            lanes,
            live,
            snapshots,
            snapshots_out,
            keep: 2,
            bug,
            asleep: 0,
            expired: false,
            ended: false,
            idle: 0,
        })
    }

    /// One part of the process, chosen by chance, takes a step.
    pub(super) fn step(&mut self, random: &mut Random) -> Result<(), String> {
        if self.asleep > 0 {
            self.asleep -= 1;
            return Ok(());
        }
        let worked = match random.below(8) {
            0 => self.write_snapshot(),
            1 | 2 => self.lanes.starters.iter_mut().any(millstream_engine::Starter::step),
            3..=5 => {
                let mut worked = false;
                for committer in &mut self.lanes.committers {
                    match committer.step() {
                        Ok(did) => worked |= did,
                        // The process died inside a commit; the scheduler takes it away.
                        Err(_) => return Ok(()),
                    }
                }
                worked
            }
            _ => {
                let mut worked = false;
                for worker in &mut self.lanes.workers {
                    match worker.step().map_err(|e| format!("process {}: {e}", self.number))? {
                        WorkerStep::Worked => worked = true,
                        WorkerStep::Idle => {}
                        WorkerStep::Done => self.ended = true,
                    }
                }
                worked
            }
        };
        self.idle = if worked { 0 } else { self.idle + 1 };
        Ok(())
    }

    fn write_snapshot(&mut self) -> bool {
        let Ok(mut snapshot) = self.snapshots_out.try_recv() else { return false };
        if self.bug == Some(Bug::SnapshotAhead) {
            snapshot.header.position.offset = snapshot.header.position.offset.saturating_sub(3);
        }
        // A snapshot is a cache: one that can't be written costs nothing but time.
        self.snapshots.write(&snapshot, self.keep).is_ok()
    }

    /// Stops it for some steps; `expired`: for longer than its session lasts.
    pub(super) fn pause(&mut self, steps: u64, expired: bool) {
        self.asleep = steps;
        self.expired |= expired;
    }

    pub(super) fn wake(&mut self) {
        self.asleep = 0;
        self.expired = false;
    }

    pub(super) fn is_expired(&self) -> bool {
        self.expired
    }

    /// Whether an expired process has just woken: it joins the group again.
    pub(super) fn comes_back(&mut self) -> bool {
        let back = self.expired && self.asleep == 0;
        if back {
            self.expired = false;
        }
        back
    }

    pub(super) fn ask_to_stop(&mut self) {
        self.live.stop();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether it has had nothing to do for a while.
    pub(super) fn is_quiet(&self) -> bool {
        self.idle > 40
    }
}
