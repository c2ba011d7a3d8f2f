//! What is refused, where it points, and what it says to write instead.

use millstream_features::{PartitionedBy, QueryOptions, plan_query};

use crate::support::{catalog, catalog_with, shown};

fn refused(sql: &str) -> String {
    match plan_query(sql, &catalog(), &QueryOptions::default()) {
        Ok(plan) => format!("PLANNED\n{}", plan.explain()),
        Err(problems) => shown(sql, &problems),
    }
}

fn all(queries: &[&str]) -> String {
    queries.iter().map(|sql| format!("{sql}\n{}\n", refused(sql))).collect()
}

const OVER: &str = "OVER (PARTITION BY card_id ORDER BY event_time)";

#[test]
fn syntax() {
    insta::assert_snapshot!(all(&[
        "",
        "SELECT",
        "SELECT amount, FROM transactions",
        "SELECT amount FROM transactions WHERE",
        "SELECT (amount FROM transactions",
        "SELCT amount FROM transactions",
        "SELECT 'abc FROM transactions",
        "SELECT amount FROM transactions; SELECT 1",
        "DELETE FROM transactions",
        "SELECT\n  amount\nFRM transactions",
    ]));
}

#[test]
fn names() {
    insta::assert_snapshot!(all(&[
        "SELECT amont, card, t.cardid, merchant_di FROM transactions t WHERE even_time IS NULL",
        "SELECT amount FROM transaction",
        "SELECT x FROM nowhere",
        "SELECT uper(card_id), nosuchfunction(amount), SUMM(amount) OVER w FROM transactions WINDOW w AS (ORDER BY event_time)",
        "SELECT merchant_id FROM transactions JOIN merchants ON transactions.merchant_id = merchants.merchant_id",
        "SELECT t.merchant_id, m.merchant_id FROM transactions t JOIN merchants m ON t.merchant_id = m.merchant_id",
        "SELECT * FROM transactions t JOIN merchants m ON t.merchant_id = m.merchant_id",
        "SELECT amount * 2 AS twice, twice + 1 AS more FROM transactions",
        "SELECT \"Amount\", \"yes\", amount FROM transactions",
        "SELECT x.amount, transactions.amount FROM transactions t",
        "SELECT COUNT(*) OVER wi FROM transactions WINDOW win AS (PARTITION BY card_id ORDER BY event_time)",
        "SELECT amount AS a, card_id AS a FROM transactions",
        "SELECT y FROM (SELECT amount AS x FROM transactions) s",
        "WITH big AS (SELECT amount AS x FROM transactions) SELECT x, z FROM big",
        "SELECT * EXCLUDE (amunt) FROM transactions",
    ]));
}

#[test]
fn clauses() {
    insta::assert_snapshot!(all(&[
        "SELECT amount FROM transactions ORDER BY amount",
        "SELECT amount FROM transactions LIMIT 10",
        "SELECT amount FROM transactions OFFSET 3",
        "SELECT amount FROM transactions FETCH FIRST 3 ROWS ONLY",
        "SELECT card_id, SUM(amount) FROM transactions GROUP BY card_id",
        "SELECT card_id FROM transactions GROUP BY card_id HAVING COUNT(*) > 1",
        "SELECT SUM(amount), COUNT(*) FROM transactions",
        "SELECT DISTINCT card_id FROM transactions",
        "SELECT card_id FROM transactions UNION ALL SELECT card_id FROM transactions",
        "SELECT card_id FROM transactions WHERE merchant_id IN (SELECT merchant_id FROM merchants)",
        "SELECT card_id FROM transactions WHERE EXISTS (SELECT 1 FROM merchants)",
        "SELECT (SELECT MAX(risk) FROM merchants) AS r FROM transactions",
        "SELECT 1",
        "SELECT risk FROM merchants",
        "SELECT now() AS n, current_timestamp AS c, random() AS r, uuid() AS u FROM transactions",
        "WITH RECURSIVE r AS (SELECT 1) SELECT * FROM r",
        "SELECT * FROM unnest([1, 2])",
        "SELECT NULL AS x FROM transactions",
    ]));
}

