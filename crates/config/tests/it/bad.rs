//! One mistake each: code, what is underlined, and words of the message.

use crate::{GOOD, parse, spoiled};

/// The only error of a text: (code, underlined text, message, label and help).
fn only(text: &str) -> (&'static str, String, String, String) {
    let (_, diagnostics) = parse(text);
    let errors: Vec<_> = diagnostics.items().iter().collect();
    let [item] = errors.as_slice() else { panic!("{text}\n{}", diagnostics.render(false)) };
    let more = format!("{} / {}", item.label.as_deref().unwrap_or(""), item.help.as_deref().unwrap_or(""));
    (item.code.id, text[item.span.start..item.span.end].to_owned(), item.message.clone(), more)
}

#[track_caller]
fn check(text: &str, code: &str, underlined: &str, message: &str, more: &str) {
    let found = only(text);
    assert_eq!((found.0, found.1.as_str()), (code, underlined), "{found:?}");
    assert!(found.2.contains(message), "message: {}", found.2);
    assert!(found.3.contains(more), "label and help: {}", found.3);
}

#[test]
fn yaml() {
    for (from, to, code, underlined, message, more) in [
        ("path: tx.ndjson", "path: a: b", "MS0101", ":", "mapping values are not allowed", "needs quotes"),
        ("    lateness: 3s", "\tlateness: 3s", "MS0101", "\t", "tab", "indent with spaces"),
        ("path: tx.ndjson", "path: \"a", "MS0101", "\"", "quoted", "not closed"),
        ("path: tx.ndjson", "path: \"\\q\"", "MS0101", "", "escape", "backslash"),
        ("path: tx.ndjson", "path: @x", "MS0101", "@", "unexpected character", "quotes"),
        ("{ path: fraud.json }", "{ path: ${X} }", "MS0101", "", "", "a value with a variable needs quotes"),
        (
            "{ path: fraud.json }",
            "{ path: a, version: [${X}] }",
            "MS0101",
            "",
            "",
            "a value with a variable needs quotes",
        ),
        ("path: tx.ndjson", "path: &a x", "MS0103", "&a", "anchors", "write the value out"),
        ("path: tx.ndjson", "path: *a", "MS0103", "*a", "anchors", "quotes"),
        ("path: tx.ndjson", "path: !env X", "MS0103", "!env", "tags", "leave the tag out"),
        ("path: tx.ndjson", "path: !!str X", "MS0103", "!!str", "tags", "leave the tag out"),
        ("path: tx.ndjson", "path: x\n    <<: { a: b }", "MS0103", "<<", "merge keys", "write the fields out"),
        ("path: tx.ndjson", "path: x\n    ? [a]\n    : b", "MS0103", "[a]", "a key is a list", ""),
        ("path: tx.ndjson", "path: x\n    path: y", "MS0108", "path", "given twice", "keep one"),
        ("dead_letters:", "---\ndead_letters:", "MS0103", "---", "a second document", "one pipeline"),
    ] {
        let text = spoiled(from, to);
        let found = only(&text);
        assert_eq!(found.0, code, "{to}: {found:?}");
        if !underlined.is_empty() {
            assert_eq!(found.1, underlined, "{to}");
        }
        assert!(found.2.contains(message) && found.3.contains(more), "{to}: {found:?}");
    }
    check("", "MS0101", "", "the file is empty", "millstream init");
    check("# only a comment\n", "MS0101", "", "the file is empty", "millstream init");
    check("just text", "MS0106", "just text", "the pipeline file must be a map", "");
    check("- a", "MS0106", "- a", "the pipeline file must be a map", "");
}

#[test]
fn bounds() {
    let deep = format!("a: {}", "[".repeat(70));
    check(&deep, "MS0102", "", "nested deeper than 64", "");
    let block: String = (0..80).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
    check(&block, "MS0102", "", "nested deeper than 64", "");
    let many = format!("a: [{}]", "1,".repeat(200_001));
    check(&many, "MS0102", "1", "more than 200000 values", "tables");
    let large = format!("a: {}", "x".repeat(5 << 20));
    check(&large, "MS0102", "", "at most 4194304", "tables");
    let (_, diagnostics) = millstream_config::Pipeline::parse_bytes("p.yaml", b"a: \xff", &|_| None);
    assert_eq!(diagnostics.items()[0].message, "the file is not UTF-8 from byte 3 on");
    let (_, diagnostics) = millstream_config::Pipeline::parse_bytes("p.yaml", b"\xff\xfea\0", &|_| None);
    assert_eq!(diagnostics.items()[0].message, "the file is UTF-16, not UTF-8");
    let many_types = spoiled("card_id: string", &format!("card_id: {}int8{}", "list<".repeat(100), ">".repeat(100)));
    check(
        &many_types,
        "MS0110",
        &format!("{}int8{}", "list<".repeat(100), ">".repeat(100)),
        "nested deeper than 32",
        "from",
    );
}

