//! `millstream topic` and `check --connect` against a real Kafka, with and without security.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use millstream_testkit::kafka::{Cluster, ClusterOptions, Isolation, Listener, PASSWORD, Record, Transaction, USER};
use serde_json::Value;

use crate::support::{Job, Run};

/// A pipeline file whose connection `main` is said by `connection`, and which reads `input` and writes `output`.
fn pipeline(connection: &str, input: &str, output: &str) -> String {
    format!(
        "pipeline: p\nconnections:\n  main: {{ type: kafka, {connection} }}\nsources:\n  s: {{ type: kafka, connection: \
         main, topic: {input}, schema: {{ id: string }} }}\noutputs:\n  o: {{ type: kafka, connection: main, topic: {output} \
         }}\ndead_letters: {{ type: file, path: dead.ndjson }}\n"
    )
}

struct Topics<'a> {
    job: Job,
    kafka: &'a Cluster,
}

impl<'a> Topics<'a> {
    fn new(kafka: &'a Cluster) -> Self {
        Self { job: Job::new(""), kafka }
    }

    fn command(&self, arguments: &[&str], input: &str) -> Run {
        let brokers = self.kafka.bootstrap();
        let all = [&["topic", "--brokers", &brokers], arguments].concat();
        self.job.millstream_with_input(&all, input.as_bytes())
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str], input: &str) -> String {
        self.command(arguments, input).expect_success().stdout
    }
}

#[test]
fn topics_are_made_filled_read_changed_and_deleted() {
    let kafka = Cluster::shared().unwrap();
    let (topics, name) = (Topics::new(kafka), kafka.fresh_name("payments"));
    let made = topics.ok(&["create", &name, "--partitions", "3", "--keep-for", "30d"], "");
    assert_eq!(made, format!("created topic `{name}` with 3 partitions\n"));
    let again = topics.command(&["create", &name], "").expect_code(1);
    assert!(again.stderr.contains("MS0547") && again.stderr.contains("already exists"), "{}", again.stderr);

    let lines: String = (0..30).map(|i| format!("{{\"card\": \"c{}\", \"n\": {i}}}\n", i % 7)).collect();
    topics.ok(&["produce", &name, "--key-field", "card", "--quiet"], &lines);
    let records = kafka.consume(&name, Isolation::ReadCommitted).unwrap();
    assert_eq!(records.len(), 30);
    let mut places: Vec<_> = records.iter().map(|r| (r.key_text(), r.partition)).collect();
    places.sort();
    places.dedup();
    assert_eq!(places.len(), 7, "a key has one partition: {places:?}");

    let mut tailed: Vec<String> = topics.ok(&["tail", &name], "").lines().map(str::to_owned).collect();
    let mut sent: Vec<String> = lines.lines().map(str::to_owned).collect();
    tailed.sort();
    sent.sort();
    assert_eq!(tailed, sent);
    assert_eq!(topics.ok(&["tail", &name, "--limit", "4"], "").lines().count(), 4);
    assert_eq!(topics.ok(&["tail", &name, "--from", "latest"], ""), "");
    let busiest = places.first().and_then(|(_, partition)| *partition).unwrap().to_string();
    let json = topics.ok(&["tail", &name, "--partition", &busiest, "--from", "1", "--format", "json"], "");
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((first["offset"].as_u64(), first["partition"].to_string()), (Some(1), busiest));
    assert!(first["key"].as_str().unwrap().starts_with('c'), "{first}");

    let listed = topics.ok(&["list"], "");
    assert!(listed.lines().any(|l| l.starts_with(&name) && l.contains("30d")), "{listed}");
    topics.ok(&["alter", &name, "--keep-for", "forever", "--keep-bytes", "1GB"], "");
    let described: Value = serde_json::from_str(&topics.ok(&["describe", &name, "--format", "json"], "")).unwrap();
    assert_eq!(described["retention"]["bytes"], 1_000_000_000);
    let records: u64 =
        described["partitions"].as_array().unwrap().iter().filter_map(|p| p["next_offset"].as_u64()).sum();
    assert_eq!(records, 30);
    topics.ok(&["delete", &name], "");
    let gone = topics.command(&["describe", &name], "").expect_code(1);
    assert!(gone.stderr.contains("MS0545"), "{}", gone.stderr);
}

