//! What a good file means.

use std::time::Duration;

use millstream_config::pipeline::{Durability, Emit, Include, Late, ModelKind, OutputFormat, StepKind, Timestamps};
use millstream_config::{Cx, Decode, Diagnostics, Pipeline, Text, Whole, spec};
use millstream_core::{Delivery, FieldType, OutputKind};

use crate::{GOOD, parse};

fn good(text: &str) -> Pipeline {
    let (pipeline, diagnostics) = parse(text);
    assert!(diagnostics.is_empty(), "{}", diagnostics.render(false));
    pipeline.unwrap()
}

#[test]
fn defaults() {
    let p = good(GOOD);
    assert_eq!(
        (p.name.as_str(), p.delivery.value, p.data_dir.value.as_str()),
        ("fraud", Delivery::ExactlyOnce, ".millstream")
    );
    assert_eq!((p.epoch_max, p.linger), (Duration::from_millis(50), Duration::ZERO));
    assert_eq!((p.batch_rows_max, p.workers, p.snapshots_keep), (4096, 1, 2));
    assert_eq!((p.snapshot_every, p.durability), (Duration::from_secs(60), Durability::Process));
    assert_eq!(p.http.unwrap().to_string(), "127.0.0.1:0");
    assert_eq!((&p.state, p.standby.value, p.connections.len()), (&None, 0, 0));
    let source = p.source("transactions").unwrap();
    assert_eq!(source.connector.kind.value, "file");
    assert_eq!((source.event_time.as_ref().unwrap().value, source.key.as_ref().unwrap().value), (2, 0));
    assert_eq!((source.lateness, source.idle_after.is_none()), (Duration::from_secs(3), true));
    assert_eq!(source.checks[0].1.value, "amount > 0");
    assert_eq!(p.tables[0].key[0].value, "card_id");
    let ModelKind::File { path, format: None } = &p.model("fraud").unwrap().kind else { panic!() };
    assert_eq!((path.value.as_str(), p.models[0].version.as_str()), ("fraud.json", "1"));
    let StepKind::Predict { model, from, column, output, inputs, when } = &p.steps[1].kind else { panic!() };
    assert_eq!((model.as_str(), from.as_str(), column.as_str()), ("fraud", "features", "score"));
    assert_eq!((output.value, inputs.len(), when), (OutputKind::Prediction, 0, &None));
    assert_eq!(p.outputs[0].from.value, "scored");
    assert_eq!(p.dead_letters.unwrap().connector.kind.value, "file");
}

#[test]
fn everything_said() {
    let p = good(
        "\
pipeline: p-1
delivery: at_least_once
data_dir: data
epoch_max: 1s
batch_rows_max: 1
linger: 5ms
workers: ${THREE}
snapshot_every: 2m
snapshots_keep: 3
durability: power
http: off
state: s3://bucket/prefix
standby: 2
connections:
  main: { type: log, anything: 1 }
sources:
  s:
    type: log
    format: json
    strict: true
    topic: ${TOPIC}
    connection: main
    partitions: 4
    schema:
      id: string
      amount: { type: 'decimal(10, 2)', from: payment.amount, required: true, default: 0.10 }
      tags: list<string>
      at: timestamp
    event_time: at
    idle_after: 30s
tables:
  t: { type: file, path: t.bin, key: [a, b], format: parquet, schema: { a: int64, b: string } }
models:
  r:
    version: 3
    rules: [{ when: amount > 1, score: 1 }, { when: true, score: 0.5 }]
    default: -1
steps:
  - name: a
    sql: SELECT * FROM s
    emit: on_watermark
    late: drop
  - { name: b, predict: r, from: s, as: risk, output: raw, inputs: { x: amount * 2 }, when: amount > 10 }
outputs:
  o:
    type: log
    topic: o
    from: a
    where: risk > 0.5
    select: [id, risk AS r]
    include: event
    format: json
    timestamps: rfc3339
dead_letters:
  type: stdout
",
    );
    assert_eq!(
        (p.workers, p.http, p.durability, p.delivery.value),
        (3, None, Durability::Power, Delivery::AtLeastOnce)
    );
    assert_eq!((p.state.as_ref().unwrap().value.as_str(), p.standby.value), ("s3://bucket/prefix", 2));
    let s = &p.sources[0];
    let mut cx = Cx::new(Diagnostics::new("", ""));
    let main = s.connector.connection(&mut cx).unwrap().unwrap();
    assert_eq!((main.name.as_str(), main.connector.fields.get("anything").is_some()), ("main", true));
    assert!(s.schema.strict);
    let amount = &s.schema.fields[1];
    assert_eq!(
        (amount.kind.clone(), amount.path.join("/"), amount.required),
        (FieldType::Decimal(10, 2), "payment/amount".into(), true)
    );
    assert_eq!(amount.default, Some(serde_json::json!("0.10")), "a decimal keeps its digits");
    assert_eq!(s.schema.fields[2].path, ["tags"]);
    assert_eq!(s.idle_after.as_ref().unwrap().value, Duration::from_secs(30));
    assert_eq!(p.tables[0].schema.as_ref().unwrap().len(), 2);
    let ModelKind::Rules { rules, default } = &p.models[0].kind else { panic!() };
    assert_eq!(
        (rules.len(), rules[1].when.value.as_str(), *default, p.models[0].version.as_str()),
        (2, "true", -1.0, "3")
    );
    let StepKind::Sql { emit, late, .. } = &p.steps[0].kind else { panic!() };
    assert_eq!((emit.as_ref().unwrap().value, late.as_ref().unwrap().value), (Emit::OnWatermark, Late::Drop));
    let StepKind::Predict { from, column, output, inputs, when, .. } = &p.steps[1].kind else { panic!() };
    assert_eq!((from.as_str(), column.as_str(), output.value), ("s", "risk", OutputKind::Raw));
    assert_eq!((inputs[0].0.as_str(), inputs[0].1.value.as_str(), when.is_some()), ("x", "amount * 2", true));
    let o = &p.outputs[0];
    assert_eq!((o.from.as_str(), o.select.as_ref().unwrap()[1].value.as_str()), ("a", "risk AS r"));
    assert_eq!(
        (o.include.as_ref().unwrap().value, o.format.as_ref().unwrap().value),
        (Include::Event, OutputFormat::Json)
    );
    assert_eq!(o.timestamps.as_ref().unwrap().value, Timestamps::Rfc3339);
}

