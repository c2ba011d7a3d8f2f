//! What can be wrong with `type: kafka` in a pipeline file, and what right ones mean.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use millstream_config::{Cx, Diagnostics, Pipeline, Severity};
use millstream_core::Delivery;

use crate::backend::{Choice, Clash, choose};
use crate::kafka::input::{KafkaInput, Protocol, Start, Topics};
use crate::kafka::output::{Acks, Compression, Partitioner};
use crate::registry;
use crate::spec::{SinkSpec, SourceSpec};

const GOOD: &str = "\
pipeline: fraud
connections:
  main:
    type: kafka
    brokers: \"k1:9092,k2:9092\"
    security: {}
    client: {}
sources:
  tx:
    type: kafka
    connection: main
    topic: transactions
    schema: { id: string }
outputs:
  scores:
    type: kafka
    connection: main
    topic: scores
dead_letters: { type: kafka, connection: main, topic: transactions.dlq }
";

struct Checked {
    source: Option<Box<dyn SourceSpec>>,
    sinks: Vec<(String, Box<dyn SinkSpec>)>,
    delivery: Delivery,
    diagnostics: Diagnostics,
}

fn check(text: &str) -> Checked {
    let env = |name: &str| (name == "SECRET").then(|| "hunter2".to_owned());
    let (pipeline, diagnostics) = Pipeline::parse("p.yaml", text, &env);
    let pipeline = pipeline.unwrap();
    let mut cx = Cx::new(diagnostics);
    for connection in &pipeline.connections {
        registry::connection(&connection.connector, &mut cx);
    }
    let source = pipeline.sources.first().and_then(|s| registry::source(&s.connector, &mut cx));
    let outputs = pipeline.outputs.iter().map(|o| (o.name.value.clone(), &o.connector));
    let all = outputs.chain(pipeline.dead_letters.iter().map(|d| ("dead_letters".to_owned(), &d.connector)));
    let sinks = all.filter_map(|(name, c)| Some((name, registry::sink(c, &mut cx)?))).collect();
    Checked { source, sinks, delivery: pipeline.delivery.value, diagnostics: cx.into_diagnostics() }
}

fn good(text: &str) -> Checked {
    let checked = check(text);
    assert!(checked.diagnostics.is_empty(), "{}", checked.diagnostics.render(false));
    checked
}

fn input(text: &str) -> KafkaInput {
    good(text).source.unwrap().kafka().unwrap().clone()
}

fn chosen(text: &str) -> Result<Choice, Clash> {
    let checked = good(text);
    let sinks: Vec<(&str, &dyn SinkSpec)> = checked.sinks.iter().map(|(n, s)| (n.as_str(), s.as_ref())).collect();
    choose(checked.source.as_deref().unwrap(), &sinks, checked.delivery)
}

