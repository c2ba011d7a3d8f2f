"""Polars over the finished data, then one XGBoost prediction over all rows. EVENTS MERCHANTS MODEL OUT"""
import sys

import numpy as np
import polars as pl
import xgboost

from common import FEATURES

events, merchants, model, out = sys.argv[1:]
transactions = (
    pl.scan_ndjson(events)
    .select("transaction_id", "card_id", "merchant_id", "amount", "event_time")
    .with_columns(time=pl.from_epoch("event_time", time_unit="ms"))
    .sort("card_id", "event_time", "transaction_id", maintain_order=True))
amount = pl.col("amount")


def window(period, **aggregates):
    """One row for each row, in the sorted order; closed at both ends, so peers are in it."""
    rolled = transactions.rolling("time", period=period, closed="both", group_by="card_id").agg(**aggregates)
    return rolled.drop("card_id", "time")


last_5m = window("5m", count_5m=pl.len(), sum_5m=amount.sum())
last_1h = window("1h", avg_1h=amount.mean(), std_1h=amount.std(ddof=0), max_1h=amount.max())
rows = (
    pl.concat([transactions, last_5m, last_1h], how="horizontal")
    .with_columns(
        amount_ratio=amount / pl.col("avg_1h"),
        secs_since_prev=(pl.col("event_time").diff().over("card_id") / 1000.0).fill_null(-1.0),
        hour_of_day=pl.col("time").dt.hour())
    .join(pl.scan_csv(merchants).select("merchant_id", merchant_risk="risk"), on="merchant_id", how="left")
    .drop("time", "merchant_id")
    .collect())
booster = xgboost.Booster({"nthread": 1})
booster.load_model(model)
features = np.column_stack([rows[name].to_numpy() for name in FEATURES]).astype(np.float32)
rows.with_columns(score=pl.Series(booster.inplace_predict(features).astype(np.float64))).write_ndjson(out)
