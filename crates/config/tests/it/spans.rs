//! Every node knows its bytes, in every style of scalar, behind every kind of character.

use millstream_config::Diagnostics;
use millstream_config::Text;
use millstream_config::tree::{self, Node, Value};

fn tree(text: &str) -> Node {
    let mut diagnostics = Diagnostics::new("p.yaml", text);
    let node = tree::parse(text, &mut diagnostics);
    assert!(diagnostics.is_empty(), "{}", diagnostics.render(false));
    node.unwrap()
}

fn scalars<'a>(node: &'a Node, out: &mut Vec<&'a Text>) {
    match &node.value {
        Value::Scalar(scalar) => out.push(&scalar.text),
        Value::List(items) => items.iter().for_each(|item| scalars(item, out)),
        Value::Map(entries) => entries.iter().for_each(|entry| scalars(&entry.node, out)),
        Value::Invalid => panic!(),
    }
}

/// (content, source) of every value.
fn values(text: &str) -> Vec<(String, String)> {
    let root = tree(text);
    let mut found = Vec::new();
    scalars(&root, &mut found);
    found.iter().map(|t| (t.value.clone(), text[t.span.start..t.span.end].to_owned())).collect()
}

#[test]
fn scalars_have_their_source() {
    for (text, content, source) in [
        ("k: abc", "abc", "abc"),
        ("k: abc   # comment", "abc", "abc"),
        ("k: 'a''b'   # c", "a'b", "'a''b'"),
        ("k: \"a\\tb\\\"\" # c", "a\tb\"", "\"a\\tb\\\"\""),
        ("é: ü€😀\nb: 1", "ü€😀", "ü€😀"),
        ("\u{feff}k: abc", "abc", "abc"),
        ("\u{feff}é: abc\r\n", "abc", "abc"),
        ("k: |\r\n  one\r\n  two\r\nz: 1", "one\ntwo\n", "one\r\n  two"),
        ("k: |\n  ü one\n\n  two\n", "ü one\n\ntwo\n", "ü one\n\n  two"),
        ("k: |-\n  one", "one", "one"),
        ("k: >\n  one\n  two\n", "one two\n", "one\n  two"),
        ("k: one\n  two", "one two", "one\n  two"),
        ("k: {a: x , b: y}", "x", "x"),
        ("- [a , 'b']", "a", "a"),
    ] {
        let found = values(text);
        assert_eq!((found[0].0.as_str(), found[0].1.as_str()), (content, source), "{text:?}");
    }
}

#[test]
fn parts_of_a_scalar_map_back_exactly() {
    for text in [
        "k: SELECT ü, amout FROM t # comment",
        "k: 'SELECT ''x'', amout FROM t'",
        "k: \"SELECT \\\"ü\\\", amout FROM t\"",
        "k: |\n  SELECT a,\n         amout\n  FROM t\n",
        "\u{feff}é: 😀\nk: |\r\n  SELECT a,\r\n\r\n         amout\r\n  FROM t\r\n",
        "k: |\n\n\n  SELECT a,\n    amout FROM t",
        "k: |+\n  SELECT a,\n  amout FROM t\n\n\n",
        "k: >-\n  SELECT a,\n  amout\n\n  FROM t",
        "k: SELECT a,\n  amout\n  FROM t",
        "k: \"SELECT a,\\\n   amout\n  FROM t\"",
        "k: 'SELECT a,\n\n   amout FROM t'",
        "{k: SELECT a + amout FROM t}",
    ] {
        let root = tree(text);
        let mut found = Vec::new();
        scalars(&root, &mut found);
        let sql = found.into_iter().find(|t| t.value.contains("SELECT")).unwrap();
        for word in ["SELECT", "amout", "FROM", "t"] {
            let start = sql.value.rfind(word).unwrap();
            let span = sql.span_of(start..start + word.len());
            assert_eq!(&text[span.start..span.end], word, "{text:?}");
        }
        let all = sql.span_of(0..sql.value.len());
        assert!(all.start >= sql.span.start && all.end <= sql.span.end, "{text:?}");
        assert_eq!(sql.span_of(99_999..100_000), sql.span, "out of range is the whole scalar");
        let end = sql.span_of(sql.value.len()..sql.value.len());
        assert!(end.is_empty() && end.end <= sql.span.end, "{text:?}");
    }
}

#[test]
fn keys_lists_and_maps_have_their_source() {
    let text = "é:\n  - a: 1\n    b: [1, 2]  # c\n  - {c: d}   \nnone:\nlast: x\n";
    let root = tree(text);
    let of = |node: &Node| text[node.span.start..node.span.end].to_owned();
    assert_eq!(of(&root), text.trim_end());
    let Value::List(items) = &root.get("é").unwrap().value else { panic!() };
    assert_eq!(of(&items[0]), "a: 1\n    b: [1, 2]");
    assert_eq!(of(items[0].get("b").unwrap()), "[1, 2]");
    assert_eq!(of(&items[1]), "{c: d}");
    assert_eq!(of(root.get("none").unwrap()), "none", "a value that is not there is underlined at its key");
    for (key, entry) in ["é", "none", "last"].iter().zip(root.entries()) {
        assert_eq!(&&text[entry.key.span.start..entry.key.span.end], key);
    }
}

#[test]
fn lines_and_columns_count_characters() {
    let text = "\u{feff}a: 1\r\nüü: x\n";
    let diagnostics = Diagnostics::new("p.yaml", text);
    let at = |part: &str| {
        let place = diagnostics.line_column(text.find(part).unwrap());
        (place.line, place.column)
    };
    assert_eq!(at("a: 1"), (1, 1));
    assert_eq!(at("üü"), (2, 1));
    assert_eq!(at("x"), (2, 5));
    let end = diagnostics.line_column(usize::MAX);
    assert_eq!((end.line, end.column), (3, 1));
}
