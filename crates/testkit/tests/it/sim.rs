//! Thousands of short runs of the whole engine with everything going wrong, each from one seed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use millstream_engine::Plan;
use millstream_testkit::sim::{self, Bug};

const PIPELINE: &str = r#"
pipeline: simulated
snapshot_every: 20ms
epoch_max: 5ms
standby: 1
connections:
  none: { type: kafka, brokers: "simulated:1" }   # never connected to
sources:
  readings:
    type: kafka
    connection: none
    topic: readings
    schema:
      id: int64
      sensor: string
      value: float64
      at: timestamp_ms
    event_time: at
    lateness: 50ms
    idle_after: 200ms
    key: sensor
    checks:
      sane: value >= 0
steps:
  - name: running
    sql: |
      SELECT id, sensor, at, value,
             COUNT(*) OVER w AS n, SUM(value) OVER w AS total, LAG(value) OVER (PARTITION BY sensor ORDER BY at) AS before
      FROM readings WINDOW w AS (PARTITION BY sensor ORDER BY at RANGE BETWEEN INTERVAL '300 milliseconds' PRECEDING AND CURRENT ROW)
  - name: settled
    sql: |
      SELECT id, sensor, at, AVG(total) OVER (PARTITION BY sensor ORDER BY at ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) AS smooth
      FROM running
    emit: on_watermark
outputs:
  now: { type: kafka, connection: none, topic: now, from: running }
  later: { type: kafka, connection: none, topic: later, from: settled, where: smooth > 1 }
dead_letters: { type: kafka, connection: none, topic: dead }
"#;

fn plan(folder: &Path) -> Arc<Plan> {
    let file = folder.join("pipeline.yaml");
    std::fs::write(&file, PIPELINE).unwrap();
    sim::plan(&file).unwrap()
}

/// Events of some partitions: mostly in order, some late, some bad, some that don't parse.
fn input(seed: u64) -> Vec<Vec<Vec<u8>>> {
    let mut random = sim::Random::new(seed ^ 0x1bad);
    let partitions = 1 + random.below(4);
    let event = |random: &mut sim::Random, id: u64| {
        let at = id * 10 + random.below(80);
        match random.below(25) {
            0 => b"{broken".to_vec(),
            1 => format!(r#"{{"id":{id},"sensor":"s1","value":-1,"at":{at}}}"#).into_bytes(),
            _ => {
                let (sensor, value) = (random.below(3), random.below(100));
                format!(r#"{{"id":{id},"sensor":"s{sensor}","value":{value}.5,"at":{at}}}"#).into_bytes()
            }
        }
    };
    (0..partitions).map(|_| (0..20 + random.below(60)).map(|id| event(&mut random, id)).collect()).collect()
}

/// One run; its snapshots go to a memory-backed folder where there is one.
fn run(plan: &Arc<Plan>, seed: u64, bug: Option<Bug>) -> Result<sim::Report, String> {
    let memory = Path::new("/dev/shm");
    let scratch = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    sim::simulate(plan, input(seed), scratch.unwrap().path(), seed, bug)
}

/// How many runs: `MILLSTREAM_SIM_RUNS`, from seed `MILLSTREAM_SIM_SEED`.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[test]
fn every_seed_obeys_the_law() {
    let (first, runs) = (setting("MILLSTREAM_SIM_SEED", 1), setting("MILLSTREAM_SIM_RUNS", 2000));
    let mut happened: BTreeMap<&str, u64> = BTreeMap::new();
    let mut records = 0;
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let reports: Vec<sim::Report> = std::thread::scope(|scope| {
        let share = |thread: u64| (first..first + runs).filter(move |seed| seed % threads == thread);
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    // A `data_dir` of its own: runs of one process never share one.
                    let folder = tempfile::tempdir().unwrap();
                    let plan = plan(folder.path());
                    share(thread).map(|seed| run(&plan, seed, None).unwrap()).collect::<Vec<_>>()
                })
            })
            .collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    for report in reports {
        records += report.records;
        for (what, times) in report.happened {
            *happened.entry(what).or_default() += times;
        }
    }
    println!("{runs} runs, {records} records committed; {happened:?}");
    if runs >= 100 {
        for what in [
            "died before a commit",
            "died after a commit",
            "put out of the group before a commit",
            "put out of the group after a commit",
        ] {
            assert!(
                happened.get(what).is_some_and(|times| *times > runs / 10),
                "{what} hardly ever happened: {happened:?}"
            );
        }
        assert!(happened.contains_key("a lease had ended"), "{happened:?}");
    }
}

#[test]
fn planted_bugs_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(folder.path());
    for bug in [Bug::CommitBeforeWrite, Bug::SnapshotAhead, Bug::JournalLost, Bug::DoubleFold, Bug::ZombieCommits] {
        let found = (1..=300).find_map(|seed| run(&plan, seed, Some(bug)).err());
        println!("{bug:?}: {}", found.as_deref().unwrap_or("not found"));
        assert!(found.is_some(), "{bug:?} was not found in 300 runs");
    }
}
