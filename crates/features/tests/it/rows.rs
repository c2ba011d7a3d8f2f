//! What comes out of running queries.

use millstream_core::{StateReader, StateWriter, StepOutput};
use millstream_features::{Emit, QueryPlan};

use crate::plans::FRAUD;
use crate::support::{Given, Tx, batches, plan, plan_emit, run, run_step, tables, tx};

fn few() -> Vec<Tx> {
    vec![
        tx("a", "c1", "m1", 10.0, 1, 1_000),
        tx("b", "c2", "m2", 20.0, 0, 2_000),
        tx("c", "c1", "m9", 30.0, 3, 3_000),
        Tx { merchant: None, amount: None, ..tx("d", "c1", "", 0.0, 4, 3_000) },
        tx("e", "c2", "m3", 50.0, 2, 4_000),
    ]
}

fn rows_of(sql: &str) -> Vec<String> {
    run(&plan(sql), &few(), &[5]).rows
}

#[test]
fn projections_and_filters() {
    assert_eq!(
        rows_of("SELECT * EXCLUDE (device) FROM transactions WHERE transaction_id = 'b'"),
        ["1@1: b | c2 | m2 | 20.0 | 0 | 1970-01-01T00:00:02"]
    );
    assert_eq!(
        rows_of("SELECT upper(card_id) AS c, amount * 2, ITEMCOUNT + 1 AS n FROM transactions WHERE Amount > 15"),
        ["1@1: C2 | 40.0 | 1", "2@2: C1 | 60.0 | 4", "4@4: C2 | 100.0 | 3"]
    );
    assert_eq!(
        rows_of("SELECT transaction_id FROM transactions WHERE NOT (amount > 15)"),
        ["0@0: a"],
        "NULL is not true"
    );
    assert_eq!(
        rows_of(
            "WITH big AS (SELECT amount AS x, card_id FROM transactions WHERE amount > 15) SELECT x + 1 AS y FROM big WHERE card_id = 'c2'"
        ),
        ["1@1: 21.0", "4@4: 51.0"]
    );
    assert_eq!(
        rows_of("SELECT device.os AS os, device['age'] AS age FROM transactions WHERE itemCount = 3"),
        ["2@2: c1 | 3"]
    );
    assert_eq!(rows_of("SELECT 1 AS one FROM transactions WHERE amount = 10"), ["0@0: 1"]);
    assert_eq!(
        rows_of(
            "SELECT t.amount FROM (SELECT * FROM (SELECT amount FROM transactions) a) t LEFT JOIN merchants m ON 'm1' = m.merchant_id WHERE m.risk > 0 AND amount < 15"
        ),
        ["0@0: 10.0"]
    );
}

#[test]
fn names_of_columns() {
    let names = |sql: &str| plan(sql).schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
    assert_eq!(
        names("SELECT itemcount, ITEMCOUNT AS \"X y\", amount * 2, device.os FROM transactions"),
        ["itemCount", "X y", "amount * 2", "os"]
    );
    assert_eq!(names("SELECT * FROM transactions JOIN merchants USING (merchant_id)").len(), 9);
}

#[test]
fn tracked_columns() {
    let p = plan("SELECT amount, event_time AS at, event_time FROM transactions");
    assert_eq!((p.event_time(), p.partition_key()), (Some(1), None));
    assert_eq!(plan("SELECT event_time + INTERVAL '1 second' AS event_time FROM transactions").event_time(), None);
    assert!(!p.is_stateful());
}

