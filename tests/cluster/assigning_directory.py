"""A directory in memory that gives each host its block, as Kubernetes does: one network, no subnets of it as a whole.

`AssigningStore.nodes` are the blocks as an administrator sets them: podCIDRs of each node. A node's block is seen when
the host has announced itself, and a change of either is one change of the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cni_cnm.cluster.values import FIRST_VNI, Block, Change, ClusterHost, OverlayNetwork
from cni_cnm.errors import NotReady
from cni_cnm.model import ip_network
from tests.cluster.memory_directory import MemoryDirectory, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.model import IPAddress, IPNetwork

PODS = OverlayNetwork("pods", "b" * 32, (), (), FIRST_VNI)


class AssigningStore(MemoryStore):
    """What a Kubernetes API has."""

    def __init__(self, network: OverlayNetwork = PODS) -> None:
        super().__init__("kubernetes")
        self.network = network
        self.networks[network.name] = network
        self.nodes: dict[str, tuple[IPNetwork, ...]] = {}
        self.refusal = ""
        """Why no announcement is accepted; "": each is."""
        self.believed: frozenset[IPAddress] = frozenset()
        """Those of a host's addresses that its node has; empty: all."""

    def directory(self) -> AssigningDirectory:
        return AssigningDirectory(self)

    def assign(self, node: str, *subnets: str) -> None:
        """Set the podCIDRs of a node; none: they are not allocated yet."""
        self.nodes[node] = tuple(map(ip_network, subnets))
        if node in self.hosts:
            self.show(self.hosts[node])

    def show(self, host: ClusterHost) -> None:
        """The block of a host that has announced itself: what it was goes, what it is comes."""
        old = [(key, block) for key, block in self.blocks.items() if block.host == host.name]
        subnets = self.nodes.get(host.name, ())
        new = Block(self.network.name, subnets, host.name, host.instance) if subnets else None
        for key, block in old:
            if block != new:
                del self.blocks[key]
                self.put(Change("block", block.key, None))
        if new is not None and new not in self.blocks.values():
            self.blocks[new.network, int(subnets[0].network_address)] = new
            self.put(Change("block", new.key, new))

    def remove_node(self, node: str) -> None:
        """`kubectl delete node`."""
        self.nodes.pop(node, None)
        host = self.hosts.pop(node, None)
        if host is not None:
            self.show(host)
            self.put(Change("host", node, None))


class AssigningDirectory(MemoryDirectory):
    """One node's way to it."""

    assigns = True
    store: AssigningStore

    def announce(self, host: ClusterHost) -> None:
        if self.store.refusal:
            raise NotReady(self.store.refusal)
        if self.store.believed:
            host = host._replace(addresses=tuple(one for one in host.addresses if one in self.store.believed))
        there = self.store.hosts.get(host.name)
        if there is not None and there.instance != host.instance and set(there.addresses) == set(host.addresses):
            del self.store.hosts[host.name]  # the machine was installed anew
        super().announce(host)
        self.store.show(host)

    def create_network(self, wanted: OverlayNetwork) -> OverlayNetwork:
        self._request()
        return self.store.network

    def claim(
        self,
        network: OverlayNetwork,
        host: ClusterHost,
        preferred: Sequence[tuple[IPNetwork, ...]] = (),
    ) -> Block:
        self._request()
        subnets = self.store.nodes.get(host.name, ())
        if not subnets:
            raise NotReady(f"the node {host.name} has no podCIDRs yet")
        return Block(network.name, subnets, host.name, host.instance)

    def claim_again(self, block: Block) -> bool:
        self._request()
        return self.store.nodes.get(block.host) == block.subnets

    def release(self, block: Block) -> None:
        self._request()