#[test]
fn joins() {
    insta::assert_snapshot!(all(&[
        "SELECT a.amount FROM transactions a JOIN transactions b ON a.card_id = b.card_id",
        "SELECT amount FROM transactions t RIGHT JOIN merchants m ON t.merchant_id = m.merchant_id",
        "SELECT amount FROM transactions t FULL JOIN merchants m ON t.merchant_id = m.merchant_id",
        "SELECT amount FROM transactions CROSS JOIN merchants",
        "SELECT amount FROM transactions, merchants",
        "SELECT amount FROM transactions t JOIN merchants m ON t.amount > m.risk",
        "SELECT amount FROM transactions t JOIN merchants m ON t.card_id = m.country",
        "SELECT amount FROM transactions t JOIN limits l ON t.card_id = l.country",
        "SELECT amount FROM transactions t JOIN merchants",
        "SELECT amount FROM transactions NATURAL JOIN merchants",
        "SELECT amount FROM merchants m LEFT JOIN transactions t ON t.merchant_id = m.merchant_id",
        "SELECT amount FROM transactions t JOIN merchants m USING (merchant)",
        "SELECT amount FROM transactions t LEFT JOIN merchants m ON t.merchant_id = m.merchant_id + 1",
    ]));
}

#[test]
fn windows() {
    insta::assert_snapshot!(all(&[
        "SELECT SUM(amount) OVER (PARTITION BY card_id) FROM transactions",
        "SELECT SUM(amount) OVER (PARTITION BY card_id ORDER BY amount) FROM transactions",
        "SELECT SUM(amount) OVER (PARTITION BY card_id ORDER BY event_time DESC) FROM transactions",
        "SELECT SUM(amount) OVER (ORDER BY event_time ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM transactions",
        "SELECT SUM(amount) OVER (ORDER BY event_time ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING) FROM transactions",
        "SELECT SUM(amount) OVER (ORDER BY event_time ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) FROM transactions",
        "SELECT SUM(amount) OVER (ORDER BY event_time GROUPS 3 PRECEDING) FROM transactions",
        "SELECT SUM(amount) OVER (ORDER BY event_time RANGE BETWEEN INTERVAL '1 month' PRECEDING AND CURRENT ROW) FROM transactions",
        "SELECT SUM(amount) OVER (ORDER BY event_time RANGE BETWEEN INTERVAL '-5 minutes' PRECEDING AND CURRENT ROW) FROM transactions",
        "SELECT SUM(amount) OVER (ORDER BY event_time RANGE BETWEEN INTERVAL 'a while' PRECEDING AND CURRENT ROW) FROM transactions",
        "SELECT SUM(amount) OVER (ORDER BY event_time RANGE BETWEEN 300000 PRECEDING AND CURRENT ROW) FROM transactions",
        "SELECT SUM(amount) OVER (ORDER BY event_time ROWS BETWEEN INTERVAL '5 minutes' PRECEDING AND CURRENT ROW) FROM transactions",
        "SELECT SUM(amount) OVER (ORDER BY event_time, amount RANGE BETWEEN INTERVAL '5 minutes' PRECEDING AND CURRENT ROW) FROM transactions",
        "SELECT LEAD(amount) OVER (ORDER BY event_time), RANK() OVER (ORDER BY event_time), NTILE(4) OVER (ORDER BY event_time), MEDIAN(amount) OVER (ORDER BY event_time) FROM transactions",
        "SELECT UPPER(card_id) OVER (ORDER BY event_time) FROM transactions",
        "SELECT SUM(DISTINCT amount) OVER (ORDER BY event_time) FROM transactions",
        "SELECT FIRST_VALUE(amount ORDER BY amount) OVER (ORDER BY event_time) FROM transactions",
        "SELECT amount FROM transactions WHERE COUNT(*) OVER (ORDER BY event_time) > 1",
        "SELECT SUM(COUNT(*) OVER (ORDER BY event_time)) OVER (ORDER BY event_time) FROM transactions",
        "SELECT LAG(amount, -1) OVER (ORDER BY event_time), LAG(amount, itemCount) OVER (ORDER BY event_time), LAG(amount, 1, amount) OVER (ORDER BY event_time) FROM transactions",
        "SELECT NTH_VALUE(amount, 0) OVER (ORDER BY event_time), APPROX_PERCENTILE_CONT(amount, 1.5) OVER (ORDER BY event_time) FROM transactions",
        "SELECT COUNT(*) OVER (ORDER BY t2) FROM (SELECT event_time + INTERVAL '1 hour' AS t2, event_time FROM transactions)",
        "SELECT COUNT(*) OVER (ORDER BY amount) FROM (SELECT amount FROM transactions)",
    ]));
}

