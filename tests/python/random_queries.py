#!/usr/bin/env python3
"""Random window queries over random rows: Millstream against DuckDB, row by row.

    random_queries.py --millstream BINARY --seed N --rounds N --queries N --work FOLDER

A round makes one set of rows and one pipeline of many SQL steps, runs it, and asks DuckDB the same.
Each query is made in both dialects at once. They differ in this, and nowhere else:

- Time. DuckDB sees event time as a count of nanoseconds (`ts`), so an INTERVAL is a number there.
- Ties. Rows of equal event time keep their order of arrival in Millstream. DuckDB promises no order, so it gets
  the arrival number `seq` as the last ORDER BY column wherever the order of peers matters (ROWS frames, LAG,
  ROW_NUMBER), and FIRST/LAST/NTH_VALUE over RANGE frames are written as ordered aggregates.
- `emit: on_arrival` is the batch query over the rows that have arrived so far, once for every row. DuckDB gets all
  these prefixes as one table, with the prefix (`upto`) as a further PARTITION BY column, and gives the last row of each.
- Late rows (behind the watermark when they come) are taken out beforehand, by the rule the documentation gives.
- Of two steps with windows the second works on what the first gave, in the order in which that came out; in DuckDB
  the first is a subquery.
- Wild magnitudes are summed with DuckDB's compensated `fsum` and `favg`: its plain sums are not exact enough.
- CORR and REGR_SLOPE of a variance of 0 are NaN in DuckDB; Millstream gives NULL, as PostgreSQL and the standard do.
- APPROX_DISTINCT is held against the true count, APPROX_PERCENTILE_CONT against the true ranks around it.
"""
import argparse
import json
import math
import os
import random
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import duckdb

START_S = 1_748_851_200
UNITS = {"timestamp_s": 10**9, "timestamp_ms": 10**6, "timestamp_us": 10**3, "timestamp_ns": 1, "timestamp": 10**3}
DUCK_TYPES = {"string": "VARCHAR", "int32": "INTEGER", "int64": "BIGINT", "float64": "DOUBLE", "bool": "BOOLEAN",
              "decimal(10, 2)": "DECIMAL(10,2)", "date": "DATE"}
COLUMNS = {"k1": "string", "k2": "int32", "k3": "bool", "f": "float64", "g": "float64", "h": "float64", "w": "float64",
           "i": "int64", "d": "decimal(10, 2)", "s": "string", "b": "bool", "day": "date"}
WORDS = ["", "a", "b", "ab", "Zürich", "日本", "it's", 'say "hi"', "back\\slash", "long " * 12, "NULL", "0", " "]


# ---------------------------------------------------------------- rows

def make_rows(r, n):
    """Rows in order of arrival, each a dict with `ts` in nanoseconds; the lateness; the unit's name."""
    unit = r.choice(list(UNITS))
    tick = max(UNITS[unit], 10**9 if unit == "timestamp_s" else 10**6)
    gap = r.choice([0.5, 2, 20]) * (tick if unit == "timestamp_s" else 1000 * 10**6)
    lateness = r.choice([0, 3, 10]) * 10**9
    ties, nulls, keys = r.choice([0.0, 0.2, 0.6]), r.choice([0.0, 0.1, 0.4]), r.choice([1, 3, 12])
    ts, events = START_S * 10**9, []
    for _ in range(n):
        if r.random() >= ties:
            ts += int(r.expovariate(1 / gap)) // tick * tick
        if r.random() < 0.01:
            ts += 1800 * 10**9
        events.append(ts)
    late = r.random() < 0.3
    delay = lambda: r.randrange(lateness * (3 if late else 1) + 1) // tick * tick if lateness and r.random() < 0.3 else 0
    arrival = sorted((t + delay(), k) for k, t in enumerate(events))
    null = lambda v: None if r.random() < nulls else v
    rows = []
    for seq, (_, k) in enumerate(arrival):
        rows.append({
            "seq": seq, "ts": events[k],
            "k1": null(r.choice(WORDS[:min(keys, 12)])), "k2": null(r.randrange(-keys, keys)), "k3": null(r.random() < 0.5),
            "f": null(r.randrange(-400, 401) / 4), "g": null(r.randrange(-400, 401) / 4),
            "h": null(round(r.uniform(-1000, 1000), 2)), "w": null(10 ** r.uniform(-30, 30)),
            "i": null(r.choice([r.randrange(-50, 50), 2**40 + r.randrange(5)])),
            "d": null(Decimal(r.randrange(-10**6, 10**6)) / 100),
            "s": null(r.choice(WORDS)), "b": null(r.random() < 0.5), "day": null(f"20{r.randrange(10, 30)}-0{r.randrange(1, 10)}-1{r.randrange(10)}"),
        })
    return rows, lateness, unit


