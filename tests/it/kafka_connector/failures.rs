//! Brokers that go away, offsets that are gone, topics that were deleted.

use std::time::Duration;

use millstream_core::TaskId;
use millstream_testkit::kafka::{Cluster, ClusterOptions, Record, Transaction};

use super::rig::Rig;
use super::{cluster, exactly, pass};

#[test]
fn a_broker_that_is_killed_while_it_commits() {
    let own = Cluster::start(&ClusterOptions::new(1)).unwrap();
    let rig = Rig::new(&own, 2, "");
    let mut worker = rig.process().worker();
    worker.run_until("the assignment", |worker, _| worker.tasks.len() == 2);
    for round in 0..3 {
        rig.feed(round * 700..(round + 1) * 700, 2, Transaction::None);
        std::thread::scope(|scope| {
            let killer = scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(u64::from(30 * round)));
                own.kill(0).unwrap();
                std::thread::sleep(Duration::from_millis(500));
                own.restart(0).unwrap();
            });
            while !killer.is_finished() {
                worker.hear();
                worker.epoch(3);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
    }
    // Without tasks it is not at the end, but out of the group for a while.
    let caught_up = |worker: &super::Worker, _| {
        worker.tasks.len() == 2 && worker.tasks.values().all(|owned| owned.record.position.offset >= 1050)
    };
    worker.run_until("the end", caught_up);
    exactly(&rig, 0..2100);
}

#[test]
fn a_pause_beyond_the_transaction_timeout_loses_nothing() {
    let own = Cluster::start(&ClusterOptions::new(1).proxied()).unwrap();
    let rig = Rig::new(&own, 1, ", session_timeout: 6s");
    rig.feed(0..100, 1, Transaction::None);
    let mut worker = rig.process().worker();
    pass(&mut worker, 100);
    rig.feed(100..200, 1, Transaction::None);
    std::thread::sleep(Duration::from_millis(300));
    let proxy = own.proxy(0).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(5));
            proxy.freeze();
            // Past the session, and past the transaction.
            std::thread::sleep(Duration::from_secs(16));
            proxy.heal();
        });
        let mut after = 0;
        while after < 1 || worker.tasks.is_empty() {
            worker.hear();
            after += worker.epoch(3);
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let mut quiet = 0;
    worker.run_until("the end", |_, _| {
        quiet += 1;
        quiet > 3000
    });
    exactly(&rig, 0..200);
}

#[test]
fn offsets_that_are_gone_are_never_taken_for_a_new_group() {
    let rig = Rig::new(cluster(), 1, "");
    rig.feed(0..10, 1, Transaction::None);
    let mut worker = rig.process().worker();
    pass(&mut worker, 10);
    worker.member.leave().unwrap();
    let journal = worker.store.load_journal(&rig.name, TaskId::new(0), 0).unwrap();
    assert_eq!(journal.len(), 1);
    drop(worker);
    // The same journal under a group that never committed.
    let other = Rig::new(cluster(), 1, "");
    let line =
        Record { key: Some(b"0/0".to_vec()), ..Record::text("", "{\"kind\":\"begin\",\"at\":0}") }.in_partition(0);
    cluster().create_topic(&format!("{}.journal", other.name), 1, &[]).unwrap();
    cluster().produce(&format!("{}.journal", other.name), &[line], Transaction::None).unwrap();
    let store = other.process().backend.store(0).unwrap();
    let error = store.load_commit(&other.name, TaskId::new(0)).unwrap_err();
    assert_eq!(error.code().id, "MS0630", "{error}");
}

#[test]
fn forgetting_begins_anew() {
    let rig = Rig::new(cluster(), 1, "");
    rig.feed(0..10, 1, Transaction::None);
    let mut worker = rig.process().worker();
    pass(&mut worker, 10);
    worker.member.leave().unwrap();
    drop(worker);
    let store = rig.process().backend.store(0).unwrap();
    store.forget(&rig.name).unwrap();
    assert_eq!(store.load_commit(&rig.name, TaskId::new(0)).unwrap(), None);
}

