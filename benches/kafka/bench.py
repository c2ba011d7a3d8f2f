#!/usr/bin/env python3
"""From topic to topic, exactly once: Millstream, the raw limit and Kafka Streams, one after the other. See run.sh.

Every competitor is one process with one processing thread on one broker with one input; its CPU time is user and system
time of that process with all its threads. Throughput, latency, bytes and the check of the scores come from one run of
it: the topic is full when it starts, and when it has caught up events come at a rate. Recovery is a run of its own.
"""
import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from broker import Broker, cpu_seconds
from report import write
from systems import EXAMPLE, all_systems, reference_pipeline

HERE = Path(__file__).resolve().parent
# A competitor that makes no progress for so long is stuck.
STUCK_S = 120
# Between the halves: what is done after the last commit belongs to the first.
IDLE_S = 0.5
# The reference comes from files, at several 100,000 events a second.
REFERENCE_S = 600
# A rate that the producer itself could not hold is no measurement of the competitor.
PRODUCER_LATE_MS_MAX = 250


def main():
    arguments = parse()
    # Else the broker would outlive a driver that is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    arguments.work.mkdir(parents=True, exist_ok=True)
    prepare(arguments)
    broker = Broker(arguments.cache, arguments.work / "broker")
    order = [f"{system.job} {system.name}" for system in all_systems(arguments)]
    chosen = [system for system in all_systems(arguments) if wanted(arguments, system)]
    measured = {system.name + system.job: {"name": system.name, "job": system.job, "events": arguments.events, "runs": [],
                                           "recovery": []} for system in chosen}
    results = {"machine": machine(), "order": order, "systems": list(measured.values())}
    text = ""
    try:
        # The broker is a JVM too: the first one measured would pay for its compiling.
        raw = next(system for system in all_systems(arguments) if system.name == "raw librdkafka")
        if arguments.repeats:
            throughput(arguments, broker, raw, "warm-up", True)
        for turn in range(arguments.repeats):
            for number, system in enumerate(chosen):
                run = throughput(arguments, broker, system, f"{system.job}-{turn}-{number}", turn == arguments.repeats - 1)
                measured[system.name + system.job]["runs"].append(run)
                print(f"{turn + 1}/{arguments.repeats} {system.job:5} {system.name:40} {json.dumps(run)}", flush=True)
                text = write(results, arguments.no_write)
        for size_gb in arguments.recovery:
            for system in chosen:
                if system.job == "fraud" and recovers(system, size_gb):
                    run = recovery(arguments, broker, system, size_gb)
                    measured[system.name + system.job]["recovery"].append(run)
                    print(f"recovery {system.name:40} {json.dumps(run)}", flush=True)
                    text = write(results, arguments.no_write)
    finally:
        broker.stop()
    print("\n" + text)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--millstream", required=True, type=os.path.abspath)
    parser.add_argument("--tools", required=True, type=os.path.abspath, help="the binary of raw/")
    parser.add_argument("--classes", required=True, type=os.path.abspath, help="the compiled streams/")
    parser.add_argument("--cache", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--events", type=int, default=2_000_000, help="in the topic at the start; the second half counts")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rates", default="1000,10000,half", help="events/s; half: of what this run reached")
    parser.add_argument("--seconds", type=float, default=30, help="for each rate, after --warmup")
    parser.add_argument("--warmup", type=float, default=5)
    parser.add_argument("--recovery", default="0.1,1,4", help="GB of state; empty: none")
    parser.add_argument("--only", default="", help="names or jobs, with commas: raw, millstream, streams, pass, fraud")
    # The serial collector needs the least CPU and memory of the three here, and no size needs as much heap as it gets.
    parser.add_argument("--java", default="-Xmx2g -XX:+UseSerialGC", help="options of Kafka Streams' JVM")
    parser.add_argument("--recovery-java", default="-Xmx12g -XX:+UseSerialGC")
    parser.add_argument("--no-write", action="store_true", help="leave docs/benchmarks.md and results.json as they are")
    arguments = parser.parse_args()
    arguments.work, arguments.cache = arguments.work.resolve(), arguments.cache.resolve()
    arguments.rates = [rate for rate in arguments.rates.split(",") if rate]
    arguments.recovery = [float(size) for size in arguments.recovery.split(",") if size]
    return arguments


