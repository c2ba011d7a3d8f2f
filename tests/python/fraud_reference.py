#!/usr/bin/env python3
"""The fraud job without Millstream, and how many rows of its output differ from that.

    fraud_reference.py watermark|arrival EVENTS MERCHANTS MODEL SCORES [SCORES ...]

`watermark`: DuckDB computes the features of the finished data, in one query.
`arrival`:   plain Python walks the events in order of arrival; each sees what of its card has come before it.
Either way XGBoost itself scores them. A row differs if any column is off by more than 1e-9 relative (absolute below
1), or is missing, or is there twice. The order of the output is checked too. The last line is the count.
"""
import bisect
import csv
import json
import math
import sys

import duckdb
import numpy as np
import xgboost

FEATURES = ["amount", "count_5m", "sum_5m", "avg_1h", "std_1h", "max_1h",
            "amount_ratio", "secs_since_prev", "merchant_risk", "hour_of_day"]

# Windows are closed, [t - x, t]; rows of one card with the same time are peers and count for each other.
SQL = """
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
       wl AS (PARTITION BY card_id ORDER BY event_time, transaction_id)
ORDER BY t.event_time, t.arrival
"""


def good_events(path):
    """What the pipeline's schema and check let through."""
    for line in open(path, encoding="utf-8"):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event["card_id"], str) and isinstance(event["amount"], float) and event["amount"] > 0:
            yield event


def by_watermark(events, merchants):
    db = duckdb.connect()
    db.execute("SET threads = 1")
    names = ["transaction_id", "card_id", "merchant_id", "amount", "event_time"]
    columns = {n: np.array([e[n] for e in events], dtype=object if n.endswith("_id") else None) for n in names}
    columns["arrival"] = np.arange(len(events))
    db.register("events", columns)
    db.execute(f"CREATE TABLE merchants AS FROM read_csv('{merchants}')")
    result = db.sql(SQL).fetchnumpy()
    return {name: np.ma.filled(values.astype(np.float64), np.nan) if name in FEATURES else values for name, values in result.items()}


class Card:
    """What has arrived of one card, by (event time, transaction)."""

    def __init__(self):
        self.rows = []          # (event_time, transaction_id)
        self.amounts = []       # in the same order

    def arrive(self, time, transaction, amount):
        at = bisect.bisect(self.rows, (time, transaction))
        self.rows.insert(at, (time, transaction))
        self.amounts.insert(at, amount)
        end = bisect.bisect(self.rows, (time + 1, ""))
        last_5m = self.amounts[bisect.bisect(self.rows, (time - 300_000, "")):end]
        last_1h = self.amounts[bisect.bisect(self.rows, (time - 3_600_000, "")):end]
        mean = math.fsum(last_1h) / len(last_1h)
        deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in last_1h) / len(last_1h))
        gap = (time - self.rows[at - 1][0]) / 1000.0 if at else -1.0
        return len(last_5m), math.fsum(last_5m), mean, deviation, max(last_1h), amount / mean, gap


def by_arrival(events, merchants):
    risk = {row["merchant_id"]: float(row["risk"]) for row in csv.DictReader(open(merchants))}
    cards, rows = {}, []
    for e in events:
        card = cards.setdefault(e["card_id"], Card())
        values = card.arrive(e["event_time"], e["transaction_id"], e["amount"])
        rows.append((e["amount"], *values, risk.get(e["merchant_id"], math.nan), e["event_time"] // 3_600_000 % 24))
    columns = dict(zip(FEATURES, np.array(rows, dtype=np.float64).reshape(-1, len(FEATURES)).T))
    for name in ("transaction_id", "card_id", "event_time"):
        columns[name] = np.array([e[name] for e in events])
    return columns


def main(mode, events_path, merchants, model, *outputs):
    events = list(good_events(events_path))
    expected = {"watermark": by_watermark, "arrival": by_arrival}[mode](events, merchants)
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(model)
    features = np.column_stack([expected[name] for name in FEATURES]).astype(np.float32)
    expected["score"] = booster.inplace_predict(features).astype(np.float64)

    rows = [json.loads(line) for path in outputs for line in open(path, encoding="utf-8")]
    place = {t: i for i, t in enumerate(expected["transaction_id"])}
    at = np.array([place.get(row["transaction_id"], -1) for row in rows])
    print(f"{len(place)} rows expected, {len(rows)} given")
    unknown, repeated = int((at < 0).sum()), len(at) - len(np.unique(at))
    bad = np.zeros(len(place), dtype=bool)
    bad[np.setdiff1d(np.arange(len(place)), at)] = True
    missing = int(bad.sum())
    if unknown or repeated or missing:
        print(f"{unknown} rows that should not be there, {repeated} twice, {missing} missing")
    keep = at >= 0
    for name in [*FEATURES, "score", "event_time"]:
        want = expected[name][at[keep]].astype(np.float64)
        got = np.array([row[name] if row[name] is not None else math.nan for row in rows], dtype=np.float64)[keep]
        with np.errstate(invalid="ignore"):
            differ = ~((np.abs(got - want) <= 1e-9 * np.maximum(1.0, np.abs(want))) | (np.isnan(got) & np.isnan(want)))
        bad[at[keep][differ]] = True
        if differ.any():
            k = int(np.argmax(differ))
            print(f"{name}: {int(differ.sum())} differ, first {expected['transaction_id'][at[keep][k]]}: expected {want[k]!r}, given {got[k]!r}")
    if len(outputs) == 1 and not np.array_equal(at, np.arange(len(at))):
        print(f"the order differs from row {int(np.argmax(at != np.arange(len(at))))} on")
        bad |= True
    count = int(bad.sum()) + unknown + repeated
    print(f"{count} rows differ")
    sys.exit(1 if count else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
