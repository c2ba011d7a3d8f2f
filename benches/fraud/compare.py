"""How many rows of an output differ from the oracle's by more than 1e-9 relative (absolute below 1). EXPECTED ACTUAL"""
import sys

import duckdb

COLUMNS = ["amount", "count_5m", "sum_5m", "avg_1h", "std_1h", "max_1h",
           "amount_ratio", "secs_since_prev", "merchant_risk", "hour_of_day", "score"]
TYPES = {"transaction_id": "VARCHAR", **{name: "DOUBLE" for name in COLUMNS}}

db = duckdb.connect()
for name, path in zip(("expected", "actual"), sys.argv[1:]):
    db.execute(f"CREATE TABLE {name} AS FROM read_json('{path}', format = 'newline_delimited', columns = {TYPES})")
same = " AND ".join(f"(abs(a.{c} - e.{c}) <= 1e-9 * greatest(1, abs(e.{c})) OR (a.{c} IS NULL AND e.{c} IS NULL))" for c in COLUMNS)
# A row that is missing, superfluous or there twice differs.
differ = db.execute(f"""
    SELECT count(*) FILTER (WHERE NOT coalesce({same}, false))
         + (SELECT count(*) - count(DISTINCT transaction_id) FROM actual)
    FROM expected e FULL JOIN actual a USING (transaction_id)""").fetchone()[0]
print(differ)
