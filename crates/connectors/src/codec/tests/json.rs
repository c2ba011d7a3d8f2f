//! What becomes of each odd event.

use super::*;

const A_INT: &[&str] = &["a: int64"];
const A_FLOAT: &[&str] = &["a: float64"];
const A_TEXT: &[&str] = &["a: string"];

#[test]
fn numbers() {
    check_table(&[
        (A_INT, r#"{"a":9007199254740993}"#, r#"{"a":9007199254740993}"#),
        (A_INT, r#"{"a":-9223372036854775808}"#, r#"{"a":-9223372036854775808}"#),
        (
            A_INT,
            r#"{"a":9223372036854775808}"#,
            "MS0408 field `a`: saw the number 9223372036854775808, beyond the range of int64",
        ),
        (A_INT, r#"{"a":1.0}"#, r#"{"a":1}"#),
        (A_INT, r#"{"a":1e3}"#, r#"{"a":1000}"#),
        (
            A_INT,
            r#"{"a":1.5}"#,
            "MS0408 field `a`: saw the number 1.5, which has more places after the point than fit int64",
        ),
        (A_INT, r#"{"a":"1"}"#, "MS0407 field `a`: saw the string \"1\", wanted int64"),
        (A_INT, r#"{"a":01}"#, "MS0401 field `a`: at byte 5: saw `01`, wanted a value"),
        (A_INT, r#"{"a":+1}"#, "MS0401 field `a`: at byte 5: saw `+1`, wanted a value"),
        (&["a: int8"], r#"{"a":128}"#, "MS0408 field `a`: saw the number 128, beyond the range of int8"),
        (&["a: uint8"], r#"{"a":-1}"#, "MS0408 field `a`: saw the number -1, beyond the range of uint8"),
        (&["a: uint64"], r#"{"a":18446744073709551615}"#, r#"{"a":18446744073709551615}"#),
        (&["a: uint64"], r#"{"a":-0}"#, r#"{"a":0}"#),
        (A_FLOAT, r#"{"a":0.1}"#, r#"{"a":0.1}"#),
        (A_FLOAT, r#"{"a":12}"#, r#"{"a":12.0}"#),
        (A_FLOAT, r#"{"a":-0}"#, r#"{"a":-0.0}"#),
        (A_FLOAT, r#"{"a":1e400}"#, "MS0408 field `a`: saw the number 1e400, beyond the range of float64"),
        (A_FLOAT, r#"{"a":1e-400}"#, r#"{"a":0.0}"#),
        (A_FLOAT, r#"{"a":5e-324}"#, r#"{"a":5e-324}"#),
        (A_FLOAT, r#"{"a":"12,50"}"#, "MS0407 field `a`: saw the string \"12,50\", wanted float64"),
        (A_FLOAT, r#"{"a":true}"#, "MS0407 field `a`: saw true, wanted float64"),
        (A_FLOAT, r#"{"a":[1]}"#, "MS0407 field `a`: saw a list, wanted float64"),
        (A_FLOAT, r#"{"a":{"b":1}}"#, "MS0407 field `a`: saw an object, wanted float64"),
        (&["a: float32"], r#"{"a":16777217}"#, r#"{"a":16777216.0}"#),
        (&["a: float32"], r#"{"a":1e39}"#, "MS0408 field `a`: saw the number 1e39, beyond the range of float32"),
        (&["a: decimal(10, 2)"], r#"{"a":0.1}"#, r#"{"a":0.10}"#),
        (&["a: decimal(10, 2)"], r#"{"a":"-12.5"}"#, r#"{"a":-12.50}"#),
        (&["a: decimal(10, 2)"], r#"{"a":"12,5"}"#, "MS0407 field `a`: saw the string \"12,5\", wanted decimal(10, 2)"),
        (
            &["a: decimal(10, 2)"],
            r#"{"a":0.105}"#,
            "MS0408 field `a`: saw the number 0.105, which has more places after the point than fit decimal(10, 2)",
        ),
        (
            &["a: decimal(10, 2)"],
            r#"{"a":100000000}"#,
            "MS0408 field `a`: saw the number 100000000, beyond the range of decimal(10, 2)",
        ),
        (
            &["a: decimal(38, 0)"],
            r#"{"a":-99999999999999999999999999999999999999}"#,
            r#"{"a":-99999999999999999999999999999999999999}"#,
        ),
        (
            &["a: decimal(38, 38)"],
            r#"{"a":0.00000000000000000000000000000000000001}"#,
            r#"{"a":0.00000000000000000000000000000000000001}"#,
        ),
    ]);
}

#[test]
fn what_json_does_not_know() {
    for (fields, payload) in [
        (A_FLOAT, r#"{"a":NaN}"#),
        (A_FLOAT, r#"{"a":Infinity}"#),
        (A_FLOAT, r#"{"a":-Infinity}"#),
        (A_FLOAT, r#"{"b":NaN}"#),
        (A_INT, r#"{"a":1,}"#),
        (A_INT, r#"{a:1}"#),
        (A_INT, r#"{'a':1}"#),
        (A_INT, r#"{"a" 1}"#),
        (A_INT, r#"{"a":}"#),
        (A_INT, r#"{"a":1"#),
        (A_INT, r#"{"a":1 "b":2}"#),
        (A_INT, r#"{"a":1}{"a":2}"#),
        (A_INT, r#"{"a":1} x"#),
        (A_INT, r#"{"a":1 /* one */}"#),
        (A_INT, r#"{"a":1.}"#),
        (A_INT, r#"{"a":.5}"#),
        (A_INT, r#"{"a":0x10}"#),
        (A_INT, r#"{"a":tru}"#),
        (A_INT, r#"{"a":nul}"#),
        (A_INT, r#"{"b":[1,2}"#),
        (A_INT, r#"{"b":[1,]}"#),
        (A_INT, r#"{"b":[,1]}"#),
        (A_INT, r#"{"b":{"c":1]}"#),
        (A_INT, r#"{"b":{1:2}}"#),
        (A_INT, r#"{"b":"\x"}"#),
        (A_INT, r#"{"b":"\u12g4"}"#),
        (A_TEXT, r#"{"a":"\ud800"}"#),
        (A_TEXT, r#"{"a":"\ud800\ud800"}"#),
        (A_TEXT, r#"{"a":"\udc00"}"#),
        (A_TEXT, r#"{"a":"abc}"#),
        (A_TEXT, "{\"a\":\"tab\there\"}"),
        (A_TEXT, "{\"a\":\"line\nend\"}"),
        (A_TEXT, "{\"a\u{0}\":1}"),
        (A_INT, "{\"a\":1}\u{0}"),
        (A_TEXT, "\u{a0}{}"),
        (A_TEXT, "nonsense"),
        (A_TEXT, "["),
    ] {
        let mut decoder = Decoder::new(&schema(fields), InputFormat::Json).unwrap();
        let got = read(&mut decoder, payload.as_bytes());
        assert!(got.starts_with("MS0401 "), "{payload}: {got}");
        assert!(serde_json::from_str::<serde_json::Value>(payload).is_err(), "{payload}");
    }
    let mut decoder = Decoder::new(&schema(A_FLOAT), InputFormat::Json).unwrap();
    assert_eq!(
        read(&mut decoder, br#"{"a":NaN}"#),
        "MS0401 field `a`: at byte 5: saw `NaN`, wanted a value (JSON has no NaN and no infinity; null is the way to say `no number`)"
    );
}

#[test]
fn whole_events() {
    check_table(&[
        (A_INT, "", "MS0403 the event is empty, wanted a JSON object"),
        (A_INT, " \r\n", "MS0403 the event is empty, wanted a JSON object"),
        (A_INT, "{}", r#"{"a":null}"#),
        (A_INT, "\u{feff}{\"a\":1}", r#"{"a":1}"#),
        (A_INT, "{\"a\":1}\r", r#"{"a":1}"#),
        (A_INT, " {\r\n\t\"a\" : 1 ,\n \"b\" : [ ] , \"c\" : { } }\n", r#"{"a":1}"#),
        (A_INT, "[1]", "MS0405 saw a list, wanted a JSON object"),
        (A_INT, "1", "MS0405 saw the number 1, wanted a JSON object"),
        (A_INT, "null", "MS0405 saw null, wanted a JSON object"),
        (A_INT, "\"a\"", "MS0405 saw the string \"a\", wanted a JSON object"),
        (A_INT, r#"{"a":1,"a":1}"#, "MS0406 the key `a` stands twice in one object"),
        (A_INT, r#"{"a":1,"\u0061":1}"#, "MS0406 the key `a` stands twice in one object"),
        (A_INT, r#"{"a":1,"b":1,"c":2,"b":1}"#, "MS0406 the key `b` stands twice in one object"),
        (A_INT, r#"{"b":1,"b":1}"#, "MS0406 the key `b` stands twice in one object"),
        (A_INT, r#"{"x":{"b":1,"b":1}}"#, r#"{"a":null}"#),
        (A_INT, r#"{"\u0061":7}"#, r#"{"a":7}"#),
    ]);
    let mut decoder = Decoder::new(&schema(A_INT), InputFormat::Json).unwrap();
    assert_eq!(read(&mut decoder, b"{\"a\":\"\xff\"}"), "MS0402 at byte 6: saw 0xFF, wanted UTF-8");
    assert_eq!(read(&mut decoder, b"{\"b\":\"\xc3\"}"), "MS0402 at byte 6: saw 0xC3, wanted UTF-8");
}

#[test]
fn a_tombstone_has_its_own_code() {
    let mut decoder = Decoder::new(&schema(A_INT), InputFormat::Json).unwrap();
    let mut raw = RawBatch::new(TaskId::new(0));
    raw.push(0, NO_TIMESTAMP, Some(b"k"), None, &[]);
    raw.push(1, NO_TIMESTAMP, Some(b"k"), Some(b"{\"a\":1}"), &[]);
    let mut out = Decoded::default();
    decoder.decode(&raw, &mut out).unwrap();
    assert_eq!(out.kept, [1]);
    assert_eq!(out.rejected[0].1.code.id, "MS0404");
}

#[test]
fn null_absent_required_default() {
    check_table(&[
        (&["a: int64 required"], r#"{"a":null}"#, "MS0409 field `a`: saw null, but it is required"),
        (&["a: int64 required"], "{}", "MS0409 field `a`: the event does not have it, but it is required"),
        (&["a: int64 = 7"], r#"{"a":null}"#, r#"{"a":7}"#),
        (&["a: int64 required = 7"], "{}", r#"{"a":7}"#),
        (&["a: decimal(5, 2) = 0.1"], "{}", r#"{"a":0.10}"#),
        (&["a: list<int64> = [1, null]"], "{}", r#"{"a":[1,null]}"#),
        (&["a: string = \"x\"", "b: string"], "{}", r#"{"a":"x","b":null}"#),
        (&["a: timestamp = \"2025-06-02T08:00:00Z\""], "{}", r#"{"a":1748851200000000}"#),
    ]);
    let error = Decoder::new(&schema(&["a: int8 = 300"]), InputFormat::Json).unwrap_err();
    assert_eq!(error.code().id, "MS0421");
}

#[test]
fn paths() {
    const AMOUNT: &[&str] = &["amount: float64 required from payment.amount", "id: string"];
    check_table(&[
        (AMOUNT, r#"{"payment":{"x":1,"amount":2.5},"id":"i"}"#, r#"{"amount":2.5,"id":"i"}"#),
        (AMOUNT, r#"{"payment":{"amount":"x"}}"#, "MS0407 field `amount`: saw the string \"x\", wanted float64"),
        (AMOUNT, r#"{"payment":7}"#, "MS0407 field `payment`: saw the number 7, wanted an object"),
        (AMOUNT, r#"{"payment":null}"#, "MS0409 field `amount`: the event does not have it, but it is required"),
        (
            AMOUNT,
            r#"{"payment":{"amount":1,"amount":1}}"#,
            "MS0406 field `payment`: the key `amount` stands twice in one object",
        ),
        (
            &["a: int64 from x", "b: decimal(9, 3) from x", "c: float64 from x"],
            r#"{"x":5}"#,
            r#"{"a":5,"b":5.000,"c":5.0}"#,
        ),
        (
            &[
                "whole: struct<a: int64, b: struct<c: string>>  from x".trim_end(),
                "c: string from x.b.c",
                "d: int64 from x.b.d",
            ],
            r#"{"x":{"b":{"d":4,"c":"C"},"a":1}}"#,
            r#"{"whole":{"a":1,"b":{"c":"C"}},"c":"C","d":4}"#,
        ),
    ]);
}

#[test]
fn strict_refuses_what_is_not_declared() {
    let mut schema = schema(&["a: int64 from x.a", "s: struct<b: int64>"]);
    schema.strict = true;
    let mut decoder = Decoder::new(&schema, InputFormat::Json).unwrap();
    let undeclared = "the schema does not declare it, and the source is `strict`";
    for (payload, wanted) in [
        (r#"{"x":{"a":1},"s":{"b":2}}"#, r#"{"a":1,"s":{"b":2}}"#.to_owned()),
        (r#"{"y":1}"#, format!("MS0410 field `y`: {undeclared}")),
        (r#"{"x":{"a":1,"c":2}}"#, format!("MS0410 field `x.c`: {undeclared}")),
        (r#"{"s":{"c":2}}"#, format!("MS0410 field `s.c`: {undeclared}")),
    ] {
        assert_eq!(read(&mut decoder, payload.as_bytes()), wanted);
    }
}

#[test]
fn the_other_types() {
    const WHEN: &[&str] = &["a: timestamp"];
    check_table(&[
        (&["a: bool"], r#"{"a":false}"#, r#"{"a":false}"#),
        (&["a: bool"], r#"{"a":1}"#, "MS0407 field `a`: saw the number 1, wanted bool"),
        (&["a: bool"], r#"{"a":"true"}"#, "MS0407 field `a`: saw the string \"true\", wanted bool"),
        (A_TEXT, r#"{"a":""}"#, r#"{"a":""}"#),
        (A_TEXT, r#"{"a":"\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00 ä"}"#, r#"{"a":"\"\\/\b\f\n\r\tä😀 ä"}"#),
        (A_TEXT, r#"{"a":"\u0000\u001f"}"#, r#"{"a":"\u0000\u001f"}"#),
        (A_TEXT, r#"{"a":12}"#, "MS0407 field `a`: saw the number 12, wanted string"),
        (&["a: timestamp_s"], r#"{"a":-1}"#, r#"{"a":-1}"#),
        (&["a: timestamp_ms"], r#"{"a":1748851200012}"#, r#"{"a":1748851200012}"#),
        (
            &["a: timestamp_ns"],
            r#"{"a":"2025-06-02T08:00:00Z"}"#,
            "MS0407 field `a`: saw the string \"2025-06-02T08:00:00Z\", wanted timestamp_ns (an integer)",
        ),
        (WHEN, r#"{"a":"2025-06-02T10:00:00.123456789+02:00"}"#, r#"{"a":1748851200123456}"#),
        (
            WHEN,
            r#"{"a":"2025-06-02T08:00:00"}"#,
            "MS0407 field `a`: saw the string \"2025-06-02T08:00:00\", wanted timestamp (RFC 3339 with an offset, like 2025-06-02T08:00:00Z)",
        ),
        (
            WHEN,
            r#"{"a":1748851200}"#,
            "MS0407 field `a`: saw the number 1748851200, wanted timestamp (RFC 3339 with an offset, like 2025-06-02T08:00:00Z)",
        ),
        (&["a: date"], r#"{"a":"2024-02-29"}"#, r#"{"a":"2024-02-29"}"#),
        (
            &["a: date"],
            r#"{"a":"29.2.2024"}"#,
            "MS0407 field `a`: saw the string \"29.2.2024\", wanted date (YYYY-MM-DD)",
        ),
        (&["a: list<int64>"], r#"{"a":[ 1 , null,3 ]}"#, r#"{"a":[1,null,3]}"#),
        (&["a: list<int64>"], r#"{"a":[]}"#, r#"{"a":[]}"#),
        (&["a: list<int64>"], r#"{"a":[1,"x"]}"#, "MS0407 field `a[1]`: saw the string \"x\", wanted int64"),
        (&["a: list<int64>"], r#"{"a":1}"#, "MS0407 field `a`: saw the number 1, wanted list<int64>"),
        (
            &["a: struct<b: int64, c: list<struct<d: bool>>>"],
            r#"{"a":{"c":[{"d":true},{},null],"z":1}}"#,
            r#"{"a":{"b":null,"c":[{"d":true},{"d":null},null]}}"#,
        ),
        (
            &["a: struct<b: int64, c: list<struct<d: bool>>>"],
            r#"{"a":{"c":[{"d":true},{"d":"no"}]}}"#,
            "MS0407 field `a.c[1].d`: saw the string \"no\", wanted bool",
        ),
        (
            &["a: struct<b: int64>"],
            r#"{"a":{"b":1,"b":2}}"#,
            "MS0406 field `a`: the key `b` stands twice in one object",
        ),
        (&["a: struct<b: int64>"], r#"{"a":[]}"#, "MS0407 field `a`: saw a list, wanted struct<b: int64>"),
    ]);
}

#[test]
fn long_values_are_shortened_in_messages() {
    let mut decoder = Decoder::new(&schema(A_FLOAT), InputFormat::Json).unwrap();
    let got = read(&mut decoder, format!(r#"{{"a":"{}"}}"#, "ä".repeat(5000)).as_bytes());
    assert_eq!(got, format!("MS0407 field `a`: saw the string \"{}…, wanted float64", "ä".repeat(79)));
    let got = read(&mut decoder, format!(r#"{{"a":{}}}"#, "9".repeat(5000)).as_bytes());
    assert!(got.len() < 200 && got.starts_with("MS0408"), "{got}");
    let got = read(&mut decoder, format!(r#"{{"{0}":1,"{0}":1}}"#, "k".repeat(5000)).as_bytes());
    assert!(got.len() < 200 && got.starts_with("MS0406"), "{got}");
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!(r#"{{"x":{}{},"a":1}}"#, "[".repeat(depth), "]".repeat(depth));
    let mut decoder = Decoder::new(&schema(A_INT), InputFormat::Json).unwrap();
    assert_eq!(read(&mut decoder, nested(128).as_bytes()), r#"{"a":1}"#);
    let refused = "MS0411 more than 128 lists and objects inside each other";
    assert_eq!(read(&mut decoder, nested(129).as_bytes()), refused);
    assert_eq!(read(&mut decoder, "[".repeat(1_000_000).as_bytes()), refused);
    assert_eq!(
        read(&mut decoder, "{\"a\":".repeat(1_000_000).as_bytes()),
        format!("MS0411 field `a`: {}", &refused[7..])
    );
}

#[test]
fn ten_megabytes_are_an_event_like_others() {
    let mut decoder = Decoder::new(&schema(&["a: string", "b: int64"]), InputFormat::Json).unwrap();
    let text = "x\\n".repeat(10_000_000 / 3);
    let raw = raw(&[format!(r#"{{"a":"{text}","c":"{text}","b":1}}"#).as_bytes()]);
    let mut out = Decoded::default();
    decoder.decode(&raw, &mut out).unwrap();
    let json = json_lines(&rows(raw, &out));
    assert_eq!(json, format!("{{\"a\":\"{text}\",\"b\":1}}\n"));
}

#[test]
fn a_bad_event_rejects_only_itself() {
    let mut decoder = Decoder::new(
        &schema(&["a: list<struct<b: string, c: int64>>", "d: string required", "e: float64"]),
        InputFormat::Json,
    )
    .unwrap();
    let good = br#"{"a":[{"b":"x","c":1},null],"d":"good","e":1}"#.as_slice();
    let payloads: [&[u8]; 7] = [
        good,
        br#"{"a":[{"b":"y","c":2},{"b":"z","c":"bad"}],"d":"bad","e":1}"#,
        good,
        br#"{"d":"bad","e":1e999,"a":[]}"#,
        br#"{"a":null,"e":2}"#,
        b"",
        good,
    ];
    let raw = raw(&payloads);
    let mut out = Decoded::default();
    for _ in 0..2 {
        decoder.decode(&raw, &mut out).unwrap();
        assert_eq!(out.kept, [0, 2, 6]);
        let codes: Vec<(u32, &str)> = out.rejected.iter().map(|(i, rejection)| (*i, rejection.code.id)).collect();
        assert_eq!(codes, [(1, "MS0407"), (3, "MS0408"), (4, "MS0409"), (5, "MS0403")]);
    }
    let line = r#"{"a":[{"b":"x","c":1},null],"d":"good","e":1.0}"#;
    assert_eq!(json_lines(&rows(raw, &out)), format!("{line}\n{line}\n{line}\n"));
}

#[test]
fn more_keys_than_a_decoder_remembers() {
    let mut decoder = Decoder::new(&schema(&["last: int64"]), InputFormat::Json).unwrap();
    for round in 0..3 {
        let many: Vec<String> = (0..3000).map(|i| format!("\"k{round}_{i}\":{i}")).collect();
        let good = format!("{{{},\"last\":1}}", many.join(","));
        assert_eq!(read(&mut decoder, good.as_bytes()), r#"{"last":1}"#);
        let twice = format!("{{{0},\"last\":1,\"k{round}_2999\":0}}", many.join(","));
        assert!(read(&mut decoder, twice.as_bytes()).starts_with("MS0406"));
    }
}

#[test]
fn no_columns_and_no_events() {
    let mut decoder = Decoder::new(&schema(&[]), InputFormat::Json).unwrap();
    assert_eq!(read(&mut decoder, br#"{"a":1}"#), "{}");
    let mut out = Decoded::default();
    decoder.decode(&raw(&[]), &mut out).unwrap();
    assert!(out.kept.is_empty() && out.rejected.is_empty());
}