def recovers(system, size_gb):
    """The commit interval has no part in it, and no heap of this machine holds 4 GB of changelogs."""
    return "50 ms" not in system.name and not ("in memory" in system.name and size_gb > 1)


def wanted(arguments, system):
    parts = [part.strip().lower() for part in arguments.only.split(",") if part.strip()]
    name = f"{system.job} {system.name}".lower()
    # Of `memory 50`, both.
    return not parts or any(all(word in name for word in part.split()) for part in parts)


def generate(arguments, path, events, *more):
    subprocess.run([arguments.millstream, "generate", "fraud", "--events", str(events), "--seed", "20250602", "--output",
                    path, "--merchants-output", arguments.work / "merchants.csv", *more], check=True)


def prepare(arguments):
    """Events (those of the topic, and as many again for the rates), the model, and the scores as they must be."""
    generate(arguments, arguments.work / "events.ndjson", 2 * arguments.events)
    subprocess.run([sys.executable, HERE / "to_onnx.py", EXAMPLE / "model.json", arguments.work / "model.onnx"], check=True)
    folder = arguments.work / "reference"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(arguments.work / "merchants.csv", folder)
    shutil.copy(EXAMPLE / "model.json", folder)
    with (arguments.work / "events.ndjson").open("rb") as source, (folder / "events.ndjson").open("wb") as target:
        for _, line in zip(range(arguments.events), source):
            target.write(line)
    (folder / "pipeline.yaml").write_text(reference_pipeline("events.ndjson"))
    subprocess.run([arguments.millstream, "run", folder / "pipeline.yaml", "--quiet"], check=True,
                   timeout=REFERENCE_S)


