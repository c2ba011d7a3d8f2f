//! A pipeline between topics from its first event to the comparison of what came out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use millstream_testkit::kafka::{Cluster, Isolation, Record, Transaction};

use super::expected::{Outputs, differences, expected};
use super::instance::Instance;
use super::job::{End, LONG, OUTPUTS, Scoring};
use crate::support::{Job, Random};

/// Many epochs and snapshots, so that there is much to interrupt.
pub const BRISK: &str = "epoch_max: 20ms\nbatch_rows_max: 64\nsnapshot_every: 300ms\n";

/// A running pipeline and its input.
pub struct Flow<'a> {
    pub cluster: &'a Cluster,
    pub scoring: Scoring,
    pub job: Job,
    /// The number of the next event.
    next: u64,
    random: Random,
    instances: usize,
}

impl<'a> Flow<'a> {
    /// From Kafka to Kafka, with these settings of the pipeline and further fields of its source.
    pub fn new(cluster: &'a Cluster, partitions: u32, settings: &str, source: &str) -> Self {
        Self::of(cluster, Scoring::new(cluster, partitions, settings, source))
    }

    fn of(cluster: &'a Cluster, scoring: Scoring) -> Self {
        scoring.create_topics(cluster);
        let brokers = cluster.bootstrap();
        let job = scoring.job(End::Kafka(&brokers), End::Kafka(&brokers));
        Self { cluster, scoring, job, next: 0, random: Random(7), instances: 0 }
    }

    /// The next events, not written anywhere.
    pub fn events(&mut self, count: u64) -> Vec<Record> {
        let numbers = self.next..self.next + count;
        self.next += count;
        numbers.map(|number| self.scoring.event(number, &mut self.random)).collect()
    }

    /// Writes the next events.
    pub fn produce(&mut self, count: u64) {
        let events = self.events(count);
        self.cluster.produce(&self.scoring.input, &events, Transaction::None).unwrap();
    }

    /// Starts a process.
    pub fn start(&mut self) -> Instance {
        self.start_with(&[])
    }

    /// Starts a process with further arguments.
    pub fn start_with(&mut self, arguments: &[&str]) -> Instance {
        self.instances += 1;
        Instance::start(&self.job, &format!("instance-{}", self.instances), arguments)
    }

    /// The committed offset of each partition.
    pub fn committed(&self) -> Vec<i64> {
        let committed = self.cluster.committed(&self.scoring.pipeline, &self.scoring.input).unwrap();
        committed.iter().map(|c| c.offset.unwrap_or(0)).collect()
    }

    /// Waits until that many events are committed.
    #[track_caller]
    pub fn wait_for(&self, events: i64, running: &mut [&mut Instance]) {
        let began = Instant::now();
        loop {
            let committed: i64 = self.committed().iter().sum();
            if committed >= events {
                return;
            }
            running.iter_mut().for_each(|instance| instance.expect_running());
            let said: String = running.iter().map(|instance| instance.said()).collect();
            assert!(began.elapsed() < LONG, "after {LONG:?} {committed} of {events} events are committed:\n{said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Writes the events that let everything out, and waits until all is committed.
    #[track_caller]
    pub fn finish(&self, running: &mut [&mut Instance]) {
        self.cluster.produce(&self.scoring.input, &self.scoring.last_events(), Transaction::None).unwrap();
        // Not how many there are: the beginning may be gone.
        let mut ends = BTreeMap::new();
        for record in self.input() {
            ends.insert(record.partition, record.offset.unwrap() + 1);
        }
        self.wait_for(ends.values().sum(), running);
    }

    /// What is in the input.
    pub fn input(&self) -> Vec<Record> {
        self.cluster.consume(&self.scoring.input, Isolation::ReadCommitted).unwrap()
    }

    /// What a reader of committed records sees.
    pub fn seen(&self) -> Outputs {
        let read = |output| self.cluster.consume(&self.scoring.topic(output), Isolation::ReadCommitted).unwrap();
        OUTPUTS.map(|output| (output, read(output))).into()
    }

    /// Fails the test unless exactly what is expected came out.
    #[track_caller]
    pub fn check(&self) {
        let problems = compare(&self.scoring, &expected(&self.scoring, &self.input()), &self.seen());
        assert!(problems.is_empty(), "{problems}");
    }
}

/// How outputs differ; empty if they do not.
pub fn compare(scoring: &Scoring, expected: &Outputs, seen: &Outputs) -> String {
    let none = Vec::new();
    let of = |outputs: &BTreeMap<&str, Vec<Record>>, output| outputs.get(output).unwrap_or(&none).clone();
    OUTPUTS
        .map(|output| {
            let expected = of(expected, output);
            assert!(!expected.is_empty(), "nothing is expected in {output}: the test proves nothing");
            differences(scoring, output, &expected, &of(seen, output))
        })
        .concat()
}
