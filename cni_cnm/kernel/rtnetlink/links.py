"""Messages about links: values to messages, messages to values. Opens no socket."""

from __future__ import annotations

from struct import Struct
from typing import Any

from cni_cnm.kernel.contract.link import Link, Port, Vlan
from cni_cnm.kernel.netlink.encoding import Tail
from cni_cnm.kernel.netlink.messages import AF_BRIDGE, Message, ifinfmsg
from cni_cnm.kernel.netlink.nlattr import find, number, places, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.kernel.contract.link import PortState

IFF_UP, IFF_PROMISC, IFF_ALLMULTI = 0x1, 0x100, 0x200
_BRVLAN, _SKIP_STATS = 0x2, 0x8
_SELF = 2
_PVID, _UNTAGGED = 0x2, 0x4
_HEADER_BYTES, _LENGTH = 16, Struct("=I")
"""Of struct nlmsghdr the size, and the first field."""
_FIXED = Struct("=Ii2I")
"""struct ifinfomsg: family and type, index, flags, change."""
_ETHERNET_BYTES = 6
"""Tunnels have link addresses of other lengths."""

MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}

Attributes = list[tuple[str, Any]]


def message(index: int = 0, attributes: Attributes | None = None, *, family: int = 0) -> Message:
    result = ifinfmsg()
    result["family"] = family
    result["index"] = index
    result["attrs"] = attributes or []
    return result


def query(index: int = 0, *, name: str = "", master: int = 0, kind: str = "") -> Message:
    """The request for one link, or for a dump of those with a master or of a kind, without the statistics."""
    attributes: Attributes = [("IFLA_EXT_MASK", _SKIP_STATS)]
    if name:
        attributes.append(("IFLA_IFNAME", name))
    if master:
        attributes.append(("IFLA_MASTER", master))
    if kind:
        attributes.append(("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", kind)]}))
    return message(index, attributes)


def bridge(name: str, mac: str, mtu: int, vlan_filtering: bool) -> Message:
    info: Attributes = [("IFLA_INFO_KIND", "bridge")]
    if vlan_filtering:
        info.append(("IFLA_INFO_DATA", {"attrs": [("IFLA_BR_VLAN_FILTERING", 1)]}))
    return message(attributes=[*_created(name, mac, mtu), ("IFLA_LINKINFO", {"attrs": info})])


def veth(name: str, mac: str, mtu: int, master: int, *, peer: str, peer_mac: str, peer_namespace: int) -> Message:
    """Both ends in one request; `peer_namespace` is a descriptor."""
    other = Tail(attrs=[*_created(peer, peer_mac, mtu), ("IFLA_NET_NS_FD", peer_namespace)])
    data = {"attrs": [("VETH_INFO_PEER", other)]}
    attributes = _created(name, mac, mtu)
    if master:
        attributes.append(("IFLA_MASTER", master))
    attributes.append(("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", data)]}))
    return message(attributes=attributes)


def ifb(name: str, mtu: int) -> Message:
    result = message(attributes=[*_created(name, "", mtu), ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "ifb")]})])
    result["flags"] = result["change"] = IFF_UP
    return result


def macvlan(mode: str, bc_queue: int) -> Attributes:
    """The data of a macvlan, for `on_parent`."""
    data: Attributes = [("IFLA_MACVLAN_MODE", MACVLAN_MODES[mode])]
    if bc_queue:
        data.append(("IFLA_MACVLAN_BC_QUEUE_LEN", bc_queue))
    return data


def ipvlan(mode: str, flag: str) -> Attributes:
    return [("IFLA_IPVLAN_MODE", IPVLAN_MODES[mode]), ("IFLA_IPVLAN_FLAGS", IPVLAN_FLAGS[flag])]


def on_parent(
    kind: str, data: Attributes, name: str, parent: int, *, mac: str = "", mtu: int = 0, namespace: int = -1
) -> Message:
    """A link on a parent link. `namespace`: descriptor of where it is created, if that is not the parent's own."""
    attributes = [*_created(name, mac, mtu), ("IFLA_LINK", parent)]
    if namespace >= 0:
        attributes.append(("IFLA_NET_NS_FD", namespace))
    info = {"attrs": [("IFLA_INFO_KIND", kind), ("IFLA_INFO_DATA", {"attrs": data})]}
    return message(attributes=[*attributes, ("IFLA_LINKINFO", info)])


def change(
    index: int,
    *,
    up: bool | None,
    promisc: bool | None,
    allmulti: bool | None,
    attributes: Sequence[tuple[str, Any]],
) -> Message:
    """The request that changes flags and those attributes that are not None."""
    result = message(index, [(key, value) for key, value in attributes if value is not None])
    for flag, wanted in ((IFF_UP, up), (IFF_PROMISC, promisc), (IFF_ALLMULTI, allmulti)):
        if wanted is not None:
            result["change"] |= flag
            result["flags"] |= flag if wanted else 0
    return result


