//! What people see.

use insta::assert_snapshot;

use crate::{parse, spoiled};

const MANY: &str = "\
pipeline: my fraud
delivery: exacty_once
epoch_max: 50
workrs: 2
sources:
  transactions:
    type: file
    path: ${DATA}/tx.ndjson
    schema:
      card_id: strng
      amount: { type: float64, default: none }
      at: timestamp_ms
    event_time: amount
    lateness: 3 sec
    strict: yes
models:
  fraud: { pth: fraud.json }
steps:
  - name: features
    sql: SELECT * FROM transactions
  - name: scored
    predict: fruad
    from: featurs
    emit: on_arrival
outputs:
  scores:
    type: file
    select: id
";

#[test]
fn many_mistakes_at_once() {
    let (_, diagnostics) = parse(MANY);
    assert_snapshot!(format!("{}{}", diagnostics.render(false), diagnostics.summary()));
}

#[test]
fn json_lines() {
    let (_, diagnostics) = parse(MANY);
    let lines = diagnostics.to_json_lines();
    assert_eq!(lines.lines().count(), diagnostics.items().len());
    for line in lines.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).unwrap()["line"].is_u64());
    }
    assert_snapshot!(lines.lines().take(2).collect::<Vec<_>>().join("\n"));
}

#[test]
fn windows_line_ends_marks_and_wide_characters() {
    let text = spoiled("path: tx.ndjson", "path: 'ü日本😀' # é\n    strict: 日本").replace('\n', "\r\n");
    let (_, diagnostics) = parse(&format!("\u{feff}{text}"));
    let marked = diagnostics.render(false);
    assert_snapshot!(marked);
    assert_eq!(parse(&text).1.render(false), marked, "a byte order mark changes nothing that is seen");
}

#[test]
fn a_place_on_the_first_line() {
    let (_, diagnostics) = parse("\u{feff}pipelin: a");
    assert_snapshot!(diagnostics.render(false));
}

#[test]
fn a_mistake_in_yaml_itself() {
    let (_, diagnostics) =
        parse(&spoiled("sql: SELECT card_id, amount FROM transactions", "sql: SELECT card_id: amount"));
    assert_snapshot!(diagnostics.render(false));
}

#[test]
fn two_places() {
    let (_, diagnostics) = parse(&spoiled("  - name: scored", "  - name: features"));
    assert_snapshot!(diagnostics.render(false));
}

#[test]
fn color_is_a_matter_of_choice() {
    let (_, diagnostics) = parse("pipelin: a");
    assert!(diagnostics.render(true).contains('\u{1b}'));
    assert!(!diagnostics.render(false).contains('\u{1b}'));
}

#[test]
fn what_a_variable_holds_is_never_shown() {
    let fields = ["workers", "linger", "delivery", "http", "durability", "pipeline", "data_dir", "snapshots_keep"];
    for field in fields {
        let old = if field == "pipeline" { "" } else { "pipeline: fraud\n" };
        for value in ["${SECRET}", "'a ${SECRET} b'", "\"${SECRET}\"", "${SECRET}x"] {
            let text = spoiled("pipeline: fraud\n", &format!("{old}{field}: {value}\n"));
            let (_, diagnostics) = parse(&text);
            let seen = diagnostics.render(true) + &diagnostics.to_json_lines();
            assert!(!seen.contains("hunter"), "{seen}");
        }
    }
    for (from, to) in [
        ("amount: float64", "amount: ${SECRET}"),
        ("amount: float64", "amount: { type: int8, default: \"${SECRET}\" }"),
        ("amount: float64", "amount: { type: int8, from: \".${SECRET}\" }"),
        ("lateness: 3s", "strict: ${SECRET}"),
        ("event_time: at", "event_time: ${SECRET}"),
        ("predict: fraud", "predict: ${SECRET}"),
        ("predict: fraud", "predict: fraud\n    from: ${SECRET}"),
        ("predict: fraud", "predict: fraud\n    as: a ${SECRET}"),
        ("- name: scored", "- name: a ${SECRET}"),
    ] {
        let (_, diagnostics) = parse(&spoiled(from, to));
        let seen = diagnostics.render(true) + &diagnostics.to_json_lines();
        assert!(diagnostics.has_errors() && !seen.contains("hunter"), "{to}: {seen}");
    }
}

#[test]
fn a_flood_is_cut_off() {
    let flood: String = (0..2000).map(|i| format!("zz{i}: 1\n")).collect();
    let (_, diagnostics) = parse(&(crate::GOOD.to_owned() + &flood));
    assert_eq!(diagnostics.summary(), "500 errors, and 1500 more not shown");
}
