//! What `check` says about the options of connectors.

use millstream_connectors::registry;

use crate::support::pipeline;

fn problems(source: &str, output: &str) -> (usize, String) {
    let (pipeline, mut cx) = pipeline(source, output);
    if let Some(pipeline) = pipeline {
        for source in &pipeline.sources {
            registry::source(&source.connector, &mut cx);
        }
        for output in &pipeline.outputs {
            registry::sink(&output.connector, &mut cx);
        }
    }
    (cx.diagnostics().error_count(), cx.diagnostics().render(false))
}

#[test]
fn options_that_can_not_be_are_refused() {
    let stdout = "type: stdout";
    let stdin = "type: stdin";
    let cases = [
        ("type: fil, path: x", stdout, "MS0501", "did you mean `file`"),
        ("type: file", stdout, "MS0105", "`path`"),
        ("type: file, path: x, folow: true", stdout, "MS0104", "did you mean `follow`"),
        ("type: file, path: x, topic: t", stdout, "MS0104", "unknown field `topic`"),
        ("type: file, path: x.ndjson.gz, follow: true", stdout, "MS0502", "can't be followed"),
        ("type: file, path: 'x-*.ndjson', follow: true", stdout, "MS0502", "only one file can be followed"),
        ("type: file, path: 'a/**/x.csv'", stdout, "MS0502", "one `*` for each folder"),
        ("type: file, path: x.parquet", stdout, "MS0502", "a table may be Parquet"),
        ("type: stdin, path: x", stdout, "MS0104", "unknown field `path`"),
        ("type: log, topic: 'a b'", stdout, "MS0622", "can't be the name of a topic"),
        ("type: log, topic: t, partitions: 0", stdout, "MS0115", "partitions"),
        ("type: log, topic: t, start: newest", stdout, "MS0107", "`earliest` or `latest`"),
        ("type: log, topic: t, start: latest, bounded: true", stdout, "MS0502", "never read anything"),
        (stdin, "type: pulsar, topic: t", "MS0501", "write one of `file`, `stdout`"),
        (stdin, "type: file, path: x.ndjson, roll_rows: 5", "MS0116", "`roll_rows` has no effect"),
        (stdin, "type: file, path: x.parquet, roll_rows: 0", "MS0115", "roll_rows"),
        (stdin, "type: file, path: x.parquet, timestamps: rfc3339", "MS0116", "`timestamps` has no effect"),
        (stdin, "type: file, path: x.csv.gz", "MS0502", "outputs are written plain"),
        (stdin, "type: file, path: 'x*.csv'", "MS0502", "is a pattern"),
        (stdin, "type: file, path: out/", "MS0502", "names no file"),
        (stdin, "type: stdout, format: parquet", "MS0502", "Parquet is a file"),
        (stdin, "type: log, topic: t, format: parquet", "MS0502", "Parquet is a file"),
    ];
    for (source, output, code, words) in cases {
        let (errors, text) = problems(source, output);
        assert!(
            text.contains(code) && text.contains(words),
            "{source} -> {output}: wanted {code} {words}, got\n{text}"
        );
        assert_eq!(errors, 1, "one problem is said once\n{text}");
    }
}

#[test]
fn options_that_can_be_are_taken() {
    for (source, output) in [
        ("type: file, path: x.csv.gz", "type: file, path: out/x.parquet, roll_rows: 5"),
        ("type: file, path: x, follow: true, format: csv", "type: file, path: x.txt, format: parquet, roll_rows: 5"),
        ("type: log, topic: t.v1, partitions: 4, bounded: true", "type: log, topic: t-2, key: n"),
        ("type: stdin, format: csv", "type: stdout, format: csv, timestamps: rfc3339"),
    ] {
        let (_, text) = problems(source, output);
        assert!(!text.contains("error["), "{text}");
    }
}

#[test]
fn kinds_are_described() {
    for kind in registry::source_kinds().iter().chain(&registry::sink_kinds()) {
        assert!(!kind.doc.trim().is_empty(), "{}", kind.name);
        assert!(kind.fields.iter().all(|f| !f.doc.is_empty()), "{}", kind.name);
    }
}
