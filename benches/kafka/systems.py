"""What is measured: how each is started between two topics. A start after a kill is the same command again."""
import dataclasses
import shutil
from pathlib import Path

from broker import jars

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parent.parent / "examples" / "fraud"
COLUMNS = ("transaction_id, card_id, event_time, amount, count_5m, sum_5m, avg_1h, std_1h, max_1h, amount_ratio, "
           "secs_since_prev, merchant_risk, hour_of_day, score")


@dataclasses.dataclass
class System:
    name: str
    job: str  # pass or fraud
    command: callable  # (folder, brokers, input topic, output topic) -> command
    shares: bool = False  # the same command again is a second process with a share of the partitions


def all_systems(arguments):
    tools, work = arguments.tools, arguments.work

    def raw(folder, brokers, source, target):
        return [tools, "pass", "--brokers", brokers, "--in", source, "--out", target, "--group", f"raw-{target}"]

    def streams(job, commit_ms, store):
        def command(folder, brokers, source, target):
            classpath = f"{arguments.classes}:{jars(HERE / 'streams' / 'pom.xml', arguments.cache, 'bench-kafka-streams')}/*"
            java = arguments.recovery_java if "recovery" in target else arguments.java
            return ["java", *java.split(), "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", classpath,
                    "bench.Main", "--job", job, "--app", f"streams-{target}", "--brokers", brokers, "--in", source,
                    "--out", target, "--commit-ms", str(commit_ms), "--store", store, "--state", folder / "state",
                    "--model", work / "model.onnx", "--merchants", work / "merchants.csv"]
        return command

    def millstream(job):
        def command(folder, brokers, source, target):
            path = folder / "pipeline.yaml"
            if not path.exists():
                path.write_text({"pass": pass_pipeline, "fraud": fraud_pipeline}[job](brokers, source, target))
                shutil.copy(work / "merchants.csv", folder)
                shutil.copy(EXAMPLE / "model.json", folder)
            return [arguments.millstream, "run", path, "--quiet", "--workers", "1"]
        return command

    return [
        System("raw librdkafka", "pass", raw),
        System("Millstream", "pass", millstream("pass"), shares=True),
        System("Kafka Streams", "pass", streams("pass", 100, "none")),
        System("Millstream", "fraud", millstream("fraud"), shares=True),
        System("Kafka Streams, RocksDB, commit 100 ms", "fraud", streams("fraud", 100, "rocksdb")),
        System("Kafka Streams, RocksDB, commit 50 ms", "fraud", streams("fraud", 50, "rocksdb")),
        System("Kafka Streams, in memory, commit 100 ms", "fraud", streams("fraud", 100, "memory")),
        System("Kafka Streams, in memory, commit 50 ms", "fraud", streams("fraud", 50, "memory")),
    ]


def pass_pipeline(brokers, source, target):
    """Every column through JSON, SQL and JSON; nothing is kept."""
    return f"""pipeline: {target}
sources:
  transactions:
    type: kafka
    brokers: "{brokers}"
    topic: {source}
    start: earliest
    static_membership: true
    schema:
      transaction_id: {{ type: string, required: true }}
      card_id: {{ type: string, required: true }}
      merchant_id: string
      amount: float64
      currency: string
      lat: float64
      lon: float64
      channel: string
      event_time: {{ type: timestamp_ms, required: true }}
    key: card_id
    event_time: event_time
    lateness: 3s
steps:
  - name: projected
    sql: SELECT transaction_id, card_id, merchant_id, amount, currency, lat, lon, channel, event_time FROM transactions
outputs:
  out: {{ type: kafka, brokers: "{brokers}", topic: {target}, compression: none }}
"""


def fraud_pipeline(brokers, source, target):
    """The example's own pipeline, on arrival, from topic to topic, with the columns that the peers write."""
    text = (EXAMPLE / "pipeline.yaml").read_text()
    head, found, rest = text.partition("\noutputs:")
    for old, new in [("pipeline: fraud\n", f"pipeline: {target}\n"),
                     ("type: file                        # also: log (the embedded, partitioned log) and stdin",
                      f"type: kafka\n    brokers: \"{brokers}\""),
                     ("path: ${TRANSACTIONS:-transactions-100k.ndjson.zst}   # .gz and .zst are decompressed",
                      f"topic: {source}\n    start: earliest\n    static_membership: true")]:
        if old not in head or not found or "emit: on_arrival" not in head:
            raise SystemExit(f"the example's pipeline has no {old!r} any more")
        head = head.replace(old, new)
    return head + f"""
outputs:
  scores:
    type: kafka
    brokers: "{brokers}"
    topic: {target}
    compression: none
    select: [{COLUMNS}]
"""


def reference_pipeline(events):
    """What the outputs of the fraud job are held against: the same on files."""
    text = fraud_pipeline("-", "-", "reference")
    text = text.replace('type: kafka\n    brokers: "-"\n    topic: -\n    start: earliest\n    static_membership: true', f"type: file\n    path: {events}")
    return text.replace('type: kafka\n    brokers: "-"\n    topic: reference\n    compression: none', "type: file\n    path: reference.ndjson")