#[test]
fn joins() {
    let left = "SELECT t.transaction_id, m.risk, m.country FROM transactions t LEFT JOIN merchants m ON t.merchant_id = m.merchant_id";
    assert_eq!(
        rows_of(left),
        [
            "0@0: a | 0.1 | CH",
            "1@1: b | 0.9 | US",
            "2@2: c | NULL | NULL",
            "3@3: d | NULL | NULL",
            "4@4: e | NULL | DE"
        ]
    );
    assert_eq!(
        rows_of(&left.replace("LEFT JOIN", "JOIN")),
        ["0@0: a | 0.1 | CH", "1@1: b | 0.9 | US", "4@4: e | NULL | DE"]
    );
    assert_eq!(
        rows_of(&format!("{left} AND t.amount > 15 AND m.country <> 'DE'")),
        [
            "0@0: a | NULL | NULL",
            "1@1: b | 0.9 | US",
            "2@2: c | NULL | NULL",
            "3@3: d | NULL | NULL",
            "4@4: e | NULL | NULL"
        ]
    );
    assert_eq!(
        rows_of(&format!("{} AND t.amount > 15", left.replace("LEFT JOIN", "JOIN"))),
        ["1@1: b | 0.9 | US", "4@4: e | NULL | DE"]
    );
    let table_first =
        "SELECT transaction_id, country FROM merchants m JOIN transactions t ON t.merchant_id = m.merchant_id";
    assert_eq!(rows_of(table_first), ["0@0: a | CH", "1@1: b | US", "4@4: e | DE"]);
    let two = "SELECT transaction_id, max_amount FROM transactions t LEFT JOIN merchants m USING (merchant_id) \
               LEFT JOIN limits l ON l.country = m.country AND l.level = t.itemCount";
    assert_eq!(rows_of(two), ["0@0: a | 100.5", "1@1: b | NULL", "2@2: c | NULL", "3@3: d | NULL", "4@4: e | NULL"]);
    let sub = "SELECT transaction_id, r FROM transactions t JOIN (SELECT merchant_id AS id, risk * 10 AS r FROM merchants WHERE risk > 0.5) s ON s.id = merchant_id";
    assert_eq!(rows_of(sub), ["1@1: b | 9.0"]);
}

#[test]
fn a_row_that_fails_takes_no_other_with_it() {
    let all = few();
    for sizes in [[5], [1], [2]] {
        let given = run(&plan("SELECT transaction_id, 6 / itemCount AS share FROM transactions"), &all, &sizes);
        assert_eq!(given.rows, ["0@0: a | 6", "2@2: c | 2", "3@3: d | 1", "4@4: e | 3"]);
        assert_eq!(given.rejected, ["1@1: MS0250 `share`: division by zero"]);
        let given = run(&plan("SELECT transaction_id FROM transactions WHERE 6 / itemCount > 2"), &all, &sizes);
        assert_eq!(given.rows, ["0@0: a", "4@4: e"]);
        assert_eq!(given.rejected.len(), 1);
        let guarded = "SELECT transaction_id FROM transactions WHERE itemCount <> 0 AND 6 / itemCount > 2";
        assert_eq!(run(&plan(guarded), &all, &sizes).rejected, [] as [&str; 0]);
        let cast = "SELECT CAST(transaction_id AS INT) AS n FROM transactions";
        assert_eq!(run(&plan(cast), &all, &sizes).rejected.len(), 5);
        let overflow = "SELECT itemCount * 4611686018427387904 AS n FROM transactions";
        let given = run(&plan(overflow), &all, &sizes);
        assert_eq!((given.rows.len(), given.rejected.len()), (2, 3), "{given:?}");
        let in_join = "SELECT transaction_id, risk FROM transactions t LEFT JOIN merchants m ON t.merchant_id = m.merchant_id AND 6 / itemCount > 0";
        let given = run(&plan(in_join), &all, &sizes);
        assert_eq!((given.rows.len(), given.rejected.len()), (4, 1), "{given:?}");
    }
}

#[test]
fn failures_of_several_operators_come_in_order() {
    let sql =
        "SELECT 1 / CAST(x - 30 AS INT) AS y FROM (SELECT amount AS x FROM transactions WHERE 6 / itemCount >= 0)";
    for sizes in [[5], [1], [3]] {
        let given = run(&plan(sql), &few(), &sizes);
        assert_eq!(given.rejected.iter().map(|r| r[..3].to_owned()).collect::<Vec<_>>(), ["1@1", "2@2"]);
    }
}

/// A small generator: no two runs differ.
fn many(count: usize) -> Vec<Tx> {
    let mut seed = 42u64;
    let mut next = |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    (0..count)
        .map(|i| {
            let jitter = next(4_000) as i64 - 2_500;
            Tx {
                id: format!("t{i}"),
                card: (next(20) > 0).then(|| format!("c{}", next(5))),
                merchant: (next(10) > 0).then(|| format!("m{}", next(5))),
                amount: (next(15) > 0).then(|| next(100_000) as f64 / 100.0),
                count: Some(next(6) as i64),
                time_ms: (i as i64 * 700 + jitter) / 500 * 500,
            }
        })
        .collect()
}

