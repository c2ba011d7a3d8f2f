//! `topic` on the files of a log that nobody runs.

use serde_json::Value;

use crate::support::{Folder, json_lines};

#[test]
fn a_topic_lives() {
    let folder = Folder::new();
    let none = folder.run(&["topic", "list"]);
    assert!(none.err.starts_with("error[MS0711]: "), "{}", none.err);
    assert!(!folder.path(".millstream").exists(), "looking makes nothing");
    folder.run(&["topic", "create", "payments", "--partitions", "3", "--keep-for", "7d"]).succeeded();
    let again = folder.run(&["topic", "create", "payments"]);
    assert!(again.err.starts_with("error[MS0621]: "), "{}", again.err);

    let lines: String = (0..100).map(|i| format!("{{\"card\":\"c{}\",\"n\":{i}}}\n", i % 10)).collect();
    let said = folder.run_with(&["topic", "produce", "payments", "--key-field", "card"], &lines).succeeded();
    assert_eq!(said.err, "appended 100 records to `payments`\n");

    let described: Value =
        serde_json::from_str(&folder.run(&["topic", "describe", "payments", "--format", "json"]).succeeded().out)
            .unwrap();
    let ends: Vec<u64> =
        described["partitions"].as_array().unwrap().iter().map(|p| p["next_offset"].as_u64().unwrap()).collect();
    assert_eq!(ends.len(), 3);
    assert_eq!(ends.iter().sum::<u64>(), 100);
    assert_eq!(described["retention"]["age_ms"], 604_800_000);

    let mut values: Vec<String> =
        folder.run(&["topic", "tail", "payments"]).succeeded().out.lines().map(str::to_owned).collect();
    values.sort_by_key(|line| serde_json::from_str::<Value>(line).unwrap()["n"].as_u64());
    assert_eq!(values.join("\n") + "\n", lines, "values come back byte for byte");

    let altered = folder.run(&["topic", "alter", "payments", "--keep-for", "forever"]).succeeded();
    assert!(altered.out.contains("kept: forever"), "{}", altered.out);
    let listed = folder.run(&["topic", "list"]).succeeded();
    assert!(listed.out.contains("payments"), "{}", listed.out);
    folder.run(&["topic", "delete", "payments"]).succeeded();
    assert_eq!(folder.run(&["topic", "list"]).succeeded().out, "no topics\n");
}

#[test]
fn records_are_shown_with_their_place() {
    let folder = Folder::new();
    folder.run(&["topic", "create", "t", "-p", "2"]).succeeded();
    folder.run_with(&["topic", "produce", "t", "--key", "k", "-q"], "a\r\n\nb\nc").succeeded();
    let records = json_lines(&folder.run(&["topic", "tail", "t", "--format", "json"]).succeeded().out);
    let values: Vec<&str> = records.iter().map(|r| r["value"].as_str().unwrap()).collect();
    assert_eq!(values, ["a", "b", "c"]);
    let home = records[0]["partition"].as_u64().unwrap();
    assert!(records.iter().all(|r| r["key"] == "k" && r["partition"] == home && r["timestamp"].as_i64().unwrap() > 0));
    let (home, other) = (home.to_string(), (1 - home).to_string());
    let one = folder.run(&["topic", "tail", "t", "--partition", &home, "--from", "1", "--limit", "1"]).succeeded();
    assert_eq!(one.out, "b\n");
    assert_eq!(folder.run(&["topic", "tail", "t", "--partition", &other]).succeeded().out, "");
    assert_eq!(folder.run(&["topic", "tail", "t", "--from", "latest"]).succeeded().out, "");
    let offset_of_what = folder.run(&["topic", "tail", "t", "--from", "1"]);
    assert_eq!(offset_of_what.code, Some(2), "{}", offset_of_what.err);
}

#[test]
fn a_line_without_its_key_is_named() {
    let folder = Folder::new();
    folder.run(&["topic", "create", "t"]).succeeded();
    let done = folder.run_with(&["topic", "produce", "t", "--key-field", "a.b"], "{\"a\":{\"b\":1}}\n\n{\"a\":{}}\n");
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("error[MS0706]: line 3: no field `a.b`"), "{}", done.err);
    let nowhere = folder.run(&["topic", "tail", "other"]);
    assert_eq!(nowhere.code, Some(1));
    assert!(nowhere.err.starts_with("error[MS0620]: "), "{}", nowhere.err);
}
