//! The `file` sink: whatever moment a process dies at, what a reader sees afterwards are committed rows, and
//! after `recover` exactly they.

use std::path::Path;
use std::sync::Arc;

use millstream_connectors::{Env, SinkSpec, codes};
use millstream_core::{Receipt, Sink, Store, TaskId};

use crate::support::{Committed, chunk, env, open, parts, read, recover, sink};

fn stage(env: &Env, sink: &mut dyn Sink, spec: &dyn SinkSpec, rows: std::ops::Range<i64>) -> Receipt {
    let log = env.log().unwrap();
    let mut txn = log.begin();
    sink.stage(TaskId::new(0), chunk(spec, rows), txn.as_mut()).unwrap()
}

fn json(rows: std::ops::Range<i64>) -> String {
    rows.map(|n| format!("{{\"n\":{n}}}\n")).collect()
}

/// An epoch that goes well.
fn epoch(env: &Env, sink: &mut dyn Sink, spec: &dyn SinkSpec, rows: std::ops::Range<i64>) -> Committed {
    let receipt = stage(env, sink, spec, rows);
    sink.publish(&[]).unwrap();
    vec![(TaskId::new(0), receipt)]
}

fn recovered(spec: &dyn SinkSpec, env: &Arc<Env>, committed: &Committed) -> Box<dyn Sink> {
    let mut sink = open(spec, env, 1);
    recover(sink.as_mut(), 1, committed).unwrap();
    sink
}

#[test]
fn rows_appear_at_publish_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let spec = sink("type: file, path: deep/out/x.ndjson");
    let file = dir.path().join("deep/out/x.ndjson");
    let mut sink = recovered(spec.as_ref(), &env, &vec![]);
    assert_eq!(read(&file), "");
    stage(&env, sink.as_mut(), spec.as_ref(), 0..3);
    assert_eq!(read(&file), "");
    sink.publish(&[]).unwrap();
    assert_eq!(read(&file), json(0..3));
    sink.publish(&[]).unwrap();
    assert_eq!(read(&file), json(0..3));
    // A commit that failed is staged again, perhaps with more rows.
    stage(&env, sink.as_mut(), spec.as_ref(), 3..5);
    stage(&env, sink.as_mut(), spec.as_ref(), 3..9);
    sink.publish(&[]).unwrap();
    assert_eq!(read(&file), json(0..9));
    let before = epoch(&env, sink.as_mut(), spec.as_ref(), 9..10);
    let after = epoch(&env, sink.as_mut(), spec.as_ref(), 0..0);
    assert_eq!(before, after, "an empty epoch changes nothing");
    sink.finish().unwrap();
    assert_eq!(read(&file), json(0..10));
}

#[test]
fn a_crash_at_any_point_ends_in_the_committed_rows() {
    for format in ["json", "csv"] {
        let expected = |to: i64| match format {
            "json" => json(0..to),
            _ => format!("n\n{}", (0..to).map(|n| format!("{n}\n")).collect::<String>()),
        };
        // How far the second epoch came: staged, committed, published in part or whole.
        for (committed, written) in
            [(false, None), (true, None), (true, Some(0)), (true, Some(4)), (true, Some(usize::MAX))]
        {
            for first in [0, 3] {
                let dir = tempfile::tempdir().unwrap();
                let env = env(dir.path());
                let spec = sink(&format!("type: file, path: x.{format}"));
                let file = dir.path().join(format!("x.{format}"));
                let mut sink = recovered(spec.as_ref(), &env, &vec![]);
                let mut commits = vec![];
                if first > 0 {
                    commits = epoch(&env, sink.as_mut(), spec.as_ref(), 0..first);
                }
                let before = read(&file);
                let receipt = stage(&env, sink.as_mut(), spec.as_ref(), first..20);
                if committed {
                    commits = vec![(TaskId::new(0), receipt)];
                }
                drop(sink);
                if let Some(bytes) = written {
                    let whole = expected(20);
                    let to = bytes.saturating_add(before.len()).min(whole.len());
                    std::fs::write(&file, &whole[..to]).unwrap();
                }
                assert!(expected(20).starts_with(&read(&file)));
                let mut sink = recovered(spec.as_ref(), &env, &commits);
                let rows = if committed { 20 } else { first };
                let now = if rows == 0 { String::new() } else { expected(rows) };
                assert_eq!(read(&file), now, "{format} {committed} {written:?} {first}");
                // Recovering once more changes nothing, and the work goes on.
                drop(sink);
                sink = recovered(spec.as_ref(), &env, &commits);
                epoch(&env, sink.as_mut(), spec.as_ref(), rows..30);
                assert_eq!(read(&file), expected(30));
            }
        }
    }
}

