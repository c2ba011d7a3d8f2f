"""One Apache Kafka broker on free ports, from the jars that the tests use, and what the benchmark asks it."""
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

POM = Path(__file__).resolve().parent.parent.parent / "tests" / "kafka" / "pom.xml"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
PARTITIONS = 4
# The log cleaner is off, so that the size of a log is what was written to it.
PROPERTIES = """process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={logs}
log.cleaner.enable=false
log.retention.ms=-1
log.retention.check.interval.ms=5000
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
"""


def jars(pom, cache, name):
    """The jars of a pom, copied once."""
    folder = cache / f"{name}-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    if not folder.exists():
        filling = folder.with_suffix(".filling")
        shutil.rmtree(filling, ignore_errors=True)
        subprocess.run(["mvn", "-q", "-B", "-f", pom, COPY, "-DincludeScope=runtime", f"-DoutputDirectory={filling}"],
                       check=True, stdout=sys.stderr)
        filling.rename(folder)
    return folder


def broker_jars(cache):
    """Those that the tests copied for the same version, else our own copy."""
    version = re.search("<kafka.version>(.*)</kafka.version>", POM.read_text())[1]
    tested = [folder for folder in sorted(cache.glob(f"kafka-{version}-*/jars")) if not folder.parent.suffix == ".filling"]
    return tested[0] if tested else jars(POM, cache, "bench-kafka-broker")


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Broker:
    """Runs from construction to `stop`."""

    def __init__(self, cache, folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder, self.logs = folder, folder / "logs"
        port, controller = free_ports(2)
        self.address = f"127.0.0.1:{port}"
        properties = folder / "server.properties"
        properties.write_text(PROPERTIES.format(port=port, controller=controller, logs=self.logs))
        self.java = ["java", "-Xms1g", "-Xmx1g", f"-Dlog4j2.configurationFile={POM.parent / 'log4j2.properties'}",
                     "-cp", f"{broker_jars(cache)}/*"]
        out = (folder / "broker.log").open("w")
        subprocess.run([*self.java, "kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", properties,
                        "--standalone"], check=True, stdout=out, stderr=out)
        self.process = subprocess.Popen([*self.java, "kafka.Kafka", properties], stdout=out, stderr=out)
        self.admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        self.wait()

    def wait(self):
        deadline = time.monotonic() + 60
        while True:
            try:
                self.admin.list_topics(timeout=2)
                return
            except KafkaException:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the broker did not start, see {self.folder}/broker.log")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def cpu(self):
        return cpu_seconds(self.process.pid)

    def create(self, topic, **config):
        self.admin.create_topics([NewTopic(topic, PARTITIONS, 1, config=config)])[topic].result()

    def delete_all(self):
        """All topics but Kafka's own; returns when their files are gone, so that sizes and disk are right."""
        topics = [topic for topic in self.admin.list_topics(timeout=10).topics if not topic.startswith("__")]
        if topics:
            for done in self.admin.delete_topics(topics).values():
                done.result()

    def ends(self, topic):
        """Where a consumer of what comes next begins, for each partition."""
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": "ends"})
        ends = [consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30)[1] for p in range(PARTITIONS)]
        consumer.close()
        return ends

    def sizes(self):
        """Bytes in the logs, by topic."""
        sizes = {}
        for folder in self.logs.iterdir():
            if folder.is_dir() and not folder.name.endswith("-delete"):
                topic = folder.name.rpartition("-")[0]
                sizes[topic] = sizes.get(topic, 0) + sum(file.stat().st_size for file in folder.glob("*.log"))
        return sizes

    def read(self, topic, path):
        """Writes the committed values of a topic to a file, as a client that was not written here sees them."""
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": "read", "isolation.level": "read_committed",
                             "enable.auto.commit": False, "enable.partition.eof": True})
        consumer.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
        ended = set()
        with path.open("wb") as file:
            while len(ended) < PARTITIONS:
                for message in consumer.consume(10_000, timeout=1):
                    if message.error() is None:
                        file.write(message.value() + b"\n")
                    elif message.error().name() == "_PARTITION_EOF":
                        ended.add(message.partition())
                    else:
                        raise SystemExit(f"{topic}: {message.error()}")
        consumer.close()


def cpu_seconds(pid):
    """User and system time of a process and all its threads so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
