"""The subnets and VNIs that networks have: which of them another network would clash with, found by bisection.

A store may say anything. With thousands of networks, comparing each one with each other one would take minutes.
"""

from __future__ import annotations

from bisect import bisect_left, insort

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cluster.values import OverlayNetwork
    from cni_cnm.model import IPNetwork


class Taken:
    """Of networks of which no two clash."""

    def __init__(self) -> None:
        self._vnis: dict[int, str] = {}
        self._subnets: dict[int, list[tuple[int, int, str]]] = {4: [], 6: []}
        """By IP version, in order: the first and the last address, and the network's name."""

    def add(self, network: OverlayNetwork) -> None:
        self._vnis[network.vni] = network.name
        for subnet in network.subnets:
            insort(self._subnets[subnet.version], (*_ends(subnet), network.name))

    def remove(self, network: OverlayNetwork) -> None:
        del self._vnis[network.vni]
        for subnet in network.subnets:
            self._subnets[subnet.version].remove((*_ends(subnet), network.name))

    def clashing(self, network: OverlayNetwork) -> Iterator[str]:
        """The names of other networks that have one of its subnets' addresses, or its VNI."""
        for subnet in network.subnets:
            first, last = _ends(subnet)
            taken = self._subnets[subnet.version]
            at = max(bisect_left(taken, (first,)) - 1, 0)
            while at < len(taken) and taken[at][0] <= last:
                if taken[at][1] >= first and taken[at][2] != network.name:
                    yield taken[at][2]
                at += 1
        name = self._vnis.get(network.vni, network.name)
        if name != network.name:
            yield name


def _ends(subnet: IPNetwork) -> tuple[int, int]:
    return int(subnet.network_address), int(subnet.broadcast_address)
