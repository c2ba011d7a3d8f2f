#!/usr/bin/env python3
"""Reads, writes and administers a Kafka for tests with confluent-kafka. Input and output are JSON lines.

    client.py SERVERS produce TOPIC none|commit|abort|leave TRANSACTIONAL_ID TRANSACTION_TIMEOUT_MS < RECORDS
    client.py SERVERS consume TOPIC read_committed|read_uncommitted COUNT SECONDS
    client.py SERVERS create TOPIC PARTITIONS [OPTION=VALUE]...
    client.py SERVERS delete|describe TOPIC
    client.py SERVERS grow TOPIC PARTITIONS
    client.py SERVERS trim TOPIC OFFSET
    client.py SERVERS committed GROUP TOPIC
    client.py SERVERS members GROUP
    client.py SERVERS brokers [PROPERTY=VALUE]...

A record is {"key", "value", "headers", "timestamp", "partition"}, each of them optional; "key_base64" and
"value_base64" are for bytes that are no text, headers are [[name, base64], ...]. `consume` reads to the end of all
partitions, and further until it has COUNT records or SECONDS are over.
"""
import base64
import json
import os
import sys
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

# How long anything may take that a running broker does at once; with a broker that was killed it is elections.
TIMEOUT_S = 60
# What goes by while coordinators and leaders move.
PASSING = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.NOT_COORDINATOR,
    KafkaError.UNSTABLE_OFFSET_COMMIT, KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._UNKNOWN_PARTITION,
    KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE,
}


def encode(data):
    return None if data is None else base64.b64encode(data).decode()


def decode(text):
    return None if text is None else base64.b64decode(text)


def show(lines):
    sys.stdout.writelines(json.dumps(line) + "\n" for line in lines)


def produce(servers, topic, end, transactional_id, transaction_timeout_ms):
    config = {"bootstrap.servers": servers, "enable.idempotence": True, "linger.ms": 5, "partitioner": "murmur2_random"}
    if end != "none":
        config |= {"transactional.id": transactional_id}
    if end == "leave":
        config |= {"transaction.timeout.ms": int(transaction_timeout_ms)}
    producer = Producer(config)
    problems = []

    def delivered(error, _):
        if error:
            problems.append(str(error))

    if end != "none":
        producer.init_transactions(TIMEOUT_S)
        producer.begin_transaction()
    for line in sys.stdin:
        record = json.loads(line)
        # The client takes -1 for "choose one" and 0 for "now".
        partition, timestamp = record.get("partition"), record.get("timestamp")
        arguments = {
            "key": decode(record.get("key_base64")) if record.get("key") is None else record["key"].encode(),
            "value": decode(record.get("value_base64")) if record.get("value") is None else record["value"].encode(),
            "headers": [(name, decode(value)) for name, value in record.get("headers") or []],
            "partition": -1 if partition is None else partition,
            "timestamp": timestamp or 0,
            "on_delivery": delivered,
        }
        while True:
            try:
                producer.produce(topic, **arguments)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(TIMEOUT_S)
    if left or problems:
        sys.exit(f"{left + len(problems)} records were not delivered: {problems[:3]}")
    if end == "commit":
        producer.commit_transaction(TIMEOUT_S)
    elif end == "abort":
        producer.abort_transaction(TIMEOUT_S)
    elif end == "leave":
        sys.stdout.flush()
        os._exit(0)


def patiently(ask):
    """Asks again while a broker that has just come back says what it is not asked for again by itself."""
    begin = time.monotonic()
    while True:
        try:
            return ask()
        except KafkaException as error:
            code = error.args[0].code()
            if code not in PASSING and not error.args[0].retriable() or time.monotonic() > begin + TIMEOUT_S:
                raise
            time.sleep(0.1)


def partitions_of(client, topic):
    described = client.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
    if described.error:
        raise KafkaException(described.error)
    return described.partitions


def consume(servers, topic, isolation, count, seconds):
    consumer = Consumer({
        "bootstrap.servers": servers, "group.id": "not-used", "isolation.level": isolation, "enable.auto.commit": False,
        "enable.partition.eof": True, "auto.offset.reset": "error", "fetch.wait.max.ms": 50,
    })
    reading = set(partitions_of(consumer, topic))
    # The beginning may have been removed.
    lows = [(p, patiently(lambda p=p: consumer.get_watermark_offsets(TopicPartition(topic, p), TIMEOUT_S)[0]))
            for p in sorted(reading)]
    consumer.assign([TopicPartition(topic, partition, low) for partition, low in lows])
    begin = time.monotonic()
    records = []
    while reading or (len(records) < int(count) and time.monotonic() < begin + float(seconds)):
        if time.monotonic() > begin + float(seconds) + TIMEOUT_S:
            sys.exit(f"the end of the partitions {sorted(reading)} was not reached")
        for message in consumer.consume(10_000, 0.05):
            error = message.error()
            if error and error.code() == KafkaError._PARTITION_EOF:
                reading.discard(message.partition())
            elif error:
                raise KafkaException(error)
            else:
                kind, timestamp = message.timestamp()
                records.append({
                    "partition": message.partition(), "offset": message.offset(),
                    "timestamp": timestamp if kind else None,
                    "key_base64": encode(message.key()), "value_base64": encode(message.value()),
                    "headers": [[name, encode(value)] for name, value in message.headers() or []],
                })
    consumer.close()
    records.sort(key=lambda record: (record["partition"], record["offset"]))
    show(records)


