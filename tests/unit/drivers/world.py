"""The whole engine on a kernel in memory, for tests of drivers."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

from cni_cnm.cnm.controller import Controller
from cni_cnm.kernel import Link, RouteEntry
from cni_cnm.model import Attachment, EndpointKey, EndpointSpec, NetworkSpec
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.nft import MemoryNft
from tests.memory_kernel.stack import MemoryStack


class World:
    """A host with eth0 (its uplink) and eth1, containers a and b, and the engine on them."""

    def __init__(self, folder: Path, missing: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.namespaces = MemoryNamespaces(missing=missing)
        self.host = self.namespaces.host()
        for name in ("eth0", "eth1"):
            self.host.add_veth(name, peer=f"far-{name}", peer_stack=self.host)
            self.host.set_link(self.link(name).ifindex, up=True)
        self.host.add_route(RouteEntry(ip_network("0.0.0.0/0"), link=self.link("eth0").ifindex))
        self.containers = {name: self.namespaces.create(f"/netns/{name}") for name in "ab"}
        self.nft = MemoryNft()
        self.engine = memory_host(folder, self.namespaces, self.nft)
        self.controller = Controller(self.engine)

    def leases(self, network: str) -> set[str]:
        """Addresses that are given out."""
        return {path.name for path in (self.folder / "leases" / network).glob("*.*.*.*")}

    def link(self, name: str, stack: MemoryStack | None = None) -> Link:
        found = (stack or self.host).link(name)
        assert found is not None, name
        return found

    def attach(self, network: NetworkSpec, container: str = "a", **more: Any) -> Attachment:
        spec = EndpointSpec(container, "eth0", f"/netns/{container}", "test", **more)
        return self.controller.attach(network, spec)

    def detach(self, network: NetworkSpec, container: str = "a") -> None:
        self.controller.detach(EndpointKey(network.name, container, "eth0"), None, None)

    def check(self, network: NetworkSpec, container: str = "a") -> None:
        spec = EndpointSpec(container, "eth0", f"/netns/{container}", "test")
        self.controller.check(network, spec, None)