#[test]
fn an_empty_csv_has_a_header() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let spec = sink("type: file, path: x.csv");
    for _ in 0..2 {
        let mut sink = recovered(spec.as_ref(), &env, &vec![]);
        epoch(&env, sink.as_mut(), spec.as_ref(), 0..0);
        sink.finish().unwrap();
        assert_eq!(read(dir.path().join("x.csv")), "n\n");
    }
    let mut sink = recovered(spec.as_ref(), &env, &vec![]);
    epoch(&env, sink.as_mut(), spec.as_ref(), 0..2);
    sink.finish().unwrap();
    assert_eq!(read(dir.path().join("x.csv")), "n\n0\n1\n");
}

#[test]
fn two_outputs_can_not_share_a_path() {
    for path in ["x.ndjson", "x.parquet"] {
        let dir = tempfile::tempdir().unwrap();
        let env = env(dir.path());
        let spec = sink(&format!("type: file, path: {path}"));
        let first = recovered(spec.as_ref(), &env, &vec![]);
        let error = recover(open(spec.as_ref(), &env, 1).as_mut(), 1, &[]).unwrap_err();
        assert!(error.message().contains("another output"), "{error}");
        drop(first);
        recovered(spec.as_ref(), &env, &vec![]);
    }
}

#[test]
fn torn_staging_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let spec = sink("type: file, path: x.ndjson");
    let mut sink = recovered(spec.as_ref(), &env, &vec![]);
    let receipt = stage(&env, sink.as_mut(), spec.as_ref(), 0..20);
    drop(sink);
    let staged = dir.path().join(".millstream/staged/p");
    let staged = std::fs::read_dir(staged).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&staged).unwrap();
    for torn in [bytes[..10].to_vec(), [&bytes[..bytes.len() - 2], b"xx"].concat()] {
        std::fs::write(&staged, torn).unwrap();
        let error =
            recover(open(spec.as_ref(), &env, 1).as_mut(), 1, &[(TaskId::new(0), receipt.clone())]).unwrap_err();
        assert_eq!(error.code(), codes::STAGED_DAMAGED, "{error}");
    }
}

#[test]
fn what_others_did_to_the_file_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let spec = sink("type: file, path: x.ndjson");
    let file = dir.path().join("x.ndjson");
    let mut sink = recovered(spec.as_ref(), &env, &vec![]);
    epoch(&env, sink.as_mut(), spec.as_ref(), 0..5);
    let commits = epoch(&env, sink.as_mut(), spec.as_ref(), 5..9);
    drop(sink);
    let recover = || recover(open(spec.as_ref(), &env, 1).as_mut(), 1, &commits);
    recover().unwrap();

    std::fs::write(&file, json(0..3)).unwrap();
    let error = recover().unwrap_err();
    assert_eq!(error.code(), codes::OUTPUT_CHANGED);
    assert!(error.help_text().unwrap().contains("--fresh"), "{error}");
    std::fs::write(&file, json(0..9).replace('8', "7")).unwrap();
    assert_eq!(recover().unwrap_err().code(), codes::OUTPUT_CHANGED);
    std::fs::remove_file(&file).unwrap();
    assert!(recover().unwrap_err().message().contains("it is gone"));

    // What was appended is cut off and kept.
    std::fs::write(&file, json(0..9) + "a note\n").unwrap();
    recover().unwrap();
    assert_eq!(read(&file), json(0..9));
    let staged = std::fs::read_dir(dir.path().join(".millstream/staged/p")).unwrap();
    let kept: Vec<String> = staged
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().contains("surplus"))
        .map(|e| read(e.path()))
        .collect();
    assert_eq!(kept, ["a note\n"]);

    // While it runs, too.
    let mut sink = recovered(spec.as_ref(), &env, &commits);
    std::fs::rename(&file, dir.path().join("moved")).unwrap();
    stage(&env, sink.as_mut(), spec.as_ref(), 9..10);
    assert_eq!(sink.publish(&[]).unwrap_err().code(), codes::OUTPUT_CHANGED);
    std::fs::rename(dir.path().join("moved"), &file).unwrap();
}

