//! What plans come out of queries.

use crate::support::plan;

pub const FRAUD: &str = "
SELECT t.transaction_id, t.card_id, t.amount, t.event_time,
       COUNT(*)      OVER last_5m AS count_5m,
       SUM(t.amount) OVER last_5m AS sum_5m,
       AVG(t.amount) OVER last_1h AS avg_1h,
       STDDEV_POP(amount) OVER last_1h AS std_1h,
       MAX(amount) OVER last_1h AS max_1h,
       t.amount / NULLIF(AVG(t.amount) OVER last_1h, 0) AS amount_ratio,
       COALESCE((CAST(event_time AS BIGINT) - LAG(CAST(event_time AS BIGINT)) OVER prev) / 1000.0, -1.0) AS secs_since_prev,
       m.risk AS merchant_risk,
       CAST(date_part('hour', event_time) AS INT) AS hour_of_day
FROM transactions t LEFT JOIN merchants m ON t.merchant_id = m.merchant_id
WINDOW last_5m AS (PARTITION BY t.card_id ORDER BY t.event_time
                   RANGE BETWEEN INTERVAL '5 minutes' PRECEDING AND CURRENT ROW),
       last_1h AS (PARTITION BY t.card_id ORDER BY t.event_time
                   RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
       prev AS (PARTITION BY t.card_id ORDER BY t.event_time, t.transaction_id)";

#[test]
fn the_fraud_query() {
    let plan = plan(FRAUD);
    insta::assert_snapshot!(plan.explain());
    assert_eq!(plan.input(), "transactions");
    assert_eq!(plan.tables(), ["merchants"]);
    assert_eq!(plan.event_time(), Some(3));
    assert!(plan.is_stateful());
}

/// Every function that windows compute is planned, whatever its spelling, and over every type it takes.
#[test]
fn every_window_function() {
    let over = "OVER (PARTITION BY substr(card_id, 1, 2) ORDER BY event_time ROWS 3 PRECEDING)";
    for call in [
        "COUNT(*)",
        "COUNT(card_id)",
        "COUNT(DISTINCT card_id)",
        "SUM(amount)",
        "SUM(itemCount)",
        "SUM(CAST(amount AS DECIMAL(10, 2)))",
        "AVG(amount)",
        "MEAN(itemCount)",
        "MIN(card_id)",
        "MAX(event_time)",
        "MIN(DISTINCT amount)",
        "VAR_POP(amount)",
        "VAR_SAMP(amount)",
        "VAR(amount)",
        "STDDEV(amount)",
        "STDDEV_POP(itemCount)",
        "STDDEV_SAMP(amount)",
        "COVAR_POP(amount, itemCount)",
        "COVAR_SAMP(amount, itemCount)",
        "CORR(amount, itemCount)",
        "REGR_SLOPE(amount, itemCount)",
        "FIRST_VALUE(card_id)",
        "LAST_VALUE(amount) IGNORE NULLS",
        "NTH_VALUE(amount, 2)",
        "LAG(card_id)",
        "LAG(amount, 3, 0)",
        "LAG(event_time, 0)",
        "ROW_NUMBER()",
        "APPROX_DISTINCT(card_id)",
        "APPROX_PERCENTILE_CONT(amount, 0.9)",
        "APPROX_PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY amount)",
        "SUM(amount) FILTER (WHERE itemCount > 2)",
        "first_value(amount IGNORE NULLS)",
    ] {
        let planned = plan(&format!("SELECT {call} {over} AS x FROM transactions"));
        assert!(planned.is_stateful(), "{call}");
        assert_eq!(planned.state()[0].keys, ["substr(card_id, 1, 2)"]);
    }
}

#[test]
fn intervals_in_every_spelling() {
    let words = |interval: &str| {
        plan(&format!("SELECT COUNT(*) OVER (ORDER BY event_time RANGE BETWEEN {interval} PRECEDING AND CURRENT ROW) AS n FROM transactions"))
            .state()[0]
            .windows[0]
            .clone()
    };
    for five in
        ["INTERVAL '5 minutes'", "INTERVAL '5' MINUTE", "INTERVAL 5 MINUTE", "'5 minutes'", "INTERVAL '300 seconds'"]
    {
        assert_eq!(words(five), "COUNT(*) over the last 5m", "{five}");
    }
    assert_eq!(words("INTERVAL '1 day 90 minutes'"), "COUNT(*) over the last 1d1h30m");
    assert_eq!(words("INTERVAL '1.5 hours'"), "COUNT(*) over the last 1h30m");
}
