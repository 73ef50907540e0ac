"""kafka-python, which shares no code with librdkafka (see records.py for the command line)."""

import time

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from records import PARTITIONS, PATIENCE, Record, Task, Verifier, expect, main


def produce(bootstrap: str, task: Task) -> None:
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, acks="all", compression_type=None if task.codec == "none" else task.codec,
        enable_idempotence=task.idempotent, linger_ms=5)
    futures = []
    for i in range(task.records):
        r = task.record(i)
        futures.append(producer.send(task.topic, partition=i % PARTITIONS, key=r.key, value=r.value, headers=r.headers,
                                     timestamp_ms=r.millis or None))
    for i, future in enumerate(futures):
        offset = future.get(timeout=PATIENCE).offset
        expect(offset == i // PARTITIONS, f"record {i} got offset {offset}")
    producer.close()


def consume(bootstrap: str, task: Task) -> None:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="none", check_crcs=True)
    partitions = [TopicPartition(task.topic, p) for p in range(PARTITIONS)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    verifier = Verifier(task)
    for tp, end in consumer.end_offsets(partitions).items():
        verifier.end(tp.partition, end)
    deadline = time.monotonic() + PATIENCE
    while not verifier.done():
        expect(time.monotonic() < deadline, f"nothing more in time: read up to offsets {verifier.next}")
        for records in consumer.poll(timeout_ms=200).values():
            for m in records:
                verifier.add(m.partition, m.offset, Record(m.key, m.value, [tuple(h) for h in m.headers], m.timestamp))
    consumer.close()


def admin(bootstrap: str, topic: str) -> None:
    client = KafkaAdminClient(bootstrap_servers=bootstrap)
    client.create_topics([NewTopic(topic, PARTITIONS, 1)])
    deadline = time.monotonic() + 20
    while topic not in client.list_topics():
        expect(time.monotonic() < deadline, "the new topic is not listed")
        time.sleep(0.02)
    (described,) = client.describe_topics([topic])
    expect(len(described["partitions"]) == PARTITIONS, f"described as {described}")
    expect(len(client.describe_cluster()["brokers"]) == 1, "the cluster should have one node")
    client.delete_topics([topic])
    client.close()


if __name__ == "__main__":
    main(produce, consume, admin)