#[test]
fn fields() {
    for (from, to, code, underlined, message, more) in [
        (
            "pipeline: fraud",
            "pipline: fraud",
            "MS0104",
            "pipline",
            "unknown field `pipline`",
            "did you mean `pipeline`?",
        ),
        ("lateness: 3s", "latness: 3s", "MS0104", "latness", "", ""),
        (
            "pipeline: fraud",
            "pipeline: fraud\nzzz: 1",
            "MS0104",
            "zzz",
            "unknown field `zzz`",
            "allowed here: `pipeline`, ",
        ),
        (
            "predict: fraud",
            "predict: fraud\n    inpts: {}",
            "MS0104",
            "inpts",
            "in the step `scored`",
            "did you mean `inputs`?",
        ),
        (
            "    type: file\n    path: tx.ndjson",
            "    path: tx.ndjson",
            "MS0105",
            "transactions",
            "`transactions` needs the field `type`",
            "the connector",
        ),
        ("  - name: features\n    sql", "  - sql", "MS0105", "sql", "item 1 of `steps` needs the field `name`", ""),
        (", key: card_id }", " }", "MS0105", "cards", "`cards` needs the field `key`", "identify a row"),
    ] {
        let text = spoiled(from, to);
        // A connector's own fields are read later, and a missing `pipeline` is a second error.
        let (_, diagnostics) = parse(&text);
        if to.contains("latness") {
            assert!(diagnostics.is_empty());
            continue;
        }
        let item =
            diagnostics.items().iter().find(|d| d.code.id == code).unwrap_or_else(|| panic!("{to}: {diagnostics:?}"));
        let words = format!("{} {}", item.label.as_deref().unwrap_or(""), item.help.as_deref().unwrap_or(""));
        assert_eq!(&text[item.span.start..item.span.end], underlined, "{to}");
        assert!(item.message.contains(message), "{to}: {}", item.message);
        assert!(words.to_lowercase().contains(&more.to_lowercase()), "{to}: {words}");
    }
    check(
        &GOOD.replace("pipeline: fraud\n", ""),
        "MS0105",
        "sources",
        "the pipeline file needs the field `pipeline`",
        "name",
    );
}

