#!/usr/bin/env python3
"""The fraud job on Millstream and on its peers, in turns on one machine, each with one thread. See run.sh.

CPU time is user and system time of the whole process, start and imports included; memory is the most that was
resident. This driver stays small: the kernel counts what a parent holds towards its children's peak.
"""
import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parent.parent / "examples" / "fraud"
REPORT = HERE.parent.parent / "docs" / "benchmarks.md"
ONE_THREAD = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
SELECT = ("transaction_id, card_id, event_time, amount, count_5m, sum_5m, avg_1h, std_1h, max_1h, amount_ratio, "
          "secs_since_prev, merchant_risk, hour_of_day, score")
ORACLE = "DuckDB, batch"
LAST_LINE = "`benches/fraud/run.sh` repeats it and renews this section.\n"


def pipeline():
    """The example's own pipeline, made to wait for the watermark and to write the columns that the peers write."""
    text = (EXAMPLE / "pipeline.yaml").read_text()
    for old, new in [("emit: on_arrival", "emit: on_watermark"),
                     ("${TRANSACTIONS:-transactions-100k.ndjson.zst}", "events.ndjson"),
                     ("path: out/scores.ndjson", f"path: out/scores.ndjson\n    select: [{SELECT}]")]:
        if old not in text:
            sys.exit(f"the example's pipeline has no {old!r} any more")
        text = text.replace(old, new)
    return text


def run(command, cwd):
    """CPU seconds, wall seconds, peak MB."""
    started = time.perf_counter()
    child = subprocess.Popen(command, cwd=cwd, env={**os.environ, **ONE_THREAD}, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = child.stderr.read().decode(errors="replace")
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {child.returncode}:\n{said}")
    unit = 1e6 if sys.platform == "darwin" else 1e6 / 1024
    return used.ru_utime + used.ru_stime, time.perf_counter() - started, used.ru_maxrss / unit


def systems(arguments):
    """Name, folder-preparing function, command, output."""
    work = arguments.work
    inputs = [work / "events.ndjson", work / "merchants.csv", EXAMPLE / "model.json"]

    def peer(script):
        out = work / f"{script}.ndjson"
        return lambda: out.unlink(missing_ok=True), [sys.executable, HERE / "peers" / f"{script}.py", *inputs, out], out

    def clean():
        for name in (".millstream", "out"):
            shutil.rmtree(work / name, ignore_errors=True)

    millstream = [arguments.millstream, "run", "pipeline.yaml", "--quiet", "--workers", "1"]
    return {
        ORACLE: peer("duckdb_batch"),
        "Millstream, exactly once": (clean, millstream, work / "out" / "scores.ndjson"),
        "Polars, batch": peer("polars_batch"),
        "Bytewax": peer("bytewax_stream"),
    }


def versions(arguments):
    from importlib.metadata import version
    own = subprocess.run([arguments.millstream, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    return {ORACLE: version("duckdb"), "Millstream, exactly once": own, "Polars, batch": version("polars"),
            "Bytewax": version("bytewax")}


def machine():
    name = platform.machine()
    memory = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
        total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
        memory = f", {int(total.split()[1]) / 2**20:.0f} GiB of memory"
    return f"{name}, {os.cpu_count()} cores{memory}, {platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}"


def report(arguments, figures, differ):
    rows, version = [], versions(arguments)
    for name, runs in sorted(figures.items(), key=lambda item: statistics.median(r[0] for r in item[1])):
        cpu, wall, memory = zip(*runs)
        per_million = [c * 1e6 / arguments.events for c in cpu]
        spread = f" ({min(per_million):.2f} to {max(per_million):.2f})" if len(runs) > 1 else ""
        wrong = f"{differ[name]:,}" + (" (the oracle)" if name == ORACLE else "")
        rows.append(f"| {name} {version[name]} | {statistics.median(per_million):.2f}{spread} | {statistics.median(wall):.1f} "
                    f"| {arguments.events / statistics.median(wall):,.0f} | {max(memory):,.0f} | {wrong} |")
    return f"""# Benchmarks

## The fraud job

{arguments.events:,} card transactions (NDJSON, {(arguments.work / 'events.ndjson').stat().st_size / 1e6:.0f} MB) to NDJSON: windows of five minutes and one hour for each card, a join with the
merchants, an XGBoost model of 100 trees of depth 6. The pipeline is that of [the example](../examples/fraud/pipeline.yaml) with
`emit: on_watermark`; Millstream runs it with exactly-once delivery, a commit every 50 ms and snapshots of its state. The batch engines
see all the data at once and keep nothing for a restart.

| | CPU-seconds per million events | wall, s | events/s | peak memory, MB | rows that differ |
|---|---|---|---|---|---|
{chr(10).join(rows)}

Medians of {arguments.repeats} runs in turns (in brackets the extremes), one thread each, start and imports included. A row differs if any column
is off by more than 1e-9 relative from DuckDB's features and XGBoost's score.

Machine: {machine()}.

{LAST_LINE}"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--millstream", required=True, type=os.path.abspath)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", action="append", help="a system whose name contains this; the oracle runs in any case")
    parser.add_argument("--no-write", action="store_true", help="leave docs/benchmarks.md as it is")
    arguments = parser.parse_args()
    arguments.work = arguments.work.resolve()
    arguments.work.mkdir(parents=True, exist_ok=True)
    subprocess.run([arguments.millstream, "generate", "fraud", "--events", str(arguments.events), "--seed", "20250602",
                    "--output", arguments.work / "events.ndjson", "--merchants-output", arguments.work / "merchants.csv"], check=True)
    shutil.copy(EXAMPLE / "model.json", arguments.work / "model.json")
    (arguments.work / "pipeline.yaml").write_text(pipeline())
    chosen = {name: system for name, system in systems(arguments).items()
              if name == ORACLE or not arguments.only or any(part.lower() in name.lower() for part in arguments.only)}
    figures, differ = {name: [] for name in chosen}, {}
    for turn in range(arguments.repeats):
        for name, (prepare, command, out) in chosen.items():
            prepare()
            cpu, wall, memory = run(command, arguments.work)
            figures[name].append((cpu, wall, memory))
            compared = subprocess.run([sys.executable, HERE / "compare.py", chosen[ORACLE][2], out],
                                      capture_output=True, text=True, check=True)
            differ[name] = max(differ.get(name, 0), int(compared.stdout))
            print(f"{turn + 1}/{arguments.repeats}  {name:26} {cpu:7.2f} CPU-s {wall:7.2f} s {memory:7.0f} MB "
                  f"{differ[name]:9,} rows differ", flush=True)
    text = report(arguments, figures, differ)
    print("\n" + text)
    if not arguments.no_write:
        # What follows are the sections of other benchmarks.
        REPORT.write_text(text + REPORT.read_text().partition(LAST_LINE)[2])


if __name__ == "__main__":
    main()
