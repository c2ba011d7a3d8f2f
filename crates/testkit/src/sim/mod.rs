//! A simulation of the engine: its own workers, starters, committers and snapshots, on a simulated cluster, clock and
//! scheduler, from one seed.
//!
//! A run starts some processes and then, until all input is committed, lets chance say what happens next: a worker, a
//! starter, a committer or a snapshot writer takes a step; events arrive; time passes; the group rebalances; a process is
//! killed, between any two steps or inside a commit, and perhaps started again; one is stopped for so long that its
//! session expires, and then goes on as a zombie. At the end the committed outputs must be what the law says,
//! `fold(events, journal)`, record for record: none missing, none twice, in order.
//!
//! Nothing here reads a clock or runs a thread. [`Bug`]s can be planted, to show that the simulation finds them.

mod cluster;
mod process;
mod random;

pub use random::Random;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millstream_connectors::codec::InputFormat;
use millstream_core::record::NO_TIMESTAMP;
use millstream_core::{JournalEntry, RawBatch, Result, TaskId};
use millstream_engine::artifacts::Serving;
use millstream_engine::clock::Clock;
use millstream_engine::task::{EpochBuffer, Mode, NoProbe, Task};
use millstream_engine::{LoadOptions, Overrides, Plan, load};

use cluster::{Cluster, Written};
use process::Process;

/// Steps after which a run counts as stuck.
const STEPS_MAX: u64 = 2_000_000;
/// Steps with faults; after them the cluster heals, so that every run ends.
const FAULTY_STEPS: u64 = 4_000;

/// A mistake that a build of this kind of system has made somewhere, planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The position is committed although the outputs are not.
    CommitBeforeWrite,
    /// A snapshot says it is of an earlier position than its state is of.
    SnapshotAhead,
    /// Journal entries are not committed with their epoch.
    JournalLost,
    /// A recovery folds one event twice.
    DoubleFold,
    /// An epoch is committed although its lease has ended.
    ZombieCommits,
}

/// A clock that the scheduler turns.
#[derive(Clone, Default)]
pub(crate) struct HandClock(Arc<AtomicU64>);

