#!/usr/bin/env python3
"""What a pipeline writes as JSON, CSV and Parquet, read by DuckDB: the same rows, and those that went in.

    formats.py ROWS.ndjson ROWS.csv ROWS.parquet
"""
import sys

import duckdb

COLUMNS = {"id": "BIGINT", "text": "VARCHAR", "flag": "BOOLEAN", "small": "TINYINT", "large": "UBIGINT", "real": "DOUBLE",
           "money": "DECIMAL(18,4)", "day": "DATE", "at": "TIMESTAMP"}


def main(json, csv, parquet):
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    columns = ", ".join(f'CAST("{c}" AS {t}) AS "{c}"' for c, t in COLUMNS.items())
    read = {
        "input": f"read_json('events.ndjson', format = 'newline_delimited', columns = {COLUMNS})",
        "json": f"read_json('{json}', format = 'newline_delimited', columns = {COLUMNS})",
        # An empty text is quoted, a NULL is not there.
        "csv": f"read_csv('{csv}', header = true, columns = {COLUMNS}, allow_quoted_nulls = false)",
        "parquet": f"(SELECT {columns} FROM read_parquet('{parquet}'))",
    }
    rows = {name: db.execute(f"SELECT * FROM {source} ORDER BY id").fetchall() for name, source in read.items()}
    problems = []
    for name in ("json", "csv", "parquet"):
        if len(rows[name]) != len(rows["input"]):
            problems.append(f"{name}: {len(rows[name])} rows, the input has {len(rows['input'])}")
        for got, expected in zip(rows[name], rows["input"]):
            for column, a, b in zip(COLUMNS, got, expected):
                if a != b:
                    problems.append(f"{name}, row {expected[0]}, {column}: {a!r}, the input has {b!r}")
    print("\n".join(problems[:20]) or f"{len(rows['input'])} rows agree in three formats")
    sys.exit(1 if problems or not rows["input"] else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