#[test]
fn top_level_values() {
    for (line, code, underlined, message, more) in [
        (
            "workers: two",
            "MS0106",
            "two",
            "`workers` must be a whole number from 1 to 1024, found the string `two`",
            "`workers: 1`",
        ),
        ("workers: '4'", "MS0106", "'4'", "found the string `4`", "`workers: 4`, without quotes"),
        ("workers: 1_000", "MS0106", "1_000", "found the string `1_000`", "`workers: 1000`"),
        ("workers: 0", "MS0115", "0", "must be a whole number from 1 to 1024, found the number `0`", "1 to 1024"),
        ("workers: 99999999999999999999999", "MS0115", "99999999999999999999999", "found the number", "1 to 1024"),
        ("workers: 2.0", "MS0106", "2.0", "found the number `2.0`", "`workers: 1`"),
        ("workers: [1]", "MS0106", "[1]", "found a list", ""),
        ("workers:", "MS0106", "workers", "`workers` has no value", "`workers: 1`"),
        ("workers: ${SECRET}", "MS0106", "${SECRET}", "found the string `${SECRET}`", ""),
        ("batch_rows_max: 65537", "MS0115", "65537", "from 1 to 65536", ""),
        ("linger: 5", "MS0109", "5", "it has no unit", "did you mean `5ms` or `5s`?"),
        ("linger: ${SECRET}", "MS0109", "${SECRET}", "found `${SECRET}`: what it stands for is none", "units"),
        ("epoch_max: 0ms", "MS0115", "0ms", "longer than zero", ""),
        (
            "delivery: exactly-once",
            "MS0107",
            "exactly-once",
            "must be `exactly_once`, `at_least_once` or `at_most_once`",
            "did you mean `exactly_once`?",
        ),
        ("delivery: ${SECRET}", "MS0107", "${SECRET}", "found the string `${SECRET}`", "write one of"),
        ("durability: true", "MS0107", "true", "found the boolean `true`", "`process` or `power`"),
        ("http: 0.0.0.0:80", "MS0115", "0.0.0.0:80", "loopback", "did you mean `127.0.0.1:80`?"),
        ("http: 8080", "MS0106", "8080", "loopback", "did you mean `127.0.0.1:8080`?"),
        ("http: false", "MS0106", "false", "loopback", "did you mean `off`?"),
        ("data_dir: ''", "MS0106", "''", "`data_dir` is empty", "leave the field out"),
        ("data_dir: ${NOPE}", "MS0114", "${NOPE}", "the environment variable `NOPE` is not set", "${NOPE:-"),
        ("data_dir: x/${NOPE", "MS0114", "${NOPE", "no closing `}`", "$${"),
        ("state: s4://bucket/x", "MS0107", "s4://bucket/x", "no storage `s4://`", "s3://bucket/prefix"),
        ("state: s3://", "MS0106", "s3://", "not a bucket and a prefix", "environment"),
        ("state: s3://key:${SECRET}@bucket", "MS0106", "s3://key:${SECRET}@bucket", "s3://key:${SECRET}@bucket", ""),
        ("standby: -1", "MS0115", "-1", "from 0 to 8", ""),
        ("connections: { 1a: { type: kafka } }", "MS0112", "1a", "can't be a name", "perhaps `_1a`"),
        ("connections: { main: { brokers: k1 } }", "MS0105", "main", "needs the field `type`", ""),
        ("connections: [main]", "MS0106", "[main]", "`connections` must be", ""),
        ("pipeline: a b", "MS0112", "a b", "`a b` can't be a name", "perhaps `a_b`"),
        ("pipeline: 1a", "MS0112", "1a", "can't be a name", "perhaps `_1a`"),
    ] {
        let text = if line.starts_with("pipeline") {
            spoiled("pipeline: fraud", line)
        } else {
            spoiled("pipeline: fraud", &format!("pipeline: fraud\n{line}"))
        };
        check(&text, code, underlined, message, more);
    }
}

