#!/usr/bin/env python3
"""Makes what this example is made of: merchants.csv, transactions-100k.ndjson.zst and model.json.

    pip install duckdb==2.0.0 numpy xgboost==3.2.0
    cargo build --release
    python examples/fraud/train.py target/release/millstream

The features come from the SQL of pipeline.yaml itself, run by DuckDB over past transactions, so what the model is
trained on and what it is given when it serves have one definition. The labels are drawn from a made-up rule (see
`label`): this is an example, not a fraud model.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

import duckdb
import numpy as np
import xgboost

HERE = pathlib.Path(__file__).parent
FEATURES = ["amount", "count_5m", "sum_5m", "avg_1h", "std_1h", "max_1h",
            "amount_ratio", "secs_since_prev", "merchant_risk", "hour_of_day"]
COLUMNS = {"transaction_id": "VARCHAR", "card_id": "VARCHAR", "merchant_id": "VARCHAR", "amount": "DOUBLE",
           "event_time": "BIGINT"}
# 10 events a second of event time, so that 100,000 span almost three hours and both windows slide.
SAMPLE = ["--events", "100000", "--seed", "20250602", "--rate", "10", "--bad-fraction", "0.0001"]
# The past: another seed, the same merchants.
PAST = ["--events", "300000", "--seed", "20250601", "--rate", "10"]


def pipeline_sql():
    """The SQL of the step `features`, with what DuckDB spells differently put its way."""
    text = (HERE / "pipeline.yaml").read_text()
    sql = re.search(r"sql: \|\n((?:      .*\n)+)", text).group(1)
    sql = re.sub(r"CAST\(t\.event_time AS BIGINT\)", "epoch_ms(t.event_time)", sql)
    return sql


def features(transactions, merchants):
    db = duckdb.connect()
    db.execute(f"""CREATE VIEW transactions AS SELECT * REPLACE (make_timestamp(event_time * 1000) AS event_time)
        FROM read_json('{transactions}', format = 'newline_delimited', columns = {COLUMNS})""")
    db.execute(f"CREATE TABLE merchants AS FROM read_csv('{merchants}')")
    columns = db.sql(f"SELECT * FROM ({pipeline_sql()}) ORDER BY transaction_id").fetchnumpy()
    return {name: np.ma.filled(columns[name].astype(np.float64), np.nan) for name in FEATURES}


def label(f, random):
    z = (-7.4 + 2.6 * np.log1p(f["amount_ratio"]) + 0.35 * np.minimum(f["count_5m"], 8) + 6 * f["merchant_risk"]
         + 0.004 * np.minimum(f["std_1h"], 300) + 1.1 * ((f["secs_since_prev"] >= 0) & (f["secs_since_prev"] < 20))
         + 0.3 * (f["amount"] >= 0.99 * f["max_1h"]) + 0.05 * (f["hour_of_day"] - 9))
    return random.random(len(z)) < 1 / (1 + np.exp(-2 * z))


def main(millstream):
    def generate(*arguments):
        subprocess.run([millstream, "generate", "fraud", *map(str, arguments)], check=True)

    sample = HERE / "transactions-100k.ndjson"
    generate(*SAMPLE, "--output", sample, "--merchants-output", HERE / "merchants.csv")
    subprocess.run(["zstd", "-q", "-f", "--rm", "--ultra", "-22", sample], check=True)
    with tempfile.TemporaryDirectory() as folder:
        past = pathlib.Path(folder) / "past.ndjson"
        generate(*PAST, "--output", past)
        f = features(past, HERE / "merchants.csv")
    y = label(f, np.random.Generator(np.random.PCG64(7)))
    x = np.column_stack([f[name] for name in FEATURES]).astype(np.float32)
    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 6, "eta": 0.1, "tree_method": "hist", "seed": 7, "nthread": 1,
         "min_child_weight": 2},
        xgboost.DMatrix(x, y, feature_names=FEATURES), num_boost_round=100)
    booster.save_model(HERE / "model.json")
    print(f"{y.mean():.2%} of {len(y):,} past transactions are fraud; {booster.num_boosted_rounds()} trees")


if __name__ == "__main__":
    main(*sys.argv[1:])
