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