def without_late(rows, lateness):
    """What is not late: an event is late if its time is below the watermark that held before it."""
    kept, greatest = [], None
    for row in rows:
        if greatest is None or row["ts"] >= greatest - lateness:
            kept.append(row)
        greatest = row["ts"] if greatest is None else max(greatest, row["ts"])
    return kept


def time_text(ns, unit):
    if unit != "timestamp":
        return ns // UNITS[unit]
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 10**9)) + f".{ns % 10**9 // 10**3:06d}Z"


def event_json(row, unit, r):
    fields = [(k, time_text(v, unit) if k == "ts" else v) for k, v in row.items()]
    fields = [(k, v) for k, v in fields if v is not None or r.random() < 0.5]      # null, or absent
    r.shuffle(fields)
    one = lambda v: str(v) if isinstance(v, Decimal) else json.dumps(v, ensure_ascii=r.random() < 0.5)
    return "{" + ",".join(f"{json.dumps(k)}:{one(v)}" for k, v in fields) + "}"


# ---------------------------------------------------------------- queries

class Window:
    """A window in both dialects."""

    def __init__(self, r, joined):
        keys = ["k1", "k2", "k3", "k2 % 2", "upper(k1)", "COALESCE(k1, 'none')", "day"] + (["label"] if joined else [])
        self.partition = r.sample(keys, r.choice([0, 1, 1, 1, 2]))
        self.tie = r.choice([None, None, "i", "s", "f"])
        self.tie_order = f"{self.tie} {r.choice(['ASC', 'DESC'])} {r.choice(['NULLS FIRST', 'NULLS LAST'])}" if self.tie else None
        kind = r.choice(["range", "range", "range", "rows", "rows", "default", "range_unbounded", "rows_unbounded"])
        if kind == "range":
            self.tie = self.tie_order = None      # SQL allows one ORDER BY column for a RANGE with an offset
            number, (unit, self.ns) = r.choice([1, 5, 30, 90]), r.choice(
                [("seconds", 10**9), ("minutes", 60 * 10**9), ("milliseconds", 10**6), ("hours", 3600 * 10**9)])
            self.ns *= number
            frame = [f"RANGE BETWEEN INTERVAL '{number} {unit}' PRECEDING AND CURRENT ROW", f"RANGE BETWEEN {self.ns} PRECEDING AND CURRENT ROW"]
        elif kind == "rows":
            frame = [f"ROWS BETWEEN {r.choice([0, 1, 2, 5, 40])} PRECEDING AND CURRENT ROW"] * 2
        else:
            frame = [{"default": "", "range_unbounded": "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
                      "rows_unbounded": "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"}[kind]] * 2
        self.rows = kind.startswith("rows")
        self.frame = frame
        order = ["ts"] + ([self.tie_order] if self.tie else [])
        self.order = ", ".join(order)
        self.total_order = ", ".join(order + ["seq"])

    def _partition(self, upto):
        columns = (["upto"] if upto else []) + self.partition
        return f"PARTITION BY {', '.join(columns)} " if columns else ""

    def millstream(self, framed=True):
        return f"({self._partition(False)}ORDER BY {self.order} {self.frame[0] if framed else ''})"

    def duck(self, upto, framed=True, ordered=False):
        order = self.total_order if ordered or self.rows else self.order
        return f"({self._partition(upto)}ORDER BY {order} {self.frame[1] if framed else ''})"


