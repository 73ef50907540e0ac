"""The records that the client programs write and expect, and the command line that they share (../README.md).

../go/record/record.go says the same in Go.
"""

import sys
import threading
import time
from typing import NamedTuple, Optional

PARTITIONS = 3
PATIENCE = 120  # seconds for one topic

_MASK = 0xFFFFFFFF


def _pattern() -> bytes:
    out, y = bytearray(), 12345
    for _ in range(64 << 10):
        y = (y * 1664525 + 1013904223) & _MASK
        out.append(ord("a") + (y >> 24) % 26)
    return bytes(out)


_PATTERN = _pattern()


class Record(NamedTuple):
    key: Optional[bytes]
    value: Optional[bytes]
    headers: list
    millis: int  # 0 means the time of writing


class Task:
    """One topic to write or read."""

    def __init__(self, spec: str):
        self.topic, records, seed, shape, self.codec, idempotent = spec.split(":")
        self.records, self.seed = int(records), int(seed)
        self.rich, self.idempotent = shape == "rich", idempotent == "true"

    def count(self, partition: int) -> int:
        """How many records a partition holds."""
        return (self.records - partition + PARTITIONS - 1) // PARTITIONS

    def record(self, i: int) -> Record:
        x = ((i + 1) * 2654435761 + self.seed * 40503) & _MASK
        x ^= x >> 15
        x = x * 2246822519 & _MASK
        x ^= x >> 13
        length = 50_000 if i % 5000 == 4999 else x % 200
        start = (x >> 8) % 1009
        key = b"key-%d" % (x % 1000)
        value = b"%d " % i + _PATTERN[start : start + length]
        if i % 11 == 3:
            value = None
        if not self.rich:
            return Record(key, value, [("client", b"kcat"), ("n", b"1")], 0)
        if i % 7 == 2:
            key = None
        elif i % 7 == 4:
            key = b""
        headers = [("h0", b"%d" % i), ("h0", b""), ("h2", None)][: i % 4]
        return Record(key, value, headers, 1_700_000_000_000 + x % 1_000_000)


class Verifier:
    """Checks the records of a topic as they are read: the right ones, in order, and nothing besides."""

    def __init__(self, task: Task):
        self.task, self.next = task, [0] * PARTITIONS

    def end(self, partition: int, offset: int) -> None:
        expect(offset == self.task.count(partition), f"partition {partition} ends at offset {offset}, want {self.task.count(partition)}")

    def add(self, partition: int, offset: int, got: Record) -> None:
        expect(offset == self.next[partition], f"partition {partition}: got offset {offset}, want {self.next[partition]}")
        self.next[partition] += 1
        i = offset * PARTITIONS + partition
        want = self.task.record(i)
        if want.millis == 0:
            expect(abs(time.time() - got.millis / 1000) < 3600, f"record {i}: timestamp {got.millis} is far from now")
            want = want._replace(millis=got.millis)
        expect(got == want, f"record {i} at offset {offset} of partition {partition}: {str(got):.300}, want {str(want):.300}")

    def done(self) -> bool:
        return all(n >= self.task.count(p) for p, n in enumerate(self.next))


def expect(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)


def main(produce, consume, admin) -> None:
    """Runs PROGRAM produce|consume|admin BOOTSTRAP TASK...|TOPIC."""
    verb, bootstrap, failed = sys.argv[1], sys.argv[2], False
    for arg in sys.argv[3:]:
        try:
            if verb == "admin":
                admin(bootstrap, arg)
            else:
                {"produce": produce, "consume": consume}[verb](bootstrap, Task(arg))
            print("ok", arg)
        except Exception as e:  # pylint: disable=broad-except
            failed = True
            print("FAIL", arg, type(e).__name__, str(e).replace("\n", " "))
    sys.exit(failed)


class Group:
    """What a member of a consumer group is told: TOPIC:PARTITIONS:GROUP:PROTOCOL."""

    def __init__(self, spec: str):
        self.topic, partitions, self.group, self.protocol = spec.split(":")
        self.partitions = int(partitions)
        self._deadline = time.monotonic() + PATIENCE
        self._left = threading.Event()

    def leave_at_end_of_input(self) -> None:
        def wait():
            sys.stdin.read()
            self._left.set()

        threading.Thread(target=wait, daemon=True).start()

    def leaving(self) -> bool:
        return self._left.is_set()

    def in_time(self, what: str) -> None:
        expect(time.monotonic() < self._deadline, f"no {what} in time")


def got(partition: int, offset: int) -> None:
    """Says that a record was received."""
    print("got", partition, offset, flush=True)


def committed(partition: int, offset: int) -> None:
    """Says that an offset was committed."""
    print("committed", partition, offset, flush=True)


def main_group(argv, member, groups) -> None:
    """Runs PROGRAM member|groups BOOTSTRAP GROUP."""
    group = Group(argv[3])
    try:
        if argv[1] == "member":
            group.leave_at_end_of_input()
            member(argv[2], group)
        else:
            groups(argv[2], group)
        print("ok", argv[3])
    except Exception as e:  # pylint: disable=broad-except
        print("FAIL", argv[3], type(e).__name__, str(e).replace("\n", " "))
        sys.exit(1)
