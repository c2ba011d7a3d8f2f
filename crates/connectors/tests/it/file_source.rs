//! The `file` source: formats, compression, patterns, resuming, files that changed.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use millstream_connectors::codec::{Decoded, Decoder, InputFormat};
use millstream_connectors::file::TOO_LONG_HEADER;
use millstream_connectors::{Env, SourceSpec, codes};
use millstream_core::{PollLimit, Polled, Position, RawBatch, RowSchema, Source};

use crate::contract;
use crate::support::{Seen, drain, env, seen, source};

fn write(dir: &Path, name: &str, bytes: &[u8]) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn gzip(members: &[&[u8]]) -> Vec<u8> {
    let mut all = Vec::new();
    for member in members {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(member).unwrap();
        all.extend(encoder.finish().unwrap());
    }
    all
}

fn zstd(frames: &[&[u8]]) -> Vec<u8> {
    frames.iter().flat_map(|frame| zstd::encode_all(*frame, 1).unwrap()).collect()
}

fn expected(lines: &[(u64, &str)]) -> Vec<Seen> {
    lines.iter().map(|(offset, line)| (*offset, (*line).to_owned())).collect()
}

fn opened(spec: &dyn SourceSpec, env: &Env) -> Box<dyn Source> {
    spec.open(env, 0).unwrap()
}

/// Everything that can stand in a file at once: BOM, CRLF, empty lines, no newline at the end.
const ODD: &[u8] = b"\xef\xbb\xbf{\"a\":1}\r\n\n{\"a\":2}\n\r\n  \n{\"a\":3}";

#[test]
fn keeps_the_contract_in_every_dress() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let odd = expected(&[(0, "{\"a\":1}"), (2, "{\"a\":2}"), (4, "  "), (5, "{\"a\":3}")]);
    write(dir.path(), "odd.ndjson", ODD);
    write(dir.path(), "odd.ndjson.gz", &gzip(&[&ODD[..5], &ODD[5..20], b"", &ODD[20..]]));
    write(dir.path(), "odd.ndjson.zst", &zstd(&[&ODD[..9], &ODD[9..11], &ODD[11..]]));
    for name in ["odd.ndjson", "odd.ndjson.gz", "odd.ndjson.zst"] {
        let spec = source(&format!("type: file, path: {name}"));
        contract::check(&|| opened(spec.as_ref(), &env), &odd);
    }

    write(dir.path(), "empty.ndjson", b"");
    write(dir.path(), "blank.ndjson", b"\n\n\r\n");
    for name in ["empty.ndjson", "blank.ndjson"] {
        let spec = source(&format!("type: file, path: {name}"));
        contract::check(&|| opened(spec.as_ref(), &env), &[]);
    }

    let mut many = Vec::new();
    let mut all = Vec::new();
    for i in 0..3000u64 {
        let line = format!("{{\"a\":\"{}\"}}", "x".repeat((i as usize * 7919) % 1000));
        many.extend_from_slice(line.as_bytes());
        many.push(b'\n');
        all.push((i, line));
    }
    write(dir.path(), "many.ndjson", &many);
    let spec = source("type: file, path: many.ndjson");
    let mut reader = opened(spec.as_ref(), &env);
    let mut got = Vec::new();
    let mut positions = Vec::new();
    loop {
        let mut out = RawBatch::new(millstream_core::TaskId::new(0));
        if reader.poll(PollLimit { records: 311, bytes: 1 << 30 }, &mut out).unwrap() == Polled::End {
            break;
        }
        got.extend(seen(&out));
        positions.push((reader.position(), got.len()));
    }
    assert_eq!(got, all);
    for (position, read) in positions {
        let mut other = opened(spec.as_ref(), &env);
        other.seek(&position).unwrap();
        assert_eq!(drain(other.as_mut()), all[read..]);
    }
}

#[test]
fn a_pattern_reads_files_in_the_order_of_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    write(dir.path(), "in/tx-2.ndjson", b"c\n\nd");
    write(dir.path(), "in/tx-1.ndjson.gz", &gzip(&[b"a\n", b"b\n"]));
    write(dir.path(), "in/tx-3.ndjson.zst", &zstd(&[b"", b"e\r\n"]));
    write(dir.path(), "in/tx-10.ndjson", b"");
    write(dir.path(), "in/other.ndjson", b"no\n");
    let spec = source("type: file, path: 'in/tx-*'");
    assert_eq!(spec.partitions(&env).unwrap(), 1);
    let all = expected(&[(0, "a"), (1, "b"), (2, "c"), (4, "d"), (5, "e")]);
    contract::check(&|| opened(spec.as_ref(), &env), &all);
}

