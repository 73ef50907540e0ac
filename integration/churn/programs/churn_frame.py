"""What the programs in Python share: the thread of a member, what it says, and the commands that are read."""

import sys
import threading
import time

_out = threading.Lock()


class Member:
    """A member in a thread of its own. Its class says how to subscribe, poll once, commit offsets and close."""

    def __init__(self, name: str):
        self._name = name
        self._leaving = threading.Event()
        self._pending = {}  # partition: the offset to commit
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def leave(self) -> None:
        self._leaving.set()

    def join(self) -> None:
        self._thread.join()

    def _say(self, word: str, *more, at=None) -> None:
        with _out:
            print(self._name, word, at or time.time_ns(), *more, flush=True)

    def _run(self) -> None:
        try:
            self._subscribe()
            while not self._leaving.is_set():
                self._poll()
                self._commit(self._pending)
            self._close()
            self._say("left")
        except Exception as e:  # pylint: disable=broad-except
            self._say("failed", type(e).__name__, str(e).replace("\n", " "))

    def _forget(self, word: str, gone) -> None:
        for p in gone:
            self._pending.pop(p, None)
        self._say(word, *gone)


def main(member) -> None:
    """Reads commands; member(bootstrap, group, name, protocol) makes a Member."""
    bootstrap, group = sys.argv[1:]
    members = {}
    for line in sys.stdin:
        verb, name, *more = line.split()
        if verb == "join":
            members[name] = member(bootstrap, group, name, *more)
            members[name].start()
        else:
            members[name].leave()
    for m in members.values():
        m.leave()
    for m in members.values():
        m.join()
