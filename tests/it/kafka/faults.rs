//! Outages and what people do to a cluster: the pipeline waits, goes on where it was, or ends with a message that says
//! what to do; nothing lost, nothing twice.

use std::time::Duration;

use millstream_testkit::kafka::{Cluster, ClusterOptions, Isolation, Record, Transaction};

use super::expected::{Outputs, differences, expected, expected_with_the_end, fill, read};
use super::flow::{BRISK, Flow, compare};
use super::instance::Instance;
use super::job::{End, OUTPUTS, Scoring};
use crate::support::{Random, copy_tree, files};

/// Longer than `transaction.timeout.ms`, and than any session here.
const LONGER_THAN_A_TRANSACTION: Duration = Duration::from_secs(12);
/// Longer than a session of [`SHORT_SESSION`], shorter than a transaction.
const LONGER_THAN_A_SESSION: Duration = Duration::from_secs(5);
const SHORT_SESSION: &str = "session_timeout: 3s";

fn shared() -> &'static Cluster {
    Cluster::shared().unwrap()
}

/// Everything is committed and as expected, and the processes end well.
#[track_caller]
fn ends_well(flow: &Flow<'_>, mut running: Vec<Instance>) {
    flow.finish(&mut running.iter_mut().collect::<Vec<_>>());
    running.iter().for_each(Instance::ask_to_end);
    for instance in running {
        instance.expect_code(0);
    }
    flow.check();
}

#[test]
fn a_broker_that_is_restarted_and_one_that_stays_away() {
    let cluster = Cluster::start(&ClusterOptions::new(1)).unwrap();
    let mut flow = Flow::new(&cluster, 2, BRISK, "");
    flow.produce(600);
    let mut running = flow.start();
    flow.wait_for(100, &mut [&mut running]);
    cluster.restart(0).unwrap();
    flow.produce(300);
    flow.wait_for(700, &mut [&mut running]);
    flow.produce(600);
    cluster.kill(0).unwrap();
    std::thread::sleep(LONGER_THAN_A_TRANSACTION);
    running.expect_running();
    cluster.restart(0).unwrap();
    flow.produce(100);
    let said = running.said();
    assert!(said.lines().count() < 200, "an outage is told of again and again:\n{said}");
    ends_well(&flow, vec![running]);
}

#[test]
fn a_network_that_is_cut_and_one_that_is_silent() {
    let cluster = Cluster::start(&ClusterOptions::new(1).proxied()).unwrap();
    let proxy = cluster.proxy(0).unwrap();
    let mut flow = Flow::new(&cluster, 2, BRISK, SHORT_SESSION);
    flow.produce(300);
    let mut running = flow.start();
    flow.wait_for(100, &mut [&mut running]);
    flow.produce(600);
    proxy.cut();
    std::thread::sleep(LONGER_THAN_A_SESSION);
    proxy.heal();
    flow.wait_for(500, &mut [&mut running]);
    flow.produce(600);
    proxy.freeze();
    std::thread::sleep(LONGER_THAN_A_TRANSACTION);
    proxy.heal();
    flow.produce(100);
    ends_well(&flow, vec![running]);
}

#[test]
fn a_process_that_is_held_longer_than_its_transaction_lasts() {
    let mut flow = Flow::new(shared(), 4, BRISK, SHORT_SESSION);
    flow.produce(500);
    let (mut held, mut other) = (flow.start(), flow.start());
    flow.wait_for(200, &mut [&mut held, &mut other]);
    flow.produce(1500);
    held.pause();
    // The other one takes over what the group takes away, as soon as the broker has ended what was open.
    flow.wait_for(1900, &mut [&mut other]);
    std::thread::sleep(LONGER_THAN_A_SESSION);
    held.resume();
    flow.produce(500);
    ends_well(&flow, vec![held, other]);
}

#[test]
fn partitions_that_are_added_are_read_from_their_beginning() {
    let refresh = "client: { topic.metadata.refresh.interval.ms: 1000 }";
    let cluster = shared();
    let mut flow = Flow::new(cluster, 4, BRISK, refresh);
    // It began with two; what belongs to the others comes when they are there.
    cluster.delete_topic(&flow.scoring.input).unwrap();
    cluster.create_topic(&flow.scoring.input, 2, &[("retention.ms", "-1")]).unwrap();
    let (now, later): (Vec<Record>, Vec<Record>) = flow.events(900).into_iter().partition(|r| r.partition < Some(2));
    cluster.produce(&flow.scoring.input, &now, Transaction::None).unwrap();
    let mut running = flow.start();
    flow.wait_for(now.len() as i64, &mut [&mut running]);
    cluster.grow_topic(&flow.scoring.input, 4).unwrap();
    cluster.produce(&flow.scoring.input, &later, Transaction::None).unwrap();
    flow.wait_for(900, &mut [&mut running]);
    flow.produce(300);
    ends_well(&flow, vec![running]);
}

