//! No text makes reading panic, hang, or point outside of itself.

use millstream_config::{Cx, Pipeline};
use proptest::prelude::*;

use crate::{GOOD, parse};

fn survives(text: &str) {
    let (pipeline, diagnostics) = parse(text);
    assert!(pipeline.is_some() || diagnostics.has_errors(), "no pipeline and no reason: {text:?}");
    for item in diagnostics.items() {
        assert!(item.span.start <= text.len() && item.span.end <= text.len(), "{text:?}: {item:?}");
        assert!(text.is_char_boundary(item.span.start) && text.is_char_boundary(item.span.end), "{text:?}: {item:?}");
    }
    diagnostics.render(false);
    diagnostics.to_json_lines();
    if let Some(pipeline) = pipeline {
        for (_, check) in pipeline.sources.iter().flat_map(|source| &source.checks) {
            for at in 0..=check.value.len() {
                let span = check.span_of(at..check.value.len());
                assert!(span.start >= check.span.start && span.end <= check.span.end, "{text:?}");
            }
        }
        let _ = Cx::new(diagnostics);
    }
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\n"),
        Just("\r\n"),
        Just("\t"),
        Just("  "),
        Just(": "),
        Just("- "),
        Just("? "),
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(","),
        Just("|"),
        Just(">-"),
        Just("'"),
        Just("\""),
        Just("\\"),
        Just("&a "),
        Just("*a"),
        Just("!t "),
        Just("<<"),
        Just("---\n"),
        Just("...\n"),
        Just("%YAML 1.2\n"),
        Just("#"),
        Just("${"),
        Just("${A:-b}"),
        Just("$${"),
        Just("}"),
        Just("\u{feff}"),
        Just("é"),
        Just("😀"),
        Just("\0"),
        Just("\u{85}"),
        Just("null"),
        Just("true"),
        Just("1e999"),
        Just("sources"),
        Just("steps"),
        Just("schema"),
        Just("type"),
        Just("sql"),
        Just("5s"),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in ".{0,200}") {
        survives(&text);
    }

    #[test]
    fn any_text_of_yaml(text in proptest::collection::vec(pieces(), 0..6)) {
        survives(&text.concat());
    }

    #[test]
    fn a_good_file_with_pieces_put_in(at in 0..GOOD.len(), remove in 0usize..40, put in pieces()) {
        let end = (at + remove).min(GOOD.len());
        survives(&format!("{}{put}{}", &GOOD[..at], &GOOD[end..]));
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Pipeline::parse_bytes("p.yaml", &bytes, &|_| None).1.render(false);
    }
}
