"""Hosts of one cluster, each with a kernel, a packet filter, records and the engine in memory or in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cni_cnm.cluster.directory import Directory
from cni_cnm.cluster.values import ClusterHost
from cni_cnm.cnm.overlay_record import blocks
from cni_cnm.cnm.records import NetworkRecord, load_network
from cni_cnm.kernel import Stack
from cni_cnm.model import Attachment, EndpointKey, EndpointSpec, IpamSpec, NetworkSpec, stable_mac
from tests.cluster.memory_directory import MemoryDirectory, MemoryStore
from tests.unit.drivers.world import World


class MemoryMembership:
    """A host's way to a store in memory. `reachable` False: it is cut."""

    def __init__(self, store: MemoryStore, name: str, instance: str = "") -> None:
        self.store = store
        self.reachable = True
        self.opened: list[MemoryDirectory] = []
        self.me = ClusterHost(name, instance or name.encode().hex().zfill(32)[-32:], (), stable_mac("vtep", name))

    def directory(self, timeout_s: float = 5.0) -> Directory:
        made = self.store.directory()
        made.reachable = self.reachable
        self.opened.append(made)
        return made

    def host(self, stack: Stack | None = None) -> ClusterHost:
        return self.me


class ClusterWorld(World):
    """One host of a cluster."""

    def __init__(self, folder: Path, store: MemoryStore, name: str, instance: str = "") -> None:
        super().__init__(folder)
        self.cluster = MemoryMembership(store, name, instance)
        self.engine.cluster = self.cluster

    def record(self, network: str = "web") -> NetworkRecord:
        found = load_network(self.engine.store, network)
        assert found is not None, network
        return found

    def blocks(self, network: str = "web") -> list[str]:
        """The first subnets of its blocks, as it has them on record."""
        return [str(block[0]) for block in blocks(self.record(network))]

    def add(self, container: str, network: NetworkSpec | None = None, **more: Any) -> Attachment:
        """ADD of a container of any name."""
        path = f"/netns/{container}"
        if container not in self.containers:
            self.containers[container] = self.namespaces.create(path)
        return self.controller.attach(network or overlay(), EndpointSpec(container, "eth0", path, "test", **more))

    def delete(self, container: str, network: str = "web") -> None:
        self.controller.detach(EndpointKey(network, container, "eth0"), None, None)


def overlay(name: str = "web", *subnets: str, internal: bool = False, **options: Any) -> NetworkSpec:
    """The network as a CNI configuration has it. `options`: its key `options`."""
    config = {"ranges": [[{"subnet": subnet}] for subnet in subnets]} if subnets else {}
    parsed = {"profile": "cnm", **({"labels": options} if options else {})}
    return NetworkSpec(name, "overlay", parsed, IpamSpec("host-local", config), internal)


def addresses(attachment: Attachment) -> list[str]:
    return [str(address.interface) for address in attachment.addresses]
