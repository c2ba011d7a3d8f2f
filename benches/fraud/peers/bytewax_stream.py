"""Bytewax, event by event: put in order behind a watermark of 3 s, windows for each card, XGBoost for each batch.

    EVENTS MERCHANTS MODEL OUT

Bytewax has no window that trails each row and no reordering across keys, so both are written here: running sums with
eviction, a monotonic queue for the maximum, a heap for the order. Rows of one card with the same time see only those
before them (ROWS, not RANGE, at ties), and running sums drift: the rows that differ come from there.
"""
import csv
import heapq
import sys
from collections import deque
from math import sqrt

import bytewax.operators as op
import numpy as np
import orjson
import xgboost
from bytewax.connectors.files import FileSink, FileSource
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.testing import run_main

from common import FEATURES

events, merchants, model, out = sys.argv[1:]
risk = {row["merchant_id"]: float(row["risk"]) for row in csv.DictReader(open(merchants))}
booster = xgboost.Booster({"nthread": 1})
booster.load_model(model)
LATENESS_MS, LAST_5M, LAST_1H = 3_000, 300_000, 3_600_000


class InOrder(StatefulBatchLogic):
    """Holds events back until the watermark has passed them."""

    def __init__(self, state):
        self.heap, self.greatest = state or ([], 0)

    def release(self, up_to):
        while self.heap and self.heap[0][0] <= up_to:
            yield heapq.heappop(self.heap)[2]

    def on_batch(self, values):
        for event in values:
            heapq.heappush(self.heap, (event["event_time"], event["transaction_id"], event))
            self.greatest = max(self.greatest, event["event_time"])
        return list(self.release(self.greatest - LATENESS_MS)), False

    def on_eof(self):
        return list(self.release(float("inf"))), False

    def snapshot(self):
        return list(self.heap), self.greatest


class Card:
    __slots__ = ("last_5m", "last_1h", "maxima", "sum_5m", "sum_1h", "squares_1h", "previous")

    def __init__(self):
        self.last_5m, self.last_1h, self.maxima = deque(), deque(), deque()
        self.sum_5m = self.sum_1h = self.squares_1h = 0.0
        self.previous = None

    def see(self, time, amount):
        while self.last_5m and self.last_5m[0][0] < time - LAST_5M:
            self.sum_5m -= self.last_5m.popleft()[1]
        while self.last_1h and self.last_1h[0][0] < time - LAST_1H:
            gone = self.last_1h.popleft()[1]
            self.sum_1h -= gone
            self.squares_1h -= gone * gone
        while self.maxima and self.maxima[0][0] < time - LAST_1H:
            self.maxima.popleft()
        while self.maxima and self.maxima[-1][1] <= amount:
            self.maxima.pop()
        for queue in (self.last_5m, self.last_1h, self.maxima):
            queue.append((time, amount))
        self.sum_5m += amount
        self.sum_1h += amount
        self.squares_1h += amount * amount
        count = len(self.last_1h)
        mean = self.sum_1h / count
        deviation = sqrt(max(0.0, self.squares_1h / count - mean * mean))
        gap = -1.0 if self.previous is None else (time - self.previous) / 1000.0
        self.previous = time
        return [amount, len(self.last_5m), self.sum_5m, mean, deviation, self.maxima[0][1], amount / mean, gap]


def features(card, event):
    card = card or Card()
    values = card.see(event["event_time"], event["amount"])
    values += [risk[event["merchant_id"]], event["event_time"] // 3_600_000 % 24]
    return card, (event, values)


def score(batch):
    if batch:
        scores = booster.inplace_predict(np.array([values for _, (_, values) in batch], dtype=np.float32)).tolist()
        for (_, (event, values)), one in zip(batch, scores):
            row = {name: event[name] for name in ("transaction_id", "card_id", "event_time")}
            yield "out", orjson.dumps({**row, **dict(zip(FEATURES, values)), "score": one}).decode()


flow = Dataflow("fraud")
stream = op.input("events", flow, FileSource(events, batch_size=1000))
stream = op.map("parse", stream, orjson.loads)
stream = op.key_on("together", stream, lambda event: "all")
stream = op.stateful_batch("in_order", stream, InOrder)
stream = op.key_rm("apart", stream)
stream = op.key_on("card", stream, lambda event: event["card_id"])
stream = op.stateful_map("features", stream, features)
stream = op.flat_map_batch("score", stream, score)
op.output("scores", stream, FileSink(out))
run_main(flow)
