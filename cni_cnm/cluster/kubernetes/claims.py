"""What Nodes claim for themselves: addresses, MACs and blocks. No two hosts can have one, and a Node may be hostile.

Blocks clash if they overlap, and a block also clashes with an underlay address in it: its route would take the packets
to that host. Kubernetes gives blocks of one length, so they are looked up by length: a Node costs the same however
many there are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from ipaddress import IPv4Network, IPv6Network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias, TypeVar

    from cni_cnm.cluster.kubernetes.nodes import Node
    from cni_cnm.model import IPAddress, IPNetwork

    Names: TypeAlias = str | tuple[str, ...]
    """One Node, or several. Most things are claimed by one."""
    Key = TypeVar("Key")


class Claims:
    """Of all Nodes that are announced."""

    def __init__(self) -> None:
        self._macs: dict[str, Names] = {}
        self._addresses = {4: _Addresses(), 6: _Addresses()}
        self._blocks: dict[tuple[int, int], dict[IPNetwork, Names]] = {}
        """By IP version and prefix length, and then by block."""

    def add(self, node: Node) -> None:
        if node.host is None:
            return
        _add(self._macs, node.host.mac, node.name)
        for address in node.host.addresses:
            self._addresses[address.version].add(address, node.name)
        for subnet in node.subnets:
            _add(self._blocks.setdefault((subnet.version, subnet.prefixlen), {}), subnet, node.name)

    def remove(self, node: Node) -> None:
        if node.host is None:
            return
        _remove(self._macs, node.host.mac, node.name)
        for address in node.host.addresses:
            self._addresses[address.version].remove(address, node.name)
        for subnet in node.subnets:
            length = subnet.version, subnet.prefixlen
            _remove(self._blocks[length], subnet, node.name)
            if not self._blocks[length]:
                del self._blocks[length]

    def clashing(self, node: Node) -> Iterator[tuple[str, str]]:
        """The other Nodes that claim what this one claims, each with what it is."""
        if node.host is None:
            return
        for name, what in self._claimants(node):
            if name != node.name:
                yield name, what

    def _claimants(self, node: Node) -> Iterator[tuple[str, str]]:
        assert node.host is not None
        for name in _names(self._macs.get(node.host.mac, ())):
            yield name, f"the MAC {node.host.mac}"
        for address in node.host.addresses:
            for name in self._addresses[address.version].between(int(address), int(address)):
                yield name, f"the address {address}"
            for (version, length), blocks in self._blocks.items():
                if version == address.version:
                    around = _around(address, length)
                    for name in _names(blocks.get(around, ())):
                        yield name, f"the address {address} by the block {around}"
        for subnet in node.subnets:
            first = int(subnet.network_address)  # `broadcast_address` would be kept with each block
            last = first + (1 << (subnet.max_prefixlen - subnet.prefixlen)) - 1
            for name in self._addresses[subnet.version].between(first, last):
                yield name, f"an address by the block {subnet}"
            for other, names in self._overlapping(subnet):
                for name in _names(names):
                    yield name, f"the block {other}"

    def _overlapping(self, subnet: IPNetwork) -> Iterator[tuple[IPNetwork, Names]]:
        for (version, length), blocks in self._blocks.items():
            if version != subnet.version:
                continue
            if length <= subnet.prefixlen:
                around = subnet.supernet(new_prefix=length)
                yield around, blocks.get(around, ())
            else:
                for other, names in blocks.items():
                    if other.supernet(new_prefix=subnet.prefixlen) == subnet:
                        yield other, names


class _Addresses:
    """Of one IP version, in order."""

    def __init__(self) -> None:
        self._addresses: list[IPAddress] = []
        self._names: list[str] = []

    def add(self, address: IPAddress, name: str) -> None:
        at = bisect_right(self._addresses, int(address), key=int)
        self._addresses.insert(at, address)
        self._names.insert(at, name)

    def remove(self, address: IPAddress, name: str) -> None:
        at = self._names.index(name, bisect_left(self._addresses, int(address), key=int))
        del self._addresses[at], self._names[at]

    def between(self, first: int, last: int) -> Iterator[str]:
        yield from self._names[
            bisect_left(self._addresses, first, key=int) : bisect_right(self._addresses, last, key=int)
        ]


def _around(address: IPAddress, length: int) -> IPNetwork:
    """The network of that length which the address is in."""
    shift = address.max_prefixlen - length
    first = int(address) >> shift << shift
    return IPv4Network((first, length)) if address.version == 4 else IPv6Network((first, length))


def _names(held: Names) -> tuple[str, ...]:
    return (held,) if isinstance(held, str) else held


def _add(held: dict[Key, Names], key: Key, name: str) -> None:
    there = held.get(key)
    held[key] = name if there is None else (*_names(there), name)


def _remove(held: dict[Key, Names], key: Key, name: str) -> None:
    names = list(_names(held.pop(key)))
    names.remove(name)
    if names:
        held[key] = names[0] if len(names) == 1 else tuple(names)
