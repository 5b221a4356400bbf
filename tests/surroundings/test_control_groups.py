"""A control group whose processes or memory are short: each call has its answer, and the next one works."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.program import built
from tests.side import REFERENCE, Side
from tests.surroundings.configs import network
from tests.system.daemon import Daemon
from tests.waiting import until

MIB = 1 << 20
ROOT = Path("/sys/fs/cgroup")
OWN = {**network(ipMasq=True), "type": "cni-cnm"}
DELEGATED = {**OWN, "name": "delegated", "bridge": "br-delegated", "ipam": {"type": "others"}}
OTHERS = """#!/bin/sh
echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.77.0.9/24"}]}'
"""
"""An IPAM executable."""


class Group:
    """A control group of version 1 or 2 with one controller."""

    def __init__(self, controller: str) -> None:
        unified = (ROOT / "cgroup.controllers").exists()
        if unified:
            enabled = (ROOT / "cgroup.subtree_control").read_text().split()
            above = ROOT if controller in enabled else None
        else:
            above = ROOT / controller if (ROOT / controller / "cgroup.procs").exists() else None
        if above is None:
            pytest.skip(f"this host has no control groups with the controller {controller}")
        self.path = above / f"cni-cnm-test-{os.getpid()}"
        self.path.mkdir()
        self._limits = {
            "pids": ("pids.max",),
            "memory": ("memory.max", "memory.swap.max") if unified
            else ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
        }[controller]  # fmt: skip

    def limit(self, value: int) -> None:
        """Of version 1 the one for memory and swap is never below the other, so each may have to be the first."""
        files = [self.path / name for name in self._limits if (self.path / name).exists()]
        for file in (*files, *files):
            with suppress(OSError):
                file.write_text("0" if "swap.max" in file.name else str(value))
        assert int(files[0].read_text()) == value

    def used(self) -> int:
        return int((self.path / "pids.current").read_text())

    def settled(self) -> int:
        """The same, when it has not changed for half a second: a service starts its processes one after the other."""
        seen: list[int] = []

        def same() -> bool:
            time.sleep(0.05)
            seen.append(self.used())
            return len(seen) > 10 and len(set(seen[-10:])) == 1

        until(same, "the number of processes stays the same")
        return seen[-1]

    def command(self, *argv: str) -> tuple[str, ...]:
        """It begins in the group."""
        return "sh", "-c", f'echo 0 >{self.path}/cgroup.procs; exec "$@"', "sh", *argv

    def close(self) -> None:
        """A node's end may have removed the group already, as its processes were in it."""
        with suppress(FileNotFoundError):
            until(lambda: not (self.path / "cgroup.procs").read_text(), "the group has no processes")
            self.path.rmdir()


@pytest.fixture
def group(require_root: None, request: pytest.FixtureRequest) -> Iterator[Group]:
    made = Group(request.param)
    yield made
    made.close()


@pytest.fixture
def side(group: Group) -> Iterator[Side]:
    """With the built program, without a service. It ends before the group."""
    made = Side(built() / "cni-cnm", "cni-cnm", (REFERENCE,))
    if made._service:
        made._service.stop()
    made.container("c1")
    yield made
    made.close()


def call(side: Side, group: Group | None, verb: str, config: dict[str, Any] = OWN, container: str = "c1") -> Any:
    """None if it is a success, else the error."""
    env = {"CNI_COMMAND": verb, "CNI_CONTAINERID": container, "CNI_NETNS": f"/run/netns/{container}",
           "CNI_IFNAME": "eth0", "CNI_PATH": f"{side.path}:/run", "CNI_CNM_LINGER": "0"}  # fmt: skip
    argv = (str(side.executable),)
    done = side.node.run(*(group.command(*argv) if group else argv), stdin=json.dumps(config), env=env)
    return json.loads(done.out) if done.code else None


def nothing_left(side: Side) -> None:
    assert call(side, None, "DEL") is None
    assert side.node.links("/run/netns/c1") == {"lo"}
    assert {name for name in side.leases("net") if not name.startswith("last")} == set()
    assert side.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes") == set()


@pytest.mark.parametrize("verb", ["ADD", "DEL"])
@pytest.mark.parametrize("group", ["pids"], indirect=True)
def test_processes_are_short(group: Group, side: Side, verb: str) -> None:
    """From none but the caller's up to what is needed: error 11 until it works."""
    failures = 0
    for limit in range(1, 9):
        if verb == "DEL":
            assert call(side, None, "ADD") is None
        group.limit(limit)
        error = call(side, group, verb)
        if error is not None:
            failures += 1
            assert error["code"] == 11, (limit, error)
            assert verb == "DEL" or side.node.links("/run/netns/c1") == {"lo"}
        nothing_left(side)
    assert 0 < failures < 8


@pytest.mark.parametrize("verb", ["ADD", "DEL"])
@pytest.mark.parametrize("group", ["memory"], indirect=True)
def test_memory_is_short(group: Group, side: Side, verb: str) -> None:
    """The kernel kills the program at different places: error 11 until it works, and DEL removes what it had made."""
    failures = 0
    for limit in (3, 5, 8, 11, 14, 17, 20, 64):
        if verb == "DEL":
            assert call(side, None, "ADD") is None
        group.limit(limit * MIB)
        error = call(side, group, verb)
        if error is not None:
            failures += 1
            assert error["code"] == 11, (limit, error)
        nothing_left(side)
    assert 0 < failures < 8


@pytest.mark.parametrize("group", ["pids"], indirect=True)
def test_the_service_gets_no_more_threads(group: Group, side: Side) -> None:
    """More calls at once than it has threads: all are answered, also those that need a process of another program."""
    side.node.write("/run/others", OTHERS)
    side.node.path("/run/others").chmod(0o755)
    side.container("c2")
    service = Daemon(side.node, *group.command(str(side.executable), "serve"), log="/run/service.log")
    service.wait(side.node.path("/run/cni-cnm/service.sock").exists)
    assert call(side, None, "ADD") is None
    group.limit(group.settled())
    names = [f"p{number}" for number in range(16)]
    for name in names:
        side.container(name)
    with ThreadPoolExecutor(16) as pool:
        added = list(pool.map(lambda name: call(side, None, "ADD", OWN, name), names))
        assert all(error is None or error["code"] == 11 for error in added), added
        assert added.count(None)
        refused = call(side, None, "ADD", DELEGATED, "c2")
        assert refused["code"] == 11, refused
        assert side.node.links("/run/netns/c2") == {"lo"}
        group.limit(10_000)
        assert call(side, None, "ADD", DELEGATED, "c2") is None
        assert call(side, None, "DEL", DELEGATED, "c2") is None
        assert list(pool.map(lambda name: call(side, None, "DEL", OWN, name), names)) == [None] * 16
    nothing_left(side)
    assert "Traceback" not in service.log()
    side.node.close()
    service.stop()


@pytest.mark.parametrize("group", ["memory"], indirect=True)
def test_the_service_is_killed_for_its_memory(group: Group, side: Side) -> None:
    """At its start or in a request: each call is answered, by the program itself if need be."""
    for limit in (8, 20, 30, 40):
        group.limit(limit * MIB)
        service = Daemon(side.node, *group.command(str(side.executable), "serve"), log="/run/service.log")
        with suppress(AssertionError):
            service.wait(side.node.path("/run/cni-cnm/service.sock").exists, 5)
        for _ in range(5):
            assert call(side, None, "ADD") is None
            assert call(side, None, "DEL") is None
        nothing_left(side)
        service.stop()
        group.limit(1024 * MIB)
