"""DuckDB over the finished data, then one XGBoost prediction over all rows. EVENTS MERCHANTS MODEL OUT"""
import sys

import duckdb
import numpy as np
import pyarrow
import xgboost

from common import FEATURES

events, merchants, model, out = sys.argv[1:]
db = duckdb.connect()
db.execute("SET threads = 1")
db.execute(f"""CREATE VIEW events AS FROM read_json('{events}', format = 'newline_delimited', columns = {{
    transaction_id: 'VARCHAR', card_id: 'VARCHAR', merchant_id: 'VARCHAR', amount: 'DOUBLE', event_time: 'BIGINT'}})""")
db.execute(f"CREATE TABLE merchants AS FROM read_csv('{merchants}')")
table = db.sql("""
    SELECT t.transaction_id, t.card_id, t.event_time, t.amount,
           count(*)           OVER w5 AS count_5m,
           sum(amount)        OVER w5 AS sum_5m,
           avg(amount)        OVER w1 AS avg_1h,
           stddev_pop(amount) OVER w1 AS std_1h,
           max(amount)        OVER w1 AS max_1h,
           amount / avg(amount) OVER w1 AS amount_ratio,
           coalesce((t.event_time - lag(t.event_time) OVER wl) / 1000.0, -1.0) AS secs_since_prev,
           m.risk AS merchant_risk,
           CAST((t.event_time // 3600000) % 24 AS INTEGER) AS hour_of_day
    FROM events t LEFT JOIN merchants m USING (merchant_id)
    WINDOW w5 AS (PARTITION BY card_id ORDER BY event_time RANGE BETWEEN 300000 PRECEDING AND CURRENT ROW),
           w1 AS (PARTITION BY card_id ORDER BY event_time RANGE BETWEEN 3600000 PRECEDING AND CURRENT ROW),
           wl AS (PARTITION BY card_id ORDER BY event_time, transaction_id)""").to_arrow_table()
booster = xgboost.Booster({"nthread": 1})
booster.load_model(model)
features = np.column_stack([table[name].to_numpy() for name in FEATURES]).astype(np.float32)
table = table.append_column("score", pyarrow.array(booster.inplace_predict(features).astype(np.float64)))
db.register("scored", table)
db.execute(f"COPY scored TO '{out}' (FORMAT json)")