class Call:
    """A window function in both dialects, and how its values are compared."""

    def __init__(self, r, window, upto, numeric=False, joined=False):
        self.window, self.upto = window, upto
        filtered = r.choice(["b", "f > 0", "i IS NOT NULL", "s <> 'a'", "k3 OR b"]) if r.random() < 0.25 else None
        self.filter = f" FILTER (WHERE {filtered})" if filtered else ""
        makers = [self.count, self.sum, self.avg, self.extreme, self.spread]
        if not numeric:
            makers += [self.count_distinct, self.pair, self.positional, self.positional, self.lag, self.row_number,
                       self.approx_distinct, self.approx_percentile]
        r.choice(makers)(r, joined, numeric)

    def _aggregate(self, millstream, duck, compare):
        over, duck_over = self.window.millstream(), self.window.duck(self.upto)
        self.text = f"{millstream}{self.filter} OVER {over}"
        self.duck = f"{duck}{self.filter} OVER {duck_over}"
        self.compare = compare

    def _number(self, r, numeric):
        return r.choice(["f", "g", "h", "i", "f * 2 + 1", "COALESCE(f, 0)", "CASE WHEN b THEN h ELSE g END", "ABS(i)"] if numeric
                        else ["f", "h", "i", "w", "d", "f - g", "CASE WHEN b THEN h END", "CAST(k2 AS DOUBLE)"])

    def count(self, r, joined, numeric):
        what = r.choice(["*", "*", "f", "s", "k1", "b"] + (["label"] if joined else []))
        self._aggregate(f"COUNT({what})", f"COUNT({what})", "exact")

    def count_distinct(self, r, joined, numeric):
        what = r.choice(["i", "s", "k1", "d", "f", "b", "i % 3", "day"])
        self._aggregate(f"COUNT(DISTINCT {what})", f"COUNT(DISTINCT {what})", "exact")

    def sum(self, r, joined, numeric):
        what = self._number(r, numeric)
        wild = what == "w"
        self._aggregate(f"SUM({what})", f"{'fsum' if wild else 'SUM'}({what})", "wild" if wild else "number")

    def avg(self, r, joined, numeric):
        what = self._number(r, numeric)
        wild = what == "w"
        self._aggregate(f"AVG({what})", f"{'favg' if wild else 'AVG'}({what})",
                        "wild" if wild else "decimal_average" if what == "d" else "number")

    def extreme(self, r, joined, numeric):
        what = r.choice(["f", "h", "i"] if numeric else ["f", "h", "i", "w", "d", "s", "k1", "day", "h - g"] + (["factor"] if joined else []))
        name = r.choice(["MIN", "MAX"])
        self._aggregate(f"{name}({what})", f"{name}({what})", "number" if what in ("f", "h", "h - g", "factor") else "exact")

    def spread(self, r, joined, numeric):
        # No roots inside of expressions: comparing squares would not do there.
        names = ["VAR_POP", "VAR_SAMP"] + ([] if numeric else ["STDDEV_POP", "STDDEV_SAMP"])
        name, what = r.choice(names), r.choice(["f", "g", "h", "f + g"])
        self._aggregate(f"{name}({what})", f"{name}({what})", "root" if name.startswith("STD") else "number")

    def pair(self, r, joined, numeric):
        name = r.choice(["CORR", "COVAR_POP", "COVAR_SAMP", "REGR_SLOPE"])
        y, x = r.choice([("f", "g"), ("g", "f"), ("f", "k2"), ("f", "f")])
        self._aggregate(f"{name}({y}, {x})", f"{name}({y}, {x})", "undefined_is_null")

    def positional(self, r, joined, numeric):
        what = r.choice(["f", "s", "i", "d", "b", "k1", "w", "day", "g + 1"])
        name, ignore = r.choice(["FIRST_VALUE", "LAST_VALUE", "NTH_VALUE"]), r.random() < 0.4
        nth = r.choice([1, 2, 3, 10])
        arguments = f"{what}, {nth}" if name == "NTH_VALUE" else what
        nulls = " IGNORE NULLS" if ignore else ""
        self.compare = "exact" if what != "g + 1" else "number"
        self.text = f"{name}({arguments}){nulls} OVER {self.window.millstream()}"
        if self.window.rows:
            self.duck = f"{name}({arguments}{nulls}) OVER {self.window.duck(self.upto)}"
            return
        ordered = f"list({what} ORDER BY {self.window.total_order})" + (f" FILTER (WHERE ({what}) IS NOT NULL)" if ignore else "")
        place = {"FIRST_VALUE": 1, "LAST_VALUE": -1, "NTH_VALUE": nth}[name]
        self.duck = f"({ordered} OVER {self.window.duck(self.upto)})[{place}]"

    def lag(self, r, joined, numeric):
        what, default = r.choice([("f", "-1.5"), ("i", "-1"), ("s", "'none'"), ("d", None), ("b", "true"), ("h", None), ("day", None), ("seq", "0")])
        offset, ignore = r.choice([None, 0, 1, 2, 7]), r.random() < 0.2
        arguments = what if offset is None else f"{what}, {offset}" + (f", {default}" if default and r.random() < 0.5 else "")
        nulls = " IGNORE NULLS" if ignore else ""
        self.text = f"LAG({arguments}){nulls} OVER {self.window.millstream(framed=False)}"
        self.duck = f"LAG({arguments}{nulls}) OVER {self.window.duck(self.upto, framed=False, ordered=True)}"
        self.compare = "exact"

    def row_number(self, r, joined, numeric):
        self.text = f"ROW_NUMBER() OVER {self.window.millstream(framed=False)}"
        self.duck = f"ROW_NUMBER() OVER {self.window.duck(self.upto, framed=False, ordered=True)}"
        self.compare = "exact"

    def approx_distinct(self, r, joined, numeric):
        what = r.choice(["i", "s", "k1", "k2"])
        self._aggregate(f"APPROX_DISTINCT({what})", f"COUNT(DISTINCT {what})", "approximate_count")

    def approx_percentile(self, r, joined, numeric):
        what, self.p = r.choice(["f", "h", "g"]), r.choice([0.0, 0.25, 0.5, 0.9, 1.0])
        self._aggregate(f"APPROX_PERCENTILE_CONT({what}, {self.p})", f"list_sort(list({what})", "percentile")
        self.duck = f"list_sort(list({what}){self.filter or ''} OVER {self.window.duck(self.upto)})"


