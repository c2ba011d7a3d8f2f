//! Rows as JSON and CSV.

use arrow::array::*;
use arrow::datatypes::*;
use millstream_core::{DeadLetter, TaskId};

use super::*;

fn csv_lines(rows: &Rows) -> String {
    encode(rows, &context(rows.columns.schema(), OutputFormat::Csv))
}

#[test]
fn floats() {
    let values = vec![12.0, 0.1, -0.0, 1e300, 5e-324, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e16, 123_456_789.0];
    let rows = rows_of(vec![("a", Arc::new(Float64Array::from(values)) as ArrayRef)]);
    let json: Vec<String> = json_lines(&rows).lines().map(|line| line[5..line.len() - 1].to_owned()).collect();
    assert_eq!(json, ["12.0", "0.1", "-0.0", "1e+300", "5e-324", "null", "null", "null", "1e+16", "123456789.0"]);
    let csv: Vec<String> = csv_lines(&rows).lines().map(str::to_owned).collect();
    assert_eq!(csv, ["12.0", "0.1", "-0.0", "1e+300", "5e-324", "NaN", "inf", "-inf", "1e+16", "123456789.0"]);
    let rows = rows_of(vec![("a", Arc::new(Float32Array::from(vec![0.1f32, 16_777_216.0])) as ArrayRef)]);
    assert_eq!(json_lines(&rows), "{\"a\":0.1}\n{\"a\":16777216.0}\n");
}