#[test]
fn what_it_did_not_write_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    std::fs::write(dir.path().join("x.ndjson"), "mine\n").unwrap();
    let spec = sink("type: file, path: x.ndjson");
    let error = recover(open(spec.as_ref(), &env, 1).as_mut(), 1, &[]).unwrap_err();
    assert_eq!(error.code(), codes::OUTPUT_EXISTS);
    assert_eq!(read(dir.path().join("x.ndjson")), "mine\n");
    spec.discard(&env, &[]).unwrap();
    assert_eq!(read(dir.path().join("x.ndjson")), "mine\n");

    std::fs::write(dir.path().join("y-00007.parquet"), "mine").unwrap();
    let spec = sink("type: file, path: y.parquet");
    assert_eq!(recover(open(spec.as_ref(), &env, 1).as_mut(), 1, &[]).unwrap_err().code(), codes::OUTPUT_EXISTS);

    let spec = sink("type: file, path: z.ndjson");
    let mut sink = recovered(spec.as_ref(), &env, &vec![]);
    let commits = epoch(&env, sink.as_mut(), spec.as_ref(), 0..5);
    drop(sink);
    let other = self::sink("type: file, path: other.ndjson");
    let error = recover(open(other.as_ref(), &env, 1).as_mut(), 1, &commits).unwrap_err();
    assert_eq!(error.code(), codes::OUTPUT_MOVED);
    assert!(error.message().contains("z.ndjson") && error.message().contains("other.ndjson"), "{error}");
    let other = self::sink("type: file, path: z.parquet");
    assert_eq!(recover(open(other.as_ref(), &env, 1).as_mut(), 1, &commits).unwrap_err().code(), codes::BAD_RECEIPT);
    spec.discard(&env, &commits).unwrap();
    assert!(!dir.path().join("z.ndjson").exists());
    recovered(spec.as_ref(), &env, &vec![]);
}

#[test]
fn several_tasks_write_a_file_each() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let spec = sink("type: file, path: x.ndjson");
    let mut sink = open(spec.as_ref(), &env, 2);
    recover(sink.as_mut(), 2, &[]).unwrap();
    let log = env.log().unwrap();
    let mut txn = log.begin();
    let receipts: Committed = (0..2u32)
        .map(|t| {
            let rows = i64::from(t) * 10..i64::from(t) * 10 + 3;
            (TaskId::new(t), sink.stage(TaskId::new(t), chunk(spec.as_ref(), rows), txn.as_mut()).unwrap())
        })
        .collect();
    drop(sink);
    let mut sink = open(spec.as_ref(), &env, 2);
    recover(sink.as_mut(), 2, &receipts).unwrap();
    assert_eq!(read(dir.path().join("x-0.ndjson")), json(0..3));
    assert_eq!(read(dir.path().join("x-1.ndjson")), json(10..13));
    drop(sink);
    let error = recover(open(spec.as_ref(), &env, 1).as_mut(), 1, &receipts).unwrap_err();
    assert_eq!(error.code(), codes::OUTPUT_MOVED, "{error}");
}

