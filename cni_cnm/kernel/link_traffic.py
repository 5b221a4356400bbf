"""What the links of the calling thread's network namespace have received and sent, as /proc/net/dev has it."""

from __future__ import annotations

from cni_cnm.errors import IoFailed
from cni_cnm.named_tuple import NamedTuple

PATH = "/proc/thread-self/net/dev"
_HEAD_LINES = 2


class Traffic(NamedTuple):
    """Since the link was made. Dropped: by the link itself in both directions, not by a packet filter."""

    received_bytes: int = 0
    received_packets: int = 0
    sent_bytes: int = 0
    sent_packets: int = 0
    dropped: int = 0


def read() -> dict[str, Traffic]:
    """By name of the link. IoFailed if the file cannot be read."""
    try:
        with open(PATH, encoding="utf-8", errors="surrogateescape") as file:
            return parse(file.read())
    except OSError as error:
        raise IoFailed(f"{PATH} cannot be read: {error.strerror}") from error


def parse(text: str) -> dict[str, Traffic]:
    """The file's text: a line `NAME: ` and 16 numbers for each link (net/core/net-procfs.c)."""
    found = {}
    for line in text.splitlines()[_HEAD_LINES:]:
        name, _, rest = line.rpartition(":")
        numbers = [int(word) for word in rest.split()]
        received, sent = numbers[:8], numbers[8:]
        found[name.strip()] = Traffic(received[0], received[1], sent[0], sent[1], received[3] + sent[3])
    return found