#[test]
fn csv_takes_its_header_from_every_file() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    write(dir.path(), "1.csv", b"\xef\xbb\xbfa,n\r\n\"x\ny\",1\r\n\r\nz,2");
    write(dir.path(), "2.csv", b"\na,n\n");
    write(dir.path(), "3.csv.gz", &gzip(&[b"a,n\n\"q\"\"\n", b"\",3\n"]));
    let spec = source("type: file, path: '?.csv*', format: csv");
    let all = expected(&[(1, "\"x\ny\",1"), (3, "z,2"), (7, "\"q\"\"\n\",3")]);
    contract::check(&|| opened(spec.as_ref(), &env), &all);
    let format = spec.input_format(&env, &RowSchema::default()).unwrap();
    assert_eq!(format, InputFormat::Csv { columns: Arc::from(["a".to_owned(), "n".to_owned()]) });

    write(dir.path(), "4.csv", b"n,a\n1,x\n");
    let mut reader = opened(spec.as_ref(), &env);
    let error = loop {
        let mut out = RawBatch::new(millstream_core::TaskId::new(0));
        match reader.poll(PollLimit { records: 1, bytes: 1 }, &mut out) {
            Ok(Polled::Records) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), codes::CSV_HEADER);
    assert!(error.message().contains("`n`, `a`") && error.message().contains("4.csv"), "{error}");

    write(dir.path(), "5.csv", b"");
    let error = source("type: file, path: 5.csv").input_format(&env, &RowSchema::default()).unwrap_err();
    assert_eq!(error.code(), codes::CSV_HEADER);
}

#[test]
fn a_file_that_grows_between_runs_is_read_on() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let spec = source("type: file, path: x.ndjson");
    write(dir.path(), "x.ndjson", b"a\nb\n");
    let mut reader = opened(spec.as_ref(), &env);
    drain(reader.as_mut());
    let end = reader.position();
    write(dir.path(), "x.ndjson", b"a\nb\nc\nd");
    let mut reader = opened(spec.as_ref(), &env);
    reader.seek(&end).unwrap();
    assert_eq!(drain(reader.as_mut()), expected(&[(2, "c"), (3, "d")]));
    let end = reader.position();

    // The last line had no newline, and was taken. It may get one, but not more bytes.
    let mut reader = opened(spec.as_ref(), &env);
    reader.seek(&end).unwrap();
    assert_eq!(drain(reader.as_mut()), []);
    for more in ["\ne\n", "\r\ne\n"] {
        write(dir.path(), "x.ndjson", format!("a\nb\nc\nd{more}").as_bytes());
        let mut reader = opened(spec.as_ref(), &env);
        reader.seek(&end).unwrap();
        assert_eq!(drain(reader.as_mut()), expected(&[(4, "e")]));
    }
    write(dir.path(), "x.ndjson", b"a\nb\nc\nd and more\n");
    let error = opened(spec.as_ref(), &env).seek(&end).unwrap_err();
    assert_eq!(error.code(), codes::INPUT_CHANGED);
    assert!(error.message().contains("goes on now"), "{error}");
}

#[test]
fn a_file_that_changed_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let lines: Vec<String> = (0..2000).map(|i| format!("line number {i}\n")).collect();
    let text = lines.concat();
    let at = |spec: &dyn SourceSpec| -> Position {
        let mut reader = opened(spec, &env);
        reader
            .poll(PollLimit { records: 1500, bytes: usize::MAX }, &mut RawBatch::new(millstream_core::TaskId::new(0)))
            .unwrap();
        reader.position()
    };
    type Dress = fn(&[u8]) -> Vec<u8>;
    let dresses: [(&str, Dress); 3] =
        [("x.ndjson", |b| b.to_vec()), ("x.ndjson.gz", |b| gzip(&[b])), ("x.ndjson.zst", |b| zstd(&[b]))];
    for (name, dress) in dresses {
        let spec = source(&format!("type: file, path: {name}"));
        write(dir.path(), name, &dress(text.as_bytes()));
        let position = at(spec.as_ref());
        let seek = || opened(spec.as_ref(), &env).seek(&position);
        seek().unwrap();
        for (what, other) in [
            ("another beginning", text.replacen("line number 1\n", "LINE number 1\n", 1)),
            ("another place", text.replacen("line number 1499", "line NUMBER 1499", 1)),
            ("cut", text[..2000].to_owned()),
            ("emptied", String::new()),
        ] {
            write(dir.path(), name, &dress(other.as_bytes()));
            let error = seek().unwrap_err();
            assert_eq!(error.code(), codes::INPUT_CHANGED, "{name} {what}: {error}");
            assert!(error.help_text().unwrap().contains("--fresh"));
        }
        std::fs::remove_file(dir.path().join(name)).unwrap();
        assert_eq!(spec.open(&env, 0).err().unwrap().code(), codes::FILE_NOT_FOUND);
        assert_eq!(spec.probe(&env).unwrap_err().code(), codes::FILE_NOT_FOUND);
        // The same content under a new inode is the same file.
        write(dir.path(), name, &dress(text.as_bytes()));
        seek().unwrap();
    }
}