#[test]
fn only_committed_records_are_printed_and_a_follower_sees_new_ones() {
    let kafka = Cluster::shared().unwrap();
    let (topics, name) = (Topics::new(kafka), kafka.fresh_name("tail"));
    kafka.create_topic(&name, 1, &[]).unwrap();
    let write = |value: &str, how| kafka.produce(&name, &[Record::text("k", value)], how).unwrap();
    write("one", Transaction::Committed("tail"));
    write("thrown away", Transaction::Aborted("tail"));
    assert_eq!(topics.ok(&["tail", &name], ""), "one\n");
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| topics.ok(&["tail", &name, "--follow", "--limit", "2"], ""));
        write("two", Transaction::None);
        assert_eq!(follower.join().unwrap(), "one\ntwo\n");
    });
}

#[test]
fn check_asks_the_brokers() {
    let kafka = Cluster::shared().unwrap();
    let brokers = format!("brokers: \"{}\"", kafka.bootstrap());
    let (input, output) = (kafka.fresh_name("checked-in"), kafka.fresh_name("checked-out"));
    kafka.create_topic(&input, 2, &[]).unwrap();
    kafka.create_topic(&output, 3, &[]).unwrap();
    let job = Job::new(&pipeline(&brokers, &input, &output));
    let check = |job: &Job| job.millstream(&["check", "pipeline.yaml", "--connect"]);
    assert_eq!(check(&job).expect_success().stdout, "pipeline.yaml: no problems\n");

    let missing = Job::new(&pipeline(&brokers, &format!("{input}x"), &output));
    let said = check(&missing).expect_code(3).stdout;
    assert!(said.contains("MS0545") && said.contains(&format!("did you mean `{input}`?")), "{said}");
    let more = Job::new(&pipeline(&brokers, &input, &format!("{output}, partitions: 4")));
    let said = check(&more).expect_code(3).stdout;
    assert!(said.contains("MS0546") && said.contains("has 3 partitions, but the pipeline declares 4"), "{said}");
    let compacted = kafka.fresh_name("compacted");
    kafka.create_topic(&compacted, 1, &[("cleanup.policy", "compact"), ("retention.ms", "60000")]).unwrap();
    let doubtful = Job::new(&pipeline(&brokers, &compacted, &output));
    let said = check(&doubtful).expect_success().stdout;
    assert!(said.contains("is compacted") && said.contains("keeps records for 1m"), "{said}");
}

#[test]
fn a_cluster_that_is_not_there_is_said_so_once() {
    let job = Job::new("");
    let run = job.millstream(&["topic", "--brokers", "127.0.0.1:1", "list"]).expect_code(1);
    assert!(run.stderr.contains("MS0544") && run.stderr.contains("refused"), "{}", run.stderr);
    let checked = Job::new(&pipeline("brokers: \"127.0.0.1:1\"", "in", "out"));
    let run = checked.millstream(&["check", "pipeline.yaml", "--connect"]).expect_code(3);
    assert_eq!(run.stderr.matches("MS0544").count() + run.stdout.matches("MS0544").count(), 1, "{}", run.stderr);
}

/// A token that says who it is for, unsigned.
fn token() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(3600);
    let payload = format!("{{\"sub\":\"{USER}\",\"iat\":{},\"exp\":{}}}", seconds.as_secs() - 3700, seconds.as_secs());
    format!("{}.{}.", base64_url(br#"{"alg":"none"}"#), base64_url(payload.as_bytes()))
}

fn base64_url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |word, (i, byte)| word | u32::from(*byte) << (16 - 8 * i));
        (0..=chunk.len()).for_each(|i| out.push(char::from(DIGITS[(word >> (18 - 6 * i)) as usize & 63])));
    }
    out
}

