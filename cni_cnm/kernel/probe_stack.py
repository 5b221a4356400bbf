"""The real `ProbeStack`: questions to the kernel about one packet, by the connection of a `KernelStack`."""

from __future__ import annotations

import os
import socket
from errno import EACCES, EHOSTUNREACH, EINVAL, ENETUNREACH, ENODEV, ENOENT, EXDEV

from cni_cnm.errors import KernelError
from cni_cnm.kernel import ctnetlink, iptables_legacy, xtables
from cni_cnm.kernel.contract.probe_stack import BridgeEntry, NeighbourState, RouteAnswer, TrackedConnection
from cni_cnm.kernel.netlink.header import NETLINK_NETFILTER, RTM_GETLINK, RTM_GETNEIGH, RTM_GETROUTE
from cni_cnm.kernel.netlink.netlink_socket import NetlinkSocket
from cni_cnm.kernel.overlay_stack import KernelOverlayStack
from cni_cnm.kernel.rtnetlink import links, probes
from cni_cnm.kernel.sock_diag import listeners
from cni_cnm.model import ip_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.kernel.contract.filter_rules import FilterTable
    from cni_cnm.kernel.contract.stack import Stack
    from cni_cnm.kernel.sock_diag import Listener
    from cni_cnm.model import IPAddress

_REFUSALS = {ENETUNREACH: "none", EHOSTUNREACH: "unreachable", EACCES: "prohibit", EINVAL: "none", EXDEV: "none"}


class KernelProbeStack(KernelOverlayStack):
    """Made as a `KernelStack`."""

    def ask_route(
        self, dst: IPAddress, *, src: IPAddress | None = None, from_link: int = 0, by_link: int = 0, mark: int = 0
    ) -> RouteAnswer:
        request = probes.route(dst, src, from_link, by_link, mark)
        try:
            found = self.connection.socket.ask(request, RTM_GETROUTE, f"looking for a route to {dst}{self.place}")
        except KernelError as error:
            if error.errno not in _REFUSALS:
                raise
            return RouteAnswer(_REFUSALS[error.errno], errno=error.errno)
        return probes.read_route(*found) if found is not None else RouteAnswer("none", errno=ENODEV)

    def with_peer_elsewhere(self) -> frozenset[int]:
        listed: list[int] = self.connection.socket.dump(
            links.query(), RTM_GETLINK, f"listing the links{self.place}", probes.read_peer_elsewhere
        )
        return frozenset(listed)

    def neighbour_state(self, link: int, address: IPAddress) -> NeighbourState | None:
        try:
            found = self.connection.socket.ask(
                probes.neighbour(link, address), RTM_GETNEIGH, f"looking for the neighbour {address}{self.place}"
            )
        except KernelError as error:
            if error.errno not in (ENOENT, EINVAL):
                raise
            return None
        return probes.read_neighbour(*found) if found is not None else None

    def bridge_entry(self, bridge: int, mac: str) -> BridgeEntry | None:
        sentence = f"listing the forwarding entries of {self.connection.name(bridge)}{self.place}"
        listed: list[tuple[str, BridgeEntry]] = self.connection.socket.dump(
            probes.bridge_entries(bridge), RTM_GETNEIGH, sentence, probes.read_bridge_entry
        )
        found = [entry for known, entry in listed if known == mac]
        return next((entry for entry in found if entry.local), found[0] if found else None)

    def tracked(self, dst: IPAddress, protocol: int, dport: int) -> Sequence[TrackedConnection]:
        sentence = f"listing the tracked connections{self.place}"
        try:
            sock = self.connection.inside(lambda: NetlinkSocket(NETLINK_NETFILTER))
        except OSError:
            return []  # a kernel without connection tracking
        try:
            listing = ctnetlink.listing(dst.version, protocol, dport)
            listed: list[ctnetlink.Entry] = sock.dump(listing, ctnetlink.GET, sentence, ctnetlink.read)
        except KernelError:
            return []
        finally:
            sock.close()
        return [
            TrackedConnection(ip_address(one.source), ip_address(one.answers))
            for one in listed
            if one.to == dst.packed and (one.protocol, one.port) == (protocol, dport)
        ]

    def legacy_tables(self) -> tuple[bool, bool]:
        four, six = self.connection.inside(xtables.stamps)
        return bool(four), bool(six)

    def legacy_filter(self, family: str) -> FilterTable:
        return self.connection.inside(lambda: iptables_legacy.read(family))

    def open_socket(self, family: int, kind: int, protocol: int) -> socket.socket:
        return self.connection.inside(lambda: socket.socket(family, kind, protocol))

    def listeners(self, protocol: str) -> Sequence[Listener]:
        return self.connection.inside(lambda: list(listeners(protocol)))


def probe(stack: Stack) -> KernelProbeStack:
    """A further stack of the same namespace, which the caller closes."""
    from cni_cnm.kernel.stack import KernelStack

    if not isinstance(stack, KernelStack):
        raise TypeError(f"{type(stack).__name__} is not of the kernel")
    return KernelProbeStack(os.dup(stack.fd), stack.path)
