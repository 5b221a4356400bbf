"""A network namespace as it is now: links, routes, rules, and what it has translated of the followed connection."""

from __future__ import annotations

from errno import EHOSTUNREACH
from functools import cached_property
from sys import byteorder

from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.explain.packet import Packet
    from cni_cnm.kernel import Link
    from cni_cnm.kernel.contract.filter_rules import FilterTable
    from cni_cnm.kernel.contract.probe_stack import ProbeStack, RouteAnswer
    from cni_cnm.kernel.contract.ruleset import Ruleset
    from cni_cnm.model import IPAddress

_ROUTE_TYPES = {"unicast": 1, "local": 2, "broadcast": 3, "multicast": 5}
_FIB_OIF, _FIB_OIFNAME, _FIB_TYPE = 1, 2, 3
_FIB_SOURCE, _FIB_PRESENT, _FIB_BY_LINK = 0x01, 0x20, 0x08


class Translation(NamedTuple):
    """How connection tracking of a namespace changed the first packet: as it came, and as it went on."""

    before: Packet
    after: Packet


class Space:
    """A namespace. `name` is `the host`, or the pod or container for people."""

    def __init__(self, name: str, stack: ProbeStack, ruleset: Ruleset) -> None:
        self.name = name
        self.stack = stack
        self.ruleset = ruleset
        self.forget()

    def forget(self) -> None:
        """Begin with another connection."""
        self.translation: Translation | None = None
        self.status = 0
        """Of the connection, as the first packet left it."""
        self.connection_mark = 0
        self.learned: dict[tuple[int, IPAddress], str] = {}
        """MACs of those who asked on this way, by link and address."""

    def __str__(self) -> str:
        return self.name

    @cached_property
    def _legacy(self) -> Sequence[bool]:
        return self.stack.legacy_tables()

    def has_legacy(self, version: int) -> bool:
        """Whether iptables-legacy has a table filter."""
        return self._legacy[version == 6]

    def legacy_filter(self, family: str) -> FilterTable:
        """IoFailed if it cannot be read."""
        return self.stack.legacy_filter(family)

    def entered(self, packet: Packet) -> Packet:
        """Marks and connection tracking are of one namespace (skb_scrub_packet)."""
        status, mark = (self.status, self.connection_mark) if packet.reply else (0, 0)
        return packet._replace(mark=0, status=status, connection_mark=mark, translated=0)

    @cached_property
    def links(self) -> Mapping[int, Link]:
        return {link.ifindex: link for link in self.stack.links()}

    @cached_property
    def peers_elsewhere(self) -> frozenset[int]:
        """Links whose other end is in another namespace."""
        return self.stack.with_peer_elsewhere()

    def link(self, index: int) -> Link:
        """LookupError if it is gone."""
        return self.links[index]

    def named(self, name: str) -> Link | None:
        return next((link for link in self.links.values() if link.name == name), None)

    def ports(self, bridge: Link) -> Sequence[Link]:
        return [link for link in self.links.values() if link.master == bridge.ifindex]

    def bridge_of(self, link: Link) -> Link | None:
        master = self.links.get(link.master)
        return master if master is not None and master.kind == "bridge" else None

    def sysctl(self, key: str) -> str:
        """ "" if there is none."""
        return self.stack.sysctl(key) or ""

    def is_local(self, address: IPAddress) -> bool:
        return self.stack.ask_route(address).kind == "local"

    def forwards(self, link: Link, version: int) -> bool:
        if version == 6:
            return self.sysctl("net/ipv6/conf/all/forwarding") == "1"
        return self.sysctl(f"net/ipv4/conf/{link.name}/forwarding") == "1"

    def filters_bridged(self, version: int) -> bool:
        """br_netfilter: frames inside a bridge pass the rules of IP."""
        return self.sysctl(f"net/bridge/bridge-nf-call-ip{'6' if version == 6 else ''}tables") == "1"

    def fib_value(self, packet: Packet, incoming: Link | None, result: int, flags: int) -> bytes | None:
        """The value of a `fib` expression of nf_tables; None where it is not known."""
        address = packet.src if flags & _FIB_SOURCE else packet.dst
        if packet.arp:
            return None
        answer: RouteAnswer = self.stack.ask_route(address)
        if result == _FIB_TYPE:
            unrouted = 7 if answer.errno == EHOSTUNREACH and packet.version == 6 else 1
            return _ROUTE_TYPES.get(answer.kind, unrouted).to_bytes(4, byteorder)
        back = answer.kind == "unicast"
        if flags & _FIB_BY_LINK:
            back = back and incoming is not None and answer.link == incoming.ifindex
        if flags & _FIB_PRESENT:
            return int(back).to_bytes(4, byteorder)
        if result == _FIB_OIF:
            return (answer.link if back else 0).to_bytes(4, byteorder)
        if result == _FIB_OIFNAME:
            name = self.link(answer.link).name if back else ""
            return name.encode(errors="surrogateescape").ljust(16, b"\0")
        return None
