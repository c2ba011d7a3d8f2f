//! Killed without warning at random moments and resumed until done: what comes out is, byte for byte, what an
//! undisturbed run gives, and what a reader sees at any moment is the beginning of that.
//!
//! `MILLSTREAM_CRASH_RUNS` lengthens, `MILLSTREAM_CRASH_SEED` varies.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::{Job, Random, files, fraud_job, fraud_pipeline, fraud_topic, number_from_env};

const EVENTS: u64 = 15_000;
/// A run that was killed so often is left alone.
const KILLS_MAX: usize = 8;

/// Where a job's input and outputs are.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Files,
    Log,
}

impl Kind {
    fn pipeline(self, emit: &str, snapshot_every: &str) -> String {
        let emit = format!("emit: {emit}");
        // Short epochs and frequent snapshots: the more commits, the more there is to interrupt.
        let settings =
            format!("pipeline: fraud\nepoch_max: 5ms\nbatch_rows_max: 64\nsnapshot_every: {snapshot_every}\n");
        let mut replace = vec![("pipeline: fraud\n", settings.as_str()), ("emit: on_arrival", emit.as_str())];
        match self {
            Self::Files => replace.push(("${TRANSACTIONS:-transactions-100k.ndjson.zst}", "events.ndjson")),
            Self::Log => replace.extend([
                ("type: file                        # also: log", "type: log  #"),
                (
                    "    path: ${TRANSACTIONS:-transactions-100k.ndjson.zst}",
                    "    topic: transactions\n    partitions: 2\n    bounded: true",
                ),
                ("type: file\n    path: out/scores.ndjson", "type: log\n    topic: scores"),
                ("type: file\n    path: out/alerts.ndjson", "type: log\n    topic: alerts"),
                ("{ type: file, path: out/dead_letters.ndjson }", "{ type: log, topic: dead }"),
            ]),
        }
        fraud_pipeline(&replace)
    }

    fn job(self, emit: &str, snapshot_every: &str) -> Job {
        let job = fraud_job(&self.pipeline(emit, snapshot_every), EVENTS, 23, 0.004);
        if matches!(self, Self::Log) {
            fraud_topic(&job, "2");
        }
        job
    }

    /// What a reader sees: every output's bytes.
    fn visible(self, job: &Job) -> BTreeMap<String, Vec<u8>> {
        match self {
            Self::Files => ["scores", "alerts", "dead_letters"]
                .map(|name| (name.to_owned(), job.read(&format!("out/{name}.ndjson"))))
                .into(),
            Self::Log => {
                let mut all = BTreeMap::new();
                for topic in ["scores", "alerts", "dead"] {
                    for partition in ["0", "1"] {
                        let tail =
                            job.millstream(&["topic", "tail", topic, "--partition", partition, "--format", "json"]);
                        // Before the first run has made its topics there are none.
                        let records = if tail.status.success() { tail.stdout } else { String::new() };
                        all.insert(format!("{topic}/{partition}"), records.into_bytes());
                    }
                }
                all
            }
        }
    }
}

/// Does to snapshots what disks do: some are cut short, some have another byte somewhere, some are gone.
fn damage_snapshots(job: &Job, random: &mut Random) {
    let folder = job.path(".millstream/state");
    let found = |extension| if folder.exists() { files(&folder, extension) } else { Vec::new() };
    for path in ["manifest", "full", "changes"].into_iter().flat_map(found) {
        let mut bytes = std::fs::read(&path).expect("a snapshot can be read");
        let at = (bytes.len() as f64 * random.unit()) as usize;
        match random.next() % 4 {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << (random.next() % 8),
            2 => {
                std::fs::remove_file(&path).expect("a snapshot can be removed");
                continue;
            }
            _ => continue,
        }
        std::fs::write(&path, bytes).expect("a snapshot can be written");
    }
}

/// Kills a job's runs at random moments until one of them reaches the end. Says how often it was killed.
fn run_under_fire(
    kind: Kind,
    job: &Job,
    undisturbed: &BTreeMap<String, Vec<u8>>,
    pace: Duration,
    damage: bool,
    random: &mut Random,
) -> usize {
    for kills in 0..KILLS_MAX {
        if job.run_and_kill_after(pace.mul_f64(random.unit())) {
            return kills;
        }
        for (name, bytes) in kind.visible(job) {
            assert!(
                undisturbed[&name].starts_with(&bytes),
                "after a kill {name} holds {} bytes that are not the beginning of an undisturbed run's",
                bytes.len()
            );
        }
        if damage {
            damage_snapshots(job, random);
        }
    }
    job.run().expect_success();
    KILLS_MAX
}

fn killed_runs_equal_undisturbed_ones(kind: Kind) {
    let runs = number_from_env("MILLSTREAM_CRASH_RUNS", 10);
    let seed = number_from_env("MILLSTREAM_CRASH_SEED", 1);
    let mut random = Random(seed);
    let input = kind.job("on_arrival", "60s");
    let prepare = |emit, snapshot_every| {
        let job = input.duplicate();
        job.write("pipeline.yaml", kind.pipeline(emit, snapshot_every).as_bytes());
        job
    };
    let mut undisturbed = BTreeMap::new();
    let mut pace = BTreeMap::new();
    for emit in ["on_arrival", "on_watermark"] {
        let job = prepare(emit, "60s");
        let started = Instant::now();
        job.run().expect_success();
        pace.insert(emit, started.elapsed());
        let outputs = kind.visible(&job);
        let bytes: usize = outputs.values().map(Vec::len).sum();
        assert!(bytes > 1_000_000, "an undisturbed run gave only {bytes} bytes");
        undisturbed.insert(emit, outputs);
    }
    let mut kills = 0;
    for run in 0..runs {
        let emit = if run % 2 == 0 { "on_arrival" } else { "on_watermark" };
        // Some resume from snapshots, some by folding the input again, and some from what is left of their snapshots.
        let (snapshot_every, damage) = [("10ms", false), ("60s", false), ("10ms", true)][run as usize / 2 % 3];
        let job = prepare(emit, snapshot_every);
        kills += run_under_fire(kind, &job, &undisturbed[emit], pace[emit], damage, &mut random);
        for (name, bytes) in kind.visible(&job) {
            if undisturbed[emit][&name] != bytes {
                let folder = job.keep();
                panic!(
                    "{name} differs from an undisturbed run: {kind:?}, seed {seed}, run {run}, {emit}; left in {}",
                    folder.display()
                );
            }
        }
    }
    assert!(kills > 0, "no run lived long enough to be killed");
    println!("{runs} runs, killed {kills} times");
}

#[test]
fn files_after_kills_equal_an_undisturbed_run() {
    killed_runs_equal_undisturbed_ones(Kind::Files);
}

#[test]
fn topics_after_kills_equal_an_undisturbed_run() {
    killed_runs_equal_undisturbed_ones(Kind::Log);
}