#[test]
fn a_topic_that_is_deleted_ends_the_run_with_its_name() {
    let mut flow = Flow::new(shared(), 2, BRISK, "client: { topic.metadata.refresh.interval.ms: 1000 }");
    flow.produce(100);
    let mut running = flow.start();
    flow.wait_for(100, &mut [&mut running]);
    let topic = flow.scoring.input.clone();
    flow.cluster.delete_topic(&topic).unwrap();
    let said = running.expect_failure();
    assert!(said.contains("MS0545") && said.contains(&topic) && said.contains("help:"), "{said}");
}

#[test]
fn snapshots_that_cannot_be_written_are_only_missed() {
    let mut flow = Flow::new(shared(), 2, &format!("{BRISK}state: kept\n"), "");
    flow.produce(500);
    let mut running = flow.start();
    flow.wait_for(300, &mut [&mut running]);
    // A file where the folder was: as with a full disk, nothing can be written there.
    std::fs::rename(flow.job.path("kept"), flow.job.path("aside")).unwrap();
    flow.job.write("kept", b"");
    flow.produce(1000);
    flow.wait_for(1500, &mut [&mut running]);
    running.kill();
    // It comes back from what there was before.
    std::fs::remove_file(flow.job.path("kept")).unwrap();
    std::fs::rename(flow.job.path("aside"), flow.job.path("kept")).unwrap();
    flow.produce(300);
    let running = flow.start();
    ends_well(&flow, vec![running]);
}

#[test]
fn being_asked_to_end_commits_what_was_read() {
    let mut flow = Flow::new(shared(), 2, BRISK, "");
    flow.produce(2_000);
    let mut running = flow.start();
    flow.wait_for(1, &mut [&mut running]);
    running.leave();
    // Every event that is committed came out, as a score or dead, and no other.
    let committed: i64 = flow.committed().iter().sum();
    let input = flow.input();
    let read: Vec<Record> = {
        let offsets = flow.committed();
        input.iter().filter(|r| r.offset < Some(offsets[r.partition.unwrap() as usize])).cloned().collect()
    };
    assert_eq!(read.len() as i64, committed);
    let expected = expected(&flow.scoring, &read);
    let seen = flow.seen();
    for output in ["scores", "alerts", "dead"] {
        let problems = differences(&flow.scoring, output, &expected[output], &seen[output]);
        assert!(problems.is_empty(), "{problems}");
    }
    assert!(flow.cluster.members(&flow.scoring.pipeline).unwrap().is_empty(), "it has not left its group");
    let running = flow.start();
    ends_well(&flow, vec![running]);
}

/// A pipeline that has come to a stop, and whose newest snapshot is of a place that its input has lost.
fn with_lost_events<'a>(cluster: &'a Cluster) -> Flow<'a> {
    let mut flow = Flow::new(cluster, 1, &format!("{BRISK}state: kept\n"), "");
    flow.produce(300);
    let mut running = flow.start();
    flow.wait_for(300, &mut [&mut running]);
    running.leave();
    copy_tree(&flow.job.path("kept"), &flow.job.path("old"));
    flow.produce(600);
    let mut running = flow.start();
    flow.wait_for(900, &mut [&mut running]);
    running.leave();
    std::fs::remove_dir_all(flow.job.path("kept")).unwrap();
    copy_tree(&flow.job.path("old"), &flow.job.path("kept"));
    cluster.trim_topic(&flow.scoring.input, 700).unwrap();
    flow.produce(100);
    flow
}