#[test]
fn parquet_parts_do_not_show_the_epochs() {
    let mut files: Vec<Vec<Vec<u8>>> = Vec::new();
    for cut in [1, 3, 7, 10, 25, 64] {
        let dir = tempfile::tempdir().unwrap();
        let env = env(dir.path());
        let spec = sink("type: file, path: out/x.parquet, roll_rows: 10");
        let mut sink = recovered(spec.as_ref(), &env, &vec![]);
        let mut at = 0;
        while at < 64 {
            let to = (at + cut).min(64);
            let before = parts(&dir.path().join("out"), "x").len() as i64;
            stage(&env, sink.as_mut(), spec.as_ref(), at..to);
            assert_eq!(parts(&dir.path().join("out"), "x").len() as i64, before, "not visible before the commit");
            sink.publish(&[]).unwrap();
            at = to;
            assert_eq!(parts(&dir.path().join("out"), "x").len() as i64, at / 10);
        }
        sink.finish().unwrap();
        let got = parts(&dir.path().join("out"), "x");
        let expected: Vec<Vec<i64>> = (0..7).map(|p| (p * 10..(p * 10 + 10).min(64)).collect()).collect();
        assert_eq!(got, expected);
        let bytes = |p: usize| std::fs::read(dir.path().join(format!("out/x-{p:05}.parquet"))).unwrap();
        files.push((0..7).map(bytes).collect());
        let others = std::fs::read_dir(dir.path().join("out")).unwrap().count();
        assert_eq!(others, 7, "nothing hidden is left");
    }
    assert!(files.windows(2).all(|w| w[0] == w[1]), "the same bytes however the epochs were cut");
}

fn assert_parts(dir: &Path, rows: i64, done: bool) {
    let mut expected: Vec<Vec<i64>> = (0..rows / 10).map(|p| (p * 10..p * 10 + 10).collect()).collect();
    if done && rows % 10 > 0 {
        expected.push((rows / 10 * 10..rows).collect());
    }
    assert_eq!(parts(dir, "x"), expected);
}

#[test]
fn parquet_recovers_from_a_crash_at_any_point() {
    for committed in [false, true] {
        for interrupted in [false, true] {
            for (first, second) in [(0, 5), (4, 6), (4, 25), (13, 20), (10, 10), (7, 100)] {
                let dir = tempfile::tempdir().unwrap();
                let env = env(dir.path());
                let spec = sink("type: file, path: x.parquet, roll_rows: 10");
                let mut sink = recovered(spec.as_ref(), &env, &vec![]);
                let mut commits = vec![];
                if first > 0 {
                    commits = epoch(&env, sink.as_mut(), spec.as_ref(), 0..first);
                }
                let receipt = stage(&env, sink.as_mut(), spec.as_ref(), first..first + second);
                if committed {
                    commits = vec![(TaskId::new(0), receipt)];
                }
                if interrupted && committed {
                    // The parts were written, but the process died before it forgot what was staged.
                    let staged = dir.path().join(".millstream/staged/p");
                    let kept: Vec<_> = std::fs::read_dir(&staged)
                        .unwrap()
                        .flatten()
                        .map(|e| (e.path(), std::fs::read(e.path()).unwrap()))
                        .collect();
                    sink.publish(&[]).unwrap();
                    for (path, bytes) in kept {
                        std::fs::write(path, bytes).unwrap();
                    }
                    std::fs::write(dir.path().join(".x-00000.parquet.tmp"), "torn").unwrap();
                }
                drop(sink);
                let rows = if committed { first + second } else { first };
                let mut sink = recovered(spec.as_ref(), &env, &commits);
                assert_parts(dir.path(), rows, false);
                epoch(&env, sink.as_mut(), spec.as_ref(), rows..rows + 3);
                assert_parts(dir.path(), rows + 3, false);
                sink.finish().unwrap();
                assert_parts(dir.path(), rows + 3, true);
            }
        }
    }
}

#[test]
fn a_later_run_goes_on_with_the_last_part() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let spec = sink("type: file, path: x.parquet, roll_rows: 10");
    let mut sink = recovered(spec.as_ref(), &env, &vec![]);
    let commits = epoch(&env, sink.as_mut(), spec.as_ref(), 0..14);
    sink.finish().unwrap();
    drop(sink);
    assert_parts(dir.path(), 14, true);
    let mut sink = recovered(spec.as_ref(), &env, &commits);
    assert_parts(dir.path(), 14, true);
    let commits = epoch(&env, sink.as_mut(), spec.as_ref(), 14..27);
    sink.finish().unwrap();
    drop(sink);
    assert_parts(dir.path(), 27, true);
    let staged = || std::fs::read_dir(dir.path().join(".millstream/staged/p")).unwrap().count();
    assert_eq!(staged(), 2, "one part and a lock");
    spec.discard(&env, &commits).unwrap();
    assert_eq!((parts(dir.path(), "x").len(), staged()), (0, 0));
}
