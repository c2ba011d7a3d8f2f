//! Several processes of one pipeline, killed, paused past their session, started and stopped at random, with a broker that
//! is killed or restarted now and then, while events come in. In the end the committed outputs are exactly what one
//! undisturbed run gives: none missing, none twice, the same scores, dead letters included.
//!
//! `MILLSTREAM_KAFKA_CRASH_RUNS` lengthens; `MILLSTREAM_KAFKA_CRASH_SEED` is the seed of the first run, the others count
//! on. A seed repeats what is done and when, not what the processes make of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use millstream_testkit::kafka::{Cluster, ClusterOptions, Isolation, Record, Transaction};

use super::expected::expected;
use super::flow::{BRISK, compare};
use super::instance::Instance;
use super::job::{End, OUTPUTS, Scoring};
use crate::support::{Job, Random, number_from_env};

const INSTANCES_MAX: usize = 3;
const PARTITIONS: u32 = 4;
const EVENTS: u64 = 3_000;
/// How often events are written.
const PARTS: u64 = 12;
/// How long things go wrong; afterwards all is well until everything is committed.
const DISTURBED: Duration = Duration::from_secs(11);

/// What goes wrong. Numbers choose among the processes that are there.
#[derive(Clone, Copy, Debug)]
enum Act {
    Kill(u64),
    Pause(u64, Duration),
    Leave(u64),
    Start,
    KillBroker,
    RestartBroker,
}

/// What goes wrong in a run, and when. A pause that is longer than a session makes a zombie.
fn plan(random: &mut Random, session_ms: u64) -> Vec<(Duration, Act)> {
    let mut acts = Vec::new();
    let mut at = Duration::from_millis(1_500);
    // A broker takes seconds to be back, in which little else happens.
    let mut brokers = usize::from(random.next().is_multiple_of(3));
    while at < DISTURBED {
        let who = random.next();
        let act = match random.next() % 20 {
            0..=6 => Act::Kill(who),
            7..=8 => Act::Pause(who, Duration::from_millis(session_ms + 500 + random.next() % 2_500)),
            9 => Act::Pause(who, Duration::from_millis(100 + random.next() % session_ms)),
            10..=12 => Act::Leave(who),
            13..=14 if brokers > 0 => {
                brokers -= 1;
                if random.next().is_multiple_of(2) { Act::KillBroker } else { Act::RestartBroker }
            }
            _ => Act::Start,
        };
        acts.push((at, act));
        at += Duration::from_millis(50 + random.next() % 1_000);
    }
    acts
}

/// The processes of a run.
struct Fleet<'a> {
    job: &'a Job,
    running: Vec<Instance>,
    /// Until when those that are paused are.
    paused_until: Vec<(String, Instant)>,
    leaving: Vec<Instance>,
    started: usize,
    /// As if they were on machines of their own: they share where snapshots are, and nothing else.
    apart: bool,
}

impl<'a> Fleet<'a> {
    fn new(job: &'a Job, apart: bool) -> Self {
        let (running, leaving, paused_until) = (Vec::new(), Vec::new(), Vec::new());
        Self { job, running, paused_until, leaving, started: 0, apart }
    }

    fn start(&mut self) {
        if self.running.len() >= INSTANCES_MAX {
            return;
        }
        self.leaving.retain_mut(|instance| instance.ended().is_none());
        let taken = |machine: &String| self.running.iter().chain(&self.leaving).any(|i| i.name().ends_with(machine));
        let machine = (1..).map(|number| format!("machine-{number}")).find(|machine| !taken(machine)).unwrap();
        self.started += 1;
        let name = format!("instance-{}-{machine}", self.started);
        let arguments: &[&str] = if self.apart { &["--data-dir", &machine] } else { &[] };
        self.running.push(Instance::start(self.job, &name, arguments));
    }

    fn take(&mut self, who: u64) -> Option<Instance> {
        let count = self.running.len() as u64;
        (count > 0).then(|| self.running.swap_remove((who % count) as usize))
    }

    fn act(&mut self, act: Act, cluster: &Cluster) {
        match act {
            Act::Kill(who) => self.take(who).into_iter().for_each(Instance::kill),
            Act::Leave(who) => {
                if let Some(mut instance) = self.take(who) {
                    if instance.is_paused() {
                        instance.resume();
                    }
                    instance.ask_to_end();
                    self.leaving.push(instance);
                }
            }
            Act::Pause(who, pause) => {
                let count = self.running.len().max(1) as u64;
                if let Some(instance) = self.running.get_mut((who % count) as usize) {
                    instance.pause();
                    self.paused_until.push((instance.name().to_owned(), Instant::now() + pause));
                }
            }
            Act::Start => self.start(),
            Act::KillBroker => {
                cluster.kill(0).unwrap();
                cluster.restart(0).unwrap();
            }
            Act::RestartBroker => cluster.restart(0).unwrap(),
        }
    }

    /// Lets those go on whose pause is over, and looks whether anyone ended that nobody ended.
    fn look_after(&mut self) {
        let now = Instant::now();
        let over: Vec<String> = self.paused_until.iter().filter(|(_, u)| *u <= now).map(|(n, _)| n.clone()).collect();
        self.paused_until.retain(|(_, until)| *until > now);
        for instance in &mut self.running {
            if instance.is_paused() && over.iter().any(|name| name == instance.name()) {
                instance.resume();
            }
        }
        self.running.retain_mut(|instance| {
            let Some(status) = instance.ended() else { return true };
            let said = instance.said();
            // Whoever can't reach the broker as it starts says so; whatever started it does so again.
            assert!(said.contains("MS0544"), "{} ended by itself, {status}; it said:\n{said}", instance.name());
            false
        });
    }

