//! A pipeline with everything that matters to exactly-once in it: windows that answer at once and windows that wait,
//! two models, outputs that keep the input's partition and outputs by key, and dead letters.

use std::time::{Duration, Instant};

use millstream_testkit::kafka::{Cluster, Isolation, Record};

use crate::support::{Job, Random, fraud_pipeline, root};

/// Cards, few enough to have windows with something in them.
const CARDS: u64 = 40;
/// 2025-06-02T08:00:00Z.
const FIRST_EVENT_MS: i64 = 1_748_851_200_000;
/// What is expected to happen in seconds must have happened by then.
pub const LONG: Duration = Duration::from_secs(120);

/// Where events are, or where results go.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// Topics at these brokers.
    Kafka(&'a str),
    /// Topics of the embedded log, with the same names.
    Log,
    /// Files: `events.ndjson`, and `out/<output>.ndjson`.
    Files,
}

/// A pipeline of its own name, with topics of their own.
pub struct Scoring {
    pub pipeline: String,
    pub input: String,
    pub partitions: u32,
    /// Settings at the top of the file.
    pub settings: String,
    /// Further fields of the source when that is Kafka.
    pub source: String,
}

/// The outputs by what their topics' names end in.
pub const OUTPUTS: [&str; 4] = ["scores", "alerts", "settled", "dead"];

impl Scoring {
    pub fn new(cluster: &Cluster, partitions: u32, settings: &str, source: &str) -> Self {
        Self {
            pipeline: cluster.fresh_name("crash"),
            input: cluster.fresh_name("payments"),
            partitions,
            settings: settings.to_owned(),
            source: source.to_owned(),
        }
    }

    /// The topic of an output.
    pub fn topic(&self, output: &str) -> String {
        format!("{}.{output}", self.input)
    }

    /// Makes the topics. Events are of 2025, and a broker that keeps a week would remove them.
    pub fn create_topics(&self, cluster: &Cluster) {
        for topic in OUTPUTS.map(|output| self.topic(output)).iter().chain([&self.input]) {
            cluster.create_topic(topic, self.partitions, &[("retention.ms", "-1")]).unwrap();
        }
    }

    /// The pipeline file.
    pub fn file(&self, from: End<'_>, to: End<'_>) -> String {
        let (kind, place) = match from {
            End::Kafka(brokers) => (
                format!("type: kafka\n    brokers: \"{brokers}\""),
                format!("topic: {}\n    {}", self.input, self.source),
            ),
            End::Log => ("type: log".to_owned(), format!("topic: {}\n    bounded: true", self.input)),
            End::Files => ("type: file".to_owned(), "path: events.ndjson".to_owned()),
        };
        // Copies are for partitions that processes share.
        let own = |line: &&str| matches!(from, End::Kafka(_)) || !line.starts_with("standby:");
        let settings: Vec<&str> = self.settings.lines().filter(own).collect();
        let settings = format!("pipeline: {}\n{}\n", self.pipeline, settings.join("\n"));
        let text = fraud_pipeline(&[
            ("pipeline: fraud\n", &settings),
            ("type: file                        # also: log (the embedded, partitioned log) and stdin", &kind),
            ("path: ${TRANSACTIONS:-transactions-100k.ndjson.zst}   # .gz and .zst are decompressed", &place),
            ("\nsteps:\n", RULES),
        ]);
        let (before, _) = text.split_once("outputs:\n").expect("the example has outputs");
        let output = |name: &str, key: Option<&str>, more: &str| {
            let (topic, partitions) = (self.topic(name), self.partitions);
            let place = match to {
                End::Kafka(brokers) => {
                    format!("type: kafka, brokers: \"{brokers}\", topic: {topic}, partitions: {partitions}")
                }
                End::Log => format!("type: log, topic: {topic}, partitions: {partitions}"),
                End::Files => format!("type: file, path: out/{name}.ndjson"),
            };
            let key = match (key, to) {
                (Some(key), End::Kafka(_) | End::Log) => format!(", key: {key}"),
                _ => String::new(),
            };
            format!("{{ {place}{key}{more} }}")
        };
        [
            before,
            STEPS,
            "\noutputs:\n  scores: ",
            &output("scores", None, ", from: scored"),
            "\n  alerts: ",
            &output("alerts", Some("card_id"), ", from: scored, where: score > 0.3"),
            "\n  settled: ",
            &output("settled", Some("merchant_id"), ", from: judged"),
            "\n\ndead_letters: ",
            &output("dead", None, ""),
            "\n",
        ]
        .concat()
    }

