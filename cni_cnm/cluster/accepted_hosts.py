"""The agent's own nftables table: VXLAN packets are accepted from hosts of the cluster alone.

    table inet cni_cnm_underlay
        set hosts4, hosts6      underlay addresses of the other hosts
        set ports               UDP ports of the VXLAN devices
        chain input             drops what comes to one of the ports from any other address
        chain forward           drops what is forwarded to one of these ports of another host, but not by a router
                                between hosts: from a known host, by the link that leads back to it

A host of the cluster is told by its address alone, and what a container sends is masqueraded: it would get this host's
address, which the other host accepts. So `forward` looks at it before.

The table is there while this host has an overlay network. Packets of other programs' tunnels have other ports. Where
others can send with the address of a host, VXLAN is open to them.
"""

from __future__ import annotations

from cni_cnm.cluster.underlay import Peer, Port
from cni_cnm.firewall import UNDERLAY, drop, drop_counters
from cni_cnm.kernel import Element, Transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cni_cnm.cluster.underlay import Delta, Entry
    from cni_cnm.kernel import Nft

TABLE = UNDERLAY
_DECLARATION = f"""\
add table {TABLE}
add set {TABLE} hosts4 {{ type ipv4_addr; }}
add set {TABLE} hosts6 {{ type ipv6_addr; }}
add set {TABLE} ports {{ type inet_service; }}
{drop_counters(TABLE, "unknown_host", "host_source")}\
add chain {TABLE} input {{ type filter hook input priority -10; }}
add chain {TABLE} forward {{ type filter hook forward priority -10; }}
flush chain {TABLE} input
flush chain {TABLE} forward
add rule {TABLE} input udp dport @ports ip saddr != @hosts4 {drop("unknown_host")}
add rule {TABLE} input udp dport @ports ip6 saddr != @hosts6 {drop("unknown_host")}
add rule {TABLE} forward udp dport @ports ip daddr @hosts4 ip saddr != @hosts4 {drop("unknown_host")}
add rule {TABLE} forward udp dport @ports ip daddr @hosts4 fib saddr . iif oif missing {drop("host_source")}
add rule {TABLE} forward udp dport @ports ip6 daddr @hosts6 ip6 saddr != @hosts6 {drop("unknown_host")}
add rule {TABLE} forward udp dport @ports ip6 daddr @hosts6 fib saddr . iif oif missing {drop("host_source")}
"""
_RULES = {"input": 2, "forward": 4}


class AcceptedHosts:
    """The table, as one process keeps it.

    A process writes the rules once, because those that are there may be another release's. From then on it looks at
    their number: another program may flush them.
    """

    def __init__(self, nft: Nft) -> None:
        self._nft = nft
        self._written = False

    def whole(self, wanted: Iterable[Entry], *, keep: bool = False) -> int:
        """Make the table what is wanted; without networks there is none. Gives the number of elements that changed.

        With `keep` no element is removed.
        """
        there = {element.place: element for element in self._nft.elements(TABLE)}
        elements = {element.place: element for element in _elements(wanted)}
        if not any(element.set == "ports" for element in elements.values()):
            if keep:
                return 0
            if self._nft.handles([TABLE])[0] is not None:
                self._nft.delete_table(TABLE)
            return len(there)
        if not self._written or self._nft.rules(TABLE) != _RULES:
            self._nft.commit(Transaction(_DECLARATION), declare=True)
            self._written = True
        new = tuple(element for place, element in elements.items() if place not in there)
        put = tuple(element for place, element in elements.items() if place in there and there[place] != element)
        remove = tuple(element for place, element in there.items() if place not in elements and not keep)
        self._nft.commit(Transaction(_DECLARATION, put, remove, claim=new))
        return len(new) + len(put) + len(remove)

    def change(self, delta: Delta) -> int:
        """Only what differs. Gives the number of elements."""
        put = tuple(_elements(after for _, after in delta.values() if after is not None))
        kept = {element.place for element in put}
        gone = _elements(before for before, _ in delta.values() if before is not None)
        remove = tuple(element for element in gone if element.place not in kept)
        if put or remove:
            self._nft.commit(Transaction(_DECLARATION, put, remove))
        return len(put) + len(remove)


def _elements(entries: Iterable[Entry]) -> Iterable[Element]:
    for entry in entries:
        if isinstance(entry, Peer):
            yield Element(TABLE, f"hosts{entry.address.version}", str(entry.address), comment=entry.host)
        elif isinstance(entry, Port):
            yield Element(TABLE, "ports", str(entry.number))
