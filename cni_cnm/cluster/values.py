"""What the hosts of a cluster agree on, as immutable values. Everything here is JSON-free and checked.

A value that a directory cannot read as one of these is left out, with a line in the log: what a store says is
untrusted input.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.model import IPAddress, IPNetwork

VXLAN_PORT = 4799
"""UDP port of the VXLAN devices. Docker's is 4789, flannel's 8472."""
FIRST_VNI = 4096
"""VXLAN network identifiers are given out from here on. flannel's is 1, Docker's begin at 4096 on another port."""

Direct: TypeAlias = Literal["auto", "always", "never"]
"""Plain routes instead of VXLAN.

    auto    to hosts that are on a link of this one
    always  to all; a host that is on no link is not reached, and this is said
    never   to none
"""


class ClusterHost(NamedTuple):
    """A host as the directory has it. It is *silent* while it shows no life, and *gone* only when its record is."""

    name: str
    """As its settings name it, unique in the directory."""
    instance: str
    """32 hex digits, chosen once by the host and kept on its disk: another host of the same name has another."""
    addresses: tuple[IPAddress, ...]
    """Where other hosts reach it: the underlay addresses, at most one of each IP version, the preferred one first."""
    mac: str
    """Of its VXLAN devices."""


class OverlayNetwork(NamedTuple):
    """A network of all hosts. It is made once and does not change."""

    name: str
    id: str
    """32 hex digits, chosen when it was made: another network of the same name has another."""
    subnets: tuple[IPNetwork, ...]
    """At most one of each IP version, IPv4 first. Networks of one directory do not overlap.

    None: only the blocks of its hosts are known, and nothing of a whole.
    """
    block_sizes: tuple[int, ...]
    """Prefix length of a block, for each of `subnets`. None: the store gives blocks as it wants (Kubernetes)."""
    vni: int
    port: int = VXLAN_PORT
    direct: Direct = "auto"


class Block(NamedTuple):
    """The part of an overlay network's subnets that one host gives addresses from."""

    network: str
    """Name of the overlay network."""
    subnets: tuple[IPNetwork, ...]
    """One for each subnet of the network, in the same order. Where the store gives blocks: IPv4 first."""
    host: str
    """Name of the host that has claimed it."""
    instance: str
    """The instance of that host: a later host of the same name does not have it."""

    @property
    def key(self) -> BlockKey:
        return self.network, self.subnets[0]

    @property
    def phrase(self) -> str:
        """For messages."""
        return f"{' and '.join(map(str, self.subnets))} of network {self.network}"


BlockKey: TypeAlias = "tuple[str, IPNetwork]"
"""What is unique in a directory: the network's name, and the block's first subnet."""


class Snapshot(NamedTuple):
    """All that a directory holds, at one moment."""

    store: str = ""
    """Identity of the store, such as etcd's cluster id. Another one: a store that was set up anew."""
    revision: int = 0
    """Grows with each change of the store. A lower one than before: a store that was restored from a backup."""
    hosts: Mapping[str, ClusterHost] = {}
    networks: Mapping[str, OverlayNetwork] = {}
    blocks: Mapping[BlockKey, Block] = {}
    alive: frozenset[str] = frozenset()
    """Names of hosts that have shown life within their lease. For people alone: no entry depends on it."""


class Change(NamedTuple):
    """One thing that changed in a directory. `new` None: it is gone. Host, network or block, by its type and key."""

    kind: Literal["host", "network", "block", "alive"]
    key: str | BlockKey
    new: ClusterHost | OverlayNetwork | Block | bool | None
    """For `alive` True or None."""
