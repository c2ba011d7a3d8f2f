//! A pipeline file that changes between runs.

use crate::support::{Folder, json_lines};

const PIPELINE: &str = r"
pipeline: changing
sources:
  tx:
    type: file
    path: in.ndjson
    schema: { k: string, v: int64, at: timestamp_ms }
    event_time: at
    lateness: 1s
    checks: { enough: v > 0 }
steps:
  - name: sums
    sql: |
      SELECT k, v, at, SUM(v) OVER (PARTITION BY k ORDER BY at RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW) AS s
      FROM tx
outputs:
  rows: { type: file, path: out/rows.ndjson }
  table: { type: file, path: out/table.csv, select: [k, s] }
dead_letters: { type: file, path: out/dead.ndjson }
";

fn events(folder: &Folder, values: std::ops::Range<u64>) {
    let lines: Vec<_> = values.map(|v| format!("{{\"k\":\"a\",\"v\":{v},\"at\":{}}}\n", v * 1000)).collect();
    let before = if folder.path("in.ndjson").exists() { folder.read("in.ndjson") } else { String::new() };
    folder.write("in.ndjson", &(before + &lines.concat()));
}

#[test]
fn a_changed_check_rebuilds_the_windows_behind_it() {
    let folder = Folder::new();
    events(&folder, 1..11);
    folder.write("pipeline.yaml", PIPELINE);
    folder.run(&["run", "pipeline.yaml", "--quiet"]).succeeded();
    events(&folder, 11..12);
    folder.write("pipeline.yaml", &PIPELINE.replace("v > 0", "v > 5"));
    let done = folder.run(&["run", "pipeline.yaml"]).succeeded();
    assert!(done.err.contains("step `sums` is new or changed"), "{}", done.err);
    let rows = json_lines(&folder.read("out/rows.ndjson"));
    assert_eq!(rows.len(), 11);
    assert_eq!(rows[9]["s"], 55, "what was committed stays");
    assert_eq!(rows[10]["s"], 6 + 7 + 8 + 9 + 10 + 11, "as a run from the start would have it");
}

#[test]
fn an_output_keeps_its_form() {
    let folder = Folder::new();
    events(&folder, 1..4);
    folder.write("pipeline.yaml", PIPELINE);
    folder.run(&["run", "pipeline.yaml", "--quiet"]).succeeded();
    let before = folder.read("out/table.csv");
    for changed in
        [PIPELINE.replace("[k, s]", "[k, v, s]"), PIPELINE.replace("rows.ndjson }", "rows.ndjson, format: csv }")]
    {
        folder.write("pipeline.yaml", &changed);
        let done = folder.run(&["run", "pipeline.yaml"]);
        assert!(done.err.contains("error[MS0535]"), "{}", done.err);
        assert_ne!(done.code, Some(0));
    }
    assert_eq!(folder.read("out/table.csv"), before);
    folder.write("pipeline.yaml", &PIPELINE.replace("[k, s]", "[k, v, s]"));
    folder.run(&["run", "pipeline.yaml", "--fresh", "--quiet"]).succeeded();
    assert!(folder.read("out/table.csv").starts_with("k,v,s\n"));
}
