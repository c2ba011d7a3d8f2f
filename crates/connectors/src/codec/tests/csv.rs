//! CSV in.

use super::*;

fn decoder(fields: &[&str], header: &str) -> Decoder {
    let columns: Vec<String> = header.split(',').map(str::to_owned).collect();
    Decoder::new(&schema(fields), InputFormat::Csv { columns: columns.into() }).unwrap()
}

#[test]
fn records() {
    let fields = &["a: int64", "b: string", "c: float64"];
    let mut decoder = decoder(fields, "b,x,a,c");
    for (record, wanted) in [
        ("hello,,1,2.5", r#"{"a":1,"b":"hello","c":2.5}"#),
        ("hello,,1,2.5\r", r#"{"a":1,"b":"hello","c":2.5}"#),
        ("hello,,1,2.5\r\n", r#"{"a":1,"b":"hello","c":2.5}"#),
        (",,,", r#"{"a":null,"b":null,"c":null}"#),
        ("\"\",,,", r#"{"a":null,"b":"","c":null}"#),
        ("\"a \"\"quoted\"\",\nfield\",\"\"\"\", 1 ,1e3", r#"{"a":1,"b":"a \"quoted\",\nfield","c":1000.0}"#),
        (" x ,,9007199254740993,0.1", r#"{"a":9007199254740993,"b":" x ","c":0.1}"#),
        ("x,,1", "MS0413 the record has 3 fields, the header has 4"),
        ("x,,1,2,3", "MS0413 the record has 5 fields, the header has 4"),
        ("\"x,,1,2", "MS0412 the quote before \"x,,1,2 is never closed"),
        (
            "\"x\"y,,1,2",
            "MS0412 saw y,,1,2 behind a closing quote, wanted a comma or the end (a quote inside is written twice)",
        ),
        ("x,,\"\",2", "MS0407 field `a`: saw \"\", wanted int64"),
        ("x,,one,2", "MS0407 field `a`: saw \"one\", wanted int64"),
        ("x,,1,NaN", "MS0407 field `c`: saw \"NaN\", wanted float64"),
        ("x,,1.5,2", "MS0408 field `a`: saw the number 1.5, which has more places after the point than fit int64"),
        ("", "MS0403 the record is empty, wanted a CSV record"),
    ] {
        assert_eq!(read(&mut decoder, record.as_bytes()), wanted, "{record}");
    }
    assert!(read(&mut decoder, b"\xff,,1,2").starts_with("MS0402"));
}

#[test]
fn all_types() {
    let fields = &[
        "a: bool",
        "b: decimal(9, 2)",
        "c: timestamp",
        "d: date",
        "e: list<int64>",
        "f: struct<x: string>",
        "g: timestamp_ms",
        "h: uint64",
    ];
    let mut decoder = decoder(fields, "a,b,c,d,e,f,g,h");
    assert_eq!(
        read(
            &mut decoder,
            br#"True,12.5,2025-06-02 08:00:00Z,2025-06-02,"[1,null]","{""x"":""y""}",5,18446744073709551615"#
        ),
        r#"{"a":true,"b":12.50,"c":1748851200000000,"d":"2025-06-02","e":[1,null],"f":{"x":"y"},"g":5,"h":18446744073709551615}"#
    );
    assert_eq!(read(&mut decoder, br"yes,,,,,,,"), "MS0407 field `a`: saw \"yes\", wanted bool");
    assert!(read(&mut decoder, br#",,,,"[1",,,"#).starts_with("MS0401 field `e`"));
}

#[test]
fn required_and_default() {
    let mut decoder = decoder(&["a: int64 required", "b: int64 = 7", "c: string = \"none\""], "a,b");
    assert_eq!(read(&mut decoder, b"1,"), r#"{"a":1,"b":7,"c":"none"}"#);
    assert_eq!(read(&mut decoder, b",1"), "MS0409 field `a`: saw null, but it is required");
}

#[test]
fn headers_that_do_not_fit() {
    let columns = |header: &str| InputFormat::Csv { columns: header.split(',').map(str::to_owned).collect() };
    let error = |header: &str, strict: bool| {
        let mut schema = schema(&["a: int64", "b: int64 from x.y"]);
        schema.strict = strict;
        Decoder::new(&schema, columns(header)).map(|_| ()).unwrap_err().to_string()
    };
    assert!(Decoder::new(&schema(&["b: int64 from x.y"]), columns("x.y")).is_ok());
    assert_eq!(error("a,b", false), "the CSV header has no column `x.y`: a,b");
    assert_eq!(error("a,x.y,a", false), "the CSV header has the column `a` twice");
    assert_eq!(error("a,x.y,z", true), "the CSV header has a column `z` that is not declared");
}