const STATEFUL: &[&str] = &[
    "SELECT transaction_id, card_id, COUNT(*) OVER w AS n, SUM(amount) OVER w AS s, AVG(amount) FILTER (WHERE itemCount > 2) OVER w AS a \
     FROM transactions WINDOW w AS (PARTITION BY card_id ORDER BY event_time RANGE BETWEEN INTERVAL 10 SECOND PRECEDING AND CURRENT ROW)",
    "SELECT transaction_id, 6 / itemCount AS share, MAX(6 / itemCount) OVER (PARTITION BY card_id ORDER BY event_time ROWS 3 PRECEDING) AS m FROM transactions",
    "SELECT transaction_id, 10 / (n - 3) AS x FROM (SELECT transaction_id, COUNT(*) OVER (PARTITION BY merchant_id ORDER BY event_time) AS n FROM transactions)",
    "SELECT transaction_id, SUM(n) OVER (PARTITION BY merchant_id ORDER BY event_time ROWS 5 PRECEDING) AS x FROM \
     (SELECT transaction_id, merchant_id, event_time, COUNT(*) OVER (PARTITION BY card_id ORDER BY event_time) AS n FROM transactions) s",
    "SELECT transaction_id, amount FROM transactions QUALIFY ROW_NUMBER() OVER (PARTITION BY card_id ORDER BY event_time, transaction_id DESC) <= 3",
    FRAUD,
];

fn chunked(plan: &QueryPlan, all: &[Tx], sizes: &[usize]) -> Given {
    let mut step = plan.build(&tables()).unwrap();
    let mut given = Given::default();
    let mut saved: Vec<Vec<u8>> = Vec::new();
    for (i, (rows, progress)) in batches(all, sizes).into_iter().enumerate() {
        if i % 3 == 2 {
            let mut cut = StateWriter::new();
            if i % 2 == 0 || saved.is_empty() {
                saved.clear();
                step.snapshot(&mut cut);
            } else {
                step.take_changes(&mut cut);
            }
            saved.push(cut.into_bytes());
            step = plan.build(&tables()).unwrap();
            step.restore(&mut StateReader::new(&saved[0])).unwrap();
            for changes in &saved[1..] {
                step.apply_changes(&mut StateReader::new(changes)).unwrap();
            }
        }
        let mut out = StepOutput::default();
        step.process(rows, &progress, &mut out).unwrap();
        given.add(out);
    }
    given
}

#[test]
fn batches_and_restarts_never_show() {
    let all = many(400);
    for sql in STATEFUL {
        for emit in [Emit::OnArrival, Emit::OnWatermark] {
            let plan = plan_emit(sql, emit);
            let whole = run(&plan, &all, &[400]);
            assert!(whole.rows.len() > 10, "{sql}: {whole:?}");
            for sizes in [&[1][..], &[7], &[64], &[3, 1, 50, 2, 90, 1, 1, 17]] {
                let again = chunked(&plan, &all, sizes);
                assert_eq!(again, whole, "{sql} in batches of {sizes:?} with {emit:?}");
            }
            let triggers = |lines: &[String]| -> Vec<u64> {
                lines.iter().map(|l| l.split(['@', ':']).nth(1).unwrap().parse().unwrap()).collect()
            };
            assert!(triggers(&whole.rows).is_sorted(), "{sql} {emit:?}");
            assert!(triggers(&whole.rejected).is_sorted(), "{sql} {emit:?}");
        }
    }
}

#[test]
fn windows_give_what_they_say() {
    let all = few();
    let sql = "SELECT transaction_id, COUNT(*) OVER w AS n, SUM(amount) OVER w AS s, \
               LAG(amount, 1, -1) OVER (PARTITION BY card_id ORDER BY event_time, transaction_id) AS before, \
               COUNT(*) OVER (PARTITION BY card_id ORDER BY event_time) AS so_far \
               FROM transactions \
               WINDOW w AS (PARTITION BY card_id ORDER BY event_time RANGE BETWEEN INTERVAL '2 seconds' PRECEDING AND CURRENT ROW)";
    let given = run(&plan(sql), &all, &[2]);
    assert_eq!(
        given.rows,
        [
            "0@0: a | 1 | 10.0 | -1.0 | 1",
            "1@1: b | 1 | 20.0 | -1.0 | 1",
            "2@2: c | 2 | 40.0 | 10.0 | 2",
            "3@3: d | 3 | 40.0 | 30.0 | 3",
            "4@4: e | 2 | 70.0 | 20.0 | 2"
        ]
    );
    let mut step = plan_emit(sql, Emit::OnWatermark).build(&tables()).unwrap();
    let given = run_step(step.as_mut(), &all, &[5]);
    assert_eq!(given.rows, ["0@4: a | 1 | 10.0 | -1.0 | 1"], "lateness is 2 s, so only a is behind the watermark");
}