class Before:
    """A step with a window below the query, so that one works on what another gave."""

    def __init__(self, r, name):
        self.name, self.emit = name, r.choice(["on_watermark", "on_arrival"])
        self.upto = self.emit == "on_arrival"
        self.call = Call(r, Window(r, False), self.upto, numeric=True)
        self.text = f"SELECT *, {self.call.text} AS x FROM events"

    def items(self, r, window, upto):
        what = r.choice(["SUM(x)", "AVG(x)", "MIN(x)", "MAX(x)", "COUNT(x)"])
        over, duck = window.millstream(), window.duck(upto)
        return [("x", "x", "number", None), (f"{what} OVER {over}", f"{what} OVER {duck}", "number", None)]

    def duck(self, upto):
        """What it gave, and for a query on arrival every prefix of that in the order in which it came out."""
        if self.upto:
            given = f"(SELECT * EXCLUDE (upto) FROM (SELECT *, {self.call.duck} AS x FROM arrived) WHERE seq = upto)"
        else:
            given = f"(SELECT *, {self.call.duck} AS x FROM rows_)"
        if not upto:
            return f"{given} AS given"
        before = "e.seq <= p.seq" if self.upto else "(e.ts, e.seq) <= (p.ts, p.seq)"
        return f"(SELECT p.seq AS upto, e.* FROM {given} p JOIN {given} e ON {before}) AS given"


