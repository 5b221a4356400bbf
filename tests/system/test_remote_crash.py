"""SIGKILL during an ADD on a plugin's network: the DEL leaves nothing there and here, and the next ADD works."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from tests.program import form
from tests.side import Side
from tests.system.recorder import Recorder

CONFIG: dict[str, Any] = {
    "cniVersion": "1.1.0", "name": "net", "driver": "rec",
    "ipam": {"type": "host-local", "subnet": "10.72.0.0/24"},
}  # fmt: skip
CALLS = "connect,rename,sendto"
"""Entering a call of the plugin, a change of a record, a request to the kernel."""


@pytest.fixture
def side(side: Side) -> Side:
    if form() == "service":
        pytest.skip("here the killed process is the relay")
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    return side


def test_killed_at_every_call_that_changes_something(side: Side) -> None:
    """The process dies entering its first, second, … such system call, until one ADD gets through."""
    rec = Recorder(side.node)
    rec.script(keep=True)
    environ = {
        "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/c1", "CNI_IFNAME": "eth0",
        "CNI_PATH": side.path,
    }  # fmt: skip
    try:
        for number in range(1, 200):
            inject = f"inject={CALLS}:signal=SIGKILL:when={number}"
            done = side.node.run(
                "strace", "-f", "-qqq", "-o", "/dev/null", "-e", f"trace={CALLS}", "-e", inject, str(side.executable),
                stdin=json.dumps({**CONFIG, "type": "cni-cnm"}), env=environ,
            )  # fmt: skip
            side.delete(CONFIG).ok()
            assert side.node.links("/run/netns/c1") == {"lo"}, number
            assert rec.memory()[1] == {} if number > 5 else True, number
            assert side.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes") == set()
            assert not any(name.startswith("10.72") for name in side.leases("net"))
            if done.code == 0:
                break
            if number % 3 == 0:  # the network as that try left it; otherwise as an ADD and its end leave it
                continue
            side.add(CONFIG).ok()
            side.delete(CONFIG).ok()
            side.node.run(str(side.executable), "network", "rm", "net").ok()
        assert number > 15, "an ADD has more steps than that: did the injection work?"
        side.node.run(str(side.executable), "network", "rm", "net").ok()
        assert side.node.links() == {"lo"}
        assert rec.memory() == [{}, {}, {}]
    finally:
        rec.stop()


def test_killed_while_it_gets_an_address(side: Side) -> None:
    """All that is recorded is released; at most the one address that the killed process had just received is not."""
    rec = Recorder(side.node)
    rec.script(keep=True)
    config: dict[str, Any] = {
        "cniVersion": "1.1.0", "name": "net", "ipam": {"type": "rec", "subnet": "10.74.0.0/24"}
    }  # fmt: skip
    environ = {
        "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/c1", "CNI_IFNAME": "eth0",
        "CNI_PATH": side.path,
    }  # fmt: skip
    try:
        side.add(config).ok()
        side.delete(config).ok()
        lost = 0
        for number in range(1, 100):
            inject = "inject=connect,rename:signal=SIGKILL:when=" + str(number)
            done = side.node.run(
                "strace", "-f", "-qqq", "-o", "/dev/null", "-e", "trace=connect,rename", "-e", inject,
                str(side.executable), stdin=json.dumps({**config, "type": "cni-cnm"}), env=environ,
            )  # fmt: skip
            side.delete(config).ok()
            (pool,) = rec.memory()[2].values()
            assert side.node.files("/var/lib/cni-cnm/leased", "/run/cni-cnm/endpoints") == set()
            left = len(pool["taken"]) - 1  # the gateway
            assert left <= lost + 1, number
            lost = left
            if done.code == 0:
                break
        assert number > 5, "an ADD has more steps than that: did the injection work?"
        assert lost <= 1
        side.add(config).ok()
        assert side.node.ping("10.74.0.1", netns="/run/netns/c1")
    finally:
        rec.stop()