#[test]
fn what_a_filter_leaves_out_is_not_evaluated() {
    let sql = "SELECT transaction_id, SUM(6 / itemCount) FILTER (WHERE itemCount <> 0) OVER (ORDER BY event_time) AS s FROM transactions";
    let given = run(&plan(sql), &few(), &[5]);
    assert_eq!(given.rejected, [] as [&str; 0]);
    assert_eq!(given.rows, ["0@0: a | 6", "1@1: b | 6", "2@2: c | 8", "3@3: d | 9", "4@4: e | 12"]);
}

#[test]
fn rows_without_columns_of_their_own() {
    assert_eq!(
        rows_of("SELECT COUNT(*) OVER (ORDER BY event_time) AS n FROM transactions"),
        ["0@0: 1", "1@1: 2", "2@2: 3", "3@3: 4", "4@4: 5"]
    );
    assert_eq!(rows_of("SELECT 1 AS one FROM transactions WHERE 2 > 1").len(), 5);
    assert_eq!(rows_of("SELECT m.risk FROM transactions JOIN merchants m ON m.merchant_id = 'm1'").len(), 5);
    assert_eq!(
        rows_of(
            "SELECT n FROM (SELECT COUNT(*) OVER (ORDER BY event_time) AS n, amount FROM transactions) s WHERE n > 4"
        ),
        ["4@4: 5"]
    );
}

#[test]
fn fingerprints_are_of_the_state_alone() {
    let base = "SELECT transaction_id, SUM(amount) OVER (PARTITION BY card_id ORDER BY event_time ROWS 3 PRECEDING) AS s FROM transactions";
    let print = |sql: &str| plan(sql).fingerprint();
    for same in [
        "SELECT SUM(t.amount) OVER (PARTITION BY t.card_id ORDER BY t.event_time ROWS 3 PRECEDING) * 2 AS renamed FROM transactions t",
        "SELECT s FROM (SELECT SUM(x) OVER (PARTITION BY c ORDER BY event_time ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) AS s FROM (SELECT amount AS x, card_id AS c, event_time FROM transactions) t) WHERE s > 3",
    ] {
        assert_eq!(print(same), print(base), "{same}");
    }
    for other in [
        base.replace("ROWS 3", "ROWS 4"),
        base.replace("SUM(amount)", "SUM(amount + 1)"),
        base.replace("BY card_id", "BY merchant_id"),
        format!("{base} WHERE amount > 3"),
        base.replace("FROM transactions", "FROM transactions JOIN merchants USING (merchant_id)"),
        base.replace("event_time ROWS", "event_time, amount ROWS"),
    ] {
        assert_ne!(print(&other), print(base), "{other}");
    }
    assert_ne!(plan_emit(base, Emit::OnWatermark).fingerprint(), print(base));
    let rows = |sql: &str| plan(sql).rows_fingerprint();
    assert_eq!(rows("SELECT amount * 2 AS x FROM transactions"), rows("SELECT t.amount * 2 AS y FROM transactions t"));
    for other in
        ["SELECT amount * 3 AS x FROM transactions", "SELECT amount * 2 AS x FROM transactions WHERE amount > 3"]
    {
        assert_ne!(rows(other), rows("SELECT amount * 2 AS x FROM transactions"), "{other}");
    }
    assert_eq!(print("SELECT amount FROM transactions"), print("SELECT card_id FROM transactions WHERE amount > 3"));
    assert_eq!(
        print(base),
        "3dafd4d16f607817e25b88453ff2a5f46a268a2f16946d1f2821da4697d27214",
        "the text that state hangs on changed: snapshots of earlier versions will be rebuilt"
    );
}