#[test]
fn state_that_the_input_no_longer_reaches_back_to_is_an_error_with_ways_out() {
    for way_out in [["--state", "empty"], ["--rebuild-from", "earliest"]] {
        let mut flow = with_lost_events(shared());
        let said = flow.start().expect_failure();
        assert!(said.contains("MS0650") && said.contains("offset 300") && said.contains(&way_out.join(" ")), "{said}");
        assert_eq!(flow.committed(), [900]);
        let mut running = flow.start_with(&way_out);
        flow.finish(&mut [&mut running]);
        running.leave();
        // State is another, and every event is there once.
        let scored = flow.seen()["scores"].iter().map(|r| id(&r.value_text())).collect::<Vec<_>>();
        let mut once = scored.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), scored.len(), "some events were scored twice");
        let bad = flow.seen()["dead"].iter().filter(|r| r.header_text("ms.step").as_deref() != Some("settled")).count();
        assert_eq!(scored.len() + bad, 1001);
        // The next run needs no way out.
        let mut running = flow.start();
        flow.produce(50);
        flow.wait_for(1051, &mut [&mut running]);
        running.leave();
    }
}

fn id(value: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(value).unwrap();
    value["transaction_id"].as_str().unwrap().to_owned()
}

#[test]
fn leaders_that_change_in_a_cluster_of_three() {
    let cluster = Cluster::start(&ClusterOptions::new(3)).unwrap();
    let mut flow = Flow::new(&cluster, 4, BRISK, "");
    flow.produce(500);
    let mut running = flow.start();
    flow.wait_for(200, &mut [&mut running]);
    for broker in 0..3 {
        flow.produce(400);
        if broker == 1 {
            cluster.stop(broker).unwrap()
        } else {
            cluster.kill(broker).unwrap()
        }
        flow.produce(200);
        flow.wait_for(500 + 600 * (broker as i64 + 1), &mut [&mut running]);
        cluster.restart(broker).unwrap();
        in_sync(&flow);
    }
    ends_well(&flow, vec![running]);
}

