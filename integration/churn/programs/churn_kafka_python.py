"""Members of a consumer group with kafka-python, which speaks the classic protocol; ../README.md says what is read and written."""

import sys
import time

import churn_frame
from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata


class Member(churn_frame.Member, ConsumerRebalanceListener):
    def __init__(self, bootstrap: str, group: str, name: str, protocol: str):
        if protocol != "classic":
            sys.exit(f"kafka-python does not speak {protocol}")
        super().__init__(name)
        self._group = group
        self._owned = set()  # partitions; the library calls again for those that it has revoked already
        self._consumer = KafkaConsumer(
            bootstrap_servers=bootstrap, group_id=group, client_id=name, enable_auto_commit=False, auto_offset_reset="earliest",
            session_timeout_ms=6000, heartbeat_interval_ms=500, fetch_max_wait_ms=100, max_poll_records=50,
            partition_assignment_strategy=[RangePartitionAssignor])

    def _subscribe(self) -> None:
        self._consumer.subscribe([self._group], listener=self)

    def _poll(self) -> None:
        for tp, records in self._consumer.poll(timeout_ms=100).items():
            self._got(tp.partition, [r.offset for r in records])

    def _got(self, partition: int, offsets: list) -> None:
        first = last = offsets[0]
        for offset in offsets[1:] + [None]:
            if offset != last + 1:
                self._say("got", partition, first, last)
                first = offset
            last = offset
        self._pending[partition] = offsets[-1] + 1

    def _commit(self, offsets: dict) -> None:
        """Commits, all or nothing; what is refused stays pending until its partition goes."""
        if not offsets:
            return
        offsets, sent = dict(offsets), time.time_ns()
        try:
            self._consumer.commit({TopicPartition(self._group, p): OffsetAndMetadata(o, "", -1) for p, o in offsets.items()})
        except KafkaError as e:
            self._say("refused", str(e).replace("\n", " "))
            return
        acked = time.time_ns()
        for partition, offset in offsets.items():
            self._say("committed", partition, offset, acked, at=sent)
            self._pending.pop(partition, None)

    def on_partitions_assigned(self, assigned) -> None:
        new = {tp.partition for tp in assigned} - self._owned
        self._owned |= new
        self._say("assigned", *new)

    def on_partitions_revoked(self, revoked) -> None:
        self._commit({tp.partition: self._pending[tp.partition] for tp in revoked if tp.partition in self._pending})
        self._disown("revoked", revoked)

    def on_partitions_lost(self, lost) -> None:
        self._disown("lost", lost)

    def _disown(self, word: str, partitions) -> None:
        gone = {tp.partition for tp in partitions} & self._owned
        self._owned -= gone
        self._forget(word, gone)

    def _close(self) -> None:
        self._consumer.close(autocommit=False)


if __name__ == "__main__":
    churn_frame.main(Member)
