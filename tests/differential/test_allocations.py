"""Addresses of one store, allocated by this program and by the reference's host-local at once, with kills.

No address is given twice, and none is lost. CNI_CNM_ALLOCATIONS sets how many; 200,000 by default.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from cni_cnm import ipam
from cni_cnm.errors import CnmError
from cni_cnm.model import EndpointKey, EndpointSpec, IpamSpec
from cni_cnm.settings import Settings
from cni_cnm.state import epoch
from cni_cnm.state.files import FileStore
from cni_cnm.state.store import ENDPOINTS
from tests.ipam_host import Host
from tests.side import REFERENCE, require_reference

ALLOCATIONS = int(os.environ.get("CNI_CNM_ALLOCATIONS", "200000"))
OURS, THEIRS = 3, 1
SUBNET = "10.64.0.0/22"
HELD = 40
"""Addresses that a worker has at a time, at most."""


class Worker:
    """Allocates and releases. A link of an address in `claims` names who was given it."""

    def __init__(self, folder: str, name: str) -> None:
        self.folder = folder
        self.name = name
        settings = Settings(run_dir=f"{folder}/run", state_dir=f"{folder}/state", leases_dir=f"{folder}/networks")
        self.host = Host(settings, FileStore(settings.run_dir, settings.state_dir), epoch.current())
        self.spec = IpamSpec("host-local", {"subnet": SUBNET})

    def run(self, count: int, seed: int) -> None:
        randomness, held = random.Random(seed), []
        for number in range(count):
            key = EndpointKey("net", f"{self.name}-{seed}-{number}", "eth0")
            self.note(key.container_id)
            address = self.acquire(key)
            self.claim(address, key.container_id)
            held.append((key, address))
            if len(held) > randomness.randrange(HELD):
                self.give_back(*held.pop(randomness.randrange(len(held))))
        for key, address in held:
            self.give_back(key, address)

    def note(self, container: str) -> None:
        with open(f"{self.folder}/noted/{self.name}", "a", encoding="ascii") as file:
            file.write(f"{container}\n")

    def claim(self, address: str, container: str) -> None:
        path = f"{self.folder}/claims/{address}"
        try:
            os.symlink(container, path)  # made at once, with what it says
        except FileExistsError:
            raise AssertionError(f"{address} is given to {container}, and {os.readlink(path)} has it") from None

    def give_back(self, key: EndpointKey, address: str) -> None:
        os.unlink(f"{self.folder}/claims/{address}")
        self.release(key)

    def acquire(self, key: EndpointKey) -> str:
        pool = ipam.configure("net", self.spec, None, self.host)
        record = {"epoch": self.host.epoch, "network": "net", "state": "pending", "holder": [key.container_id, "eth0"]}
        self.host.store.put(ENDPOINTS, key.id, {**record, "ipam_type": "host-local", "ipam": pool.record()})
        lease = pool.acquire(key, EndpointSpec(key.container_id, "eth0", "", "test"))
        self.host.store.put(ENDPOINTS, key.id, {**record, "ipam_type": "host-local", "ipam": pool.record()})
        return str(lease.addresses[0].interface.ip)

    def release(self, key: EndpointKey) -> None:
        record: Any = self.host.store.get(ENDPOINTS, key.id)
        if record is None:
            ipam.release_unrecorded("net", self.spec, key, {}, lambda _: None, self.host)
            return
        ipam.restore("net", "host-local", record["ipam"], self.host).release(key, {}, lambda _: None)
        self.host.store.delete(ENDPOINTS, key.id)


class ReferenceWorker(Worker):
    """The same by the reference's executable."""

    def acquire(self, key: EndpointKey) -> str:
        answer: dict[str, Any] = json.loads(self._call("ADD", key))
        return str(answer["ips"][0]["address"]).partition("/")[0]

    def release(self, key: EndpointKey) -> None:
        self._call("DEL", key)

    def _call(self, verb: str, key: EndpointKey) -> str:
        config = {"cniVersion": "1.0.0", "name": "net", "type": "x",
                  "ipam": {"type": "host-local", "subnet": SUBNET, "dataDir": f"{self.folder}/networks"}}  # fmt: skip
        environ = {"CNI_COMMAND": verb, "CNI_CONTAINERID": key.container_id, "CNI_IFNAME": "eth0",
                   "CNI_NETNS": "/nowhere", "CNI_PATH": str(REFERENCE)}  # fmt: skip
        done = subprocess.run(
            [REFERENCE / "host-local"], input=json.dumps(config), env=environ, capture_output=True, text=True
        )
        if done.returncode:
            raise CnmError(done.stdout)
        return done.stdout


def work(kind: type[Worker], folder: str, name: str, count: int, seed: int) -> None:
    os.setpgid(0, 0)  # the reference's process is killed with it
    kind(folder, name).run(count, seed)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_none_is_given_twice_and_none_is_lost(tmp_path: Path) -> None:
    """Workers are killed at random. What one was allocating then is released by its name, as a runtime's DEL does."""
    require_reference()
    for name in ("claims", "noted"):
        (tmp_path / name).mkdir()
    context, randomness, seed = get_context("fork"), random.Random(11), 0
    left = {f"w{n}": (Worker if n < OURS else ReferenceWorker) for n in range(OURS + THEIRS)}
    share = {name: ALLOCATIONS // (OURS + 0.05) if kind is Worker else 0 for name, kind in left.items()}
    done, kills = 0, 0
    running: dict[str, Any] = {}

    def start(name: str) -> None:
        nonlocal seed
        seed += 1
        count = 1 << 30 if left[name] is ReferenceWorker else max(int(share[name]), 0)
        running[name] = context.Process(target=work, args=(left[name], str(tmp_path), name, count, seed))
        running[name].start()

    def settle(name: str) -> None:
        """After a kill: every container that it has begun is released, and its claims with them."""
        nonlocal done
        noted = tmp_path / "noted" / name
        containers = noted.read_text().split() if noted.exists() else []
        done += len(containers)
        share[name] -= len(containers)
        worker = left[name](str(tmp_path), name)
        for claim in (tmp_path / "claims").iterdir():
            with suppress(FileNotFoundError):  # another worker gives it back
                if os.readlink(claim).startswith(f"{name}-"):
                    claim.unlink()
        for container in containers[-HELD * 60 :]:
            key = EndpointKey("net", container, "eth0")
            worker.release(key)
        noted.unlink(missing_ok=True)

    for name in left:
        start(name)
    while done < ALLOCATIONS and any(running[name].is_alive() for name in left if left[name] is Worker):
        time.sleep(randomness.uniform(0.5, 3))
        victim = randomness.choice(list(left))
        if running[victim].is_alive():
            os.killpg(running[victim].pid, signal.SIGKILL)
            kills += 1
        running[victim].join()
        assert running[victim].exitcode in (0, -signal.SIGKILL), f"{victim} has failed: an address was given twice?"
        settle(victim)
        if share[victim] > 0 or left[victim] is ReferenceWorker:
            start(victim)
    for name, process in running.items():
        if left[name] is ReferenceWorker and process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        settle(name)
    print(f"{done} allocations, {kills} kills")
    assert done >= ALLOCATIONS * 0.95
    assert [path.name for path in (tmp_path / "networks" / "net").glob("10.*")] == []
    assert list((tmp_path / "claims").iterdir()) == []
