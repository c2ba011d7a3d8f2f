"""results.json, and the section of docs/benchmarks.md that is made of it."""
import json
import re
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
REPORT = HERE.parent.parent / "docs" / "benchmarks.md"
TITLE = "## Kafka to Kafka, exactly once"
JOBS = {"pass": "events passed on", "fraud": "the fraud job"}


def write(results, no_write):
    """Called after each system. What was not measured now stays as it was. Returns the section."""
    before = json.loads(RESULTS.read_text())["systems"] if RESULTS.exists() else []
    systems = {(system["job"], system["name"]): system for system in before}
    for system in results["systems"]:
        old = systems.get((system["job"], system["name"]), {"events": 0, "runs": [], "recovery": []})
        runs = system if system["runs"] else old
        again = {run["size_gb"] for run in system["recovery"]}
        recovery = system["recovery"] + [run for run in old["recovery"] if run["size_gb"] not in again]
        systems[system["job"], system["name"]] = {
            "name": system["name"], "job": system["job"], "events": runs["events"], "runs": runs["runs"],
            "recovery": sorted(recovery, key=lambda run: run["size_gb"])}
    order = {name: place for place, name in enumerate(results["order"])}
    ordered = sorted(systems.values(), key=lambda system: order.get(f"{system['job']} {system['name']}", len(order)))
    merged = {"machine": results["machine"], "systems": ordered}
    text = section(merged)
    if not no_write:
        RESULTS.write_text(json.dumps(merged, indent=1) + "\n")
        page = REPORT.read_text() if REPORT.exists() else "# Benchmarks\n"
        # From the title to the next one of its rank.
        old = re.compile(re.escape(TITLE) + r"\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
        page = old.sub(lambda _: text + "\n", page) if old.search(page) else page.rstrip() + "\n\n" + text
        REPORT.write_text(page.rstrip() + "\n")
    return text


def middle(system, key):
    return median(run[key] for run in system["runs"])


def per_million(system, key):
    return middle(system, key) * 1e6 / (system["events"] / 2)


def table(head, rows):
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rows)])


def section(results):
    systems = results["systems"]
    parts = [TITLE, intro(results), "### Throughput", throughput(systems), "### Latency", latency(systems),
             "### Written to the broker", written(systems), "### Back after a kill", recovery(systems),
             f"Machine: {results['machine']}; broker, producer and consumer on the same cores.",
             "`benches/kafka/run.sh` repeats it and renews this section."]
    return "\n\n".join(part for part in parts if part) + "\n"


def intro(results):
    load = max((run["load"] for system in results["systems"] for run in system["runs"]), default=0)
    busy = "" if load < 2.5 else (
        f"\n\nThe machine was not quiet: its load was up to {load:.0f}. CPU time suffers a little from that, latency and "
        "wall time much.")
    return f"""Card transactions in JSON from a topic of four partitions to another one, in transactions; every system is one process
with one processing thread on the same broker with the same input. *Events passed on*: raw librdkafka copies the bytes (the
limit), Kafka Streams too; Millstream decodes, projects and encodes every field. *The fraud job* is
[the example](../examples/fraud/pipeline.yaml): windows of five minutes and one hour, a join, a model of 100 trees. On Kafka
Streams it is a processor with state stores and ONNX Runtime, `exactly_once_v2`; it keeps what it has read from its stores on the
heap, so an event costs two writes and no read. Its scores are checked against Millstream's.{busy}"""


def throughput(systems):
    limit = next((per_million(s, "cpu_second_half_s") for s in systems if s["name"] == "raw librdkafka" and s["runs"]), None)
    rows = []
    for s in systems:
        if not s["runs"]:
            continue
        warm = per_million(s, "cpu_second_half_s")
        share = f"{limit / warm:.0%}" if limit and s["job"] == "pass" else ""
        differ = str(max(run["scores_that_differ"] for run in s["runs"])) if s["job"] == "fraud" else ""
        rows.append([JOBS[s["job"]], s["name"], f"{per_million(s, 'cpu_first_half_s'):.2f}", f"{warm:.2f}",
                     f"{1e6 / warm:,.0f}", share, f"{s['events'] / 2 / middle(s, 'wall_second_half_s'):,.0f}",
                     f"{max(run['memory_mb'] for run in s['runs']):,}", differ])
    counts = ", ".join(sorted({f"{s['events'] / 2:,.0f} and {s['events'] / 2:,.0f}" for s in systems if s["runs"]}))
    return table(["job", "system", "CPU-s per million, cold", "CPU-s per million, warm", "events per CPU-s, warm",
                  "of the limit", "events/s", "memory, MB", "scores that differ"], rows) + f"""

CPU time of the instance with all its threads, from a full topic. *Cold* is the first half of the events, start included, *warm*
the second ({counts} events; medians). A score differs if it is off by more than 1e-6 or there is not exactly one of it."""


def latency(systems):
    rows = []
    for s in systems:
        for run in (s["runs"] or [{}])[-1].get("latency", []):
            lost = "".join(f", {run[what]} {what}" for what in ("missing", "twice") if run[what])
            rate = f"{run['rate']:,.0f}" + (" (half of the highest)" if run["name"] == "half" else "")
            late = " (the producer was late)" if run.get("producer_was_late") else ""
            rows.append([JOBS[s["job"]], s["name"], rate + late,
                         *(f"{run[key]:,.0f}" for key in ("p50_ms", "p99_ms", "p999_ms")), f"{run['events']:,}{lost}",
                         f"{run['cpu_share']:.2f}"])
    return rows and table(["job", "system", "events/s", "p50, ms", "p99, ms", "p99.9, ms", "events", "cores used"], rows) + """

From the moment an event is due at the producer (which gathers for 5 ms, as clients do by default), whether or not it
could be sent then, to its arrival at a `read_committed` consumer."""


def written(systems):
    kinds = ["output", "changelogs", "offsets", "transactions", "other"]
    rows = []
    for s in systems:
        if s["runs"]:
            sizes = s["runs"][-1]["bytes_per_event"]
            extra = sum(sizes.values()) / sizes["output"] - 1
            rows.append([JOBS[s["job"]], s["name"], *(f"{sizes.get(kind, 0):.1f}" for kind in kinds), f"{extra:.1%}"])
    return table(["job", "system", "outputs", "changelogs", "offsets", "transactions", "journal and other",
                  "above the outputs"], rows) + """

Bytes per event in the broker's logs, without compression, the log cleaner switched off."""


def recovery(systems):
    rows = []
    for s in systems:
        for run in s["recovery"]:
            rows.append([f"{run['size_gb']:g} GB", f"{run['events']:,}", s["name"], f"{run['first_output_s']:.1f}",
                         f"{run['all_partitions_s']:.1f}", f"{run['cpu_s']:.1f}", f"{run['files_mb']:,}",
                         f"{run['memory_mb']:,}", f"{run['moved_max_ms'] / 1e3:.1f}" if "moved_max_ms" in run else ""])
    rows.sort(key=lambda row: float(row[0].split()[0]))
    return rows and table(["state", "events in windows", "system", "first new output, s", "all partitions, s", "CPU-s",
                           "files, MB", "memory, MB", "longest wait while half move, s"], rows) + """

`kill -9` while 200 events come in a second, and the same command again at once: until the first new committed output, and until
there is one from each partition. The size of the state is that of Kafka Streams' changelogs; all have the same events. Kafka
Streams restarts as a static member of its group, Millstream too: without that, the dead one's session has to end first. Then a
second process starts and takes two of the four partitions over, while 200 events come in a second: the longest that any
of them waited for its output."""