class Instance:
    """A running competitor."""

    def __init__(self, arguments, broker, system, folder, source, target):
        self.command = [str(word) for word in system.command(folder, broker.address, source, target)]
        self.folder = folder
        self.start()

    def start(self):
        log = (self.folder / "instance.log").open("a")
        self.process = subprocess.Popen(self.command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def cpu(self):
        if self.process.poll() is not None:
            raise SystemExit(f"{self.command[0]} ended with {self.process.returncode}, see {self.folder}/instance.log")
        return cpu_seconds(self.process.pid)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


class Watch:
    """Committed records of a topic, as they come."""

    def __init__(self, arguments, broker, topic, offsets):
        self.process = subprocess.Popen(
            [arguments.tools, "watch", "--brokers", broker.address, "--topic", topic,
             "--offsets", ",".join(map(str, offsets))], stdout=subprocess.PIPE, text=True)
        os.set_blocking(self.process.stdout.fileno(), False)

    def counts(self, instance):
        """Count and partitions seen, each time that they are news; ends the benchmark when there are none for too long."""
        last, count = time.monotonic(), 0
        while True:
            line = self.process.stdout.readline()
            if line:
                last = time.monotonic()
                count, partitions = map(int, line.split())
                yield count, partitions
            else:
                if time.monotonic() - last > STUCK_S:
                    raise SystemExit(f"stuck at {count} records, see {instance.folder}/instance.log")
                instance.cpu()
                time.sleep(0.005)

    def stop(self):
        self.process.kill()
        self.process.wait()


def start(arguments, broker, system, name, load, **output_config):
    """A full topic, an empty one, and a competitor between them."""
    folder = arguments.work / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    broker.delete_all()
    source, target = f"in-{name}", f"out-{name}"
    broker.create(source)
    broker.create(target, **output_config)
    load([arguments.tools, "load", "--brokers", broker.address, "--topic", source])
    before = broker.sizes()
    watch = Watch(arguments, broker, target, [0] * 4)
    return Instance(arguments, broker, system, folder, source, target), watch, source, target, before


def throughput(arguments, broker, system, name, last):
    """The first half from the start, the second half when it is warm: each from a full topic, the instance is stopped
    meanwhile."""
    half = arguments.events // 2

    def load(command, skip=0):
        subprocess.run([*command, "--events", arguments.work / "events.ndjson", "--skip", str(skip), "--most", str(half)],
                       check=True)

    instance, watch, source, target, before = start(arguments, broker, system, name, load)
    try:
        counts = watch.counts(instance)
        run = {"load": os.getloadavg()[0]}
        until(counts, half)
        time.sleep(IDLE_S)
        run["cpu_first_half_s"] = instance.cpu()
        instance.process.send_signal(signal.SIGSTOP)
        load([arguments.tools, "load", "--brokers", broker.address, "--topic", source], half)
        cpu, started = instance.cpu(), time.monotonic()
        instance.process.send_signal(signal.SIGCONT)
        until(counts, 2 * half)
        run["wall_second_half_s"] = time.monotonic() - started
        run["cpu_second_half_s"] = instance.cpu() - cpu
        watch.stop()
        run["bytes_per_event"] = written(before, broker.sizes(), source, target, arguments.events)
        run["memory_mb"] = memory_mb(instance.process.pid)
        if system.job == "fraud":
            output = arguments.work / "out.ndjson"
            broker.read(target, output)
            compared = subprocess.run([sys.executable, HERE / "compare.py", arguments.work / "reference" / "reference.ndjson",
                                       output], capture_output=True, text=True, check=True)
            run["scores_that_differ"], run["rows_that_differ"] = map(int, compared.stdout.split())
        if last:
            run["latency"] = latencies(arguments, broker, instance, source, target, half / run["wall_second_half_s"])
        return {key: round(value, 3) if isinstance(value, float) else value for key, value in run.items()}
    finally:
        watch.stop()
        instance.stop()


def until(counts, wanted_count):
    for count, _ in counts:
        if count >= wanted_count:
            return


def written(before, after, source, target, events):
    """Bytes for each event that the run has put into the broker's logs."""
    kinds = {}
    for topic, size in after.items():
        kind = {source: "input", target: "output", "__consumer_offsets": "offsets",
                "__transaction_state": "transactions"}.get(topic)
        kind = kind or ("changelogs" if topic.endswith("-changelog") else "other")
        if kind != "input":
            kinds[kind] = kinds.get(kind, 0) + size - before.get(topic, 0)
    return {kind: round(size / events, 2) for kind, size in kinds.items() if size > 0}


def memory_mb(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return round(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024)


def latencies(arguments, broker, instance, source, target, highest):
    """One after the other, with the events after those of the throughput run."""
    measured, first = [], arguments.events
    for rate in arguments.rates:
        value = highest / 2 if rate == "half" else float(rate)
        # Shorter where there are not enough events for it.
        shorter = min(1, (2 * arguments.events - first - 1) / value / (arguments.warmup + arguments.seconds))
        warmup, seconds = arguments.warmup * shorter, arguments.seconds * shorter
        if seconds < 1:
            print(f"too few events are left for {value:,.0f} a second", flush=True)
            continue
        started, cpu = time.monotonic(), instance.cpu()
        run = open_loop(arguments, broker, source, target, first, value, warmup, seconds)
        run["cpu_share"] = round((instance.cpu() - cpu) / (time.monotonic() - started), 3)
        run["name"] = rate
        if run["producer_late_ms"] > PRODUCER_LATE_MS_MAX:
            run["producer_was_late"] = True
        measured.append(run)
        first += int(value * (warmup + seconds))
    return measured


def open_loop(arguments, broker, source, target, first, rate, warmup, seconds):
    done = subprocess.run(
        [arguments.tools, "latency", "--brokers", broker.address, "--in", source, "--out", target, "--events",
         arguments.work / "events.ndjson", "--first", str(first), "--rate", str(rate), "--warmup", str(warmup),
         "--seconds", str(seconds), "--offsets", ",".join(map(str, broker.ends(target)))],
        capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def recovery(arguments, broker, system, size_gb):
    """Fills the state, kills the process while events come and starts it again."""
    count = int(size_gb * 1e9 / BYTES_OF_STATE)
    # All of them within the hour of the longest window.
    shape = ["--rate", str(max(1000, count / 1000)), "--cards", "1000000", "--zipf", "0.5"]
    generator = [arguments.millstream, "generate", "fraud", "--seed", "20250602", *shape]

    def load(command):
        generating = subprocess.Popen([*generator, "--events", str(count)], stdout=subprocess.PIPE)
        subprocess.run([*command, "--events", "/dev/stdin"], stdin=generating.stdout, check=True)
        generating.wait()

    rest = arguments.work / "recovery.ndjson"
    with rest.open("wb") as file:
        generating = subprocess.Popen([*generator, "--events", str(count + FEED_EVENTS)], stdout=subprocess.PIPE)
        subprocess.run(["tail", "-n", str(FEED_EVENTS)], stdin=generating.stdout, stdout=file, check=True)
        generating.wait()
    # A topic may have a dot in its name, a pipeline may not.
    name = f"recovery-{system.name}-{size_gb}".replace(" ", "-").replace(",", "").replace(".", "_").lower()
    # Of the outputs only the newest are kept: the disk is for the state.
    instance, watch, source, target, before = start(arguments, broker, system, name, load,
                                                    **{"segment.bytes": "67108864", "retention.bytes": "268435456"})
    feeder = None
    try:
        until(watch.counts(instance), count)
        watch.stop()
        changelogs = written(before, broker.sizes(), source, target, 1).get("changelogs", 0)
        feeder = subprocess.Popen(
            [arguments.tools, "latency", "--brokers", broker.address, "--in", source, "--out", target, "--events", rest,
             "--rate", str(FEED_RATE), "--warmup", "0", "--seconds", str(FEED_EVENTS / FEED_RATE), "--offsets",
             ",".join(map(str, broker.ends(target)))], stdout=subprocess.DEVNULL)
        time.sleep(SETTLE_S)
        files = sum(file.stat().st_size for file in instance.folder.rglob("*") if file.is_file())
        instance.kill()
        killed = time.monotonic()
        # What was committed before the kill is not counted as new.
        time.sleep(0.1)
        watch = Watch(arguments, broker, target, broker.ends(target))
        instance.start()
        first = None
        for _, partitions in watch.counts(instance):
            first = first or time.monotonic() - killed
            if partitions == 4:
                break
        run = {"size_gb": size_gb, "events": count, "changelogs_mb": round(changelogs / 1e6), "files_mb": round(files / 1e6),
               "first_output_s": round(first, 2), "all_partitions_s": round(time.monotonic() - killed, 2),
               "cpu_s": round(instance.cpu(), 2), "memory_mb": memory_mb(instance.process.pid)}
        if system.shares:
            feeder.kill()
            feeder.wait()
            run["moved_max_ms"] = moved(arguments, broker, system, instance, source, target, rest)
        return run
    finally:
        for process in [feeder, watch.process]:
            if process:
                process.kill()
                process.wait()
        instance.kill()
        rest.unlink(missing_ok=True)


def moved(arguments, broker, system, instance, source, target, events):
    """A second process takes half of the partitions over while events come: the longest that an event waited."""
    second = None
    measuring = subprocess.Popen(
        [arguments.tools, "latency", "--brokers", broker.address, "--in", source, "--out", target, "--events", events,
         "--first", str(FEED_EVENTS // 2), "--rate", str(FEED_RATE), "--warmup", "0", "--seconds", str(MOVE_S), "--offsets",
         ",".join(map(str, broker.ends(target)))], stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(MOVE_AFTER_S)
        second = Instance(arguments, broker, system, instance.folder, source, target)
        seen = json.loads(measuring.communicate(timeout=STUCK_S)[0])
        if seen["missing"] or seen["twice"]:
            raise SystemExit(f"events are missing or twice after partitions moved: {seen}")
        return seen["max_ms"]
    finally:
        measuring.kill()
        if second:
            second.cpu()
            second.stop()


# What an event takes in the changelogs of Kafka Streams, both of them: the size of state is given in these.
BYTES_OF_STATE = 74
# What comes before and after the kill.
FEED_RATE = 200
FEED_EVENTS = 200_000
# How long events come while partitions move, and how long before the second process starts.
MOVE_S = 30
MOVE_AFTER_S = 10
# Between the first event at that rate and the kill, so that a periodic snapshot has been written where there is one.
SETTLE_S = 70


def machine():
    name, memory = platform.machine(), ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
        total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
        memory = f", {int(total.split()[1]) / 2**20:.0f} GiB of memory"
    java = subprocess.run(["java", "-version"], capture_output=True, text=True).stderr.split('"')[1]
    return f"{name}, {os.cpu_count()} cores{memory}, {platform.system()} {platform.release().split('-')[0]}, Java {java}"


if __name__ == "__main__":
    main()
