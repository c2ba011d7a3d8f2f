//! Loading reference tables.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use millstream_features::{Table, TableFormat};

fn load(text: &str, format: TableFormat, declared: Option<Schema>, key: &[&str]) -> Result<Table, String> {
    let key: Vec<String> = key.iter().map(|&k| k.to_owned()).collect();
    Table::from_bytes(Path::new("m.csv"), text.as_bytes(), format, declared.map(Arc::new), &key)
        .map_err(|e| format!("{} {e}{}", e.code(), e.help_text().map(|h| format!(" ({h})")).unwrap_or_default()))
}

fn kinds(table: &Table) -> Vec<(String, DataType)> {
    table.schema().fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect()
}

#[test]
fn types_are_inferred() {
    use DataType::{Boolean, Float64, Int64, Utf8};
    let csv = "\u{feff}id,n,x,flag,zip,none\na,1,1,true,0123,\nb,-2,2.5,false,99,\n\"c,d\",,,,,\n";
    let table = load(csv, TableFormat::Csv, None, &["id"]).unwrap();
    let expected = [("id", Utf8), ("n", Int64), ("x", Float64), ("flag", Boolean), ("zip", Utf8), ("none", Utf8)];
    assert_eq!(kinds(&table), expected.clone().map(|(n, k)| (n.to_owned(), k)));
    assert_eq!(table.rows(), 3);
    assert_eq!(table.digest().len(), 64);
    let json = "{\"id\":\"a\",\"n\":1,\"x\":1}\n\n{\"id\":\"b\",\"x\":2.5,\"flag\":true,\"zip\":\"99\"}\n";
    let table = load(json, TableFormat::Json, None, &["id"]).unwrap();
    assert_eq!(kinds(&table), expected[..5].iter().cloned().map(|(n, k)| (n.to_owned(), k)).collect::<Vec<_>>());
}

#[test]
fn types_are_declared() {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("price", DataType::Decimal128(10, 2), true),
    ]);
    let table = load(
        "price,id,at\n1.25,7,2024-01-01T00:00:00Z\n,8,2024-01-01 00:00:00\n",
        TableFormat::Csv,
        Some(schema.clone()),
        &["id"],
    );
    assert_eq!(table.unwrap().rows(), 2);
    let table = load("{\"id\":7,\"at\":1000,\"price\":\"1.5\"}", TableFormat::Json, Some(schema), &["id"]);
    assert_eq!(table.unwrap().rows(), 1);
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let mut text = String::new();
    let int = || Some(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
    for (csv, declared, key) in [
        ("id,x\na,1\nb,2\na,3\n", None, vec!["id"]),
        ("id,x\na,1\nb,1\na,2\na,1\n", None, vec!["id", "x"]),
        ("id,x\na,1\n,2\n", None, vec!["id"]),
        ("id,x\na,1\n", None, vec!["idd"]),
        ("id,x\na,1\n", None, vec![]),
        ("id\n1\n\"2\n3\"\nx\n", int(), vec!["id"]),
        ("idd\n1\n", int(), vec!["id"]),
        ("id,x\na,1\nb\n", None, vec!["id"]),
        ("", None, vec!["id"]),
    ] {
        text.push_str(&format!("{csv:?}\n  {}\n", load(csv, TableFormat::Csv, declared, &key).unwrap_err()));
    }
    for json in ["{\"id\":1}\n[1]\n", "{\"id\":1}\n{\"id\":\n", "{\"id\":1}\n\n{\"id\":1}"] {
        text.push_str(&format!("{json:?}\n  {}\n", load(json, TableFormat::Json, None, &["id"]).unwrap_err()));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn parquet_keeps_its_types() {
    let columns: Vec<(&str, ArrayRef)> =
        vec![("id", Arc::new(StringArray::from(vec!["a", "b"]))), ("n", Arc::new(Int64Array::from(vec![1, 2])))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let key = ["id".to_owned()];
    let table = Table::from_bytes(Path::new("m.parquet"), &bytes, TableFormat::Parquet, None, &key).unwrap();
    assert_eq!(kinds(&table), [("id".to_owned(), DataType::Utf8), ("n".to_owned(), DataType::Int64)]);
    let file = tempfile::Builder::new().suffix(".parquet").tempfile().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    let format = TableFormat::of(file.path()).unwrap();
    assert_eq!(Table::load(file.path(), format, None, &key).unwrap().digest(), table.digest());
    assert!(Table::from_bytes(Path::new("m"), b"no", TableFormat::Parquet, None, &key).is_err());
}
