//! Conditions and select items outside of queries.

use arrow::array::Array;
use millstream_features::{plan_predicate, plan_projection};

use crate::support::{Tx, columns, schema, shown, tx};

fn rows() -> Vec<Tx> {
    vec![
        tx("a", "c1", "m1", 10.0, 1, 0),
        tx("b", "c2", "m2", 20.0, 0, 0),
        Tx { amount: None, ..tx("c", "c3", "m3", 0.0, 2, 0) },
    ]
}

#[test]
fn conditions() {
    let ask = |sql: &str| {
        let (mask, failed) = plan_predicate(sql, &schema()).unwrap().evaluate(&columns(&rows())).unwrap();
        let answers: Vec<Option<bool>> = (0..mask.len()).map(|i| mask.is_valid(i).then(|| mask.value(i))).collect();
        (answers, failed)
    };
    assert_eq!(ask("amount > 15").0, [Some(false), Some(true), None]);
    assert_eq!(ask("row.amount > 15 OR ITEMCOUNT = 2").0, [Some(false), Some(true), Some(true)]);
    let (answers, failed) = ask("6 / itemCount > 5");
    assert_eq!(answers, [Some(true), None, Some(false)]);
    assert_eq!((failed.len(), failed[0].row), (1, 1));
    assert_eq!(failed[0].message, "`6 / itemCount > 5`: division by zero");
    assert_eq!(ask("NULL").0, [None, None, None]);
}

#[test]
fn bad_conditions() {
    let mut text = String::new();
    for sql in [
        "amount",
        "amont > 3",
        "amount > 'x'",
        "amount >",
        "amount > 3 extra",
        "COUNT(*) > 3",
        "COUNT(*) OVER (ORDER BY event_time) > 3",
        "now() > event_time",
        "amount IN (SELECT 1)",
        "amount + card_id > 3",
    ] {
        let problems = plan_predicate(sql, &schema()).unwrap_err();
        text.push_str(&format!("{sql}\n{}\n", shown(sql, &problems)));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn select_items() {
    let items: Vec<String> =
        ["amount", "card_id AS card", "6 / itemCount AS share", "amount * 2"].map(String::from).to_vec();
    let projection = plan_projection(&items, &schema()).unwrap();
    let names: Vec<&str> = projection.schema().fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["amount", "card", "share", "amount * 2"]);
    assert_eq!((projection.source_of(1), projection.source_of(2)), (Some(1), None));
    let done = projection.evaluate(&columns(&rows())).unwrap();
    assert_eq!((done.columns.num_rows(), done.kept, done.failed.len()), (2, Some(vec![0, 2]), 1));

    let star = plan_projection(&["* EXCLUDE (device)".to_owned(), "amount + 1 AS more".to_owned()], &schema()).unwrap();
    assert_eq!(star.schema().fields().len(), 7);

    let bad: Vec<String> = ["amount", "amont", "amount AS amount", "event_time +", "*"].map(String::from).to_vec();
    let problems = plan_projection(&bad, &schema()).unwrap_err();
    let text: String =
        problems.iter().map(|p| format!("{} {}", p.item, shown(&bad[p.item], std::slice::from_ref(p)))).collect();
    insta::assert_snapshot!(text);
}

/// DataFusion's `lpad` panics on a length of -2^31: the row goes, the others and the pipeline stay.
#[test]
fn a_function_that_panics_takes_its_row_only() {
    let item = "lpad(card_id, CASE WHEN itemCount = 0 THEN -2147483648 ELSE 3 END, 'x') AS p".to_owned();
    let done = plan_projection(&[item], &schema()).unwrap().evaluate(&columns(&rows())).unwrap();
    assert_eq!((done.columns.num_rows(), done.kept), (2, Some(vec![0, 2])));
    assert_eq!(done.failed[0].message, "`p`: capacity overflow");
    assert!(!millstream_features::panic_is_caught());
}

#[test]
fn a_bad_regular_expression_is_called_one() {
    let items = ["regexp_replace(card_id, '(', 'x') AS p".to_owned()];
    let done = plan_projection(&items, &schema()).unwrap().evaluate(&columns(&rows())).unwrap();
    assert_eq!(done.failed[0].message, "`p`: not a regular expression: unclosed group");
}
