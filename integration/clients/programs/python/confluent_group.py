"""confluent-kafka in a consumer group (../../README.md says what a member and groups do)."""

import sys

from confluent_kafka import Consumer, ConsumerGroupState, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from records import Group, committed, expect, got, main_group


def _consumer(bootstrap: str, group: Group) -> Consumer:
    config = {
        "bootstrap.servers": bootstrap, "group.id": group.group, "group.protocol": group.protocol,
        "enable.auto.commit": False, "auto.offset.reset": "earliest",
    }
    if group.protocol == "classic":
        config |= {"session.timeout.ms": 6000, "heartbeat.interval.ms": 300}
    return Consumer(config)


def member(bootstrap: str, group: Group) -> None:
    consumer = _consumer(bootstrap, group)
    consumer.subscribe([group.topic])
    while not group.leaving():
        messages = consumer.consume(num_messages=50, timeout=0.1)
        for m in messages:
            if m.error():
                raise KafkaException(m.error())
            got(m.partition(), m.offset())
        if messages:
            for tp in consumer.commit(asynchronous=False):
                if tp.error:
                    raise KafkaException(tp.error)
                committed(tp.partition, tp.offset)
    consumer.close()


def groups(bootstrap: str, group: Group) -> None:
    consumer = _consumer(bootstrap, group)
    assigned = []
    consumer.subscribe([group.topic], on_assign=lambda _, partitions: assigned.extend(partitions))
    while not assigned:
        group.in_time("an assignment")
        consumer.poll(0.1)
    while True:
        group.in_time("a seek")
        try:
            consumer.seek(TopicPartition(group.topic, 0, 10))
            break
        except KafkaException as e:
            if e.args[0].code() != KafkaError._STATE:  # the library has not begun to fetch
                raise
            consumer.poll(0.1)
    while True:
        group.in_time("the record that was sought")
        m = consumer.poll(0.1)
        if m is not None and not m.error() and m.partition() == 0:
            break
    expect(m.offset() in (10, 11), f"sought offset 10 and got {m.offset()}")  # 11: one was on its way before the seek
    consumer.close()

    admin = AdminClient({"bootstrap.servers": bootstrap})
    listed = admin.list_consumer_groups().result(timeout=30)
    expect(group.group in [g.group_id for g in listed.valid], f"the group is not listed: {listed.errors}")
    described = admin.describe_consumer_groups([group.group])[group.group].result(timeout=30)
    expect(described.state == ConsumerGroupState.EMPTY, f"the group is {described.state}")
    (offsets,) = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group.group)]).values()
    expect(len(offsets.result(timeout=30).topic_partitions) == group.partitions, f"offsets {offsets.result()}")
    new = [ConsumerGroupTopicPartitions(group.group, [TopicPartition(group.topic, 0, 5)])]
    (altered,) = admin.alter_consumer_group_offsets(new).values()
    altered.result(timeout=30)
    (offsets,) = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group.group)]).values()
    found = {tp.partition: tp.offset for tp in offsets.result(timeout=30).topic_partitions}
    expect(found[0] == 5, f"the altered offset is {found[0]}")
    admin.delete_consumer_groups([group.group])[group.group].result(timeout=30)


if __name__ == "__main__":
    main_group(sys.argv, member, groups)
