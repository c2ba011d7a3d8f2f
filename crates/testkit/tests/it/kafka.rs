//! The harness for tests against a real Kafka does what its tests rely on.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use millstream_testkit::kafka::{
    Cluster, ClusterOptions, Isolation, Listener, PASSWORD, Printed, Record, Transaction, USER,
};

const SECOND: Duration = Duration::from_secs(1);

fn values(records: &[Record]) -> Vec<String> {
    records.iter().map(Record::value_text).collect()
}

#[test]
fn both_clients_see_what_was_committed() {
    let kafka = Cluster::shared().unwrap();
    let topic = kafka.fresh_name("transactions");
    kafka.create_topic(&topic, 2, &[("retention.ms", "-1")]).unwrap();
    let record = |value: &str| Record::text("card", value).in_partition(1).at_ms(1_700_000_000_000);
    let whole = record("kept").header("origin", "here");
    kafka.produce(&topic, &[whole.clone(), record("kept as well")], Transaction::Committed("a")).unwrap();
    kafka.produce(&topic, &[record("thrown away")], Transaction::Aborted("a")).unwrap();
    kafka.produce(&topic, &[Record { value: None, ..record("") }], Transaction::None).unwrap();
    kafka.produce(&topic, &[record("pending")], Transaction::LeftOpen("b")).unwrap();

    let read = kafka.consume(&topic, Isolation::ReadCommitted).unwrap();
    assert_eq!(values(&read), ["kept", "kept as well", ""]);
    assert_eq!(read[0], Record { offset: Some(0), ..whole });
    assert_eq!((read[2].key_text().as_str(), &read[2].value), ("card", &None));
    assert_eq!(read[0].header_text("origin").as_deref(), Some("here"));
    let all = kafka.consume(&topic, Isolation::ReadUncommitted).unwrap();
    assert_eq!(values(&all), ["kept", "kept as well", "thrown away", "", "pending"]);

    let printed = kafka.console_consume(&topic, Isolation::ReadCommitted, 3 * SECOND).unwrap();
    let first = Printed {
        timestamp: "CreateTime:1700000000000".to_owned(),
        partition: 1,
        offset: 0,
        headers: "origin:here".to_owned(),
        key: Some("card".to_owned()),
        value: Some("kept".to_owned()),
    };
    assert_eq!(printed[0], first);
    assert_eq!(printed[2].value, None);
    assert_eq!(printed.len(), 3);
}

#[test]
fn topics_and_groups_are_administered() {
    let kafka = Cluster::shared().unwrap();
    let topic = kafka.fresh_name("topics");
    kafka.create_topic(&topic, 1, &[]).unwrap();
    assert!(kafka.create_topic(&topic, 1, &[]).unwrap_err().contains("already exists"));
    kafka.grow_topic(&topic, 3).unwrap();
    let partitions = kafka.describe_topic(&topic).unwrap();
    assert_eq!(partitions.iter().map(|p| (p.partition, p.leader)).collect::<Vec<_>>(), [(0, 1), (1, 1), (2, 1)]);
    let committed = kafka.committed("nobody", &topic).unwrap();
    assert_eq!(committed.iter().map(|c| c.offset).collect::<Vec<_>>(), [None, None, None]);
    assert_eq!(kafka.members("nobody").unwrap(), []);
    kafka.delete_topic(&topic).unwrap();
    assert!(kafka.describe_topic(&topic).is_err());
}

#[test]
fn a_broker_is_stopped_killed_and_paused() {
    let kafka = Cluster::start(&ClusterOptions::new(1)).unwrap();
    let folder = kafka.folder().to_owned();
    kafka.create_topic("t", 1, &[]).unwrap();
    let produce = |value: &str| kafka.produce("t", &[Record::text("", value)], Transaction::None);
    produce("first").unwrap();
    kafka.restart(0).unwrap();
    produce("second").unwrap();
    kafka.kill(0).unwrap();
    assert!(kafka.kill(0).is_err(), "it is gone");
    kafka.restart(0).unwrap();
    kafka.pause(0).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| produce("third"));
        std::thread::sleep(SECOND);
        assert!(!waiting.is_finished(), "a paused broker answers nothing");
        kafka.resume(0).unwrap();
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(values(&kafka.consume("t", Isolation::ReadCommitted).unwrap()), ["first", "second", "third"]);
    kafka.stop(0).unwrap();
    assert!(folder.exists());
    drop(kafka);
    assert!(!folder.exists());
}

#[test]
fn of_three_brokers_the_leader_can_be_killed() {
    let kafka = Cluster::start(&ClusterOptions::new(3)).unwrap();
    kafka.create_topic("t", 1, &[]).unwrap();
    let produce = |value: &str| kafka.produce("t", &[Record::text("", value)], Transaction::Committed("x")).unwrap();
    produce("before");
    let before = &kafka.describe_topic("t").unwrap()[0];
    assert_eq!((before.replicas.len(), before.in_sync.len()), (3, 3));
    let leader = usize::try_from(before.leader - 1).unwrap();
    kafka.kill(leader).unwrap();
    produce("after");
    assert_eq!(values(&kafka.consume("t", Isolation::ReadCommitted).unwrap()), ["before", "after"]);
    assert_ne!(kafka.describe_topic("t").unwrap()[0].leader, before.leader);
    kafka.restart(leader).unwrap();
    produce("again");
    assert_eq!(values(&kafka.consume("t", Isolation::ReadCommitted).unwrap()), ["before", "after", "again"]);
}

