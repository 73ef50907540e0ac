"""kafka-python in a consumer group (../../README.md says what a member and groups do)."""

import sys

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.structs import OffsetAndMetadata

from records import Group, committed, expect, got, main_group


def _consumer(bootstrap: str, group: Group) -> KafkaConsumer:
    return KafkaConsumer(
        group.topic, bootstrap_servers=bootstrap, group_id=group.group, enable_auto_commit=False,
        auto_offset_reset="earliest", session_timeout_ms=6000, heartbeat_interval_ms=300, max_poll_records=50)


def member(bootstrap: str, group: Group) -> None:
    consumer = _consumer(bootstrap, group)
    while not group.leaving():
        for tp, records in consumer.poll(timeout_ms=100).items():
            for m in records:
                got(m.partition, m.offset)
            following = records[-1].offset + 1
            consumer.commit({tp: OffsetAndMetadata(following, "", -1)})
            committed(tp.partition, following)
    consumer.close()


def groups(bootstrap: str, group: Group) -> None:
    consumer = _consumer(bootstrap, group)
    while not consumer.assignment():
        group.in_time("an assignment")
        consumer.poll(timeout_ms=100)
    first = TopicPartition(group.topic, 0)
    consumer.seek(first, 10)
    found = []
    while not found:
        group.in_time("the record that was sought")
        found = consumer.poll(timeout_ms=100).get(first, [])
    expect(found[0].offset == 10, f"sought offset 10 and got {found[0].offset}")
    expect(consumer.committed(first) > 0, "nothing is committed")
    consumer.close()

    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    expect(group.group in [g["group_id"] for g in admin.list_groups()], "the group is not listed")
    described = admin.describe_groups([group.group])[group.group]
    expect("empty" in str(described.get("group_state", described.get("state"))).lower(), f"described as {described}")
    offsets = admin.list_group_offsets({group.group: None})[group.group]
    expect(len(offsets) == group.partitions, f"offsets {offsets}")
    admin.alter_group_offsets(group.group, {first: OffsetAndMetadata(5, "", -1)})
    altered = admin.list_group_offsets({group.group: [first]})[group.group][first]
    expect(altered.offset == 5, f"the altered offset is {altered}")
    admin.delete_groups([group.group])
    expect(group.group not in [g["group_id"] for g in admin.list_groups()], "the deleted group is listed")
    admin.close()


if __name__ == "__main__":
    main_group(sys.argv, member, groups)