#[test]
fn files_that_come_or_go_before_the_place_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let spec = source("type: file, path: '*.ndjson'");
    for name in ["b.ndjson", "d.ndjson", "f.ndjson"] {
        write(dir.path(), name, b"1\n2\n");
    }
    let mut reader = opened(spec.as_ref(), &env);
    reader.poll(PollLimit { records: 3, bytes: 100 }, &mut RawBatch::new(millstream_core::TaskId::new(0))).unwrap();
    let position = reader.position();
    let seek = || opened(spec.as_ref(), &env).seek(&position);
    seek().unwrap();
    write(dir.path(), "g.ndjson", b"3\n");
    write(dir.path(), "e.ndjson", b"3\n");
    seek().unwrap();
    write(dir.path(), "a.ndjson", b"3\n");
    assert!(seek().unwrap_err().message().contains("2 files stand before `d.ndjson` now, but 1"));
    std::fs::remove_file(dir.path().join("a.ndjson")).unwrap();
    write(dir.path(), "b.ndjson", b"1\n2\n3\n");
    assert!(seek().unwrap_err().message().contains("changed their names or sizes"));
    write(dir.path(), "b.ndjson", b"1\n2\n");
    seek().unwrap();
    std::fs::remove_file(dir.path().join("d.ndjson")).unwrap();
    let error = seek().unwrap_err();
    assert_eq!(error.code(), codes::INPUT_CHANGED);
    assert!(error.message().contains("`d.ndjson`, which was being read, is gone"), "{error}");
    let alien = Position { offset: 4, cursor: "{\"x\":1}".into() };
    assert_eq!(opened(spec.as_ref(), &env).seek(&alien).unwrap_err().code(), codes::BAD_CURSOR);
}

#[test]
fn damaged_and_misnamed_files_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let whole = gzip(&[&b"some line that is long enough\n".repeat(1000)]);
    write(dir.path(), "cut.ndjson.gz", &whole[..whole.len() - 10]);
    let frames = zstd(&[&b"some other line\n".repeat(10_000)]);
    write(dir.path(), "cut.ndjson.zst", &frames[..frames.len() - 5]);
    write(dir.path(), "not.ndjson.gz", b"plain text\n");
    write(dir.path(), "zipped.ndjson", &whole);
    let error = |name: &str| {
        let mut reader = opened(source(&format!("type: file, path: {name}")).as_ref(), &env);
        loop {
            let mut out = RawBatch::new(millstream_core::TaskId::new(0));
            match reader.poll(PollLimit { records: 100_000, bytes: usize::MAX }, &mut out) {
                Ok(polled) => assert_eq!(polled, Polled::Records, "{name}"),
                Err(error) => return error,
            }
        }
    };
    for name in ["cut.ndjson.gz", "cut.ndjson.zst", "not.ndjson.gz"] {
        let error = error(name);
        assert_eq!(error.code(), codes::COMPRESSED_DAMAGED, "{error}");
        assert!(error.message().contains(name), "{error}");
    }
    assert_eq!(error("zipped.ndjson").code(), codes::NOT_NAMED_COMPRESSED);
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    let error = source("type: file, path: folder").open(&env, 0).err().unwrap();
    assert!(error.help_text().unwrap().contains("folder/*"), "{error}");
}

#[test]
fn a_record_that_is_too_long_says_so_and_the_next_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let length = (64 << 20) + 5;
    let mut bytes = vec![b'x'; length];
    bytes.extend_from_slice(b"\nnext\n");
    write(dir.path(), "x.ndjson", &bytes);
    let mut reader = opened(source("type: file, path: x.ndjson").as_ref(), &env);
    let mut out = RawBatch::new(millstream_core::TaskId::new(0));
    while reader.poll(PollLimit { records: 10, bytes: usize::MAX }, &mut out).unwrap() == Polled::Records {}
    assert_eq!(out.len(), 2);
    assert!(out.value(0).unwrap().len() < 100_000);
    assert_eq!(out.headers(0)[0].name, TOO_LONG_HEADER);
    assert_eq!(out.headers(0)[0].value, length.to_string().into_bytes());
    assert_eq!((out.offset(1), out.value(1).unwrap()), (1, &b"next"[..]));

    // It is refused even where what is left of it looks whole.
    let mut raw = RawBatch::new(millstream_core::TaskId::new(0));
    raw.push(0, 0, None, Some(b"{}"), out.headers(0));
    let mut decoded = Decoded::default();
    Decoder::new(&RowSchema::default(), InputFormat::Json).unwrap().decode(&raw, &mut decoded).unwrap();
    assert_eq!(decoded.rejected[0].1.code, codes::RECORD_TOO_LONG);
}
