"""Two networks of a container whose ADDs run side by side, with the same ports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cni_cnm import Controller
from cni_cnm.cnm.endpoint import connect_endpoint
from cni_cnm.cnm.records import endpoint_records
from cni_cnm.cnm.sandbox import sandbox_endpoints
from cni_cnm.model import EndpointSpec, IpamSpec, NetworkSpec, PortMapping
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.nft import MemoryNft


def test_the_second_one_joins_and_publishes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither has seen the other when its ADD began. One publishes, the other waits for the ports."""
    namespaces = MemoryNamespaces()
    namespaces.name_host("/proc/self/ns/net")
    namespaces.create("/run/netns/c1")
    controller = Controller(memory_host(tmp_path, namespaces, MemoryNft()))

    def attach(number: int) -> None:
        ipam = IpamSpec("host-local", {"ranges": [[{"subnet": f"10.99.{number}.0/24"}]]})
        spec = EndpointSpec("c1", f"eth{number}", "/run/netns/c1", "cni/nerdctl", ports=(PortMapping("tcp", 8080, 80),))
        controller.attach(NetworkSpec(f"ours{number}", "bridge", {}, ipam), spec)

    def joined_late(*args: Any) -> Any:
        monkeypatch.undo()
        attach(1)
        return sandbox_endpoints.join_sandbox(*args)

    monkeypatch.setattr(connect_endpoint, "join_sandbox", joined_late)
    attach(0)
    records = {record.ifname: record for record in endpoint_records(controller.host.store)}
    assert (len(records["eth1"].ports), len(records["eth0"].ports)) == (1, 0)
    assert len(records["eth0"].requested_ports) == 1
