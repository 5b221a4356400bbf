"""Links and what belongs to one: bridge port flags, VLANs, a rate limit."""

from __future__ import annotations

from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypeAlias

DELETION_GROUP = 0x636E6D
"""Reserved link group. Its members are about to be deleted, by the first program that deletes the group."""

UNICAST_HAIRPIN_GROUP = 0x636E68
"""Reserved link group. Its members are bridge ports with hairpin, which is for unicast alone."""


class Link(NamedTuple):
    """A network device as the kernel shows it. Indexes are of the namespace the Stack stands for; 0 means none."""

    ifindex: int
    name: str
    kind: str = ""
    """`bridge`, `veth`, `macvlan`, …; "" for devices without an rtnetlink kind (lo, hardware)."""
    mac: str = ""
    mtu: int = 0
    up: bool = False
    master: int = 0
    peer: int = 0
    """IFLA_LINK: index of a veth's other end, or of the parent of a macvlan, ipvlan or VLAN.

    The index is of that link's own namespace.
    """
    promisc: bool = False
    allmulti: bool = False
    txqlen: int = 0
    group: int = 0
    alias: str = ""
    vlan_filtering: bool = False
    """Bridges only."""
    ip_hooks: bool = False
    """Bridges only: frames between its ports pass the packet filter's hooks of IP, where br_netfilter is loaded."""
    mode: str = ""
    """Of a macvlan `bridge`, `private`, `vepa` or `passthru`, of an ipvlan `l2`, `l3` or `l3s`."""
    flag: str = ""
    """Of an ipvlan: `bridge`, `private` or `vepa`."""


class Hardware(NamedTuple):
    """A device as sysfs shows it."""

    links: tuple[str, ...] = ()
    """Names of its links in the host's namespace."""
    driver: str = ""
    """The driver that it is bound to; "" for none."""


class Port(NamedTuple):
    """Flags of a bridge port."""

    hairpin: bool = False
    isolated: bool = False


PortState: TypeAlias = 'Literal["disabled", "listening", "learning", "forwarding", "blocking"]'
"""BR_STATE_*: a port without carrier is disabled; with spanning tree it listens and learns for 30 s first."""


class Vlan(NamedTuple):
    """A VLAN of a bridge port, or of the bridge itself."""

    vid: int
    pvid: bool = False
    untagged: bool = False


class Rate(NamedTuple):
    """A token bucket: bits per second, and how many bits may pass at once after a pause."""

    rate: int
    burst: int


class Bucket(NamedTuple):
    """A token bucket as the kernel (tbf) keeps it: bytes a second, burst in ticks of 64 ns, queue limit in bytes."""

    rate: int
    ticks: int
    limit: int
