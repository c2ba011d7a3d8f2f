//! `check`, `explain`, `schema`.

use serde_json::Value;

use crate::support::{Folder, json_lines};

const BROKEN: &str = "\
pipeline: broken
sources:
  payments:
    type: file
    path: payments.ndjson
    shema:
      id: string
    schema:
      id: strin
      amount: float64
    lateness: 5 seconds
steps:
  - name: features
    sql: SELECT id, amuont FROM payments
outputs:
  out: { type: file, path: out.ndjson, where: amount }
";

#[test]
fn all_problems_at_once() {
    let folder = Folder::new();
    folder.write("broken.yaml", BROKEN);
    let done = folder.run(&["check", "broken.yaml"]);
    assert_eq!(done.code, Some(3), "{}{}", done.out, done.err);
    for said in ["shema", "strin", "5 seconds", "broken.yaml:", "did you mean"] {
        assert!(done.out.contains(said), "{said}:\n{}", done.out);
    }
    let json = folder.run(&["check", "broken.yaml", "--format", "json"]);
    assert_eq!(json.code, Some(3));
    let problems = json_lines(&json.out);
    assert!(problems.len() >= 3, "{}", json.out);
    for problem in &problems {
        assert!(problem["code"].as_str().unwrap().starts_with("MS"), "{problem}");
        assert!(problem["line"].as_u64().unwrap() > 0, "{problem}");
    }
}

#[test]
fn a_missing_file_is_said_and_the_others_are_checked() {
    let folder = Folder::new();
    folder.run(&["init"]).succeeded();
    let done = folder.run(&["check", "nowhere.yaml", "pipeline.yaml"]);
    assert_eq!(done.code, Some(3));
    assert!(done.out.contains("error[MS0801]"), "{}", done.out);
    assert!(done.out.contains("pipeline.yaml: no problems"), "{}", done.out);
}

#[test]
fn what_init_writes_is_free_of_problems_and_explained() {
    let folder = Folder::new();
    folder.run(&["init", "demo"]).succeeded();
    let checked = folder.run(&["check", "demo/pipeline.yaml", "--connect"]).succeeded();
    assert_eq!(checked.out, "demo/pipeline.yaml: no problems\n");
    let explained = folder.run(&["explain", "demo/pipeline.yaml"]).succeeded().out;
    for word in ["payments", "features", "scored", "account", "exactly_once", "1m"] {
        assert!(explained.contains(word), "{word}:\n{explained}");
    }
    assert!(!folder.path("demo/.millstream").exists(), "looking changes nothing");
}

#[test]
fn the_schema_holds_together() {
    let folder = Folder::new();
    let text = folder.run(&["schema"]).succeeded().out;
    let schema: Value = serde_json::from_str(&text).unwrap();
    assert!(schema["$schema"].as_str().unwrap().contains("json-schema.org"), "{text}");
    let fields = schema["properties"].as_object().unwrap();
    for field in ["pipeline", "delivery", "sources", "tables", "models", "steps", "outputs", "dead_letters", "http"] {
        assert!(fields.contains_key(field), "{field}");
    }
    for connector in ["file", "log", "stdin", "stdout"] {
        assert!(text.contains(&format!("\"{connector}\"")), "{connector}");
    }
    references_resolve(&schema, &schema);
}

fn references_resolve(schema: &Value, node: &Value) {
    match node {
        Value::Object(object) => {
            if let Some(Value::String(target)) = object.get("$ref") {
                let pointer = target.strip_prefix('#').unwrap_or_else(|| panic!("{target} leads outside"));
                assert!(schema.pointer(pointer).is_some(), "{target} leads nowhere");
            }
            object.values().for_each(|inner| references_resolve(schema, inner));
        }
        Value::Array(items) => items.iter().for_each(|inner| references_resolve(schema, inner)),
        _ => {}
    }
}