#[test]
fn sources() {
    for (from, to, code, underlined, message, more) in [
        (
            "lateness: 3s",
            "strict: yes",
            "MS0106",
            "yes",
            "`strict` must be `true` or `false`, found the string `yes`",
            "write `strict: true`",
        ),
        ("lateness: 3s", "strict: off", "MS0106", "off", "`true` or `false`", "write `strict: false`"),
        ("lateness: 3s", "strict: 1", "MS0106", "1", "found the number `1`", "write `strict: true`"),
        ("lateness: 3s", "format: jsn", "MS0107", "jsn", "`json` or `csv`", "did you mean `json`?"),
        ("lateness: 3s", "lateness: 3 s", "MS0109", "3 s", "there is a space in it", "did you mean `3s`?"),
        ("lateness: 3s", "idle_after: 0s", "MS0115", "0s", "longer than zero", ""),
        (
            "    event_time: at\n",
            "",
            "MS0116",
            "lateness",
            "`lateness` has no effect without `event_time`",
            "event_time: COLUMN",
        ),
        (
            "event_time: at",
            "event_time: amount",
            "MS0119",
            "amount",
            "must be a timestamp column, and `amount` is none",
            "timestamp columns: `at`",
        ),
        ("event_time: at", "event_time: att", "MS0113", "att", "which the schema does not have", "did you mean `at`?"),
        (
            "    key: card_id\n",
            "    key: card\n",
            "MS0113",
            "card",
            "`key` names the column `card`",
            "did you mean `card_id`?",
        ),
        ("card_id: string", "card_id: list<string>", "MS0119", "card_id", "`card_id` is a list or a struct", "from"),
        (
            "amount: float64",
            "amount: float",
            "MS0110",
            "float",
            "`amount` has the column type `float`, which does not exist",
            "did you mean `float64`?",
        ),
        ("amount: float64", "amount: { type: decimal(10, 2) }", "MS0110", "decimal(10", "", "needs quotes"),
        ("amount: float64", "amount: {}", "MS0105", "amount", "`amount` needs the field `type`", ""),
        (
            "amount: float64",
            "amount: { type: float64, default: x }",
            "MS0117",
            "x",
            "the default of `amount` must be a number that fits float64",
            "",
        ),
        ("amount: float64", "amount: { type: string, default: 0 }", "MS0117", "0", "must be a string", "`\"0\"`"),
        ("amount: float64", "amount: { type: int8, default: 300 }", "MS0117", "300", "fits int8", ""),
        ("amount: float64", "amount: { type: int8, default: null }", "MS0117", "null", "a default of null", "leave"),
        (
            "amount: float64",
            "amount: { type: float64, form: a }",
            "MS0104",
            "form",
            "unknown field `form` in `amount`",
            "`from`",
        ),
        ("amount: float64", "amount: { type: float64, from: a..b }", "MS0106", "a..b", "not a path", "payment.amount"),
        ("amount: float64", "amount: { type: float64, required: yes }", "MS0106", "yes", "`required` must be", ""),
        ("positive: amount > 0", "a b: amount > 0", "MS0112", "a b", "can't be a name", ""),
        ("positive: amount > 0", "positive:", "MS0106", "positive", "`positive` has no value", ""),
        ("positive: amount > 0", "positive: [a]", "MS0106", "[a]", "found a list", ""),
    ] {
        let text = spoiled(from, to);
        let text = text.as_str();
        if to.contains("decimal(10, 2)") {
            // Flow style takes the comma for the next field.
            let (_, diagnostics) = parse(text);
            let first = &diagnostics.items()[0];
            assert_eq!((first.code.id, &text[first.span.start..first.span.end]), (code, underlined));
            assert!(first.help.as_deref().unwrap().contains(more));
            continue;
        }
        check(text, code, underlined, message, more);
    }
    let schema = "schema:\n      card_id: string\n      amount: float64\n      at: timestamp_ms\n    event_time: at\n    lateness: 3s\n    key: card_id\n    checks:\n      positive: amount > 0\n";
    check(&spoiled(schema, "schema: {}\n"), "MS0118", "{}", "has no columns", "declare");
    check(&spoiled(schema, "schema: [a]\n"), "MS0106", "[a]", "`schema` must be a map of names", "");
}

#[test]
fn references() {
    for (from, to, code, underlined, message, more) in [
        ("predict: fraud", "predict: fruad", "MS0113", "fruad", "there is no model `fruad`", "did you mean `fraud`?"),
        (
            "predict: fraud",
            "predict: fraud\n    from: featurs",
            "MS0113",
            "featurs",
            "no source or step `featurs`",
            "did you mean `features`?",
        ),
        (
            "predict: fraud",
            "predict: fraud\n    from: scored",
            "MS0113",
            "scored",
            "does not come before",
            "move it up",
        ),
        ("predict: fraud", "predict: fraud\n    from: cards", "MS0113", "cards", "is a table", "joined"),
        (
            "path: scores.ndjson",
            "path: x\n    from: ${SECRET}",
            "MS0113",
            "${SECRET}",
            "no source or step `${SECRET}`",
            "there is: `features`, `scored` and `transactions`",
        ),
        (
            "key: card_id }",
            "key: [card, y], schema: { card_id: string, y: int64 } }",
            "MS0113",
            "card",
            "does not have",
            "did you mean `card_id`?",
        ),
        (
            "- name: scored",
            "- name: features",
            "MS0108",
            "features",
            "the name `features` of a step is taken by a step",
            "own",
        ),
        ("- name: scored", "- name: transactions", "MS0108", "transactions", "taken by a source", ""),
        ("  cards:", "  transactions:", "MS0108", "transactions", "of a table is taken by a source", ""),
        ("  scores:", "  dead_letters:", "MS0108", "dead_letters", "an output can't be called", ""),
        ("  fraud: {", "  fr aud: {", "MS0112", "fr aud", "can't be a name", "fr_aud"),
    ] {
        let text = spoiled(from, to);
        if to.contains("fr aud") {
            let (_, diagnostics) = parse(&text);
            assert_eq!(diagnostics.items()[0].code.id, code);
            assert_eq!(diagnostics.items()[1].code.id, "MS0113", "`predict` no longer finds it");
            continue;
        }
        check(&text, code, underlined, message, more);
    }
}

