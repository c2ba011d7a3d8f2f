//! The Kafka connector against a real broker, without an engine around it: what is read, what a commit holds, who is
//! refused, what an outage leaves. Readers and writers on the other side were not written here.

#[path = "../../../crates/connectors/tests/it/contract.rs"]
mod contract;
mod failures;
mod rig;

use std::sync::Arc;
use std::time::Instant;

use millstream_connectors::Env;
use millstream_core::{Delivery, JournalEntry, Lease, TaskId};
use millstream_testkit::kafka::{Cluster, Isolation, Transaction};

use rig::{Rig, Worker};

fn cluster() -> &'static Cluster {
    Cluster::shared().unwrap()
}

/// Every number once.
#[track_caller]
fn exactly(rig: &Rig<'_>, range: std::ops::Range<u32>) {
    let expected: Vec<u32> = range.collect();
    let seen = rig.committed(expected.len());
    let missing: Vec<_> = expected.iter().filter(|n| !seen.contains(n)).collect();
    let twice: Vec<_> = seen.windows(2).filter(|w| w[0] == w[1]).map(|w| w[0]).collect();
    assert_eq!(seen, expected, "missing {missing:?}, twice {twice:?}");
}

fn pass(worker: &mut Worker, records: usize) {
    worker.run_until("reading it all", |_, total| total >= records);
}

#[test]
fn the_source_keeps_the_contract_of_sources() {
    let rig = Rig::new(cluster(), 1, ", bounded: true");
    // Committed, aborted and plain records: gaps in the offsets, and marks at the end.
    rig.feed(0..3, 1, Transaction::None);
    rig.feed(3..6, 1, Transaction::Aborted(&rig.name));
    rig.feed(6..9, 1, Transaction::Committed(&rig.name));
    rig.feed(9..11, 1, Transaction::Aborted(&rig.name));
    let expected: Vec<contract::Seen> = cluster()
        .consume(&rig.input, Isolation::ReadCommitted)
        .unwrap()
        .iter()
        .map(|r| (r.offset.unwrap() as u64, r.value_text()))
        .collect();
    assert_eq!(expected.len(), 6);
    let env = Env::new(rig.folder(), ".millstream", &rig.name, false);
    contract::check(&|| rig.source.open(&env, 0).unwrap(), &expected);
}

#[test]
fn a_commit_holds_outputs_offsets_and_journal_together() {
    let rig = Rig::new(cluster(), 2, "");
    rig.feed(0..200, 2, Transaction::None);
    let mut worker = rig.process().worker();
    pass(&mut worker, 200);
    exactly(&rig, 0..200);
    for committed in cluster().committed(&rig.name, &rig.input).unwrap() {
        assert_eq!(committed.offset, Some(100));
        assert!(committed.metadata.starts_with("{\"v\":1,"), "{}", committed.metadata);
    }
    let tasks = worker.store.load_commits(&rig.name).unwrap();
    assert_eq!(tasks.len(), 2);
    for (task, record) in tasks {
        assert_eq!(record, worker.tasks[&task].record_without_empty_receipts());
        assert_eq!(worker.store.load_journal(&rig.name, task, 0).unwrap(), [JournalEntry::Begin { at: 0 }]);
    }
    worker.member.leave().unwrap();
    drop(worker);
    // Another process goes on where this one was.
    rig.feed(200..300, 2, Transaction::None);
    pass(&mut rig.process().worker(), 100);
    exactly(&rig, 0..300);
}

#[test]
fn what_is_read_keeps_keys_headers_and_times() {
    let rig = Rig::new(cluster(), 1, "");
    let record = millstream_testkit::kafka::Record::text("k", "7").at_ms(1_700_000_000_000).header("h", "x");
    cluster().produce(&rig.input, &[record], Transaction::None).unwrap();
    pass(&mut rig.process().worker(), 1);
    let seen = cluster().consume_at_least(&rig.output, Isolation::ReadCommitted, 1, rig::LONG).unwrap();
    assert_eq!((seen[0].key_text(), seen[0].value_text()), ("k".into(), "7".into()));
    assert_eq!(seen[0].timestamp_ms, Some(1_700_000_000_000));
    assert_eq!(seen[0].header_text("h").as_deref(), Some("x"));
}

#[test]
fn a_producer_that_was_cut_off_sends_again_what_does_not_hold() {
    let rig = Rig::new(cluster(), 1, "");
    rig.feed(0..10, 1, Transaction::None);
    let mut worker = rig.process().worker();
    pass(&mut worker, 10);
    // A second producer under the same identity.
    cluster().produce(&rig.output, &[], Transaction::Committed(&rig.transactional_id())).unwrap();
    rig.feed(10..20, 1, Transaction::None);
    pass(&mut worker, 10);
    assert_eq!(worker.lost, 0);
    exactly(&rig, 0..20);
}