#[test]
fn the_example_is_good() {
    let text = include_str!("../../../../examples/fraud/pipeline.yaml");
    assert_eq!(good(text).name.value, "fraud");
}

#[test]
fn variables_count_as_what_they_hold() {
    let text = crate::spoiled("pipeline: fraud", "pipeline: fraud\nworkers: \"${THREE}\"\nsnapshots_keep: ${THREE}")
        .replace("path: fraud.json", "path: 'a/${TRUE:-true}', version: '${TRUE:-true}'")
        .replace("card_id: string", "card_id: { type: string, default: '${THREE}' }")
        .replace("amount: float64", "amount: { type: float64, default: '${THREE}', required: '${TRUE:-true}' }");
    let p = good(&text);
    assert_eq!((p.workers, p.snapshots_keep, p.models[0].version.as_str()), (3, 3, "true"));
    let fields = &p.sources[0].schema.fields;
    assert_eq!(fields[0].default, Some(serde_json::json!("3")));
    assert_eq!((fields[1].default.clone(), fields[1].required), (Some(serde_json::json!(3)), true));
}

#[test]
fn no_steps_at_all() {
    let text = GOOD.replace("models:\n  fraud: { path: fraud.json }\n", "");
    let (before, after) = (text.find("steps:").unwrap(), text.find("outputs:").unwrap());
    for steps in ["", "steps:\n", "steps: []\n"] {
        let p = good(&format!("{}{steps}{}", &text[..before], &text[after..]));
        assert_eq!(p.outputs[0].from.value, "transactions");
    }
}

spec! {
    /// A log.
    struct LogFields {
        /// The topic.
        topic: Text = required,
        /// Partitions.
        partitions: Whole<1, 64> = optional,
        /// To the end.
        bounded: bool = default(false),
    }
}

#[test]
fn a_connector_reads_its_own_fields() {
    let text = GOOD.replace("    path: tx.ndjson\n", "    topic: ${TOPIC}\n    partitons: 4\n    latenes: 5s\n");
    let (pipeline, diagnostics) = parse(&text);
    let fields = pipeline.unwrap().sources[0].connector.fields.clone();
    let mut cx = Cx::new(diagnostics);
    let own = fields.decode::<LogFields>(&mut cx).unwrap();
    assert_eq!((own.topic.value.as_str(), own.topic.shown(), own.bounded), ("events", "${TOPIC}", false));
    let diagnostics = cx.into_diagnostics();
    let labels: Vec<_> = diagnostics.items().iter().map(|d| d.label.clone().unwrap()).collect();
    assert_eq!(labels, ["did you mean `partitions`?", "did you mean `lateness`?"]);
    assert!(diagnostics.items()[0].message.contains("in `transactions`"));
    assert_eq!(&text[fields.span_of("topic").start..fields.span_of("topic").end], "${TOPIC}");
    assert_eq!(&text[fields.span_of("start").start..fields.span_of("start").end], "transactions");

    let (pipeline, diagnostics) = parse(GOOD);
    let mut cx = Cx::new(diagnostics);
    assert!(pipeline.unwrap().sources[0].connector.fields.decode::<LogFields>(&mut cx).is_none());
    let messages: Vec<_> = cx.diagnostics().items().iter().map(|d| d.message.as_str()).collect();
    assert_eq!(messages, ["`transactions` needs the field `topic`", "unknown field `path` in `transactions`"]);
    assert_eq!(LogFields::schema()["properties"]["bounded"]["default"], false);
}