    /// From now on all is well.
    fn heal(&mut self) {
        self.paused_until.clear();
        self.running.iter_mut().filter(|i| i.is_paused()).for_each(Instance::resume);
        self.look_after();
        while self.running.len() < INSTANCES_MAX {
            self.start();
        }
    }

    /// Everyone leaves, and ends well.
    fn end(self) {
        self.running.iter().for_each(Instance::ask_to_end);
        for instance in self.running {
            instance.expect_code(0);
        }
        // Those that were asked in the middle of trouble may have had to give up.
        self.leaving.into_iter().for_each(Instance::kill);
    }
}

/// Writes the events bit by bit until they are all there.
fn produce(cluster: &Cluster, scoring: &Scoring, mut random: Random, stop: &AtomicBool) {
    for part in 0..PARTS {
        let numbers = part * EVENTS / PARTS..(part + 1) * EVENTS / PARTS;
        let events: Vec<Record> = numbers.map(|number| scoring.event(number, &mut random)).collect();
        // A broker may stay away for longer than the client waits. What is written again is input like any other.
        let again = (0..3).find_map(|_| cluster.produce(&scoring.input, &events, Transaction::None).ok());
        assert!(again.is_some(), "events can't be written");
        if !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(random.next() % 700));
        }
    }
}

/// One run. What differs in the end, if anything does.
fn run(cluster: &Cluster, seed: u64) -> Result<String, String> {
    let began = Instant::now();
    let mut random = Random(seed);
    let workers = 1 + random.next() % 2;
    let apart = random.next().is_multiple_of(2);
    let session_ms = [3_000, 6_000][random.next() as usize % 2];
    let group = match random.next() % 4 {
        // There the session's length is the broker's.
        0 => "protocol: consumer".to_owned(),
        _ => format!("session_timeout: {session_ms}ms"),
    };
    let standby = u8::from(random.next().is_multiple_of(2) && !group.contains("consumer"));
    let settings = format!("{BRISK}workers: {workers}\nstate: state\nstandby: {standby}\n");
    let scoring = Scoring::new(cluster, PARTITIONS, &settings, &group);
    let acts = plan(&mut random, session_ms);
    println!(
        "seed {seed}: {workers} workers, {standby} warm copies, apart {apart}, {}; {acts:?}",
        group.replace("\n   ", ",")
    );
    scoring.create_topics(cluster);
    let brokers = cluster.bootstrap();
    let job = scoring.job(End::Kafka(&brokers), End::Kafka(&brokers));
    let mut fleet = Fleet::new(&job, apart);
    (0..INSTANCES_MAX).for_each(|_| fleet.start());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let events = Random(random.next());
        let producing = scope.spawn(|| produce(cluster, &scoring, events, &stop));
        let start = Instant::now();
        let mut acts = acts.into_iter().peekable();
        while start.elapsed() < DISTURBED {
            if let Some((_, act)) = acts.next_if(|(at, _)| *at <= start.elapsed()) {
                fleet.act(act, cluster);
            }
            fleet.look_after();
            std::thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, Ordering::Relaxed);
        fleet.heal();
        producing.join().unwrap();
    });
    cluster.produce(&scoring.input, &scoring.last_events(), Transaction::None).unwrap();
    scoring.wait_for_the_end(cluster, || fleet.look_after());
    fleet.end();
    let problems = problems(cluster, &scoring, &job);
    if problems.is_empty() {
        return Ok(format!("seed {seed}: as expected after {:.1} s", began.elapsed().as_secs_f64()));
    }
    Err(format!("seed {seed}: {problems}left in {}", job.keep().display()))
}

fn problems(cluster: &Cluster, scoring: &Scoring, job: &Job) -> String {
    let input = cluster.consume(&scoring.input, Isolation::ReadCommitted).unwrap();
    assert!(input.len() as u64 >= EVENTS, "only {} events", input.len());
    let expected = expected(scoring, &input);
    let read = |output| (output, cluster.consume(&scoring.topic(output), Isolation::ReadCommitted).unwrap());
    let seen = OUTPUTS.map(read).into();
    let problems = compare(scoring, &expected, &seen);
    for (name, outputs) in [("expected", expected), ("seen", seen)] {
        job.write(name, format!("{outputs:#?}").as_bytes());
    }
    problems
}

#[test]
fn processes_that_die_freeze_and_leave_write_everything_once() {
    let runs = number_from_env("MILLSTREAM_KAFKA_CRASH_RUNS", 3);
    let first = number_from_env("MILLSTREAM_KAFKA_CRASH_SEED", 1);
    // One of its own: other tests would not like what happens to it.
    let cluster = Cluster::start(&ClusterOptions::new(1)).unwrap();
    let mut failed = Vec::new();
    for seed in first..first + runs {
        // The other seeds may tell more about what is wrong.
        match catch_unwind(AssertUnwindSafe(|| run(&cluster, seed))) {
            Ok(Ok(said)) => println!("{said}"),
            Ok(Err(problems)) => {
                println!("{problems}");
                failed.push(seed);
            }
            Err(_) => failed.push(seed),
        }
    }
    assert!(failed.is_empty(), "these of {runs} seeds failed: {failed:?}");
}
