"""Events of this host: what an operator should know without having asked. A line of the log, and of a file.

    RUN_DIR/events      a JSON object a line, for `cni-cnm watch`, and for the agent, which tells Kubernetes
    RUN_DIR/events.1    the lines before, when the first file has got too long

No call of a runtime writes one. Two processes may write at once: a line is one write at the end of the file. What
cannot be written is left out. A reader begins at the end, and misses nothing as long as it looks before two files are
full.
"""

from __future__ import annotations

import json
import os
from fcntl import LOCK_EX, LOCK_NB, flock
from time import time

from cni_cnm.frontend.one_line import one_line
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

REPAIRED, NOT_REPAIRED, NOTED = "repaired", "not repaired", "noted"
COLLECTED = "collected"
NETWORK_MADE, NETWORK_REMOVED = "network made", "network removed"
POOL_LOW, POOL_FREE = "pool nearly full", "pool has room"
BLOCKED, OPEN = "blocked", "not blocked any more"
CLUSTER = "cluster"

KINDS = {
    REPAIRED: "what another program has changed was put right",
    NOT_REPAIRED: "it could not be put right",
    NOTED: "it is not ours to change",
    COLLECTED: "an endpoint whose container is gone was taken down",
    NETWORK_MADE: "a network was made",
    NETWORK_REMOVED: "a network was removed",
    POOL_LOW: "few addresses of a network are free",
    POOL_FREE: "there are enough again",
    BLOCKED: "a firewall of another program drops packets of a network",
    OPEN: "it does not any more",
    CLUSTER: "the agent of the cluster has something to say",
}
SIZE_MAX = 256 << 10
_LINE_MAX = 2000
"""Characters of a sentence, which may quote what was found on the host."""


class Event(NamedTuple):
    kind: str
    """A key of `KINDS`."""
    sentence: str
    network: str = ""
    """Name of the network that it is about; "" if it is not about one, or about several."""


def append(run_dir: str, event: Event) -> None:
    """Never raises, and never waits."""
    path = _path(run_dir)
    line = json.dumps({"time": round(time(), 1), **event._replace(sentence=event.sentence[:_LINE_MAX])._asdict()})
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, f"{line}\n".encode())
            if os.fstat(descriptor).st_size > SIZE_MAX:
                _begin_another(descriptor, path)
        finally:
            os.close(descriptor)
    except OSError:
        pass  # the log has the line


class Reader:
    """What is written from now on."""

    def __init__(self, run_dir: str) -> None:
        self._path = _path(run_dir)
        self._inode, self._at = 0, 0
        try:
            found = os.stat(self._path)
        except OSError:
            return
        self._inode, self._at = found.st_ino, found.st_size

    def new(self) -> Iterator[Event]:
        """Since the last call. No error if there is no file, or a line that is not one of ours."""
        try:
            with open(self._path, "rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                if inode != self._inode:
                    yield from _events(self._rest_of(f"{self._path}.1"))
                    self._inode, self._at = inode, 0
                file.seek(self._at)
                text = file.read(2 * SIZE_MAX)
        except OSError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._at += len(whole)
        yield from _events(whole)

    def _rest_of(self, path: str) -> bytes:
        """Of the file that was read until now."""
        try:
            with open(path, "rb") as file:
                if os.fstat(file.fileno()).st_ino != self._inode:
                    return b""
                file.seek(self._at)
                return file.read(2 * SIZE_MAX)
        except OSError:
            return b""


def _events(text: bytes) -> Iterator[Event]:
    for line in text.splitlines():
        try:
            raw = json.loads(line)
            found = Event(*(raw[field] for field in Event._fields))
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if found.kind in KINDS and all(isinstance(value, str) for value in found):
            yield found._replace(sentence=one_line(found.sentence))


def _begin_another(descriptor: int, path: str) -> None:
    """The file gets another name, once."""
    try:
        flock(descriptor, LOCK_EX | LOCK_NB)
    except OSError:
        return  # another process does it
    if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
        os.replace(path, f"{path}.1")


def _path(run_dir: str) -> str:
    return os.path.join(run_dir, "events")