def port_change(index: int, port: Port) -> Message:
    data = {
        "attrs": [("IFLA_BRPORT_MODE", int(port.hairpin)), ("IFLA_BRPORT_ISOLATED", int(port.isolated))],
    }
    info = {"attrs": [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", data)]}
    return message(index, [("IFLA_LINKINFO", info)])


def vlan_change(index: int, vlan: Vlan, *, on_bridge: bool) -> Message:
    """`on_bridge`: the VLAN of the bridge itself, not of a port."""
    flags = (_PVID if vlan.pvid else 0) | (_UNTAGGED if vlan.untagged else 0)
    spec: Attributes = [("IFLA_BRIDGE_VLAN_FLAGS", _SELF)] if on_bridge else []
    spec.append(("IFLA_BRIDGE_VLAN_INFO", {"flags": flags, "vid": vlan.vid}))
    return message(index, [("IFLA_AF_SPEC", {"attrs": spec})], family=AF_BRIDGE)


def vlan_query() -> Message:
    return message(attributes=[("IFLA_EXT_MASK", _BRVLAN)], family=AF_BRIDGE)


_ADDRESS, _IFNAME, _MTU, _LINK, _MASTER, _TXQLEN, _LINKINFO, _IFALIAS, _GROUP = 1, 3, 4, 5, 10, 13, 18, 20, 27
_KIND, _DATA, _MODE, _FLAGS, _VLAN_FILTERING = 1, 2, 1, 2, 7
"""Of IFLA_LINKINFO; and of its data, as macvlan, ipvlan and bridge number it."""


def read(data: bytes, offset: int) -> Link:
    """The link of the message at `offset` of a datagram."""
    length = _LENGTH.unpack_from(data, offset)[0]
    _, index, flags, _ = _FIXED.unpack_from(data, offset + _HEADER_BYTES)
    found = places(data, offset + _HEADER_BYTES + _FIXED.size, offset + length)
    info = places(data, *found[_LINKINFO]) if _LINKINFO in found else {}
    kind = text(data, info.get(_KIND))
    inside = places(data, *info[_DATA]) if kind in _MODES and _DATA in info else {}
    filtering = find(data, *info[_DATA], _VLAN_FILTERING) if kind == "bridge" and _DATA in info else None
    begin, end = found.get(_ADDRESS, (0, 0))
    return Link(
        ifindex=index,
        name=text(data, found.get(_IFNAME)),
        kind=kind,
        mac=data[begin:end].hex(":") if end - begin == _ETHERNET_BYTES else "",
        mtu=number(data, found.get(_MTU)),
        up=bool(flags & IFF_UP),
        master=number(data, found.get(_MASTER)),
        peer=number(data, found.get(_LINK)),
        promisc=bool(flags & IFF_PROMISC),
        allmulti=bool(flags & IFF_ALLMULTI),
        txqlen=number(data, found.get(_TXQLEN)),
        group=number(data, found.get(_GROUP)),
        alias=text(data, found.get(_IFALIAS)),
        vlan_filtering=bool(number(data, filtering)),
        mode=_named(_MODES, kind, number(data, inside[_MODE])) if _MODE in inside else "",
        flag=_named(_FLAG_NAMES, kind, number(data, inside[_FLAGS])) if _FLAGS in inside else "",
    )


_MODES = {"macvlan": MACVLAN_MODES, "ipvlan": IPVLAN_MODES}
_FLAG_NAMES = {"ipvlan": IPVLAN_FLAGS}


def _named(names: Mapping[str, Mapping[str, int]], kind: str, wanted: int) -> str:
    """The name of a mode or flag; "" for a kind without, or a value that has none."""
    return next((name for name, known in names.get(kind, {}).items() if known == wanted), "")


def port(found: Message) -> Port | None:
    """None if the link is no port of a bridge."""
    info = found.get_attr("IFLA_LINKINFO")
    if info is None or info.get_attr("IFLA_INFO_SLAVE_KIND") != "bridge":
        return None
    data = info.get_attr("IFLA_INFO_SLAVE_DATA")
    return Port(hairpin=bool(data.get_attr("IFLA_BRPORT_MODE")), isolated=bool(data.get_attr("IFLA_BRPORT_ISOLATED")))


PORT_STATES: tuple[PortState, ...] = ("disabled", "listening", "learning", "forwarding", "blocking")
_SLAVE_DATA, _BRPORT_STATE = 5, 1
"""IFLA_INFO_SLAVE_DATA of IFLA_LINKINFO, and IFLA_BRPORT_STATE in it."""


def port_state(data: bytes, offset: int) -> PortState | None:
    """Of a link's message, as the kernel sent it; None if it is no port of a bridge."""
    length = _LENGTH.unpack_from(data, offset)[0]
    place: tuple[int, int] | None = offset + _HEADER_BYTES + _FIXED.size, offset + length
    for kind in (_LINKINFO, _SLAVE_DATA, _BRPORT_STATE):
        if place is None:
            return None
        place = find(data, *place, kind)
    return PORT_STATES[number(data, place)] if place is not None else None


def vlans(found: Message) -> list[Vlan]:
    spec = found.get_attr("IFLA_AF_SPEC")
    entries = spec.get_attrs("IFLA_BRIDGE_VLAN_INFO") if spec is not None else []
    return [Vlan(e["vid"], bool(e["flags"] & _PVID), bool(e["flags"] & _UNTAGGED)) for e in entries]


def _created(name: str, mac: str, mtu: int) -> Attributes:
    attributes: Attributes = [("IFLA_IFNAME", name)]
    if mac:
        attributes.append(("IFLA_ADDRESS", mac))
    if mtu:
        attributes.append(("IFLA_MTU", mtu))
    return attributes