#[test]
fn structure() {
    let no_sources = GOOD.find("sources:").map(|start| {
        let end = GOOD.find("tables:").unwrap();
        format!("{}sources:\n{}", &GOOD[..start], &GOOD[end..])
    });
    check(&no_sources.unwrap(), "MS0118", "fraud", "the pipeline has no source", "give one");
    let second = "tables:";
    let text = spoiled(second, "  other: { type: stdin, schema: { a: int8 } }\ntables:");
    check(&text, "MS0118", "other", "exactly one source", "one pipeline file for each");
    let text = GOOD.replace("  scores:\n    type: file\n    path: scores.ndjson\n", "");
    check(&text, "MS0118", "fraud", "the pipeline has no output", "");
    for (from, to, code, underlined, message, more) in [
        ("predict: fraud", "predict: fraud\n    sql: SELECT 1", "MS0118", "name", "both of `sql` and `predict`", ""),
        ("    predict: fraud\n", "", "MS0118", "name", "the step `scored` has neither", "predict: NAME"),
        (
            "predict: fraud",
            "predict: fraud\n    emit: on_arrival",
            "MS0116",
            "emit",
            "`emit` has no effect on a step that predicts",
            "leave it out",
        ),
        (
            "sql: SELECT",
            "from: x\n    sql: SELECT",
            "MS0116",
            "from",
            "`from` has no effect on a step that runs SQL",
            "",
        ),
        ("{ path: fraud.json }", "{ path: f, rules: [] }", "MS0118", "fraud", "both of `path` and `rules`", ""),
        ("{ path: fraud.json }", "{}", "MS0118", "fraud", "neither of `path` and `rules`", ""),
        ("{ path: fraud.json }", "{ rules: [] }", "MS0118", "{ rules: [] }", "has no rules", "at least one"),
        (
            "{ path: fraud.json }",
            "{ rules: [{ when: a, score: 1 }], format: x }",
            "MS0116",
            "format",
            "no effect on a model of rules",
            "",
        ),
        ("{ path: fraud.json }", "{ path: f, default: 1 }", "MS0116", "default", "no effect on a model in a file", ""),
        (
            "{ path: fraud.json }",
            "{ rules: [{ when: a }] }",
            "MS0105",
            "when",
            "item 1 of `rules` needs the field `score`",
            "",
        ),
        (
            "{ path: fraud.json }",
            "{ rules: [{ when: a, score: high }] }",
            "MS0106",
            "high",
            "`score` must be a number",
            "",
        ),
        ("{ path: fraud.json }", "{ rules: [{ when: a, score: .nan }] }", "MS0115", ".nan", "finite", ""),
        ("{ path: fraud.json }", "{ path: true }", "MS0106", "", "", ""),
        (
            "{ path: fraud.json }",
            "{ path: f, version: true }",
            "MS0106",
            "true",
            "`version` must be a string",
            "\"true\"",
        ),
        ("{ path: fraud.json }", "{ path: f, format: pickle }", "MS0107", "pickle", "`xgboost_json`", ""),
        (
            "dead_letters: { type: file,",
            "dead_letters: { type: file, where: a,",
            "MS0116",
            "where",
            "no effect on dead letters",
            "",
        ),
        ("path: scores.ndjson", "path: x\n    select: []", "MS0118", "[]", "selects nothing", ""),
        ("path: scores.ndjson", "path: x\n    select: a", "MS0106", "a", "must be a list", "`select: [a]`"),
        ("path: scores.ndjson", "path: x\n    include: all", "MS0107", "all", "`row` or `event`", ""),
        ("path: scores.ndjson", "path: x\n    timestamps: iso", "MS0107", "iso", "`epoch` or `rfc3339`", ""),
        ("path: cards.csv", "path: ''", "MS0106", "''", "`path` is empty", ""),
        ("{ type: file, path: cards.csv", "{ type: http, path: cards.csv", "MS0107", "http", "must be `file`", ""),
        ("key: card_id }", "key: [] }", "MS0106", "[]", "`key` must be", ""),
        ("sql: SELECT card_id, amount FROM transactions", "sql: ''", "MS0106", "''", "`sql` is empty", ""),
        ("sql: SELECT card_id, amount FROM transactions", "sql: |\n", "MS0106", "", "`sql` is empty", ""),
    ] {
        if to == "{ path: true }" {
            // A path is text: the word is taken.
            assert!(parse(&spoiled(from, to)).1.is_empty());
            continue;
        }
        let text = spoiled(from, to);
        let found = only(&text);
        assert_eq!(found.0, code, "{to}: {found:?}");
        if !underlined.is_empty() {
            assert_eq!(found.1, underlined, "{to}");
        }
        assert!(found.2.contains(message) && found.3.contains(more), "{to}: {found:?}");
    }
}