impl HandClock {
    fn pass(&self, us: u64) {
        self.0.fetch_add(us, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// How a run went.
#[derive(Debug)]
pub struct Report {
    /// What went wrong with whom, by name of the fault.
    pub happened: BTreeMap<&'static str, u64>,
    /// Steps of the scheduler.
    pub steps: u64,
    /// Records committed to all outputs.
    pub records: usize,
}

/// Loads a pipeline for simulations; its source and outputs are replaced, so any that need no file will do.
///
/// # Errors
/// The pipeline file has errors: they come rendered.
pub fn plan(pipeline: &Path) -> Result<Arc<Plan>, String> {
    let options = LoadOptions { connect: false, env: &|_| None, overrides: Overrides::default() };
    let loaded = load(pipeline, &options).map_err(|e| e.to_string())?;
    loaded.plan.ok_or_else(|| loaded.diagnostics.render(false))
}

/// Runs once. `input` has the events of each partition; snapshots go to `scratch`, which must be empty.
///
/// # Errors
/// What differs from the law, or what stopped the run; in words that name the seed.
pub fn simulate(
    plan: &Arc<Plan>,
    input: Vec<Vec<Vec<u8>>>,
    scratch: &Path,
    seed: u64,
    bug: Option<Bug>,
) -> Result<Report, String> {
    let cluster = Cluster::new(seed, input, bug);
    let mut run = Run {
        plan,
        cluster: cluster.clone(),
        clock: HandClock::default(),
        random: Random::new(seed ^ 0x5eed),
        processes: Vec::new(),
        scratch,
        bug,
        next_process: 0,
    };
    let steps = run.play().map_err(|why| format!("seed {seed}: {why}"))?;
    run.processes.clear();
    let state = cluster.state();
    let expected = by_law(plan, &state.input, &state.journal).map_err(|e| format!("seed {seed}: {e}"))?;
    compare(&expected, &state.outputs).map_err(|why| format!("seed {seed}: {why}"))?;
    let records = state.outputs.values().map(Vec::len).sum();
    Ok(Report { happened: state.happened.clone(), steps, records })
}

struct Run<'a> {
    plan: &'a Arc<Plan>,
    cluster: Cluster,
    clock: HandClock,
    random: Random,
    processes: Vec<Process>,
    scratch: &'a Path,
    bug: Option<Bug>,
    next_process: u64,
}

impl Run<'_> {
    fn play(&mut self) -> Result<u64, String> {
        for _ in 0..1 + self.random.below(3) {
            self.launch()?;
        }
        self.rebalance();
        for step in 0..STEPS_MAX {
            if step == FAULTY_STEPS {
                self.heal()?;
            }
            if step < FAULTY_STEPS {
                self.trouble()?;
            } else if step % 64 == 0 && self.is_done() {
                return Ok(step);
            }
            self.arrive(step >= FAULTY_STEPS);
            self.clock.pass(self.random.below(3_000));
            if !self.processes.is_empty() {
                let chosen = self.random.below(self.processes.len() as u64) as usize;
                self.processes[chosen].step(&mut self.random)?;
            }
            self.bury()?;
        }
        Err(format!("nothing moves any more: {}", self.standing()))
    }

    fn standing(&self) -> String {
        let state = self.cluster.state();
        let at: Vec<_> = state.commits.iter().map(|(task, c)| format!("{task} at {}", c.position.offset)).collect();
        format!("committed {}, of {:?} events", at.join(", "), state.visible)
    }

    fn launch(&mut self) -> Result<(), String> {
        self.next_process += 1;
        let clock = Arc::new(self.clock.clone());
        let process = Process::start(self.plan, &self.cluster, clock, self.scratch, self.next_process, self.bug)?;
        self.processes.push(process);
        Ok(())
    }

    fn rebalance(&mut self) {
        let awake: Vec<u64> = self.processes.iter().filter(|p| !p.is_expired()).map(|p| p.number).collect();
        self.cluster.state().rebalance(&awake);
    }

    /// Something may go wrong.
    fn trouble(&mut self) -> Result<(), String> {
        if self.random.one_in(400) && self.processes.len() < 4 {
            self.launch()?;
            self.rebalance();
        }
        if self.random.one_in(150) {
            self.rebalance();
        }
        if self.random.one_in(300) && !self.processes.is_empty() {
            let chosen = self.random.below(self.processes.len() as u64) as usize;
            let number = self.processes[chosen].number;
            self.cluster.state().died.insert(number);
        }
        if self.random.one_in(300) && !self.processes.is_empty() {
            let chosen = self.random.below(self.processes.len() as u64) as usize;
            let long = self.random.one_in(2);
            let steps = 1 + self.random.below(60);
            self.processes[chosen].pause(steps, long);
            if long {
                let number = self.processes[chosen].number;
                self.cluster.state().expire(number);
                self.rebalance();
            }
        }
        if self.random.one_in(500) && !self.processes.is_empty() {
            let chosen = self.random.below(self.processes.len() as u64) as usize;
            self.processes[chosen].ask_to_stop();
        }
        Ok(())
    }

    /// Takes away processes that died or ended; the rest of the group notices.
    fn bury(&mut self) -> Result<(), String> {
        let died = std::mem::take(&mut self.cluster.state().died);
        let before = self.processes.len();
        let cluster = &self.cluster;
        self.processes.retain(|process| {
            let gone = died.contains(&process.number) || process.has_ended();
            if gone {
                cluster.state().remove(process.number);
            }
            !gone
        });
        if self.processes.len() < before {
            if self.processes.is_empty() || self.random.one_in(2) {
                self.launch()?;
            }
            self.rebalance();
        }
        // A process whose session had expired joins again when it wakes.
        let mut back = false;
        for process in &mut self.processes {
            back |= process.comes_back();
        }
        if back {
            self.rebalance();
        }
        Ok(())
    }

    /// The trouble is over.
    fn heal(&mut self) -> Result<(), String> {
        self.cluster.state().faults = false;
        for process in &mut self.processes {
            process.wake();
        }
        if self.processes.is_empty() {
            self.launch()?;
        }
        self.rebalance();
        Ok(())
    }

    /// Some events arrive.
    fn arrive(&mut self, all: bool) {
        let mut state = self.cluster.state();
        for partition in 0..state.input.len() {
            if all || self.random.one_in(40) {
                let end = state.input[partition].len();
                let more = if all { end } else { state.visible[partition] + self.random.below(8) as usize };
                state.visible[partition] = more.min(end);
            }
        }
    }

    fn is_done(&mut self) -> bool {
        let done = {
            let state = self.cluster.state();
            (0..state.input.len()).all(|partition| {
                let commit = state.commits.get(&TaskId::new(partition as u32));
                commit.is_some_and(|c| c.position.offset as usize == state.input[partition].len())
            })
        };
        if !done {
            self.rebalance();
        }
        done && self.processes.iter().all(Process::is_quiet)
    }
}

/// What the outputs must hold: the events and the journal that was committed, folded straight through.
fn by_law(
    plan: &Arc<Plan>,
    input: &[Vec<Vec<u8>>],
    journals: &BTreeMap<TaskId, Vec<JournalEntry>>,
) -> Result<BTreeMap<(String, u32), Vec<Written>>> {
    let names: Vec<String> = plan.output_descriptions().into_iter().map(|(name, _)| name).collect();
    let mut outputs = BTreeMap::new();
    for (partition, events) in (0u32..).zip(input) {
        let id = TaskId::new(partition);
        let mut task = Task::new(plan.clone(), id, &Serving::now(plan, InputFormat::Json))?;
        let mut buffer = EpochBuffer::new(names.len());
        let mut journal = journals.get(&id).into_iter().flatten().peekable();
        for next in 0..=events.len() as u64 {
            while let Some(entry) = journal.next_if(|entry| entry.at() <= next) {
                if let JournalEntry::Advance { at, watermark, .. } = entry {
                    task.advance(*at, *watermark, Mode::Emit(&mut buffer), &mut NoProbe)?;
                }
            }
            let Some(event) = events.get(next as usize) else { break };
            let mut raw = RawBatch::new(id);
            raw.push(next, NO_TIMESTAMP, None, Some(event), &[]);
            task.feed(Arc::new(raw), Mode::Emit(&mut buffer), &mut NoProbe)?;
        }
        for (name, chunk) in names.iter().zip(&buffer.chunks) {
            let value = |(start, length): (u32, u32)| chunk.data[start as usize..(start + length) as usize].to_vec();
            let written: Vec<Written> =
                chunk.records.iter().map(|record| value(record.value.unwrap_or_default())).collect();
            if !written.is_empty() {
                outputs.insert((name.clone(), partition), written);
            }
        }
    }
    Ok(outputs)
}

fn compare(
    expected: &BTreeMap<(String, u32), Vec<Written>>,
    got: &BTreeMap<(String, u32), Vec<Written>>,
) -> Result<(), String> {
    let none = Vec::new();
    let places: std::collections::BTreeSet<_> = expected.keys().chain(got.keys()).collect();
    for place in places {
        let (want, have) = (expected.get(place).unwrap_or(&none), got.get(place).unwrap_or(&none));
        if want == have {
            continue;
        }
        let first = (0..).find(|&i| want.get(i) != have.get(i)).unwrap_or(0);
        let show =
            |value: Option<&Written>| value.map_or("nothing".into(), |v| String::from_utf8_lossy(v).into_owned());
        return Err(format!(
            "output `{}` of partition {}: {} records instead of {}; number {first} is {} instead of {}",
            place.0,
            place.1,
            have.len(),
            want.len(),
            show(have.get(first)),
            show(want.get(first))
        ));
    }
    Ok(())
}
