"""confluent-kafka, which is today's librdkafka (see records.py for the command line)."""

import time
from functools import partial

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic, OffsetSpec

from records import PARTITIONS, PATIENCE, Record, Task, Verifier, expect, main


def produce(bootstrap: str, task: Task) -> None:
    producer = Producer({
        "bootstrap.servers": bootstrap,
        "compression.type": task.codec,
        "enable.idempotence": task.idempotent,
        "acks": "all",
        "linger.ms": 5,
        "queue.buffering.max.messages": 200_000,
    })
    failures = []
    delivered = 0

    def report(i, error, message):
        nonlocal delivered
        delivered += 1
        if error is not None:
            failures.append(KafkaException(error))
        elif message.offset() != i // PARTITIONS:
            failures.append(AssertionError(f"record {i} got offset {message.offset()}"))

    for i in range(task.records):
        r = task.record(i)
        while True:
            try:
                producer.produce(task.topic, partition=i % PARTITIONS, key=r.key, value=r.value, headers=r.headers,
                                 timestamp=r.millis, on_delivery=partial(report, i))
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    expect(producer.flush(PATIENCE) == 0, "not everything was delivered in time")
    if failures:
        raise failures[0]
    expect(delivered == task.records, f"{delivered} delivery reports for {task.records} records")


def consume(bootstrap: str, task: Task) -> None:
    consumer = Consumer({
        "bootstrap.servers": bootstrap,
        # Required by the library; a consumer that assigns and stores nothing never joins it.
        "group.id": "none",
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "check.crcs": True,
    })
    verifier = Verifier(task)
    partitions = [TopicPartition(task.topic, p, 0) for p in range(PARTITIONS)]
    for tp in partitions:
        verifier.end(tp.partition, consumer.get_watermark_offsets(tp, timeout=30)[1])
    consumer.assign(partitions)
    deadline = time.monotonic() + PATIENCE
    while not verifier.done():
        expect(time.monotonic() < deadline, f"nothing more in time: read up to offsets {verifier.next}")
        for m in consumer.consume(num_messages=10_000, timeout=0.2):
            if m.error():
                raise KafkaException(m.error())
            verifier.add(m.partition(), m.offset(), Record(m.key(), m.value(), m.headers() or [], m.timestamp()[1]))
    consumer.close()


def _await(what: str, condition) -> None:
    """Waits for what the cluster may take up after it has answered."""
    deadline = time.monotonic() + 20
    while True:
        try:
            if condition():
                return
        except KafkaException as e:
            if e.args[0].code() not in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.LEADER_NOT_AVAILABLE):
                raise
        expect(time.monotonic() < deadline, f"the new {what} is not described")
        time.sleep(0.02)


def admin(bootstrap: str, topic: str) -> None:
    client = AdminClient({"bootstrap.servers": bootstrap})

    def only(futures):
        (future,) = futures.values()
        return future.result(timeout=30)

    only(client.create_topics([NewTopic(topic, PARTITIONS, 1, config={"retention.ms": "3600000"})]))
    _await("topic", lambda: len(client.list_topics(topic, timeout=30).topics[topic].partitions) == PARTITIONS)
    only(client.create_partitions([NewPartitions(topic, PARTITIONS + 1)]))
    _await("partition", lambda: len(client.list_topics(topic, timeout=30).topics[topic].partitions) == PARTITIONS + 1)
    configs = only(client.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]))
    expect(configs["retention.ms"].value == "3600000", f"retention.ms is {configs['retention.ms'].value}")
    _await("leader", lambda: only(client.list_offsets({TopicPartition(topic, PARTITIONS): OffsetSpec.latest()})).offset == 0)
    expect(len(client.describe_cluster().result(timeout=30).nodes) == 1, "the cluster should have one node")
    only(client.delete_topics([topic]))


if __name__ == "__main__":
    main(produce, consume, admin)