    /// A folder with the pipeline and what it needs.
    pub fn job(&self, from: End<'_>, to: End<'_>) -> Job {
        let job = Job::new(&self.file(from, to));
        for name in ["model.json", "merchants.csv"] {
            job.copy(&root().join("examples/fraud").join(name), name);
        }
        job
    }

    /// A payment, in the partition of its card; some late, some that can't be used.
    pub fn event(&self, number: u64, random: &mut Random) -> Record {
        let card = random.next() % CARDS;
        let partition = (card % u64::from(self.partitions)) as i32;
        let late = if random.next().is_multiple_of(100) { 20_000 } else { 0 };
        let time = FIRST_EVENT_MS + number as i64 * 300 + (random.next() % 2_000) as i64 - late;
        let merchant = 1 + random.next() % 300;
        let amount = random.unit().powi(3) * 2_000.0;
        let value = format!(
            r#"{{"transaction_id":"t{number:06}","card_id":"c{card:02}","merchant_id":"m{merchant:04}","amount":{amount:.2},"event_time":{time}}}"#
        );
        let good = Record::text(&format!("c{card:02}"), &value).in_partition(partition).at_ms(time);
        match random.next() % 120 {
            0 => Record { value: Some(value.into_bytes()[..30].to_vec()), ..good },
            1 => Record { value: Some(value.replace(r#""amount":"#, r#""amount":-"#).into_bytes()), ..good },
            2 => Record { value: Some(vec![0xFF, 0xFE, b'{', number as u8]), key: None, ..good },
            3 => Record { value: None, ..good },
            4 => good.header("trace", &format!("{number}")),
            _ => good,
        }
    }

    /// An event for each partition that is so far ahead that no earlier row waits any more.
    pub fn last_events(&self) -> Vec<Record> {
        let event = |partition: u32| {
            let time = FIRST_EVENT_MS + 86_400_000;
            let value = format!(
                r#"{{"transaction_id":"{LAST}{partition}","card_id":"{LAST}","merchant_id":"m0001","amount":1.0,"event_time":{time}}}"#
            );
            Record::text(LAST, &value).in_partition(partition as i32).at_ms(time)
        };
        (0..self.partitions).map(event).collect()
    }

    /// Waits until the group has committed the end of the input, and `alive` all the while.
    #[track_caller]
    pub fn wait_for_the_end(&self, cluster: &Cluster, mut alive: impl FnMut()) {
        let records = cluster.consume(&self.input, Isolation::ReadCommitted).unwrap();
        let mut ends = vec![0; self.partitions as usize];
        for record in &records {
            ends[record.partition.unwrap() as usize] = record.offset.unwrap() + 1;
        }
        let began = Instant::now();
        loop {
            alive();
            let committed = cluster.committed(&self.pipeline, &self.input).unwrap();
            let at: Vec<i64> = committed.iter().map(|c| c.offset.unwrap_or(0)).collect();
            if at == ends {
                return;
            }
            assert!(began.elapsed() < LONG, "after {LONG:?} {at:?} of {ends:?} is committed");
        }
    }
}

/// What the last events' ids begin with.
pub const LAST: &str = "last";

const RULES: &str = "
  simple:
    rules:
      - { when: count_10m > 6 AND amount > 500, score: 0.9 }
      - { when: sum_10m > 3000, score: 0.6 }
    default: 0.1

steps:
";

const STEPS: &str = "
  - name: settled
    sql: |
      SELECT transaction_id, card_id, merchant_id, amount, event_time,
             COUNT(*) OVER last_10m AS count_10m, SUM(amount) OVER last_10m AS sum_10m
      FROM transactions
      WINDOW last_10m AS (PARTITION BY card_id ORDER BY event_time
                          RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW)
    emit: on_watermark
  - name: judged
    predict: simple
    as: verdict
";
