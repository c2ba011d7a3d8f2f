"""Rows of an output that are not the reference's: REFERENCE OUTPUT.

Prints how many scores differ by more than 1e-6, and how many rows have a feature that is off by more than 1e-9 relative.
A row that is missing, superfluous or there twice differs.
"""
import sys

import duckdb

FEATURES = ["amount", "count_5m", "sum_5m", "avg_1h", "std_1h", "max_1h", "amount_ratio", "secs_since_prev",
            "merchant_risk", "hour_of_day"]
TYPES = {"transaction_id": "VARCHAR", **{name: "DOUBLE" for name in [*FEATURES, "score"]}}

db = duckdb.connect()
for name, path in zip(("expected", "actual"), sys.argv[1:]):
    db.execute(f"CREATE TABLE {name} AS FROM read_json('{path}', format = 'newline_delimited', columns = {TYPES})")
same = " AND ".join(f"(abs(a.{c} - e.{c}) <= 1e-9 * greatest(1, abs(e.{c})) OR (a.{c} IS NULL AND e.{c} IS NULL))"
                    for c in FEATURES)
scores, features = db.execute(f"""
    WITH twice AS (SELECT count(*) - count(DISTINCT transaction_id) AS n FROM actual)
    SELECT count(*) FILTER (WHERE NOT coalesce(abs(a.score - e.score) <= 1e-6, false)) + (FROM twice),
           count(*) FILTER (WHERE NOT coalesce({same}, false)) + (FROM twice)
    FROM expected e FULL JOIN actual a USING (transaction_id)""").fetchone()
print(scores, features)