#[test]
fn users_and_certificates_are_checked() {
    let kafka = Cluster::start(&ClusterOptions::new(1).secured()).unwrap();
    let made = kafka.certificates().unwrap();
    let [ca, certificate, key] = [&made.authority, &made.client, &made.client_key].map(|path| path.to_str().unwrap());
    let ca = ("ssl.ca.location", ca);
    let user = |mechanism, password| {
        [("sasl.mechanism", mechanism), ("sasl.username", USER), ("sasl.password", password)].to_vec()
    };
    let token = || {
        let config = format!("principal={USER}").leak();
        [("sasl.mechanism", "OAUTHBEARER"), ("enable.sasl.oauthbearer.unsecure.jwt", "true")]
            .into_iter()
            .chain([("sasl.oauthbearer.config", &*config)])
            .collect::<Vec<_>>()
    };
    let attempt = |listener, protocol, more: Vec<(&str, &str)>| {
        kafka.connect_as(listener, &[vec![("security.protocol", protocol)], more].concat())
    };
    for login in [user("PLAIN", PASSWORD), user("SCRAM-SHA-256", PASSWORD), user("SCRAM-SHA-512", PASSWORD), token()] {
        attempt(Listener::Sasl, "sasl_plaintext", login.clone()).unwrap();
        attempt(Listener::SaslTls, "sasl_ssl", [login, vec![ca]].concat()).unwrap();
    }
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let refused = attempt(Listener::Sasl, "sasl_plaintext", user(mechanism, "guessed")).unwrap_err();
        assert!(refused.contains("uthentication"), "{refused}");
    }
    attempt(Listener::Tls, "ssl", vec![ca]).unwrap();
    assert!(attempt(Listener::Tls, "ssl", vec![]).unwrap_err().contains("handshake"));
    let own = vec![ca, ("ssl.certificate.location", certificate), ("ssl.key.location", key)];
    let served = attempt(Listener::MutualTls, "ssl", own).unwrap();
    assert_eq!(served, [kafka.bootstrap_of(Listener::MutualTls).unwrap()]);
    assert!(attempt(Listener::MutualTls, "ssl", vec![ca]).unwrap_err().contains("bad certificate"));
}

#[test]
fn clients_behind_a_proxy_are_cut_off() {
    let kafka = Cluster::start(&ClusterOptions::new(1).proxied()).unwrap();
    let proxy = kafka.proxy(0).unwrap();
    let connect = || kafka.connect_as(Listener::Client, &[]);
    assert_eq!(connect().unwrap(), [kafka.bootstrap()]);
    assert_ne!(kafka.bootstrap(), kafka.bootstrap_direct());
    proxy.freeze();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(connect);
        std::thread::sleep(2 * SECOND);
        assert!(!waiting.is_finished(), "nothing passes");
        kafka.create_topic("direct", 1, &[]).unwrap();
        proxy.cut();
        proxy.delay(SECOND / 10);
        proxy.heal();
        waiting.join().unwrap().unwrap();
    });
}

/// Set in the process that [`a_killed_test_leaves_nothing`] starts.
const VICTIM: &str = "MILLSTREAM_TESTKIT_VICTIM";

/// Does nothing unless it is started by the test below: then it starts a broker and waits to be killed.
#[test]
fn a_test_to_kill() {
    let Some(report) = std::env::var_os(VICTIM) else { return };
    let kafka = Cluster::start(&ClusterOptions::new(1)).unwrap();
    // Also a paused broker has to go.
    kafka.pause(0).unwrap();
    let text = format!("{}\n{}\n", kafka.bootstrap(), kafka.folder().display());
    std::fs::write(Path::new(&report).with_extension("new"), text).unwrap();
    std::fs::rename(Path::new(&report).with_extension("new"), report).unwrap();
    std::thread::sleep(600 * SECOND);
}

#[test]
fn a_killed_test_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kafka::a_test_to_kill"])
        .env(VICTIM, &report)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait("the broker serves", || report.exists());
    let text = std::fs::read_to_string(report).unwrap();
    let [broker, data] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    let broker: SocketAddr = broker.parse().unwrap();
    assert!(TcpStream::connect(broker).is_ok());
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait("the broker is gone", || TcpStream::connect(broker).is_err());
    wait("its folder is gone", || !Path::new(data).exists());
}

fn wait(for_what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..2400 {
        if condition() {
            return;
        }
        std::thread::sleep(SECOND / 20);
    }
    panic!("waited two minutes: {for_what}");
}