class Query:
    """A SELECT in both dialects: lists of (column, comparison)."""

    def __init__(self, r, name):
        self.name, self.emit = name, r.choice(["on_watermark", "on_arrival"])
        upto = self.emit == "on_arrival"
        joined = r.random() < 0.25
        windows = [Window(r, joined) for _ in range(r.choice([1, 1, 2, 3]))]
        items = [("seq", "seq", "exact", None)]
        items += [(c, c, "exact" if c != "h" else "number", None) for c in r.sample(["f", "s", "d", "k1", "i", "day", "b", "h"], r.choice([0, 1, 2]))]
        for _ in range(r.choice([1, 2, 4])):
            items.append(self.expression(r, windows, upto, joined) if r.random() < 0.3 else self.plain(r, windows, upto, joined))
        self.before, shape = None, r.random()
        if shape < 0.3:
            self.before = Before(r, f"before_{name}")
            items += self.before.items(r, r.choice(windows), upto)
        self.columns = []
        texts, ducks = [], []
        for n, (text, duck, compare, extra) in enumerate(items):
            column = "seq" if n == 0 else f"c{n}"
            texts.append(f"{text} AS {column}" if n else text)
            ducks.append(f"{duck} AS {column}" if n else duck)
            self.columns.append((column, compare, extra))
        source = "events"
        where = r.choice(["", "", "", "i > 0", "f IS NOT NULL", "k3 = true OR k2 < 2"])
        join = " LEFT JOIN dim ON k2 = id" if joined else ""
        prefix = ""
        if self.before:
            source = self.before.name
        elif shape < 0.4:
            source = "(SELECT * FROM events WHERE b IS NOT NULL) AS sub"
        elif shape < 0.5:
            prefix, source = "WITH base AS (SELECT * FROM events WHERE h IS NOT NULL) ", "base"
        tail = f"FROM {source}{join}" + (f" WHERE {where}" if where else "")
        self.text = f"{prefix}SELECT {', '.join(texts)} {tail}"
        events = "arrived" if upto else "rows_"
        duck_tail = tail.replace(self.before.name, self.before.duck(upto)) if self.before else tail.replace("events", events)
        duck_prefix = prefix.replace("events", events)
        self.duck = f"{duck_prefix}SELECT {', '.join(ducks)}{', upto' if upto else ''}, ts AS _ts {duck_tail}"
        if upto:
            order = "_ts, seq" if self.before and not self.before.upto else "seq"
            self.duck = f"SELECT * EXCLUDE (upto) FROM ({self.duck}) WHERE seq = upto ORDER BY {order}"
        else:
            self.duck += " ORDER BY _ts, seq"

    def plain(self, r, windows, upto, joined):
        call = Call(r, r.choice(windows), upto, joined=joined)
        return call.text, call.duck, call.compare, getattr(call, "p", None)

    def expression(self, r, windows, upto, joined):
        a = Call(r, r.choice(windows), upto, numeric=True)
        b = Call(r, r.choice(windows), upto, numeric=True)
        count = Call.__new__(Call)
        count.window, count.upto, count.filter = r.choice(windows), upto, ""
        count._aggregate("COUNT(*)", "COUNT(*)", "exact")
        shape = r.choice(["f - {a}", "CASE WHEN {n} > 2 THEN {a} ELSE -1.0 END", "COALESCE({a}, -7.5)", "{a} + {b}",
                          "CAST({a} AS DOUBLE) / {n}", "ABS({a})", "{n} > 3 AND f > 0", "CAST({n} AS DOUBLE) * 0.5"])
        compare = "exact" if " AND " in shape else "number"
        return (shape.format(a=a.text, b=b.text, n=count.text), shape.format(a=a.duck, b=b.duck, n=count.duck), compare, None)


