"""Blocks by number: which subnets an index stands for, and with which index a host begins. Arithmetic only.

Index 0 is the first block of each subnet of a network. One index stands for a block of each IP version, so that one
key in a directory claims them all.
"""

from __future__ import annotations

from cni_cnm.model import digest, ip_network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.cluster.values import OverlayNetwork
    from cni_cnm.model import IPNetwork


def count(network: OverlayNetwork) -> int:
    """How many blocks a network has: as many as fit into the smallest of its subnets."""
    return min(
        1 << (size - subnet.prefixlen) for subnet, size in zip(network.subnets, network.block_sizes, strict=True)
    )


def subnets_at(network: OverlayNetwork, index: int) -> tuple[IPNetwork, ...]:
    """The subnets of a block, in the order of the network's. IndexError if the network has no such block."""
    if not 0 <= index < count(network):
        raise IndexError(f"network {network.name} has no block {index}")
    return tuple(
        ip_network(f"{subnet.network_address + (index << (subnet.max_prefixlen - size))}/{size}")
        for subnet, size in zip(network.subnets, network.block_sizes, strict=True)
    )


def index_of(network: OverlayNetwork, subnets: Sequence[IPNetwork]) -> int | None:
    """The index of a block with these subnets, None if the network has no such block."""
    if not subnets or subnets[0].version != network.subnets[0].version:
        return None
    shift = network.subnets[0].max_prefixlen - network.block_sizes[0]
    index = (int(subnets[0].network_address) - int(network.subnets[0].network_address)) >> shift
    try:
        return index if subnets_at(network, index) == tuple(subnets) else None
    except IndexError:
        return None


def preference(network: OverlayNetwork, host: str) -> Iterator[int]:
    """Every index once, from one that follows from the host's name: hosts that join at once seldom meet."""
    blocks = count(network)
    first = int(digest("block", host)[:16], 16) % blocks
    yield from range(first, blocks)
    yield from range(first)
