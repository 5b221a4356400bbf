"""Addresses of one store, allocated by all frontends and by the reference's host-local at once, with kills.

No address is given twice, and none is lost. CNI_CNM_ALLOCATIONS sets how many; 200,000 by default.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from tests.differential.allocation_workers import CONFIG, LEASES, NETWORK, SUBNET
from tests.faults.judgement import family_of
from tests.program import ROOT, built
from tests.side import require_reference
from tests.system.docker_host import PluginHost

ALLOCATIONS = int(os.environ.get("CNI_CNM_ALLOCATIONS", "200000"))
FOLDER = "/run/allocations"
WORKERS = {
    "l1": "library", "l2": "library", "p1": "plugin", "a1": "program", "d1": "docker", "r1": "reference",
}  # fmt: skip
"""Name to kind. The library makes most allocations, because it starts no process for each."""
EACH = 200
"""Allocations of each other kind, at least, in a whole run."""


class Allocations:
    def __init__(self, host: PluginHost) -> None:
        self.host = host
        self.randomness = random.Random(11)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.kills = self.service_kills = self.seed = 0

    def start(self, name: str, *, only_settle: bool = False) -> subprocess.Popen[bytes]:
        self.seed += 1
        arguments = WORKERS[name], name, FOLDER, "0" if only_settle else str(self.seed)
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        argv = self.host.node.command(sys.executable, "-m", "tests.differential.allocation_workers", *arguments)
        self.running[name] = subprocess.Popen(argv, env=environ, start_new_session=True, stdin=subprocess.DEVNULL)
        return self.running[name]

    def kill(self, name: str) -> None:
        """With what it has started."""
        process = self.running[name]
        assert process.poll() is None, f"{name} has ended with {process.returncode}: an address was given twice?"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.kills += 1

    def start_the_service(self) -> None:
        """As systemd does, if its first process was killed."""
        if not family_of(self.host.service_pid):
            self.host.stop_service(signal.SIGKILL)
            self.host.serve()

    def kill_the_service(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.randomness.choice(family_of(self.host.service_pid)), signal.SIGKILL)
        self.service_kills += 1

    def given(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for name, kind in WORKERS.items():
            journal = self.host.node.path(f"{FOLDER}/{name}.journal")
            text = journal.read_text() if journal.exists() else ""
            found[kind] = found.get(kind, 0) + text.count("\n= ")
        return found


@pytest.fixture
def host(require_root: None, tmp_path: Path) -> Iterator[PluginHost]:
    require_reference()
    made = PluginHost(tmp_path, executable=built() / "cni-cnm")
    yield made
    made.close()


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_none_is_given_twice_and_none_is_lost(host: PluginHost) -> None:
    """Workers and processes of the service are killed at random. A worker then begins with what its predecessor had."""
    for name in ("pods", "pods2"):
        host.node.add_netns(name)
    host.cni("ADD", NETWORK, "pods", **CONFIG).ok()  # makes the network
    host.cni("DEL", NETWORK, "pods", **CONFIG).ok()
    pool = {"AddressSpace": "cni-cnm", "Pool": SUBNET, "SubPool": "", "Options": {"cni-cnm.network": NETWORK}}
    host.node.write(f"{FOLDER}/pool", host.call("IpamDriver.RequestPool", pool)["PoolID"])
    host.node.path(f"{FOLDER}/claims").mkdir()
    storm = Allocations(host)
    for name in WORKERS:
        storm.start(name)
    while sum((given := storm.given()).values()) < ALLOCATIONS:
        time.sleep(storm.randomness.uniform(0.5, 3))
        storm.start_the_service()
        if storm.randomness.random() < 0.2:
            storm.kill_the_service()
        name = storm.randomness.choice(list(WORKERS))
        storm.kill(name)
        storm.start(name)
        print(time.strftime("%H:%M:%S"), storm.given(), f"{storm.kills} and {storm.service_kills} kills", flush=True)
    for name in WORKERS:
        storm.kill(name)
    storm.start_the_service()
    host.stop_service()  # it finishes what was requested by those that were killed
    host.serve()
    for name in WORKERS:
        assert storm.start(name, only_settle=True).wait() == 0, name
    print(given, f"{storm.kills} kills of workers, {storm.service_kills} of the service's processes")
    assert ALLOCATIONS < 200000 or min(given.values()) >= EACH
    assert [path.name for path in host.node.path(str(LEASES)).glob("10.*")] == []
    assert list(host.node.path(f"{FOLDER}/claims").iterdir()) == []
    assert host.node.files("/run/cni-cnm/endpoints", "/run/cni-cnm/sandboxes") == set()
    assert all(host.node.links(f"/run/netns/{name}") == {"lo"} for name in ("pods", "pods2"))