# ---------------------------------------------------------------- comparing

def close(expected, got, relative, absolute):
    if isinstance(expected, Decimal) or isinstance(got, str):
        expected, got = float(expected), float(got)
    return abs(expected - got) <= max(relative * abs(expected), absolute)


def same(compare, extra, expected, got):
    if compare == "percentile":
        values = [v for v in expected or [] if v is not None]
        if not values:
            return got is None
        place = lambda p: min(max(p, 0.0), 1.0) * (len(values) - 1)
        low, high = max(0, math.floor(place(extra - 0.05)) - 1), min(len(values) - 1, math.ceil(place(extra + 0.05)) + 1)
        return got is not None and values[low] - 1e-9 <= got <= values[high] + 1e-9
    if compare == "undefined_is_null" and isinstance(expected, float) and not math.isfinite(expected):
        expected = None
    if expected is None or got is None:
        return expected is None and got is None
    if compare == "exact":
        if isinstance(expected, Decimal):
            return Decimal(str(got)) == expected
        if isinstance(expected, (bool, str)) or isinstance(got, (bool, str)):
            return expected == got or str(expected) == got
        return expected == got
    if compare == "wild":
        return close(expected, got, 1e-9, 0.0)
    if compare in ("number", "undefined_is_null"):
        return close(expected, got, 1e-9, 1e-9)
    if compare == "root":       # a root magnifies what rounding leaves of a variance of 0
        return close(expected**2, got**2, 1e-9, 1e-9)
    if compare == "decimal_average":    # a decimal of four more places, in DuckDB a double
        return close(expected, got, 1e-9, 1e-6)
    if compare == "approximate_count":
        return abs(expected - got) <= max(1, 0.05 * expected)
    raise AssertionError(compare)


# ---------------------------------------------------------------- a round

def pipeline_text(queries, unit, lateness, late_policy):
    lines = ["pipeline: random", "snapshot_every: 5ms", "epoch_max: 2ms", "sources:", "  events:", "    type: file", "    path: events.ndjson",
             "    schema:", "      seq: { type: int64, required: true }", f"      ts: {{ type: {unit}, required: true }}"]
    lines += [f"      {name}: {kind!r}" for name, kind in COLUMNS.items()]
    lines += ["    event_time: ts", f"    lateness: {lateness // 10**9}s",
              "tables:", "  dim: { type: file, path: dim.csv, key: id }", "steps:"]
    steps = [step for q in queries for step in (q.before, q) if step]
    for step in steps:
        lines += [f"  - name: {step.name}", "    sql: |", f"      {step.text}", f"    emit: {step.emit}", f"    late: {late_policy}"]
    lines += ["outputs:"]
    for q in queries:
        lines += [f"  out_{q.name}: {{ type: file, path: out/{q.name}.ndjson, from: {q.name} }}"]
    lines += ["dead_letters: { type: file, path: out/dead.ndjson }"]
    return "\n".join(lines) + "\n"


def load(rows, work):
    db = duckdb.connect()
    db.execute("SET threads = 1")
    columns = "seq BIGINT, ts BIGINT, " + ", ".join(f"{n} {DUCK_TYPES[t]}" for n, t in COLUMNS.items())
    db.execute(f"CREATE TABLE rows_ ({columns})")
    if rows:
        db.executemany(f"INSERT INTO rows_ VALUES ({', '.join('?' * (len(COLUMNS) + 2))})",
                       [[row["seq"], row["ts"], *(row[c] for c in COLUMNS)] for row in rows])
    db.execute("CREATE TABLE arrived AS SELECT p.seq AS upto, e.* FROM rows_ p JOIN rows_ e ON e.seq <= p.seq")
    db.execute(f"CREATE TABLE dim AS FROM read_csv('{work}/dim.csv')")
    return db


