"""Members of a consumer group with confluent-kafka (librdkafka); ../README.md says what is read and written."""

import time

import churn_frame
from confluent_kafka import Consumer, KafkaException, TopicPartition


class Member(churn_frame.Member):
    def __init__(self, bootstrap: str, group: str, name: str, protocol: str):
        super().__init__(name)
        self._group = group
        config = {
            "bootstrap.servers": bootstrap, "group.id": group, "group.protocol": protocol, "client.id": name,
            "enable.auto.commit": False, "auto.offset.reset": "earliest", "fetch.wait.max.ms": 100,
        }
        if protocol == "classic":
            config |= {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500, "partition.assignment.strategy": "range"}
        self._consumer = Consumer(config)

    def _subscribe(self) -> None:
        self._consumer.subscribe(
            [self._group],
            on_assign=lambda _, tps: self._say("assigned", *(tp.partition for tp in tps)),
            on_revoke=self._revoked, on_lost=self._lost)

    def _poll(self) -> None:
        # Not consume(), which may return records of before and after a rebalance that happens within it.
        for i in range(50):
            m = self._consumer.poll(0 if i else 0.1)
            if m is None:
                return
            self._take(m)

    def _take(self, m) -> None:
        if m.error():
            if m.error().fatal():
                raise KafkaException(m.error())
            self._say("refused", m.error())  # the library tries again by itself
            return
        self._say("got", m.partition(), m.offset(), m.offset())
        self._pending[m.partition()] = m.offset() + 1

    def _commit(self, offsets: dict) -> None:
        """Commits; what is refused stays pending until its partition goes."""
        if not offsets:
            return
        sent = time.time_ns()
        try:
            done = self._consumer.commit(offsets=[TopicPartition(self._group, p, o) for p, o in offsets.items()], asynchronous=False)
        except KafkaException as e:
            self._say("refused", str(e).replace("\n", " "))
            return
        acked = time.time_ns()
        for tp in done:
            if tp.error:
                self._say("refused", tp.partition, tp.error)
            else:
                self._say("committed", tp.partition, tp.offset, acked, at=sent)
                self._pending.pop(tp.partition, None)

    def _revoked(self, _, tps) -> None:
        gone = [tp.partition for tp in tps]
        self._commit({p: self._pending[p] for p in gone if p in self._pending})
        self._forget("revoked", gone)

    def _lost(self, _, tps) -> None:
        self._forget("lost", [tp.partition for tp in tps])

    def _close(self) -> None:
        self._consumer.close()


if __name__ == "__main__":
    churn_frame.main(Member)