/// The good file with one thing replaced.
fn spoiled(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

#[test]
fn one_mistake_one_message() {
    let source = "    topic: transactions\n";
    let sink = "    topic: scores\n";
    let with = |line: &str| format!("{source}    {line}\n");
    let out = |line: &str| format!("{sink}    {line}\n");
    let client = |text: &str| ("    client: {}".to_owned(), format!("    client: {{ {text} }}"));
    let security = |text: &str| ("    security: {}".to_owned(), format!("    security: {{ {text} }}"));
    let at = |from: &str, to: String| (from.to_owned(), to);
    for ((from, to), code, underlined, said) in [
        // Properties of librdkafka.
        (client("fetch.min.byts: 1"), "MS0540", "fetch.min.byts", "did you mean `fetch.min.bytes`?"),
        (client("ssl.truststore.location: x"), "MS0540", "x", "TrustStore"),
        (client("fetch.wait.max.ms: soon"), "MS0540", "soon", "fetch.wait.max.ms"),
        (client("fetch.wait.max.ms: 99999999"), "MS0540", "99999999", "range"),
        (client("wholly.unlike: 1"), "MS0540", "wholly.unlike", "CONFIGURATION.md"),
        (client("group.id: x"), "MS0541", "group.id", "write `group:`"),
        (client("transactional.id: x"), "MS0541", "transactional.id", "fences"),
        (client("enable.auto.commit: true"), "MS0541", "enable.auto.commit", "committed with the outputs"),
        (client("sasl.password: x"), "MS0541", "sasl.password", "`security:`"),
        (client("bootstrap.servers: x"), "MS0541", "bootstrap.servers", "`brokers:`"),
        // Brokers.
        (at("\"k1:9092,k2:9092\"", "[]".to_owned()), "MS0106", "[]", "host:port"),
        (at("\"k1:9092,k2:9092\"", "k1:nine".to_owned()), "MS0502", "k1:nine", "`nine` is no port"),
        (at("\"k1:9092,k2:9092\"", "kafka://k1".to_owned()), "MS0502", "kafka://k1", "security"),
        (at("\"k1:9092,k2:9092\"", "\"k1, \"".to_owned()), "MS0502", "\"k1, \"", "empty"),
        // Connections.
        (at("connection: main", "connection: mian".to_owned()), "MS0113", "mian", "did you mean `main`?"),
        (at("connection: main", "group: g".to_owned()), "MS0105", "tx", "how Kafka is reached"),
        (at("connection: main", "connection: main\n    brokers: k1".to_owned()), "MS0118", "brokers", "beside"),
        // Security.
        (security("tls: yes please"), "MS0106", "yes please", "`true`"),
        (security("tls: { certificate: c.pem }"), "MS0105", "c.pem", "no `key`"),
        (security("tls: { key: c.pem }"), "MS0105", "c.pem", "no `certificate`"),
        (security("sasl: { mechanism: plain }"), "MS0105", "plain", "needs a `username`"),
        (security("sasl: { mechanism: scram_sha_512, username: u }"), "MS0105", "scram_sha_512", "needs a `password`"),
        (security("sasl: { mechanism: gssapi }"), "MS0107", "gssapi", "scram_sha_256"),
        (security("sasl: { mechanism: oauthbearer, username: u, token: t }"), "MS0116", "u", "no effect"),
        (security("sasl: { mechanism: oauthbearer }"), "MS0105", "oauthbearer", "token_file"),
        (
            security("sasl: { mechanism: scram_sha_256, username: u, password: a, password_file: b }"),
            "MS0118",
            "b",
            "both `password` and `password_file`",
        ),
        // Topics.
        (at(source, String::new()), "MS0105", "tx", "which topic"),
        (at(source, with("topics: [a]")), "MS0118", "topics", "both `topic` and `topics`"),
        (at(source, "    topic: a b\n".to_owned()), "MS0502", "a b", "it has ` `"),
        (at(source, "    topic: \"\"\n".to_owned()), "MS0106", "\"\"", "empty"),
        (at(source, "    topic: tx-*\n".to_owned()), "MS0502", "tx-*", "`pattern:`"),
        (at(source, "    topic: __consumer_offsets\n".to_owned()), "MS0502", "__consumer_offsets", "for itself"),
        (at(source, "    topics: []\n".to_owned()), "MS0118", "[]", "no topic"),
        (at(source, "    topics: [a, b, a]\n".to_owned()), "MS0108", "a", "twice"),
        (at(source, "    pattern: \"tx-(\"\n".to_owned()), "MS0502", "\"tx-(\"", "not a pattern"),
        (at(source, "    pattern: \"a{2\"\n".to_owned()), "MS0502", "\"a{2\"", "not a pattern"),
        (at(sink, "    topic: ä\n".to_owned()), "MS0502", "ä", "it has `ä`"),
        // Where to begin.
        (at(source, with("start: earlyest")), "MS0107", "earlyest", "did you mean `earliest`?"),
        (at(source, with("start: { timestamp: yesterday }")), "MS0106", "yesterday", "RFC 3339"),
        (at(source, with("start: { timestamp: 1767225600 }")), "MS0115", "1767225600", "seconds"),
        (at(source, with("start: { timestamp: -1 }")), "MS0115", "-1", "1970"),
        (at(source, with("start: { offsets: { 0: -5 } }")), "MS0115", "-5", "at least 0"),
        (at(source, with("start: { offsets: { a: 5 } }")), "MS0106", "a", "numbered from 0"),
        (at(source, with("start: { offset: { 0: 5 } }")), "MS0104", "offset", "did you mean `offsets`?"),
        (at(source, with("start: { offsets: {} }")), "MS0118", "{}", "no partition"),
        (
            at(source, "    topics: [a, b]\n    start: { offsets: { 0: 5 } }\n".to_owned()),
            "MS0502",
            "{ offsets: { 0: 5 } }",
            "one topic",
        ),
        (at(source, with("start: latest\n    bounded: true")), "MS0502", "latest", "never read"),
        // The group.
        (at(source, with("protocol: consumer\n    static_membership: true")), "MS0118", "true", "don't go together"),
        (at(source, with("protocol: consumer\n    session_timeout: 10s")), "MS0116", "10s", "broker sets it"),
        (at(source, with("session_timeout: 10ms")), "MS0115", "10ms", "1s to 30m"),
        (at(source, with("protocol: kip848")), "MS0107", "kip848", "consumer"),
        // Outputs.
        (at(sink, out("partitioner: random")), "MS0107", "random", "murmur2"),
        (at(sink, out("partitioner: input\n    partition: p")), "MS0118", "p", "both"),
        (at(sink, out("replication: 3")), "MS0116", "3", "without `partitions`"),
        (at(sink, out("acks: 0")), "MS0107", "0", "`all` or `1`"),
        (at(sink, out("format: parquet")), "MS0502", "parquet", "topic holds records"),
        (at(sink, out("client: { linger.ms: 1 }")), "MS0118", "{ linger.ms: 1 }", "one producer"),
        (at("dlq }", "dlq, key: id }".to_owned()), "MS0116", "key", "dead letters keep"),
    ] {
        let text = spoiled(&from, &to);
        let diagnostics = check(&text).diagnostics;
        let shown = diagnostics.render(false);
        let errors: Vec<_> = diagnostics.items().iter().filter(|d| d.severity == Severity::Error).collect();
        let [only] = errors.as_slice() else { panic!("{to}\n{shown}") };
        assert_eq!((only.code.id, &text[only.span.start..only.span.end]), (code, underlined), "{to}\n{shown}");
        assert!(shown.contains(said), "{to}: {said}\n{shown}");
    }
}

#[test]
fn warnings() {
    for (from, to, said) in [
        ("sources:", "  spare: { type: kafka, brokers: k1 }\nsources:", "nothing uses the connection `spare`"),
        (
            "    security: {}",
            "    security: { sasl: { mechanism: plain, username: u, password: p } }",
            "everyone on the way",
        ),
        ("    topic: scores\n", "    topic: scores\n    acks: 1\n", "nobody is told"),
    ] {
        let diagnostics = check(&spoiled(from, to)).diagnostics;
        assert_eq!((diagnostics.error_count(), diagnostics.warning_count()), (0, 1), "{}", diagnostics.render(false));
        assert!(diagnostics.render(false).contains(said), "{}", diagnostics.render(false));
    }
}

#[test]
fn an_unused_connection_is_checked_too() {
    let text = spoiled("sources:", "  spare: { type: kafka, brokers: \"k1:0\" }\nsources:");
    assert!(check(&text).diagnostics.render(false).contains("`0` is no port"));
    let text = spoiled("sources:", "  spare: { type: kafke }\nsources:");
    assert!(check(&text).diagnostics.render(false).contains("did you mean `kafka`?"));
}

#[test]
fn defaults_and_everything_said() {
    let plain = input(GOOD);
    assert_eq!(plain.topics, Topics::Named(vec!["transactions".to_owned()]));
    assert_eq!((&plain.start, plain.protocol, plain.bounded), (&Start::Earliest, Protocol::Classic, false));
    assert_eq!((plain.group("fraud"), plain.topics.several()), ("fraud", false));
    let said = input(&spoiled(
        "    topic: transactions\n",
        "    pattern: \"tx-(eu|us){1,2}\"
    group: g
    start: { timestamp: 2026-01-01T01:00:00+01:00 }
    static_membership: true
    session_timeout: 10s
    bounded: true
    client: { fetch.min.bytes: 5 }
",
    ));
    assert_eq!(said.topics.subscription(), ["^(tx-(eu|us){1,2})$"]);
    assert_eq!((said.group("fraud"), said.start.clone()), ("g", Start::Timestamp(1_767_225_600_000)));
    assert_eq!((said.static_membership, said.session_timeout), (true, Some(Duration::from_secs(10))));
    let config = said.client_config(Path::new("")).unwrap();
    assert_eq!((config.get("fetch.min.bytes"), config.get("bootstrap.servers")), (Some("5"), Some("k1:9092,k2:9092")));
    let offsets =
        input(&spoiled("    topic: transactions\n", "    topic: t\n    start: { offsets: { 0: 12, 3: 0 } }\n"));
    assert_eq!(offsets.start, Start::Offsets(BTreeMap::from([(0, 12), (3, 0)])));
}

#[test]
fn outputs_mean_what_they_say() {
    for (fields, partitioner, compression, acks) in [
        ("", Partitioner::Input, Compression::Lz4, Acks::All),
        ("key: id", Partitioner::Murmur2, Compression::Lz4, Acks::All),
        ("partitioner: murmur2\n    compression: zstd", Partitioner::Murmur2, Compression::Zstd, Acks::All),
        ("key: id\n    partitioner: input", Partitioner::Input, Compression::Lz4, Acks::All),
        ("partition: p\n    compression: none", Partitioner::Column, Compression::None, Acks::All),
    ] {
        let checked = good(&spoiled("    topic: scores\n", &format!("    topic: scores\n    {fields}\n")));
        let output = checked.sinks[0].1.kafka().unwrap();
        assert_eq!((output.partitioner, output.compression, output.acks), (partitioner, compression, acks), "{fields}");
    }
    let text =
        spoiled("    topic: scores\n", "    topic: scores\n    headers: { model: id, v: id }\n    partitions: 6\n");
    let checked = good(&text);
    let expected = [("model".to_owned(), "id".to_owned()), ("v".to_owned(), "id".to_owned())];
    assert_eq!(
        (checked.sinks[0].1.headers(), checked.sinks[0].1.kafka().unwrap().partitions),
        (&expected[..], Some(6))
    );
}

#[test]
fn security_becomes_properties() {
    let of = |security: &str| {
        let input = input(&spoiled("    security: {}", &format!("    security: {{ {security} }}")));
        let debug = format!("{input:?}");
        assert!(!debug.contains("hunter2"), "{debug}");
        let config = input.client_config(Path::new("/etc/fraud")).unwrap();
        let names = [
            "security.protocol",
            "sasl.mechanism",
            "sasl.username",
            "sasl.password",
            "ssl.ca.location",
            "ssl.key.location",
            "ssl.key.pem",
            "enable.ssl.certificate.verification",
        ];
        names.iter().filter_map(|name| Some(format!("{name}={}", config.get(name)?))).collect::<Vec<_>>()
    };
    assert!(of("").is_empty());
    assert_eq!(of("tls: true"), ["security.protocol=ssl", "ssl.ca.location=probe"]);
    assert_eq!(
        of("tls: { ca: ca.pem, certificate: c.pem, key: \"-----BEGIN ${SECRET}\", verify: false }"),
        [
            "security.protocol=ssl",
            "ssl.ca.location=/etc/fraud/ca.pem",
            "ssl.key.pem=-----BEGIN hunter2",
            "enable.ssl.certificate.verification=false",
        ]
    );
    assert_eq!(
        of("tls: true, sasl: { mechanism: scram_sha_256, username: u, password: \"${SECRET}\" }"),
        [
            "security.protocol=sasl_ssl",
            "sasl.mechanism=SCRAM-SHA-256",
            "sasl.username=u",
            "sasl.password=hunter2",
            "ssl.ca.location=probe",
        ]
    );
    let token = input(&spoiled(
        "    security: {}",
        "    security: { tls: true, sasl: { mechanism: oauthbearer, token: \"${SECRET}\" } }",
    ));
    assert_eq!(token.connection.token().unwrap().read(Path::new("")).unwrap(), "hunter2");
    let file = input(&spoiled(
        "    security: {}",
        "    security: { sasl: { mechanism: scram_sha_512, username: u, password_file: missing } }",
    ));
    let error = file.client_config(Path::new("/nowhere")).unwrap_err();
    assert!(error.code().id == "MS0542" && error.message().contains("/nowhere/missing"), "{error}");
}

#[test]
fn secrets_stay_out_of_messages() {
    let text = spoiled("    client: {}", "    client: { fetch.wait.max.ms: \"${SECRET}\" }");
    let shown = check(&text).diagnostics.render(false);
    assert!(shown.contains("${SECRET}") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn what_a_pipeline_commits_to() {
    let Ok(Choice::Kafka(cluster)) = chosen(GOOD) else { panic!() };
    assert_eq!((cluster.outputs.len(), cluster.brokers().as_str()), (2, "k1:9092,k2:9092"));
    let file =
        GOOD.replace("type: kafka\n    connection: main\n    topic: transactions", "type: file\n    path: a.ndjson");
    assert!(matches!(chosen(&file), Ok(Choice::Kafka(_))), "an output in Kafka");
    let log = "pipeline: p\nsources: { s: { type: log, topic: a, schema: { id: string } } }\n\
               outputs: { o: { type: log, topic: b } }\ndead_letters: { type: log, topic: c }\n";
    assert!(matches!(chosen(log), Ok(Choice::Local)));
    // A broker in common is one cluster.
    let near = spoiled("connection: main\n    topic: scores", "brokers: K2\n    topic: scores");
    assert!(matches!(chosen(&near), Ok(Choice::Kafka(_))));
    for (from, to, output, said) in [
        ("connection: main\n    topic: scores", "brokers: other:9092\n    topic: scores", "scores", "on other:9092"),
        (
            "connection: main\n    topic: scores",
            "brokers: k1\n    security: { tls: true }\n    topic: scores",
            "scores",
            "different users",
        ),
        (
            "type: kafka\n    connection: main\n    topic: scores",
            "type: log\n    topic: scores",
            "scores",
            "embedded log",
        ),
        ("topic: scores", "topic: transactions", "scores", "never end"),
        (
            "{ type: kafka, connection: main, topic: transactions.dlq }",
            "{ type: log, topic: d }",
            "dead_letters",
            "embedded",
        ),
    ] {
        let clash = chosen(&spoiled(from, to)).unwrap_err();
        assert_eq!(clash.output.as_deref(), Some(output), "{to}");
        assert!(clash.message.contains(said), "{to}: {}", clash.message);
    }
}