def wait(futures):
    return [future.result(TIMEOUT_S) for future in futures.values()]


def create(servers, topic, partitions, *options):
    admin = AdminClient({"bootstrap.servers": servers})
    config = dict(option.split("=", 1) for option in options)
    wait(admin.create_topics([NewTopic(topic, int(partitions), config=config)], operation_timeout=TIMEOUT_S))
    await_leaders(admin, topic, int(partitions))


def grow(servers, topic, partitions):
    admin = AdminClient({"bootstrap.servers": servers})
    wait(admin.create_partitions([NewPartitions(topic, int(partitions))], operation_timeout=TIMEOUT_S))
    await_leaders(admin, topic, int(partitions))


def trim(servers, topic, offset):
    """Removes what stands before OFFSET in every partition, as retention does."""
    admin = AdminClient({"bootstrap.servers": servers})
    wanted = [TopicPartition(topic, partition, int(offset)) for partition in partitions_of(admin, topic)]
    wait(admin.delete_records(wanted, operation_timeout=TIMEOUT_S))


def await_leaders(admin, topic, partitions):
    """A topic that was just made may not be known to the broker that is asked."""
    begin = time.monotonic()
    while True:
        described = admin.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
        if not described.error and sum(p.leader >= 0 for p in described.partitions.values()) == partitions:
            return
        if time.monotonic() > begin + TIMEOUT_S:
            sys.exit(f"{topic} has no leaders: {described.error}")
        time.sleep(0.05)


def delete(servers, topic):
    admin = AdminClient({"bootstrap.servers": servers})
    wait(admin.delete_topics([topic], operation_timeout=TIMEOUT_S))


def describe(servers, topic):
    admin = AdminClient({"bootstrap.servers": servers})
    show({"partition": number, "leader": p.leader, "replicas": sorted(p.replicas), "in_sync": sorted(p.isrs)}
         for number, p in sorted(partitions_of(admin, topic).items()))


def committed(servers, group, topic):
    admin = AdminClient({"bootstrap.servers": servers})
    wanted = [TopicPartition(topic, partition) for partition in sorted(partitions_of(admin, topic))]
    # Also offsets of open transactions would be waited for, as the tested program does.
    asked = [ConsumerGroupTopicPartitions(group, wanted)]
    (answer,) = patiently(lambda: wait(admin.list_consumer_group_offsets(asked, require_stable=True)))
    show({"partition": p.partition, "offset": p.offset if p.offset >= 0 else None, "metadata": p.metadata or ""}
         for p in answer.topic_partitions)


def members(servers, group):
    admin = AdminClient({"bootstrap.servers": servers})
    try:
        (answer,) = wait(admin.describe_consumer_groups([group]))
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return
        raise
    show({"client_id": m.client_id,
          "assigned": sorted([p.topic, p.partition] for p in (m.assignment.topic_partitions if m.assignment else []))}
         for m in answer.members)


def brokers(servers, *properties):
    """Where the brokers say they are, asked with further properties of the client, such as those of security."""
    problems = []

    def problem(error):
        problems.append(str(error))

    config = dict(one.split("=", 1) for one in properties)
    admin = AdminClient({"bootstrap.servers": servers, "error_cb": problem} | config)
    future = admin.describe_cluster(request_timeout=TIMEOUT_S)
    while not future.done():
        admin.poll(0.05)
        # It would try again until the time is over.
        if any(word in text for word in ("uthentication", "handshake", "alert", "refused") for text in problems):
            sys.exit("\n".join(problems))
    show({"broker": node.id, "address": f"{node.host}:{node.port}"} for node in future.result().nodes)


COMMANDS = {f.__name__: f for f in (produce, consume, create, grow, trim, delete, describe, committed, members, brokers)}

if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[2] not in COMMANDS:
        sys.exit(__doc__)
    try:
        COMMANDS[sys.argv[2]](sys.argv[1], *sys.argv[3:])
    except KafkaException as error:
        sys.exit(str(error))