#[test]
fn every_type_in_json_and_csv() {
    let decimal = Decimal128Array::from(vec![-5, 12_345]).with_precision_and_scale(10, 3).unwrap();
    let wide =
        Decimal256Array::from(vec![arrow::datatypes::i256::from_i128(7); 2]).with_precision_and_scale(50, 2).unwrap();
    let lists = FixedSizeListArray::from_iter_primitive::<Float64Type, _, _>(
        [Some([Some(0.5), None]), None].into_iter().map(|list| list.map(Vec::from)),
        2,
    );
    let words: DictionaryArray<Int32Type> = [Some("x,\"y"), None].into_iter().collect();
    let rows = rows_of(vec![
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("i8", Arc::new(Int8Array::from(vec![-128, 127]))),
        ("u64", Arc::new(UInt64Array::from(vec![u64::MAX, 0]))),
        ("dec", Arc::new(decimal)),
        ("wide", Arc::new(wide)),
        ("ms", Arc::new(TimestampMillisecondArray::from(vec![-1, 1_748_851_200_012]))),
        ("zone", Arc::new(TimestampSecondArray::from(vec![0, 1]).with_timezone("+02:00"))),
        ("date", Arc::new(Date32Array::from(vec![0, i32::MAX]))),
        ("view", Arc::new(StringViewArray::from(vec!["", "line\nend"]))),
        ("bytes", Arc::new(BinaryArray::from(vec![b"\xff\x00".as_slice(), b""]))),
        ("dict", Arc::new(words)),
        ("list", Arc::new(lists)),
        ("time", Arc::new(Time32SecondArray::from(vec![3661, 0]))),
        ("null", Arc::new(NullArray::new(2))),
    ]);
    assert_eq!(
        json_lines(&rows).lines().collect::<Vec<_>>(),
        [
            r#"{"bool":true,"i8":-128,"u64":18446744073709551615,"dec":-0.005,"wide":0.07,"ms":-1,"zone":0,"date":"1970-01-01","view":"","bytes":"/wA=","dict":"x,\"y","list":[0.5,null],"time":"01:01:01","null":null}"#,
            r#"{"bool":null,"i8":127,"u64":0,"dec":12.345,"wide":0.07,"ms":1748851200012,"zone":1,"date":"+5881580-07-11","view":"line\nend","bytes":"","dict":null,"list":null,"time":"00:00:00","null":null}"#
                .replace("\"+5881580-07-11\"", "2147483647")
                .as_str(),
        ]
    );
    assert_eq!(
        csv_lines(&rows),
        "true,-128,18446744073709551615,-0.005,0.07,-1,0,1970-01-01,\"\",/wA=,\"x,\"\"y\",\"[0.5,null]\",01:01:01,\n\
         ,127,0,12.345,0.07,1748851200012,1,2147483647,\"line\nend\",\"\",,,00:00:00,\n"
    );
    let mut context = context(rows.columns.schema(), OutputFormat::Json);
    context.timestamps = Timestamps::Rfc3339;
    let text = encode(&rows, &context);
    assert!(text.contains(r#""ms":"1969-12-31T23:59:59.999Z","zone":"1970-01-01T00:00:00Z""#), "{text}");
    assert!(text.contains(r#""ms":"2025-06-02T08:00:00.012Z""#), "{text}");
}

#[test]
fn slices_and_repeated_dictionary_entries() {
    let words: DictionaryArray<Int32Type> = ["a", "a", "b", "b", "a"].into_iter().collect();
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>((0..5).map(|i| Some((0..i).map(Some))));
    let all = rows_of(vec![
        ("d", Arc::new(words) as ArrayRef),
        ("l", Arc::new(list)),
        ("s", Arc::new(StringArray::from(vec!["v", "w", "x", "y", "z"]))),
    ]);
    let rows = Rows { columns: all.columns.slice(1, 3), meta: all.meta.take(&[1, 2, 3]) };
    assert_eq!(
        json_lines(&rows),
        "{\"d\":\"a\",\"l\":[0],\"s\":\"w\"}\n{\"d\":\"b\",\"l\":[0,1],\"s\":\"x\"}\n{\"d\":\"b\",\"l\":[0,1,2],\"s\":\"y\"}\n"
    );
}

#[test]
fn names_are_escaped_and_types_checked() {
    let rows = rows_of(vec![("a\"\n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    assert_eq!(json_lines(&rows), "{\"a\\\"\\n\":1}\n");
    assert_eq!(header(&context(rows.columns.schema(), OutputFormat::Csv)).unwrap(), b"\"a\"\"\n\"\n");
    assert_eq!(header(&context(rows.columns.schema(), OutputFormat::Json)), None);
    let map = Field::new_map(
        "m",
        "entries",
        Field::new("k", DataType::Utf8, false),
        Field::new("v", DataType::Utf8, true),
        false,
        true,
    );
    let schema: SchemaRef = Arc::new(Schema::new(vec![map]));
    let error = encoder(&context(schema, OutputFormat::Json)).map(|_| ()).unwrap_err();
    assert_eq!(error.code().id, "MS0430");
    let mut context = context(rows.columns.schema(), OutputFormat::Csv);
    context.include_event = true;
    assert_eq!(encoder(&context).map(|_| ()).unwrap_err().code().id, "MS0431");
}

#[test]
fn records_of_a_log() {
    let payloads: [&[u8]; 2] = [br#"{"id":"a","n":1}"#, br#"{"id":null,"n":2}"#];
    let mut input = RawBatch::new(TaskId::new(3));
    input.push(10, 99, Some(b"key"), Some(payloads[0]), &[]);
    input.push(11, NO_TIMESTAMP, None, Some(payloads[1]), &[]);
    let mut decoder = Decoder::new(&schema(&["id: string", "n: int64"]), InputFormat::Json).unwrap();
    let mut decoded = Decoded::default();
    decoder.decode(&input, &mut decoded).unwrap();
    let rows = rows(input, &decoded);
    let mut context = context(rows.columns.schema(), OutputFormat::Json);
    context.boundaries = true;
    let keys = |context: &EncodeContext| {
        let mut chunk = Chunk { data: b"before".to_vec(), ..Chunk::default() };
        encoder(context).unwrap().write(&rows, &mut chunk).unwrap();
        let part = |(start, length): (u32, u32)| {
            String::from_utf8(chunk.data[start as usize..][..length as usize].to_vec()).unwrap()
        };
        assert_eq!(
            chunk.records.iter().map(|record| part(record.value.unwrap())).collect::<Vec<_>>(),
            [r#"{"id":"a","n":1}"#, r#"{"id":null,"n":2}"#]
        );
        assert!(chunk.records.iter().all(|record| record.partition == 3 && record.headers.is_empty()));
        assert_eq!(chunk.records.iter().map(|record| record.timestamp_ms).collect::<Vec<_>>(), [10, 11]);
        chunk.records.iter().map(|record| record.key.map(part)).collect::<Vec<_>>()
    };
    assert_eq!(keys(&context), [Some("key".to_owned()), None]);
    context.key_column = Some(0);
    assert_eq!(keys(&context), [Some("a".to_owned()), None]);
    context.key_column = Some(1);
    assert_eq!(keys(&context), [Some("1".to_owned()), Some("2".to_owned())]);
    assert_eq!(header(&context), None);
}

#[test]
fn the_original_event_comes_first() {
    let payloads: [&[u8]; 5] = [
        br#" { "z" : 1.50, "n":7,"u":"\u00e4", "n2":{"n":[ 1 ]} } "#,
        b"{\"n\":1}",
        b"\xef\xbb\xbf{}",
        b"{\r\n  \"x\": [1,\n 2],\n  \"s\": \"a b\\n\",\n \"n\": 3\n}",
        br#"{"\u006e":4,"m":null}"#,
    ];
    let input = raw(&payloads);
    let mut decoder = Decoder::new(&schema(&["n: int64"]), InputFormat::Json).unwrap();
    let mut decoded = Decoded::default();
    decoder.decode(&input, &mut decoded).unwrap();
    let rows = rows(input, &decoded);
    let mut context = context(rows.columns.schema(), OutputFormat::Json);
    context.include_event = true;
    assert_eq!(
        encode(&rows, &context).lines().collect::<Vec<_>>(),
        [
            r#"{"z" : 1.50,"u":"\u00e4","n2":{"n":[ 1 ]},"n":7}"#,
            r#"{"n":1}"#,
            r#"{"n":null}"#,
            r#"{"x":[1,2],"s": "a b\n","n":3}"#,
            r#"{"m":null,"n":4}"#,
        ]
    );
    let none = Rows { columns: rows.columns.project(&[]).unwrap(), meta: rows.meta.clone() };
    context.schema = none.columns.schema();
    let text = encode(&none, &context);
    assert_eq!(text.lines().nth(1), Some(r#"{"n":1}"#));
    assert_eq!(text.lines().nth(2), Some("{}"));
}

#[test]
fn the_original_csv_record_becomes_strings() {
    let columns: Arc<[String]> = ["n", "a\"b", "c"].map(str::to_owned).into();
    let format = InputFormat::Csv { columns };
    let input = raw(&[b"1,\"x,\"\"y\",".as_slice(), b"2,\"\",z\r"]);
    let mut decoder = Decoder::new(&schema(&["n: int64"]), format.clone()).unwrap();
    let mut decoded = Decoded::default();
    decoder.decode(&input, &mut decoded).unwrap();
    let rows = rows(input, &decoded);
    let mut context = context(rows.columns.schema(), OutputFormat::Json);
    context.include_event = true;
    context.source_format = format;
    assert_eq!(
        encode(&rows, &context),
        "{\"a\\\"b\":\"x,\\\"y\",\"c\":null,\"n\":1}\n{\"a\\\"b\":\"\",\"c\":\"z\",\"n\":2}\n"
    );
}

#[test]
fn a_record_of_one_null_is_not_an_empty_line() {
    let rows = rows_of(vec![("a", Arc::new(StringArray::from(vec![None, Some("")])) as ArrayRef)]);
    assert_eq!(csv_lines(&rows), "\"\"\n\"\"\n");
}

#[test]
fn rows_that_were_not_planned_write_nothing() {
    let rows = rows_of(vec![("a", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    for format in [OutputFormat::Json, OutputFormat::Csv] {
        let mut chunk = Chunk { data: b"before".to_vec(), ..Chunk::default() };
        let error = encoder(&context(Arc::new(Schema::empty()), format)).unwrap().write(&rows, &mut chunk).unwrap_err();
        assert_eq!((error.code().id, chunk.data.as_slice(), chunk.rows), ("MS0432", b"before".as_slice(), 0));
    }
}

#[test]
fn rows_are_no_dead_letters() {
    let rows = rows_of(vec![("a", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    let letter = DeadLetter {
        record: rows.meta.record(0),
        trigger: 0,
        step: "decode".into(),
        rejection: millstream_core::Rejection { code: codes::EMPTY, message: "empty".into() },
    };
    for format in [OutputFormat::Json, OutputFormat::Csv, OutputFormat::Parquet] {
        let mut context = context(rows.columns.schema(), format);
        assert!(encoder(&context).unwrap().write_dead_letter(&letter, &mut Chunk::default()).is_err());
        context.dead_letters = true;
        assert!(encoder(&context).unwrap().write(&rows, &mut Chunk::default()).is_err());
    }
}