#[test]
fn a_task_whose_lease_ended_is_left_out() {
    let rig = Rig::new(cluster(), 2, "");
    rig.feed(0..10, 2, Transaction::None);
    let mut worker = rig.process().worker();
    worker.run_until("the assignment", |worker, _| worker.tasks.len() == 2);
    let tasks: Vec<TaskId> = worker.tasks.keys().copied().collect();
    let [task, other] = tasks[..] else { panic!("{tasks:?}") };
    // One of two is worked on under a lease that is not the one of now.
    worker.tasks.get_mut(&other).unwrap().lease = Lease(0);
    let passed = loop {
        match worker.epoch(100) {
            0 => std::thread::sleep(std::time::Duration::from_millis(5)),
            n => break n,
        }
    };
    assert!(passed > 0);
    pass_to_the_end(&mut worker);
    assert!(worker.lost > 0);
    let seen = rig.committed(5);
    assert_eq!(seen, (0..10).filter(|n| n % 2 == task.partition).collect::<Vec<_>>());
}

fn pass_to_the_end(worker: &mut Worker) {
    for _ in 0..300 {
        worker.epoch(100);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[test]
fn a_pipeline_from_a_file_commits_to_the_journal_topic() {
    let lines: String = (0..50).map(|i| format!("{i}\n")).collect();
    let rig = Rig::from_file(cluster(), &lines);
    let mut process = rig.process();
    assert_eq!(process.backend.tasks(), Some(1));
    let mut worker = process.worker();
    worker.run_until("half of the file", |_, total| total >= 1);
    let record = worker.store.load_commit(&rig.name, TaskId::new(0)).unwrap().unwrap();
    assert_eq!(record, worker.tasks[&TaskId::new(0)].record_without_empty_receipts());
    drop((worker, process));
    let mut worker = rig.process().worker();
    worker.hear();
    while worker.epoch(7) > 0 {}
    exactly(&rig, 0..50);
}

#[test]
fn at_least_once_commits_offsets_after_outputs() {
    let mut rig = Rig::new(cluster(), 2, "");
    rig.delivery = Delivery::AtLeastOnce;
    rig.feed(0..100, 2, Transaction::None);
    let mut worker = rig.process().worker();
    pass(&mut worker, 100);
    exactly(&rig, 0..100);
    assert!(cluster().committed(&rig.name, &rig.input).unwrap().iter().all(|c| c.offset == Some(50)));
    worker.member.leave().unwrap();
    drop(worker);
    rig.feed(100..110, 2, Transaction::None);
    pass(&mut rig.process().worker(), 10);
    exactly(&rig, 0..110);
}

#[test]
fn members_hand_tasks_over_while_epochs_are_in_flight() {
    hand_over(", session_timeout: 6s");
}

#[test]
fn so_do_they_under_the_newer_group_protocol() {
    hand_over(", protocol: consumer");
}

fn hand_over(more: &str) {
    let rig = Arc::new(Rig::new(cluster(), 4, more));
    rig.feed(0..400, 4, Transaction::None);
    let mut first = rig.process().worker();
    first.run_until("the first records", |_, total| total >= 50);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (theirs, stopped) = (rig.clone(), stop.clone());
        let second = scope.spawn(move || {
            let mut worker = theirs.process().worker();
            worker.run_until("the end", |_, _| stopped.load(std::sync::atomic::Ordering::Relaxed));
            worker.member.leave().unwrap();
            worker.tasks.len()
        });
        first.run_until("handing over", |worker, _| worker.handed_over > 0);
        rig.feed(400..800, 4, Transaction::None);
        let began = Instant::now();
        first.run_until("a while of both", |_, _| began.elapsed().as_secs() >= 3);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(second.join().unwrap(), 2);
    });
    first.run_until("taking back", |worker, _| worker.tasks.len() == 4);
    rig.feed(800..900, 4, Transaction::None);
    pass(&mut first, 100);
    exactly(&rig, 0..900);
}

#[test]
fn the_journal_grows_with_the_input() {
    let rig = Rig::new(cluster(), 1, "");
    rig.feed(0..10, 1, Transaction::None);
    let mut worker = rig.process().worker();
    pass(&mut worker, 10);
    worker.member.leave().unwrap();
    drop(worker);
    cluster().grow_topic(&rig.input, 3).unwrap();
    rig.feed(10..40, 3, Transaction::None);
    let mut worker = rig.process().worker();
    pass(&mut worker, 30);
    exactly(&rig, 0..40);
    assert_eq!(cluster().describe_topic(&format!("{}.journal", rig.name)).unwrap().len(), 3);
    for partition in 0..3 {
        assert_eq!(worker.store.load_journal(&rig.name, TaskId::new(partition), 0).unwrap().len(), 1);
    }
}

#[test]
fn nothing_to_commit_costs_nothing() {
    let rig = Rig::new(cluster(), 1, "");
    let worker = rig.process().worker();
    assert!(worker.store.begin().commit(false).unwrap().is_empty());
}