/// Waits until every copy is complete again, so that the next broker may go.
fn in_sync(flow: &Flow<'_>) {
    let began = std::time::Instant::now();
    let complete = |topic: &str| {
        let partitions = flow.cluster.describe_topic(topic).unwrap();
        partitions.iter().all(|p| p.in_sync.len() == p.replicas.len() && p.leader >= 0)
    };
    let mut topics: Vec<String> = OUTPUTS.map(|output| flow.scoring.topic(output)).to_vec();
    topics.extend([flow.scoring.input.clone(), "__consumer_offsets".to_owned(), "__transaction_state".to_owned()]);
    while !topics.iter().all(|topic| complete(topic)) {
        assert!(began.elapsed() < super::job::LONG, "replicas do not catch up");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn at_least_once_loses_nothing_and_scores_the_same() {
    let mut flow = Flow::new(shared(), 2, &format!("{BRISK}delivery: at_least_once\n"), SHORT_SESSION);
    let mut random = Random(3);
    flow.produce(600);
    for round in 1..4 {
        let mut running = flow.start();
        flow.wait_for(500 * (round - 1) + 100 + (random.next() % 100) as i64, &mut [&mut running]);
        flow.produce(500);
        running.kill();
    }
    let mut running = flow.start();
    flow.finish(&mut [&mut running]);
    running.leave();
    let (expected, seen) = (expected(&flow.scoring, &flow.input()), flow.seen());
    let text = |r: &Record| (r.partition, r.key.clone(), r.value.clone(), r.headers.clone());
    for output in OUTPUTS {
        let mut wanted: Vec<_> = expected[output].iter().map(text).collect();
        let mut got: Vec<_> = seen[output].iter().map(text).collect();
        wanted.sort();
        got.sort();
        got.dedup();
        wanted.dedup();
        assert!(got == wanted, "{output}: {} different records, {} expected", got.len(), wanted.len());
    }
}

#[test]
fn a_file_into_topics_is_written_once_by_a_process_that_is_killed() {
    let cluster = shared();
    let scoring = Scoring::new(cluster, 1, BRISK, "");
    scoring.create_topics(cluster);
    let mut random = Random(5);
    let lines: Vec<Vec<u8>> = (0..6_000).filter_map(|number| scoring.event(number, &mut random).value).collect();
    let lines = lines.join(&b'\n');
    let brokers = cluster.bootstrap();
    let undisturbed = scoring.job(End::Files, End::Log);
    let job = scoring.job(End::Files, End::Kafka(&brokers));
    for job in [&undisturbed, &job] {
        job.write("events.ndjson", &lines);
    }
    undisturbed.run().expect_success();
    let mut random = Random(6);
    let mut kills = 0;
    while kills < 4 {
        let mut instance = Instance::start(&job, &format!("instance-{kills}"), &[]);
        let enough = (kills + 1) * 600 + random.next() % 500;
        let began = std::time::Instant::now();
        let written = || cluster.consume(&scoring.topic("scores"), Isolation::ReadCommitted).unwrap().len() as u64;
        while instance.ended().is_none() && written() < enough {
            assert!(began.elapsed() < super::job::LONG, "no {enough} scores:\n{}", instance.said());
        }
        instance.kill();
        kills += 1;
    }
    Instance::start(&job, "last", &[]).expect_code(0);
    let read_back = |output| cluster.consume(&scoring.topic(output), Isolation::ReadCommitted).unwrap();
    let mut seen: Outputs = OUTPUTS.map(|output| (output, read_back(output))).into();
    // Lines have no time of their own, so a dead one gets that of its writing.
    seen.entry("dead").or_default().iter_mut().for_each(|record| record.timestamp_ms = None);
    let problems = compare(&scoring, &read(&undisturbed, &scoring), &seen);
    assert!(problems.is_empty(), "{problems}");
}

#[test]
fn topics_into_files_are_written_once_while_partitions_move() {
    let mut flow = Flow::new(shared(), 4, BRISK, &format!("{SHORT_SESSION}\n    bounded: true"));
    let brokers = flow.cluster.bootstrap();
    flow.produce(3_000);
    flow.cluster.produce(&flow.scoring.input, &flow.scoring.last_events(), Transaction::None).unwrap();
    let undisturbed = flow.scoring.job(End::Log, End::Files);
    fill(&undisturbed, &flow.scoring, &flow.input());
    undisturbed.run().expect_success();
    let endless = flow.scoring.file(End::Kafka(&brokers), End::Files).replace("bounded: true", "");
    flow.job.write("pipeline.yaml", endless.as_bytes());
    let mut first = flow.start();
    flow.wait_for(200, &mut [&mut first]);
    let mut second = flow.start();
    flow.wait_for(800, &mut [&mut first, &mut second]);
    first.kill();
    flow.wait_for(1_600, &mut [&mut second]);
    let mut third = flow.start();
    flow.wait_for(2_200, &mut [&mut second, &mut third]);
    second.leave();
    flow.wait_for(3_004, &mut [&mut third]);
    third.leave();
    // What still waits comes out as the input ends.
    flow.job.write("pipeline.yaml", flow.scoring.file(End::Kafka(&brokers), End::Files).as_bytes());
    flow.job.run().expect_success();
    let names = files(&undisturbed.path("out"), "ndjson");
    assert_eq!(names.len(), OUTPUTS.len() * 4);
    for path in names {
        let name = format!("out/{}", path.file_name().unwrap().to_str().unwrap());
        // Where the origin is a topic of Kafka, its name is told.
        let source =
            "{\"pipeline\":\"PIPELINE\",\"source\":\"transactions\",".replace("PIPELINE", &flow.scoring.pipeline);
        let with_topic = format!("{source}\"topic\":\"{}\",", flow.scoring.input);
        let expected = String::from_utf8(undisturbed.read(&name)).unwrap().replace(&source, &with_topic);
        assert!(flow.job.read(&name) == expected.as_bytes(), "{name} differs, left in {:?}", flow.job.path("out"));
    }
}

#[test]
fn a_bounded_input_ends_by_itself_and_lets_everything_out() {
    let mut flow = Flow::new(shared(), 3, BRISK, "bounded: true");
    flow.produce(1_500);
    flow.start().expect_code(0);
    let expected = expected_with_the_end(&flow.scoring, &flow.input());
    let problems = compare(&flow.scoring, &expected, &flow.seen());
    assert!(problems.is_empty(), "{problems}");
}

#[test]
fn what_was_written_is_what_kafkas_own_consumer_reads() {
    let mut flow = Flow::new(shared(), 2, BRISK, "");
    flow.produce(600);
    let mut running = flow.start();
    flow.wait_for(200, &mut [&mut running]);
    running.kill();
    let running = flow.start();
    ends_well(&flow, vec![running]);
    let topic = flow.scoring.topic("scores");
    let printed = flow.cluster.console_consume(&topic, Isolation::ReadCommitted, Duration::from_secs(5)).unwrap();
    let printed: Vec<_> = printed.into_iter().map(|p| (p.partition, p.offset, p.key, p.value)).collect();
    let record = |r: &Record| {
        let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|b| String::from_utf8_lossy(b).into_owned());
        (r.partition.unwrap(), r.offset.unwrap(), text(&r.key), text(&r.value))
    };
    assert_eq!(printed, flow.seen()["scores"].iter().map(record).collect::<Vec<_>>());
}