def run_millstream(binary, work, r):
    command = [binary, "run", "pipeline.yaml", "--quiet", "--batch-rows-max", r.choice(["1", "7", "64", "4096"])]
    interrupted = r.random() < 0.34
    if interrupted:         # state must survive in snapshots too
        for _ in range(3):
            child = subprocess.Popen(command, cwd=work, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                child.wait(r.uniform(0.05, 1.0))
                break
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
    done = subprocess.run(command, cwd=work, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    return done, interrupted


def a_round(number, arguments):
    r = random.Random(f"{arguments.seed}/{number}")
    work = arguments.work / f"round-{number}"
    work.mkdir(parents=True, exist_ok=True)
    rows, lateness, unit = make_rows(r, r.choice([0, 1, 40, 200, 200]))
    queries = [Query(r, f"q{n}") for n in range(arguments.queries)]
    (work / "events.ndjson").write_text("".join(event_json(row, unit, r) + "\n" for row in rows), encoding="utf-8")
    ids = sorted({row["k2"] for row in rows if row["k2"] is not None and row["k2"] % 3}) or [0]
    (work / "dim.csv").write_text("id,label,factor\n" + "".join(f"{i},{'xyz'[i % 3]},{i * 0.5}\n" for i in ids))
    (work / "pipeline.yaml").write_text(pipeline_text(queries, unit, lateness, r.choice(["drop", "dead_letter"])), encoding="utf-8")
    done, interrupted = run_millstream(arguments.millstream, work, r)
    if done.returncode != 0:
        print(f"round {number} (seed {arguments.seed}): millstream ended with {done.returncode}\n{done.stderr[-6000:]}\nleft in {work}")
        return 0, 1
    db = load(without_late(rows, lateness), work)
    failures = 0
    for q in queries:
        problem = compare_query(db, q, work)
        if problem:
            failures += 1
            print(f"--- round {number}, {q.name}, seed {arguments.seed}, {q.emit}, lateness {lateness // 10**9}s, {unit}"
                  f"{', killed and resumed' if interrupted else ''}; left in {work}\n{problem}\n"
                  f"{'before:     ' + q.before.text + ', ' + q.before.emit + chr(10) if q.before else ''}millstream: {q.text}\nduckdb:     {q.duck}\n")
    if not failures:
        subprocess.run(["rm", "-rf", str(work)], check=True)
    return len(queries), failures


def compare_query(db, q, work):
    cursor = db.execute(q.duck)
    names = [d[0] for d in cursor.description]
    expected = [dict(zip(names, values)) for values in cursor.fetchall()]
    path = work / "out" / f"{q.name}.ndjson"
    got = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    if [e["seq"] for e in expected] != [g["seq"] for g in got]:
        return (f"other rows, or another order: {len(expected)} expected, {len(got)} given\n  expected {[e['seq'] for e in expected][:40]}"
                f"\n  given    {[g['seq'] for g in got][:40]}")
    for e, g in zip(expected, got):
        for column, compare, extra in q.columns:
            if not same(compare, extra, e[column], g.get(column)):
                return f"row seq {e['seq']}, column {column} ({compare}): DuckDB {e[column]!r}, Millstream {g.get(column)!r}"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--millstream", required=True, type=os.path.abspath)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--first-round", type=int, default=0, help="to repeat one round: its number here, and --rounds 1")
    parser.add_argument("--queries", type=int, default=20, help="in each round")
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    total = failed = 0
    for number in range(arguments.first_round, arguments.first_round + arguments.rounds):
        queries, failures = a_round(number, arguments)
        total, failed = total + queries, failed + failures
    print(f"{total} random queries, {failed} differ from DuckDB (seed {arguments.seed})")
    sys.exit(1 if failed or not total else 0)


if __name__ == "__main__":
    main()
