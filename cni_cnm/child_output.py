"""Reads what another program prints, up to a size: one that prints without end must not take all memory."""

from __future__ import annotations

import os
import select
from subprocess import TimeoutExpired
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from subprocess import Popen

_READ_BYTES = 64 << 10
_WRITE_BYTES = 4096
"""PIPE_BUF: what poll(2) promises that a pipe takes without waiting."""


class OutputTooLong(Exception):
    """The program has printed more than the limit. It still runs: the caller kills it."""


def communicate(child: Popen[bytes], sent: bytes, timeout_s: float, limit: int) -> tuple[bytes, bytes]:
    """What the program prints to those of stdout and stderr that are pipes, while it reads `sent`.

    As `Popen.communicate`, with at most `limit` bytes of each. The program has ended on return.

    Raises:
        OutputTooLong: one of them is longer.
        subprocess.TimeoutExpired: it has not ended within `timeout_s`.
    """
    deadline = monotonic() + timeout_s
    outputs = {pipe.fileno(): bytearray() for pipe in (child.stdout, child.stderr) if pipe is not None}
    poll, left = select.poll(), set(outputs)
    for descriptor in outputs:
        poll.register(descriptor, select.POLLIN)
    if child.stdin is not None:
        left.add(child.stdin.fileno())
        poll.register(child.stdin.fileno(), select.POLLOUT)
    rest = memoryview(sent)
    while left:
        ready = poll.poll(max(0.0, deadline - monotonic()) * 1000)
        if not ready:
            raise TimeoutExpired(child.args, timeout_s)
        for descriptor, _ in ready:
            if descriptor in outputs:
                part = os.read(descriptor, _READ_BYTES)
                outputs[descriptor] += part
                if len(outputs[descriptor]) > limit:
                    raise OutputTooLong(f"more than {limit} bytes")
                ended = not part
            else:
                rest = _written(descriptor, rest)
                ended = not rest
            if ended:
                poll.unregister(descriptor)
                left.discard(descriptor)
                if child.stdin is not None and descriptor == child.stdin.fileno():
                    child.stdin.close()
                    child.stdin = None
    child.wait(max(0.0, deadline - monotonic()))
    out, err = (bytes(outputs[pipe.fileno()]) if pipe else b"" for pipe in (child.stdout, child.stderr))
    return out, err


def _written(descriptor: int, rest: memoryview) -> memoryview:
    """What is left to write; nothing if the program reads no more."""
    try:
        return rest[os.write(descriptor, rest[:_WRITE_BYTES]) :] if rest else rest
    except BrokenPipeError:
        return rest[:0]
