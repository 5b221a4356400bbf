"""Pairs of ADD and DEL by the relay, from within a node: python -m tests.system.request_driver RELAY PODS.

Reads numbers of pairs from stdin. Of each it writes a line with the times of the ADDs, a JSON list of milliseconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.bench.measure import Contender, Link, Pod, call

if TYPE_CHECKING:
    from tests.system.node import Node

CONF = {
    "cniVersion": "1.0.0", "name": "net", "type": "cni-cnm", "bridge": "br-net",
    "ipam": {"type": "host-local", "subnet": "10.61.0.0/16"},
}  # fmt: skip


class Driver:
    """One in a node, seen from outside."""

    def __init__(self, node: Node, root: str, relay: str, pods: int) -> None:
        command = ["env", f"PYTHONPATH={root}", sys.executable, "-m", "tests.system.request_driver", relay, str(pods)]
        self._process = subprocess.Popen(
            node.command(*command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def pairs(self, count: int) -> list[float]:
        """The times of so many ADDs, in milliseconds. AssertionError if the driver has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the driver has ended"
        times: list[float] = json.loads(line)
        return times

    def close(self) -> None:
        with suppress(OSError):
            self._process.communicate(timeout=60)


def main(relay: str, count: str) -> None:
    for number in range(int(count)):
        subprocess.run(["ip", "netns", "add", f"pod{number}"], check=True)
    pods = [Pod(f"pod{number}", f"/run/netns/pod{number}", number) for number in range(int(count))]
    contender = Contender("cni-cnm", (Link(relay, CONF),), {"CNI_PATH": "/nowhere", "CNI_CNM_OWNER": "cni/test"})
    with tempfile.TemporaryDirectory(dir="/run") as scratch:
        for line in sys.stdin:
            times = []
            for number in range(int(line)):
                pod = pods[number % len(pods)]
                times.append(round(call(contender, "ADD", pod, scratch) * 1000, 3))
                call(contender, "DEL", pod, scratch)
            print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
