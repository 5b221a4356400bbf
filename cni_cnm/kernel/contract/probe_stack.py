"""ProbeStack: a Stack that says what the kernel would do with a packet. It sends nothing and changes nothing.

The real one is kernel/probe_stack.py. `cni-cnm explain` has one for each namespace that it looks at.
"""

from __future__ import annotations

from typing import Protocol

from cni_cnm.kernel.contract.stack import Stack
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from socket import socket

    from cni_cnm.kernel.contract.filter_rules import FilterTable
    from cni_cnm.kernel.contract.overlay_stack import FdbEntry, Vxlan
    from cni_cnm.model import IPAddress


class RouteAnswer(NamedTuple):
    """What a route lookup gives."""

    kind: str
    """`unicast`, `local`, `broadcast`, `multicast`, `blackhole`, `unreachable`, `prohibit`, or `none` with `errno`."""
    link: int = 0
    """Index of the link by which the packet leaves."""
    gateway: IPAddress | None = None
    source: IPAddress | None = None
    """The source address of a packet that has none yet."""
    table: int = 0
    errno: int = 0
    """Why there is no answer: EXDEV for rp_filter, EINVAL for a wrong source, EHOSTUNREACH, ENETUNREACH."""


class NeighbourState(NamedTuple):
    mac: str
    state: str
    """`permanent`, `noarp`, `reachable`, `stale`, `delay`, `probe`, `incomplete` or `failed`."""

    @property
    def usable(self) -> bool:
        return bool(self.mac) and self.state not in ("incomplete", "failed")


class BridgeEntry(NamedTuple):
    """Where a bridge sends frames for a MAC."""

    port: int
    """Index of the port's link; of the bridge itself for its own address."""
    local: bool
    """It is an address of the bridge or of a port: frames for it are for the host."""


class TrackedConnection(NamedTuple):
    source: IPAddress
    answers: IPAddress
    """Where its packets go: another address than the one asked, if the connection is redirected."""


class ProbeStack(Stack, Protocol):
    @property
    def fd(self) -> int:
        """Descriptor of the namespace."""

    def ask_route(
        self, dst: IPAddress, *, src: IPAddress | None = None, from_link: int = 0, by_link: int = 0, mark: int = 0
    ) -> RouteAnswer:
        """The route of a packet that comes by `from_link` (0: that is sent from here). Nothing is sent.

        `by_link`: the link that it must leave by.
        """

    def with_peer_elsewhere(self) -> frozenset[int]:
        """Indexes of the links whose other end, or parent, is in another namespace."""

    def neighbour_state(self, link: int, address: IPAddress) -> NeighbourState | None: ...
    def bridge_entry(self, bridge: int, mac: str) -> BridgeEntry | None: ...
    def vxlan(self, index: int) -> Vxlan | None: ...
    def fdb(self, link: int) -> Sequence[FdbEntry]: ...
    def tracked(self, dst: IPAddress, protocol: int, dport: int) -> Sequence[TrackedConnection]:
        """What connection tracking of this namespace has of packets to an address and port (0: without ports)."""

    def legacy_tables(self) -> tuple[bool, bool]:
        """Whether iptables-legacy has a table filter in this namespace, for IPv4 and for IPv6."""

    def legacy_filter(self, family: str) -> FilterTable:
        """That table of `ip` or `ip6`. IoFailed if no program can list it."""

    def open_socket(self, family: int, kind: int, protocol: int) -> socket:
        """A socket of this namespace, which the caller closes."""

    def listeners(self, protocol: str) -> Sequence[tuple[IPAddress, int]]:
        """Sockets of this namespace that wait for packets of `tcp` or `udp`: address and port."""
