//! Dead letters in each form.

use millstream_core::record::Header;
use millstream_core::{DeadLetter, Rejection, TaskId};

use super::*;

fn letter(timestamp_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) -> DeadLetter {
    let mut batch = RawBatch::new(TaskId::new(2));
    batch.push(41, timestamp_ms, key, value, headers);
    DeadLetter {
        record: RecordRef { batch: Arc::new(batch), index: 0 },
        trigger: 41,
        step: "check positive".into(),
        rejection: Rejection { code: codes::WRONG_TYPE, message: "field `a`: saw \"x\"".into() },
    }
}

fn write(letters: &[DeadLetter], format: OutputFormat, boundaries: bool) -> Chunk {
    let mut context = context(Arc::new(Schema::empty()), format);
    context.dead_letters = true;
    context.boundaries = boundaries;
    let mut chunk = Chunk::default();
    let mut encoder = encoder(&context).unwrap();
    letters.iter().for_each(|letter| encoder.write_dead_letter(letter, &mut chunk).unwrap());
    assert_eq!(chunk.rows, letters.len() as u64);
    chunk
}

fn samples() -> Vec<DeadLetter> {
    let header = |name: &str, value: &[u8]| Header { name: name.into(), value: value.to_vec() };
    vec![
        letter(7, Some(b"k"), Some(b"{\"a\":\"x\"}\n"), &[header("h", b"1"), header("h", b"\xff")]),
        letter(NO_TIMESTAMP, Some(b"\xfe"), Some(b"\xff\xfe"), &[]),
        letter(NO_TIMESTAMP, None, None, &[]),
    ]
}

#[test]
fn lines() {
    let chunk = write(&samples(), OutputFormat::Json, false);
    let head = r#"{"pipeline":"fraud","source":"transactions","partition":2,"offset":41"#;
    let why = r#""step":"check positive","code":"MS0407","error":"field `a`: saw \"x\"""#;
    assert_eq!(
        String::from_utf8(chunk.data).unwrap(),
        format!(
            "{head},\"timestamp_ms\":7,{why},\"key\":\"k\",\"headers\":[{{\"name\":\"h\",\"value\":\"1\"}},\
             {{\"name\":\"h\",\"value_base64\":\"/w==\"}}],\"payload\":\"{{\\\"a\\\":\\\"x\\\"}}\\n\"}}\n\
             {head},{why},\"key_base64\":\"/g==\",\"payload_base64\":\"//4=\"}}\n\
             {head},{why}}}\n"
        )
    );
    assert!(chunk.records.is_empty());
}

#[test]
fn csv() {
    let mut context = context(Arc::new(Schema::empty()), OutputFormat::Csv);
    context.dead_letters = true;
    assert_eq!(
        header(&context).unwrap(),
        b"pipeline,source,topic,partition,offset,timestamp_ms,step,code,error,key,key_base64,headers,payload,payload_base64\n"
    );
    let chunk = write(&samples()[1..], OutputFormat::Csv, false);
    let start = "fraud,transactions,,2,41,,check positive,MS0407,\"field `a`: saw \"\"x\"\"\"";
    assert_eq!(String::from_utf8(chunk.data).unwrap(), format!("{start},,/g==,,,//4=\n{start},,,,,\n"));
}

#[test]
fn records_keep_the_original() {
    let samples = samples();
    let chunk = write(&samples, OutputFormat::Json, true);
    let part = |(start, length): (u32, u32)| &chunk.data[start as usize..][..length as usize];
    for (record, letter) in chunk.records.iter().zip(&samples) {
        assert_eq!(record.key.map(part), letter.record.key());
        assert_eq!(record.value.map(part), letter.record.value());
        assert_eq!(record.timestamp_ms, letter.record.timestamp_ms());
        assert_eq!(record.partition, 2);
        let (original, added) = record.headers.split_at(letter.record.headers().len());
        assert_eq!(original, letter.record.headers());
        let added: Vec<(&str, &str)> =
            added.iter().map(|header| (header.name.as_str(), std::str::from_utf8(&header.value).unwrap())).collect();
        assert_eq!(
            added,
            [
                ("ms.pipeline", "fraud"),
                ("ms.source", "transactions"),
                ("ms.partition", "2"),
                ("ms.offset", "41"),
                ("ms.step", "check positive"),
                ("ms.code", "MS0407"),
                ("ms.error", "field `a`: saw \"x\""),
            ]
        );
    }
}

#[test]
fn staged_for_parquet() {
    let chunk = write(&samples(), OutputFormat::Parquet, false);
    let batches: Vec<RecordBatch> = parquet::StagedReader::new(chunk.data.as_slice()).map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
    assert_eq!(batches[0].num_columns(), 14);
}
