"""The service is killed before each step of each of Docker's calls: after all has been removed, nothing is left.

A step writes or deletes a record or a lease, or changes the kernel. Docker repeats no call: it undoes what failed, and
goes on where a removal failed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.cnm.docker import docker_networks, lost_endpoints, lost_networks, unused
from cni_cnm.cnm.docker.lost_networks import LostNetworks
from cni_cnm.cnm.records import endpoint_records, network_records, pool_records
from cni_cnm.state import small_files
from cni_cnm.state.files import FileStore
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.nft import MemoryNft
from tests.memory_kernel.stack import MemoryStack
from tests.unit.cnm.docker.dockerd import Dockerd, docker_id, port

SUBNET, GATEWAY, ADDRESS = "10.1.0.0/24", "10.1.0.1/24", "10.1.0.2/24"
CALLS = (
    "RequestPool", "RequestAddress gateway", "CreateNetwork", "RequestAddress", "CreateEndpoint", "Join", "Program",
    "Revoke", "Leave", "DeleteEndpoint", "ReleaseAddress", "ReleaseAddress gateway", "ReleasePool", "DeleteNetwork",
)  # fmt: skip
STEPS_MAX = 40
_CHANGES = (
    "add_bridge",
    "add_veth",
    "set_link",
    "move_link",
    "delete_link",
    "add_address",
    "delete_address",
    "set_port",
)


class Killed(BaseException):
    """Nothing of the service runs after it, no undo step either."""


class Kill:
    def __init__(self, step: int) -> None:
        self.left = step
        self.active = False

    def step(self) -> None:
        if self.active:
            self.left -= 1
            if self.left < 0:
                raise Killed


class Docker(Dockerd):
    """Makes a network and a container, and removes them. One call is killed, and answered to Docker with an error."""

    def __init__(self, folder: Path, kill: Kill, killed: str) -> None:
        super().__init__(folder)
        self._kill, self._killed = kill, killed
        self.ids = {"NetworkID": docker_id("red"), "EndpointID": docker_id("one")}
        self.pool_id = ""

    def try_(self, name: str) -> bool:
        """Whether the call succeeded."""
        self._kill.active = name == self._killed
        try:
            return "Err" not in self._send(name)
        except Killed:
            return False
        finally:
            self._kill.active = False

    def _send(self, name: str) -> dict[str, Any]:
        ids, network = self.ids, {"NetworkID": self.ids["NetworkID"]}
        if name == "RequestPool":
            found = self.answer(
                "IpamDriver.RequestPool", AddressSpace="cni-cnm", Pool=SUBNET, SubPool="", Options={}, V6=False
            )
            self.pool_id = found.get("PoolID", "")
            return found
        if name == "RequestAddress gateway":
            options = {"RequestAddressType": "com.docker.network.gateway"}
            return self.answer("IpamDriver.RequestAddress", PoolID=self.pool_id, Address="", Options=options)
        if name == "CreateNetwork":
            data = {"AddressSpace": "cni-cnm", "Pool": SUBNET, "Gateway": GATEWAY}
            return self.answer("NetworkDriver.CreateNetwork", **network, Options={}, IPv4Data=[data], IPv6Data=[])
        if name == "RequestAddress":
            options = {"com.docker.network.endpoint.name": "one"}
            return self.answer("IpamDriver.RequestAddress", PoolID=self.pool_id, Address="", Options=options)
        if name == "CreateEndpoint":
            interface = {"Address": ADDRESS, "AddressIPv6": "", "MacAddress": ""}
            return self.answer("NetworkDriver.CreateEndpoint", **ids, Interface=interface, Options={})
        if name == "Join":
            return self.answer("NetworkDriver.Join", **ids, SandboxKey="/run/docker/netns/box", Options={})
        if name == "Program":
            return self.program(ids, port(8080))
        if name in ("Revoke", "Leave", "DeleteEndpoint"):
            call = "RevokeExternalConnectivity" if name == "Revoke" else name
            return self.answer(f"NetworkDriver.{call}", **ids)
        if name.startswith("ReleaseAddress"):
            address = GATEWAY if name.endswith("gateway") else ADDRESS
            return self.answer("IpamDriver.ReleaseAddress", PoolID=self.pool_id, Address=address.partition("/")[0])
        if name == "ReleasePool":
            return self.answer("IpamDriver.ReleasePool", PoolID=self.pool_id)
        return self.answer("NetworkDriver.DeleteNetwork", **network)

    def live(self) -> None:
        """All of it. What Docker calls after a failure is what libnetwork calls."""
        pool = self.try_("RequestPool")
        made = pool and self.try_("RequestAddress gateway") and self.try_("CreateNetwork")
        if made:
            self._container()
        if pool:
            self.try_("ReleaseAddress gateway")
            self.try_("ReleasePool")
        if made:
            self.try_("DeleteNetwork")

    def _container(self) -> None:
        if not self.try_("RequestAddress"):
            return
        if self.try_("CreateEndpoint"):
            if self.try_("Join"):
                self.try_("Program")
                self.try_("Revoke")
                self.try_("Leave")
            self.try_("DeleteEndpoint")
        self.try_("ReleaseAddress")


@contextmanager
def killing(kill: Kill, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def stepping(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            kill.step()
            return function(*arguments, **named)

        return run

    with monkeypatch.context() as patch:
        places: list[tuple[object, str]] = [(FileStore, "put"), (FileStore, "delete"), (MemoryNft, "commit")]
        places += [(small_files, "create"), (small_files, "write"), (os, "unlink"), (os, "rmdir")]
        for place, name in (*places, *((MemoryStack, change) for change in _CHANGES)):
            patch.setattr(place, name, stepping(getattr(place, name)))
        yield


@pytest.mark.parametrize("call", CALLS)
def test_nothing_is_left(tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in range(STEPS_MAX):
        kill = Kill(step)
        docker = Docker(tmp_path / str(step), kill, call)
        with killing(kill, monkeypatch):
            docker.live()
        look_later(docker, monkeypatch)
        assert not left(docker), (call, step)
        if kill.left >= 0:  # the call has no more steps
            return
    pytest.fail(f"{call} has more than {STEPS_MAX} steps")


def look_later(docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the service finds by itself, after a while. Docker says that it has another network of ours."""
    with monkeypatch.context() as patch:
        then = lost_endpoints.now() + 1000
        patch.setattr(lost_endpoints, "now", lambda: then)
        patch.setattr(lost_networks, "PATIENCE_S", 0.0)
        patch.setattr(unused, "REQUEST_S", -1.0)
        host = memory_host(docker.folder, docker.namespaces, docker.nft)
        list(lost_endpoints.remove_all(host, lambda _: False))
        list(docker_networks.remove_unfinished(host))
        list(LostNetworks().look(host, lambda: ["another"]))
        list(unused.release_addresses(host))
        pool = docker.answer(
            "IpamDriver.RequestPool", AddressSpace="cni-cnm", Pool=SUBNET, SubPool="", Options={}, V6=False
        )
        assert "PoolID" in pool, pool  # the subnet is free again
        docker.call("IpamDriver.ReleasePool", PoolID=pool["PoolID"])


def left(docker: Docker) -> list[str]:
    store = docker.host.store
    found = [record.id for record in endpoint_records(store)]
    found += [record.name for record in network_records(store)]
    found += [record.id for record in pool_records(store)]
    found += [link.name for link in docker.host.stack.links() if link.name != "lo"]
    found += [element.key for name in ("inet cni_cnm", "bridge cni_cnm") for element in docker.nft.elements(name)]
    folder = docker.folder / "leases"
    return found + [str(path) for path in folder.rglob("*") if path.is_file() and path.name[0].isdigit()]
