"""What Nodes claim for themselves: addresses, MACs and blocks. No two hosts can have one, and a Node may be hostile.

A claim of a block clashes with each block that has some of its addresses. Kubernetes gives blocks of one length, so
they are looked up by length: a Node costs the same however many there are.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias, TypeVar

    from cni_cnm.cluster.kubernetes.nodes import Node
    from cni_cnm.model import IPNetwork

    Names: TypeAlias = str | tuple[str, ...]
    """One Node, or several. Most things are claimed by one."""
    Key = TypeVar("Key")


class Claims:
    """Of all Nodes that are announced."""

    def __init__(self) -> None:
        self._things: dict[object, Names] = {}
        """By MAC or address: the Nodes that claim it."""
        self._blocks: dict[tuple[int, int], dict[IPNetwork, Names]] = {}
        """By IP version and prefix length, and then by block."""

    def add(self, node: Node) -> None:
        for key in _things(node):
            _add(self._things, key, node.name)
        for subnet in node.subnets:
            _add(self._blocks.setdefault((subnet.version, subnet.prefixlen), {}), subnet, node.name)

    def remove(self, node: Node) -> None:
        for key in _things(node):
            _remove(self._things, key, node.name)
        for subnet in node.subnets:
            length = subnet.version, subnet.prefixlen
            _remove(self._blocks[length], subnet, node.name)
            if not self._blocks[length]:
                del self._blocks[length]

    def clashing(self, node: Node) -> Iterator[tuple[str, str]]:
        """The other Nodes that claim what this one claims, each with what it is."""
        for key in _things(node):
            for name in _names(self._things.get(key, ())):
                if name != node.name:
                    yield name, f"the {'MAC' if isinstance(key, str) else 'address'} {key}"
        for subnet in node.subnets:
            for other, names in self._overlapping(subnet):
                for name in _names(names):
                    if name != node.name:
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


def _things(node: Node) -> Iterator[object]:
    assert node.said is not None
    yield node.said.host.mac
    yield from node.said.host.addresses


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