#[test]
fn offsets_of_others_are_refused() {
    let rig = Rig::new(cluster(), 1, "");
    rig.feed(0..3, 1, Transaction::None);
    let mut worker = rig.process().worker();
    pass(&mut worker, 3);
    let position = worker.tasks[&TaskId::new(0)].record.position.clone();
    let mut source = worker.member.opener().open(TaskId::new(0)).unwrap();
    let beyond = millstream_core::Position { offset: position.offset + 100, cursor: String::new() };
    worker.store.hurry(Duration::ZERO);
    let error = source.seek(&beyond).unwrap_err();
    assert_eq!(error.code().id, "MS0513", "{error}");
}

#[test]
fn a_record_that_is_too_large_ends_the_run_with_a_way_out() {
    let rig = Rig::new(cluster(), 1, "");
    cluster().delete_topic(&rig.output).unwrap();
    cluster().create_topic(&rig.output, 1, &[("max.message.bytes", "2000")]).unwrap();
    let noise: String =
        (0..4000u32).map(|i| char::from(33 + (i.wrapping_mul(2_654_435_761) >> 24) as u8 % 90)).collect();
    cluster().produce(&rig.input, &[Record::text("k", &noise)], Transaction::None).unwrap();
    let mut worker = rig.process().worker();
    worker.run_until("the assignment", |worker, _| !worker.tasks.is_empty());
    let error = worker.fails();
    assert_eq!(error.code().id, "MS0631", "{error}");
    assert!(error.help_text().unwrap().contains("max.message.bytes"), "{error}");
    assert_eq!(cluster().committed(&rig.name, &rig.input).unwrap()[0].offset, None);
}

#[test]
fn an_output_topic_that_is_deleted_ends_the_run() {
    let rig = Rig::new(cluster(), 1, "");
    rig.feed(0..5, 1, Transaction::None);
    let mut worker = rig.process().worker();
    pass(&mut worker, 5);
    cluster().delete_topic(&rig.output).unwrap();
    rig.feed(5..10, 1, Transaction::None);
    let error = worker.fails();
    assert_eq!(error.code().id, "MS0545", "{error}");
    assert!(error.to_string().contains(&rig.output), "{error}");
}

#[test]
fn an_input_topic_that_is_deleted_ends_the_run() {
    let rig = Rig::new(cluster(), 1, "");
    rig.feed(0..5, 1, Transaction::None);
    let mut worker = rig.process().worker();
    pass(&mut worker, 5);
    cluster().delete_topic(&rig.input).unwrap();
    let began = std::time::Instant::now();
    let error = loop {
        assert!(began.elapsed() < super::rig::LONG, "nobody noticed");
        if let Err(error) = worker.member.poll() {
            break error;
        }
        let limit = millstream_core::PollLimit { records: 10, bytes: 1000 };
        let mut batch = millstream_core::RawBatch::new(TaskId::new(0));
        let polled = worker.tasks.values_mut().find_map(|owned| owned.source.poll(limit, &mut batch).err());
        if let Some(error) = polled {
            break error;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(error.code().id, "MS0545", "{error}");
    assert!(error.to_string().contains(&rig.input), "{error}");
}

#[test]
fn a_process_that_dies_leaves_its_tasks_to_another_one() {
    let rig = Rig::new(cluster(), 2, ", session_timeout: 6s");
    rig.feed(0..100, 2, Transaction::None);
    let mut worker = rig.process().worker();
    worker.run_until("some", |_, total| total >= 30);
    // It does not leave; the group finds out.
    drop(worker);
    let mut other = rig.process().worker();
    other.run_until("both tasks", |worker, _| worker.tasks.len() == 2);
    let mut quiet = 0;
    other.run_until("the rest", |_, _| {
        quiet += 1;
        quiet > 500
    });
    exactly(&rig, 0..100);
}
