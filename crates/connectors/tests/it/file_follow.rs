//! Following a file that grows.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use millstream_connectors::codes;
use millstream_core::{PollLimit, Polled, RawBatch, Source};

use crate::support::{Seen, drain, env, seen, source};

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn lines(from: u64, lines: &[&str]) -> Vec<Seen> {
    lines.iter().enumerate().map(|(i, line)| (from + i as u64, (*line).to_owned())).collect()
}

fn poll(source: &mut dyn Source) -> (Polled, Vec<Seen>) {
    let mut out = RawBatch::new(millstream_core::TaskId::new(0));
    let polled = source.poll(PollLimit { records: 100, bytes: 1 << 20 }, &mut out).unwrap();
    (polled, seen(&out))
}

#[test]
fn waits_for_the_newline() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let path = dir.path().join("app.log");
    append(&path, "");
    let spec = source("type: file, path: app.log, follow: true");
    assert!(!spec.bounded());
    let mut reader = spec.open(&env, 0).unwrap();
    assert_eq!(poll(reader.as_mut()), (Polled::CaughtUp, vec![]));
    append(&path, "one\ntw");
    assert_eq!(poll(reader.as_mut()), (Polled::Records, lines(0, &["one"])));
    assert_eq!(poll(reader.as_mut()), (Polled::CaughtUp, vec![]));
    let position = reader.position();
    append(&path, "o\n\nfour\n");
    assert_eq!(poll(reader.as_mut()).1, [(1, "two".to_owned()), (3, "four".to_owned())]);
    assert_eq!(reader.fraction_read(), None);

    let mut other = spec.open(&env, 0).unwrap();
    other.seek(&position).unwrap();
    assert_eq!(drain(other.as_mut()).len(), 2);
    assert_eq!(spec.open(&env, 0).map(|mut r| drain(r.as_mut()).len()).unwrap(), 3);
}

#[test]
fn survives_rotation_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let path = dir.path().join("app.log");
    append(&path, "a\n");
    let spec = source("type: file, path: app.log, follow: true");
    let mut reader = spec.open(&env, 0).unwrap();
    assert_eq!(drain(reader.as_mut()), lines(0, &["a"]));

    // The writer goes on in the old file for a while, and leaves its last line without a newline.
    append(&path, "b\n");
    std::fs::rename(&path, dir.path().join("app.log.1")).unwrap();
    append(&dir.path().join("app.log.1"), "c\nd");
    assert_eq!(drain(reader.as_mut()), lines(1, &["b", "c"]));
    append(&path, "");
    assert_eq!(drain(reader.as_mut()), [], "an empty new file is no reason to leave");
    append(&dir.path().join("app.log.1"), "!");
    append(&path, "e\n");
    assert_eq!(drain(reader.as_mut()), lines(3, &["d!", "e"]));
    append(&path, "f\n");
    assert_eq!(drain(reader.as_mut()), lines(5, &["f"]));
}

#[test]
fn finds_its_place_after_rotations_while_it_was_down() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let path = dir.path().join("app.log");
    append(&path, "a\nb\n");
    let spec = source("type: file, path: app.log, follow: true");
    let mut reader = spec.open(&env, 0).unwrap();
    let mut out = RawBatch::new(millstream_core::TaskId::new(0));
    reader.poll(PollLimit { records: 1, bytes: 100 }, &mut out).unwrap();
    let position = reader.position();
    drop(reader);

    std::fs::rename(&path, dir.path().join("app.log.2")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    append(&dir.path().join("app.log.1"), "c\nd\n");
    std::thread::sleep(std::time::Duration::from_millis(20));
    append(&path, "e\n");
    let mut reader = spec.open(&env, 0).unwrap();
    reader.seek(&position).unwrap();
    assert_eq!(drain(reader.as_mut()), lines(1, &["b", "c", "d", "e"]));
    append(&path, "f\n");
    assert_eq!(drain(reader.as_mut()), lines(5, &["f"]));
    let position = reader.position();
    let mut again = spec.open(&env, 0).unwrap();
    again.seek(&position).unwrap();
    append(&path, "g\n");
    assert_eq!(drain(again.as_mut()), lines(6, &["g"]));
}

#[test]
fn a_file_cut_in_place_is_read_from_its_front() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let path = dir.path().join("app.log");
    append(&path, "a long line\nb\n");
    let spec = source("type: file, path: app.log, follow: true");
    let mut reader = spec.open(&env, 0).unwrap();
    assert_eq!(drain(reader.as_mut()).len(), 2);
    let position = reader.position();
    std::fs::write(&path, "c\n").unwrap();
    assert_eq!(drain(reader.as_mut()), lines(2, &["c"]));
    append(&path, "d\n");
    assert_eq!(drain(reader.as_mut()), lines(3, &["d"]));
    // While it was down, nobody can say what is missing.
    let error = spec.open(&env, 0).unwrap().seek(&position).unwrap_err();
    assert_eq!(error.code(), codes::INPUT_CHANGED);
}

#[test]
fn csv_rotates_with_its_header() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let path = dir.path().join("app.csv");
    append(&path, "a,n\nx,1\n");
    let spec = source("type: file, path: app.csv, follow: true");
    let mut reader = spec.open(&env, 0).unwrap();
    assert_eq!(drain(reader.as_mut()), lines(1, &["x,1"]));
    std::fs::rename(&path, dir.path().join("app.csv.1")).unwrap();
    append(&path, "a,n\ny,2\n");
    assert_eq!(drain(reader.as_mut()), lines(3, &["y,2"]));
}
