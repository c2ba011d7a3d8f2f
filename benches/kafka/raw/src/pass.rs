//! The limit: every record of a topic goes unread to another one, exactly once.
//!
//! One thread. A transaction is committed when the input is drained, or after `--epoch-ms`. The records go to the
//! partition they came from, so that there is not even a partitioner to pay for. It ends when it is killed.

use std::ffi::CString;
use std::time::{Duration, Instant};

use crate::Result;
use crate::args::Args;
use crate::client::{Consumer, Producer};

/// How long an idle instance waits for its next event before it looks around.
const IDLE_MS: i32 = 100;
/// More partitions than any benchmark has.
const PARTITIONS_MAX: usize = 1024;

/// Runs it.
pub fn run(args: &Args) -> Result<()> {
    let (input, brokers) = (args.text("in")?, args.text("brokers")?);
    let group = args.text("group")?;
    let epoch = Duration::from_millis(args.number("epoch-ms", 50)?);
    let linger = args.optional("linger-ms").unwrap_or("1");
    let mut consumer = Consumer::subscribe(
        &[
            ("bootstrap.servers", brokers),
            ("group.id", group),
            ("group.instance.id", "0"), // back at once after a kill, as the other one
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("isolation.level", "read_committed"),
            ("fetch.queue.backoff.ms", "10"),
        ],
        input,
    )?;
    let mut producer = Producer::new(
        &[
            ("bootstrap.servers", brokers),
            ("transactional.id", group),
            ("transaction.timeout.ms", "10000"),
            ("linger.ms", linger),
            ("retry.backoff.ms", "5"),
            ("queue.buffering.max.messages", "1000000"),
        ],
        args.text("out")?,
    )?;
    producer.init_transactions()?;
    let input = CString::new(input).map_err(|_| "the topic's name has a zero byte".to_owned())?;
    forward(&mut consumer, &mut producer, &input, epoch)
}

fn forward(consumer: &mut Consumer, producer: &mut Producer, input: &CString, epoch: Duration) -> Result<()> {
    let mut next = vec![None; PARTITIONS_MAX];
    let mut opened: Option<Instant> = None;
    loop {
        let wait_ms = if opened.is_some() { 0 } else { IDLE_MS };
        let count = consumer.poll_batch(wait_ms, |messages| {
            if opened.is_none() {
                producer.begin()?;
                opened = Some(Instant::now());
            }
            for run in messages.chunk_by(|a, b| a.partition == b.partition) {
                producer.forward(run)?;
                let last = run[run.len() - 1];
                next[last.partition as usize] = Some(last.offset + 1);
            }
            Ok(())
        })?;
        if opened.is_some_and(|at| count == 0 || at.elapsed() >= epoch) {
            producer.commit(consumer, input, &next)?;
            next.fill(None);
            opened = None;
        }
    }
}