#[test]
fn users_and_certificates() {
    let kafka = Cluster::start(&ClusterOptions::new(1).secured()).unwrap();
    kafka.create_topic("in", 1, &[]).unwrap();
    kafka.create_topic("out", 1, &[]).unwrap();
    let certificates = kafka.certificates().unwrap();
    let (ca, certificate, key) =
        (certificates.authority.display(), certificates.client.display(), certificates.client_key.display());
    let pem = std::fs::read_to_string(&certificates.client_key).unwrap();
    let user =
        |mechanism: &str| format!("sasl: {{ mechanism: {mechanism}, username: {USER}, password: \"${{PASSWORD}}\" }}");
    let by_file = format!("sasl: {{ mechanism: scram_sha_512, username: {USER}, password_file: password }}");
    let with_tls = |sasl: &str| format!("tls: {{ ca: {ca} }}, {sasl}");
    let token_file = "sasl: { mechanism: oauthbearer, token_file: token }".to_owned();
    let job_of = |listener: Listener, security: &str, password: &str| {
        let brokers = kafka.bootstrap_of(listener).unwrap();
        let job = Job::new(&pipeline(&format!("brokers: \"{brokers}\", security: {{ {security} }}"), "in", "out"));
        job.write("password", format!("{password}\n").as_bytes());
        job.write("token", token().as_bytes());
        job
    };
    let run = |job: &Job, arguments: &[&str], password: &str, input: &str| {
        let mut command = job.command(arguments);
        command.env("PASSWORD", password).env("KEY_PEM", &pem).env("TOKEN", token());
        crate::support::finish(command, input.as_bytes())
    };
    for (listener, security) in [
        (Listener::Sasl, user("plain")),
        (Listener::Sasl, user("scram_sha_256")),
        (Listener::Sasl, by_file),
        (Listener::Sasl, token_file.clone()),
        (Listener::SaslTls, with_tls(&user("scram_sha_512"))),
        (Listener::SaslTls, with_tls("sasl: { mechanism: oauthbearer, token: \"${TOKEN}\" }")),
        (Listener::SaslTls, format!("tls: {{ verify: false }}, {}", user("plain"))),
        (Listener::Tls, format!("tls: {{ ca: {ca} }}")),
        (Listener::MutualTls, format!("tls: {{ ca: {ca}, certificate: {certificate}, key: {key} }}")),
        (Listener::MutualTls, format!("tls: {{ ca: {ca}, certificate: {certificate}, key: \"${{KEY_PEM}}\" }}")),
    ] {
        let job = job_of(listener, &security, PASSWORD);
        let checked = run(&job, &["check", "pipeline.yaml", "--connect"], PASSWORD, "").expect_success();
        assert!(checked.stdout.ends_with("no problems\n"), "{security}: {}", checked.stdout);
        let topic = |more: &[&str], input: &str| {
            run(&job, &[&["topic", "--pipeline", "pipeline.yaml"], more].concat(), PASSWORD, input)
                .expect_success()
                .stdout
        };
        topic(&["produce", "in", "--quiet"], "{\"id\": \"1\"}\n");
        assert!(topic(&["tail", "in", "--limit", "1"], "").contains("\"id\""), "{security}");
        let explained = run(&job, &["explain", "pipeline.yaml"], PASSWORD, "").expect_success();
        assert!(!explained.said().contains(PASSWORD), "{}", explained.said());
    }
    for (listener, security) in [
        (Listener::Sasl, user("plain")),
        (Listener::Sasl, user("scram_sha_512")),
        (Listener::Tls, "tls: true".to_owned()),
        (Listener::MutualTls, format!("tls: {{ ca: {ca} }}")),
    ] {
        let job = job_of(listener, &security, "guessed");
        let refused = run(&job, &["topic", "--pipeline", "pipeline.yaml", "list"], "guessed", "").expect_code(1);
        assert!(refused.stderr.contains("MS0544"), "{security}: {}", refused.stderr);
        let said = ["uthentication", "certificate", "handshake"].iter().any(|word| refused.stderr.contains(word));
        assert!(said && !refused.stderr.contains("guessed"), "{security}: {}", refused.stderr);
    }
}
