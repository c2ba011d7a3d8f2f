//! End-to-end latency, open loop.
//!
//! Event `i` is due `i / rate` seconds after the start, whatever the producer, the broker and the instance are doing;
//! its latency runs from that moment to its arrival at a `read_committed` consumer. So an instance that stalls pays
//! for every event that was due meanwhile, and so would the producer, were it late: nothing is omitted.
//!
//! Two threads: one sends and ends after the last event, one consumes and ends when all have come or nothing has for
//! `--patience-s`. Events are told apart by their transaction ids, which are numbers that go up by one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::Result;
use crate::args::Args;
use crate::client::{ANY_PARTITION, Consumer, Producer, value};
use crate::histogram::Latencies;
use crate::lines::{card, number};
use crate::{load, watch};

/// How long the producer sleeps between looks at what is due.
const TICK: Duration = Duration::from_micros(500);
/// How long the consumer waits for a message before it looks at the clock.
const WAIT_MS: i32 = 100;

struct Plan<'a> {
    lines: Vec<&'a [u8]>,
    /// The number of the first of them.
    first: usize,
    rate: f64,
    start: Instant,
    patience: Duration,
    /// Latencies count from this one on: connections are open by then, and what the JVM compiles first is compiled.
    warm: usize,
}

impl Plan<'_> {
    fn due(&self, index: usize) -> Instant {
        self.start + Duration::from_secs_f64(index as f64 / self.rate)
    }
}

/// Runs it; prints one JSON object.
pub fn run(args: &Args) -> Result<()> {
    let brokers = args.text("brokers")?;
    let rate: f64 = args.number("rate", 1000.0)?;
    let seconds: f64 = args.number("seconds", 20.0)?;
    let warmup: f64 = args.number("warmup", 5.0)?;
    let first: usize = args.number("first", 0)?;
    let path = args.text("events")?;
    let text = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    let most = (rate * (warmup + seconds)) as usize;
    let lines: Vec<&[u8]> =
        text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).skip(first).take(most).collect();
    if lines.len() < most {
        return Err(format!("{path} has {} events from {first} on, {most} are needed", lines.len()));
    }
    let number_of_first = lines.first().and_then(|line| number(line)).ok_or("the first event has no number")?;
    let producer = load::producer(brokers, args.text("in")?, args.optional("producer-linger-ms").unwrap_or("5"))?;
    let mut consumer = Consumer::assign(&watch::properties(brokers), args.text("out")?, &watch::offsets(args)?)?;
    let patience = Duration::from_secs_f64(args.number("patience-s", 60.0)?);
    // The consumer's connections are made before the clock starts.
    consumer.poll(1000, |_| Ok(()))?;
    let start = Instant::now() + Duration::from_millis(100);
    let plan = Plan { lines, first: number_of_first, rate, start, patience, warm: (rate * warmup) as usize };
    let late_us = AtomicU64::new(0);
    let (latencies, twice) = std::thread::scope(|scope| {
        let sending = scope.spawn(|| send(&plan, &producer, &late_us));
        let received = receive(&plan, &mut consumer);
        sending.join().map_err(|_| "the producer's thread died".to_owned())??;
        received
    })?;
    print(&plan, latencies, twice, late_us.into_inner());
    Ok(())
}

fn send(plan: &Plan<'_>, producer: &Producer, late_us: &AtomicU64) -> Result<()> {
    for (index, line) in plan.lines.iter().enumerate() {
        let due = plan.due(index);
        while Instant::now() < due {
            std::thread::sleep(TICK.min(due.saturating_duration_since(Instant::now())));
        }
        let key = card(line).ok_or_else(|| format!("event {index} has no card_id"))?;
        producer.send(ANY_PARTITION, key, line)?;
        late_us.fetch_max(due.elapsed().as_micros() as u64, Ordering::Relaxed);
    }
    producer.flush()
}

fn receive(plan: &Plan<'_>, consumer: &mut Consumer) -> Result<(Latencies, usize)> {
    let (mut latencies, mut twice) = (Latencies::default(), 0);
    let mut seen = vec![false; plan.lines.len()];
    let (mut missing, mut last) = (plan.lines.len(), plan.due(plan.lines.len()));
    while missing > 0 && last.elapsed() < plan.patience {
        let mut arrived = None;
        consumer.poll(WAIT_MS, |message| {
            // One look at the clock a batch: the batch was there when it was taken.
            let at = *arrived.get_or_insert_with(Instant::now);
            let index = number(value(message)).and_then(|number| number.checked_sub(plan.first));
            // Others are of events before the run.
            let Some(index) = index.filter(|index| *index < seen.len()) else { return Ok(()) };
            if std::mem::replace(&mut seen[index], true) {
                twice += 1;
                return Ok(());
            }
            missing -= 1;
            if index >= plan.warm {
                latencies.add(at.saturating_duration_since(plan.due(index)).as_micros());
            }
            Ok(())
        })?;
        last = last.max(arrived.unwrap_or(last));
    }
    Ok((latencies, twice))
}

fn print(plan: &Plan<'_>, mut latencies: Latencies, twice: usize, late_us: u64) {
    latencies.sort();
    let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|share| latencies.percentile_ms(share));
    let missing = plan.lines.len() - plan.warm - latencies.len();
    let late_ms = late_us as f64 / 1e3;
    println!(
        "{{\"rate\":{},\"events\":{},\"missing\":{missing},\"twice\":{twice},\"p50_ms\":{p50:.2},\"p99_ms\":{p99:.2},\
         \"p999_ms\":{p999:.2},\"max_ms\":{max:.2},\"producer_late_ms\":{late_ms:.2}}}",
        plan.rate,
        latencies.len(),
    );
}