#[test]
fn dead_letters() {
    let without = GOOD.replace("dead_letters: { type: file, path: dead.ndjson }\n", "");
    let (pipeline, diagnostics) = parse(&without);
    assert!(pipeline.is_some() && !diagnostics.has_errors());
    assert_eq!(diagnostics.summary(), "1 warning");
    assert_eq!(diagnostics.items()[0].code.id, "MS0120");
    let late = without.replace("FROM transactions\n", "FROM transactions\n    late: dead_letter\n");
    let (_, diagnostics) = parse(&late);
    assert_eq!(diagnostics.summary(), "1 error, 1 warning");
    assert!(diagnostics.items()[1].message.contains("needs a `dead_letters` output"));
    // One that can't be read is not also missing.
    let (_, diagnostics) = parse(&spoiled("dead_letters: { type: file,", "dead_letters: {"));
    assert_eq!(diagnostics.summary(), "1 error");
}

#[test]
fn a_misspelt_field_is_one_mistake() {
    for (from, to, misspelt, meant) in [
        ("pipeline: fraud", "pipelin: fraud", "pipelin", "pipeline"),
        ("    type: file\n    path: tx.ndjson", "    tpye: file\n    path: tx.ndjson", "tpye", "type"),
        ("    schema:", "    shema:", "shema", "schema"),
        ("{ path: fraud.json }", "{ pth: fraud.json }", "pth", "path"),
        ("{ path: fraud.json }", "{ rule: [{ when: a, score: 1 }] }", "rule", "rules"),
        ("predict: fraud", "predct: fraud", "predct", "predict"),
        ("sql: SELECT", "sqll: SELECT", "sqll", "sql"),
        ("- name: scored", "- nam: scored", "nam", "name"),
        ("path: cards.csv", "Path: cards.csv", "Path", "path"),
    ] {
        let text = spoiled(from, to);
        check(&text, "MS0104", misspelt, &format!("unknown field `{misspelt}`"), &format!("did you mean `{meant}`?"));
    }
}

#[test]
fn models_that_nothing_uses_are_pointed_out() {
    let (_, diagnostics) =
        parse(&spoiled("  fraud: { path: fraud.json }", "  fraud: { path: fraud.json }\n  old: { path: old.json }"));
    assert_eq!(diagnostics.summary(), "1 warning");
    assert_eq!(diagnostics.items()[0].message, "no step uses the model `old`");
}

#[test]
fn connections_that_nothing_uses_are_pointed_out() {
    let (_, diagnostics) = parse(&spoiled("sources:", "connections:\n  main: { type: kafka, brokers: k1 }\nsources:"));
    assert_eq!(diagnostics.summary(), "1 warning");
    assert_eq!(diagnostics.items()[0].message, "nothing uses the connection `main`");
}

#[test]
fn one_broken_part_does_not_break_what_refers_to_it() {
    // The step is unreadable, but its name is known; so is the model's.
    let text = spoiled("sql: SELECT card_id, amount FROM transactions", "sql: [1]")
        .replace("predict: fraud", "predict: fraud\n    from: features")
        .replace("{ path: fraud.json }", "{ path: [1] }");
    let (_, diagnostics) = parse(&text);
    assert_eq!(diagnostics.summary(), "2 errors", "{}", diagnostics.render(false));
    // A column with a bad type is still a column.
    let (_, diagnostics) = parse(&spoiled("at: timestamp_ms", "at: timestamp_m"));
    assert_eq!(diagnostics.summary(), "1 error", "{}", diagnostics.render(false));
}
