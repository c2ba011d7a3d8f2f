//! Rows by way of staging into Parquet and back.

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow::array::*;
use arrow::compute::concat_batches;
use arrow::datatypes::Int32Type;

use super::parquet::{StagedReader, write_parquet};
use super::*;

fn sample(rows: std::ops::Range<i64>) -> Rows {
    let words: DictionaryArray<Int32Type> =
        rows.clone().map(|i| if i % 3 == 0 { None } else { Some("model") }).collect();
    rows_of(vec![
        ("n", Arc::new(Int64Array::from_iter_values(rows.clone())) as ArrayRef),
        ("s", Arc::new(StringArray::from_iter_values(rows.clone().map(|i| format!("row {i}"))))),
        ("m", Arc::new(words)),
        ("t", Arc::new(TimestampSecondArray::from_iter_values(rows.clone()))),
        (
            "l",
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(
                rows.map(|i| Some((0..i as i32 % 4).map(Some))),
            )),
        ),
    ])
}

/// Stages rows in batches of `batch` and chunks of `chunk` batches.
fn stage(total: i64, batch: i64, batches: usize) -> Vec<u8> {
    let context = context(sample(0..1).columns.schema(), OutputFormat::Parquet);
    let mut encoder = encoder(&context).unwrap();
    let starts: Vec<i64> = (0..total).step_by(batch as usize).collect();
    let mut file = Vec::new();
    for starts in starts.chunks(batches) {
        let mut chunk = Chunk::default();
        for &start in starts {
            encoder.write(&sample(start..(start + batch).min(total)), &mut chunk).unwrap();
        }
        file.extend(chunk.data);
    }
    file
}

fn parquet_bytes(staged: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("part.parquet");
    write_parquet(StagedReader::new(staged), &path).unwrap();
    std::fs::read(&path).unwrap()
}

#[test]
fn the_file_does_not_show_how_rows_came() {
    let total = 20_000;
    let whole = parquet_bytes(&stage(total, 20_000, 1));
    for (batch, batches) in [(7, 3), (1000, 1), (4096, 2)] {
        assert!(parquet_bytes(&stage(total, batch, batches)) == whole, "batches of {batch}");
    }
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes(&whole)).unwrap().build().unwrap();
    let read: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    let read = concat_batches(&read[0].schema(), &read).unwrap();
    let wanted = sample(0..total);
    assert_eq!(read.column(0), wanted.columns.column(0));
    assert_eq!(read.column(1), wanted.columns.column(1));
    assert_eq!(read.column(4), wanted.columns.column(4));
    let lines = |columns: &RecordBatch| {
        let rows = Rows { columns: columns.project(&[0, 1, 2, 4]).unwrap(), meta: wanted.meta.clone() };
        json_lines(&rows)
    };
    assert_eq!(lines(&read), lines(&wanted.columns));
    assert_eq!(read.column(3).as_primitive::<arrow::datatypes::TimestampMillisecondType>().value(5), 5000);
}

fn bytes(data: &[u8]) -> std::fs::File {
    use std::io::{Seek, Write};
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(data).unwrap();
    file.rewind().unwrap();
    file
}

#[test]
fn torn_stages_and_empty_ones() {
    let staged = stage(10, 5, 1);
    for cut in [1, 7, 8, 100, staged.len() - 1] {
        let read: Result<Vec<RecordBatch>, _> = StagedReader::new(&staged[..cut]).collect();
        assert_eq!(read.unwrap_err().code().id, "MS0433", "{cut}");
    }
    assert_eq!(StagedReader::new([].as_slice()).count(), 0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.parquet");
    assert_eq!(write_parquet(StagedReader::new([].as_slice()), &path).unwrap(), 0);
    assert!(!path.exists());
}

#[test]
fn two_schemas_are_two_files() {
    let mut staged = stage(10, 5, 1);
    let other = rows_of(vec![("other", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    let mut chunk = Chunk::default();
    encoder(&context(other.columns.schema(), OutputFormat::Parquet)).unwrap().write(&other, &mut chunk).unwrap();
    staged.extend(chunk.data);
    assert_eq!(StagedReader::new(staged.as_slice()).map(Result::unwrap).count(), 3);
    let folder = tempfile::tempdir().unwrap();
    let error = write_parquet(StagedReader::new(staged.as_slice()), &folder.path().join("x")).unwrap_err();
    assert_eq!(error.code().id, "MS0433");
}