#[test]
fn types() {
    insta::assert_snapshot!(all(&[
        "SELECT amount + card_id AS x, lower(amount, 2) AS y, upper(card_id) + 1 AS z FROM transactions",
        "SELECT amount FROM transactions WHERE amount",
        "SELECT amount FROM transactions WHERE amount > 'much'",
        "SELECT amount FROM transactions t JOIN merchants m ON t.merchant_id = m.merchant_id AND t.amount + t.event_time > 2",
        "SELECT amount FROM transactions QUALIFY COUNT(*) OVER (ORDER BY event_time)",
        "SELECT CAST(device AS INT) AS d FROM transactions",
        "SELECT device.oss FROM transactions",
        "SELECT SUM(card_id) OVER (ORDER BY event_time) FROM transactions",
        "SELECT CASE WHEN amount THEN 1 ELSE 2 END AS c FROM transactions",
        "SELECT x FROM (SELECT amount + event_time AS x FROM transactions)",
    ]));
}

#[test]
fn too_much() {
    let long = format!("SELECT {} AS x FROM transactions", vec!["amount"; 300].join(" + "));
    let deep = format!("SELECT {}amount{} AS x FROM transactions", "(".repeat(200), ")".repeat(200));
    let wide = format!("SELECT amount FROM transactions WHERE card_id IN ({})", vec!["'c'"; 40_000].join(", "));
    for sql in [long, deep, wide] {
        let problems = plan_query(&sql, &catalog(), &QueryOptions::default()).unwrap_err();
        assert_eq!(problems[0].code.id, "MS0201", "{problems:?}");
    }
    let fair = format!(
        "SELECT {} AS x FROM transactions WHERE card_id IN ({})",
        vec!["amount"; 200].join(" + "),
        vec!["'c'"; 1_000].join(", ")
    );
    assert!(plan_query(&fair, &catalog(), &QueryOptions::default()).is_ok());
}

#[test]
fn several_at_once() {
    let sql = format!(
        "SELECT amuont, now() AS n, amount + event_time AS bad, LEAD(amount) {OVER} AS l, SUM(amount) AS s\n\
         FROM transactions WHERE nope > 3 AND card_id IN (SELECT 1) ORDER BY amount LIMIT 3"
    );
    insta::assert_snapshot!(refused(&sql));
}

#[test]
fn partitions_and_time() {
    let ask = |sql: &str, partitioned_by, time| match plan_query(
        sql,
        &catalog_with(partitioned_by, time),
        &QueryOptions::default(),
    ) {
        Ok(_) => "planned\n".to_owned(),
        Err(problems) => shown(sql, &problems),
    };
    let by_card = format!("SELECT COUNT(*) {OVER} FROM transactions");
    let by_both = "SELECT COUNT(*) OVER (PARTITION BY merchant_id, card_id ORDER BY event_time) FROM transactions";
    let by_merchant = "SELECT COUNT(*) OVER (PARTITION BY merchant_id ORDER BY event_time) FROM transactions";
    let by_none = "SELECT COUNT(*) OVER (ORDER BY event_time) FROM transactions";
    let by_changed = "SELECT COUNT(*) OVER (PARTITION BY c ORDER BY event_time) FROM (SELECT lower(card_id) AS c, event_time FROM transactions)";
    let by_renamed = "SELECT COUNT(*) OVER (PARTITION BY c ORDER BY e) FROM (SELECT card_id AS c, event_time AS e FROM transactions)";
    let key = PartitionedBy::Key(1);
    assert_eq!(ask(&by_card, key, true), "planned\n");
    assert_eq!(ask(by_both, key, true), "planned\n");
    assert_eq!(ask(by_renamed, key, true), "planned\n");
    let mut text = String::new();
    for sql in [by_merchant, by_none, by_changed] {
        text.push_str(&format!("{sql}\n{}\n", ask(sql, key, true)));
    }
    text.push_str(&format!("unknown partitioning\n{}\n", ask(&by_card, PartitionedBy::Unknown, true)));
    text.push_str(&format!("no event time\n{}\n", ask(&by_card, PartitionedBy::Single, false)));
    insta::assert_snapshot!(text);
}
