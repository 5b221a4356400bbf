"""Messages about links: values to the bytes of requests, the kernel's bytes to values. Opens no socket."""

from __future__ import annotations

from _socket import AF_BRIDGE, AF_INET
from struct import Struct

from cni_cnm.kernel.contract.link import Link, Port, Vlan
from cni_cnm.kernel.netlink.nlattr import (
    HEADER,
    each,
    find,
    number,
    pack,
    pack_mac,
    pack_number,
    pack_text,
    places,
    text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cni_cnm.kernel.contract.link import PortState
    from cni_cnm.kernel.netlink.nlattr import Places

IFF_UP, IFF_PROMISC, IFF_ALLMULTI = 0x1, 0x100, 0x200
_BRVLAN, _SKIP_STATS = 0x2, 0x8
"""RTEXT_FILTER_BRVLAN, RTEXT_FILTER_SKIP_STATS."""
_SELF = 2
"""BRIDGE_FLAGS_SELF."""
_PVID, _UNTAGGED = 0x2, 0x4
_HEADER_BYTES, _LENGTH = 16, Struct("=I")
"""Of struct nlmsghdr the size, and the first field."""
_FIXED = Struct("=Ii2I")
"""struct ifinfomsg: family and type, index, flags, change."""
_ETHERNET_BYTES = 6
"""Tunnels have link addresses of other lengths."""

_ADDRESS, _IFNAME, _MTU, _LINK, _MASTER, _TXQLEN = 1, 3, 4, 5, 10, 13
_LINKINFO, _IFALIAS, _AF_SPEC, _GROUP, _NET_NS_FD, _EXT_MASK = 18, 20, 26, 27, 28, 29
_NUM_TX_QUEUES, _NUM_RX_QUEUES = 31, 32
"""IFLA_… of linux/if_link.h."""
_KIND, _DATA, _SLAVE_KIND, _SLAVE_DATA = 1, 2, 4, 5
"""Of IFLA_LINKINFO."""
_MODE, _FLAGS, _BC_QUEUE = 1, 2, 7
"""Of the data of a macvlan and of an ipvlan."""
_VLAN_ID = 1
_VLAN_FILTERING = 7
_NF_CALL_IPTABLES, _NF_CALL_IP6TABLES = 36, 37
_PEER = 1
"""Of the data of a VLAN, of a bridge, of a veth."""
_BRPORT_STATE, _BRPORT_MODE, _BRPORT_ISOLATED = 1, 4, 33
_BRIDGE_FLAGS, _BRIDGE_VLAN_INFO = 0, 2
"""Of IFLA_AF_SPEC in the family AF_BRIDGE."""
_INET_CONF, _ARP_NOTIFY = 1, 22
"""IFLA_INET_CONF, among the attributes of AF_INET in IFLA_AF_SPEC; IPV4_DEVCONF_ARP_NOTIFY."""
_VLAN_INFO = Struct("=HH")
"""struct bridge_vlan_info: flags and VLAN."""
_U32, _U16, _U8 = 4, 2, 1

MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}

_CHANGED = {
    "name": lambda value: pack_text(_IFNAME, value),
    "mac": lambda value: pack_mac(_ADDRESS, value),
    "mtu": lambda value: pack_number(_MTU, value),
    "master": lambda value: pack_number(_MASTER, value),
    "txqlen": lambda value: pack_number(_TXQLEN, value),
    "group": lambda value: pack_number(_GROUP, value),
    "alias": lambda value: pack_text(_IFALIAS, value),
    "arp_notify": lambda value: pack(_AF_SPEC, pack(AF_INET, pack(_INET_CONF, pack_number(_ARP_NOTIFY, value)))),
}
_CHANGED_FLAGS = {"up": IFF_UP, "promisc": IFF_PROMISC, "allmulti": IFF_ALLMULTI}


def message(index: int = 0, attributes: bytes = b"", *, family: int = 0, flags: int = 0, changed: int = 0) -> bytes:
    """Of `flags` those in `changed` count."""
    return _FIXED.pack(family, index, flags, changed) + attributes


_QUERY = pack_number(_EXT_MASK, _SKIP_STATS)


def query(index: int = 0, *, name: str = "", master: int = 0, kind: str = "") -> bytes:
    """The request for one link, without the statistics, or for a dump of those with a master or of a kind.

    A dump has no mask: with one the kernel first computes the size of each link's message (rtnl_calcit).
    """
    attributes = _QUERY if index or name else b""
    if name:
        attributes += pack_text(_IFNAME, name)
    if master:
        attributes += pack_number(_MASTER, master)
    if kind:
        attributes += info(kind)
    return message(index, attributes)


def bridge(name: str, mac: str, mtu: int, vlan_filtering: bool, ip_hooks: bool) -> bytes:
    data = pack_number(_VLAN_FILTERING, 1, _U8) if vlan_filtering else b""
    if ip_hooks:
        data += pack_number(_NF_CALL_IPTABLES, 1, _U8) + pack_number(_NF_CALL_IP6TABLES, 1, _U8)
    return message(attributes=created(name, mac, mtu) + info("bridge", data))


_ONE_QUEUE = pack_number(_NUM_TX_QUEUES, 1) + pack_number(_NUM_RX_QUEUES, 1)
"""Of a veth. Without it the kernel makes some for each processor of the machine, with their files in sysfs, and then
puts all but one out of use (veth_init_queues)."""


def veth(
    name: str, mac: str, mtu: int, master: int, *, peer: str, peer_mac: str, peer_namespace: int, up: bool = False
) -> bytes:
    """Both ends in one request; `peer_namespace` is a descriptor. `up`: this end, not the peer."""
    there = created(peer, peer_mac, mtu) + _ONE_QUEUE + pack_number(_NET_NS_FD, peer_namespace)
    other = message(attributes=there)
    attributes = created(name, mac, mtu) + _ONE_QUEUE
    if master:
        attributes += pack_number(_MASTER, master)
    attributes += info("veth", pack(_PEER, other))
    return message(attributes=attributes, flags=IFF_UP if up else 0, changed=IFF_UP if up else 0)


def ifb(name: str, mtu: int) -> bytes:
    return message(attributes=created(name, "", mtu) + info("ifb"), flags=IFF_UP, changed=IFF_UP)


def macvlan(mode: str, bc_queue: int) -> bytes:
    """The data of a macvlan, for `on_parent`."""
    data = pack_number(_MODE, MACVLAN_MODES[mode])
    return data + pack_number(_BC_QUEUE, bc_queue) if bc_queue else data


def ipvlan(mode: str, flag: str) -> bytes:
    return pack_number(_MODE, IPVLAN_MODES[mode], _U16) + pack_number(_FLAGS, IPVLAN_FLAGS[flag], _U16)


def vlan(vid: int) -> bytes:
    return pack_number(_VLAN_ID, vid, _U16)


def on_parent(
    kind: str, data: bytes, name: str, parent: int, *, mac: str = "", mtu: int = 0, namespace: int = -1
) -> bytes:
    """A link on a parent link. `namespace`: descriptor of where it is created, if that is not the parent's own."""
    attributes = created(name, mac, mtu) + pack_number(_LINK, parent)
    if namespace >= 0:
        attributes += pack_number(_NET_NS_FD, namespace)
    return message(attributes=attributes + info(kind, data))


def change(index: int, changes: Mapping[str, Any]) -> bytes:
    """The request that changes what is named as in `Stack.set_link`."""
    flags = changed = 0
    attributes = b""
    for name, value in changes.items():
        if name in _CHANGED:
            attributes += _CHANGED[name](value)
        else:
            changed |= _CHANGED_FLAGS[name]
            flags |= _CHANGED_FLAGS[name] if value else 0
    return message(index, attributes, flags=flags, changed=changed)


def moved(index: int, namespace: int, name: str) -> bytes:
    """The request that moves a link to the namespace of a descriptor, and renames it there unless `name` is ""."""
    renamed = pack_text(_IFNAME, name) if name else b""
    return message(index, pack_number(_NET_NS_FD, namespace) + renamed)


def grouped(index: int, group: int) -> bytes:
    """About a link and the group that it is put into, or with index 0 about all links of a group."""
    return message(index, pack_number(_GROUP, group))


def port_change(index: int, port: Port, group: int | None = None) -> bytes:
    data = pack_number(_BRPORT_MODE, port.hairpin, _U8) + pack_number(_BRPORT_ISOLATED, port.isolated, _U8)
    info = pack_text(_SLAVE_KIND, "bridge") + pack(_SLAVE_DATA, data)
    grouped = b"" if group is None else pack_number(_GROUP, group)
    return message(index, pack(_LINKINFO, info) + grouped)


def vlan_change(index: int, vlan: Vlan, *, on_bridge: bool) -> bytes:
    """`on_bridge`: the VLAN of the bridge itself, not of a port."""
    flags = (_PVID if vlan.pvid else 0) | (_UNTAGGED if vlan.untagged else 0)
    spec = pack_number(_BRIDGE_FLAGS, _SELF, _U16) if on_bridge else b""
    spec += pack(_BRIDGE_VLAN_INFO, _VLAN_INFO.pack(flags, vlan.vid))
    return message(index, pack(_AF_SPEC, spec), family=AF_BRIDGE)


def vlan_query() -> bytes:
    return message(attributes=pack_number(_EXT_MASK, _BRVLAN), family=AF_BRIDGE)


def read(data: bytes, offset: int) -> Link:
    """The link of the message at `offset` of a datagram."""
    length = _LENGTH.unpack_from(data, offset)[0]
    found = places(data, offset + _HEADER_BYTES + _FIXED.size, offset + length)
    return _link(data, offset, found, places(data, *found[_LINKINFO]) if _LINKINFO in found else {})


def _link(data: bytes, offset: int, found: Places, info: Places) -> Link:
    """`found` are the message's attributes, `info` those of IFLA_LINKINFO."""
    _, index, flags, _ = _FIXED.unpack_from(data, offset + _HEADER_BYTES)
    kind = text(data, info.get(_KIND))
    inside = places(data, *info[_DATA]) if kind in _MODES and _DATA in info else {}
    filtering = hooks = None
    if kind == "bridge" and _DATA in info:
        filtering = find(data, *info[_DATA], _VLAN_FILTERING)
        hooks = find(data, *info[_DATA], _NF_CALL_IPTABLES)
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
        ip_hooks=bool(number(data, hooks)),
        mode=_named(_MODES, kind, number(data, inside[_MODE])) if _MODE in inside else "",
        flag=_named(_FLAG_NAMES, kind, number(data, inside[_FLAGS])) if _FLAGS in inside else "",
    )


_MODES = {"macvlan": MACVLAN_MODES, "ipvlan": IPVLAN_MODES}
_FLAG_NAMES = {"ipvlan": IPVLAN_FLAGS}


def _named(names: Mapping[str, Mapping[str, int]], kind: str, wanted: int) -> str:
    """The name of a mode or flag; "" for a kind without, or a value that has none."""
    return next((name for name, known in names.get(kind, {}).items() if known == wanted), "")


def port(data: bytes, offset: int) -> Port | None:
    """None if the link of the message at `offset` is no port of a bridge."""
    found = places(data, *_inside(data, offset, _LINKINFO))
    if text(data, found.get(_SLAVE_KIND)) != "bridge":
        return None
    flags = places(data, *found.get(_SLAVE_DATA, (0, 0)))
    return Port(bool(number(data, flags.get(_BRPORT_MODE))), bool(number(data, flags.get(_BRPORT_ISOLATED))))


def read_with_port(data: bytes, offset: int) -> tuple[Link, Port | None]:
    """The link of the message, and its flags as a port; None if it is no port of a bridge."""
    length = _LENGTH.unpack_from(data, offset)[0]
    found = places(data, offset + _HEADER_BYTES + _FIXED.size, offset + length)
    info = places(data, *found[_LINKINFO]) if _LINKINFO in found else {}
    link = _link(data, offset, found, info)
    if _SLAVE_DATA not in info or text(data, info.get(_SLAVE_KIND)) != "bridge":
        return link, None
    mode, isolated = (_same_place(data, *info[_SLAVE_DATA], one) for one in (_BRPORT_MODE, _BRPORT_ISOLATED))
    return link, Port(bool(number(data, mode)), bool(number(data, isolated)))


_seen_at: dict[int, int] = {}
"""Where an attribute of IFLA_INFO_SLAVE_DATA was in the last message: a kernel puts them at the same places."""


def _same_place(data: bytes, begin: int, end: int, wanted: int) -> tuple[int, int] | None:
    """An attribute of one byte."""
    at = begin + _seen_at.get(wanted, 0)
    if at + 4 <= end:
        length, kind = HEADER.unpack_from(data, at)
        if (length, kind) == (5, wanted):
            return at + 4, at + 5
    found = find(data, begin, end, wanted)
    if found is not None:
        _seen_at[wanted] = found[0] - 4 - begin
    return found


PORT_STATES: tuple[PortState, ...] = ("disabled", "listening", "learning", "forwarding", "blocking")


def port_state(data: bytes, offset: int) -> PortState | None:
    """Of a link's message, as the kernel sent it; None if it is no port of a bridge."""
    slave = find(data, *_inside(data, offset, _LINKINFO), _SLAVE_DATA)
    state = find(data, *slave, _BRPORT_STATE) if slave is not None else None
    return PORT_STATES[number(data, state)] if state is not None else None


def vlans(data: bytes, offset: int) -> tuple[int, list[Vlan]]:
    """Of the message at `offset`: the link's index, and its VLANs."""
    found = []
    for kind, begin, end in each(data, *_inside(data, offset, _AF_SPEC)):
        if kind == _BRIDGE_VLAN_INFO:
            flags, vid = _VLAN_INFO.unpack(data[begin:end])
            found.append(Vlan(vid, bool(flags & _PVID), bool(flags & _UNTAGGED)))
    return _FIXED.unpack_from(data, offset + _HEADER_BYTES)[1], found


def kind_data(data: bytes, offset: int) -> tuple[str, tuple[int, int]]:
    """Of the message at `offset`: the link's kind, and where the data of its kind are."""
    found = places(data, *_inside(data, offset, _LINKINFO))
    return text(data, found.get(_KIND)), found.get(_DATA, (0, 0))


def _inside(data: bytes, offset: int, wanted: int) -> tuple[int, int]:
    """Where the value of an attribute of the message at `offset` is; an empty place if there is none."""
    length = _LENGTH.unpack_from(data, offset)[0]
    return find(data, offset + _HEADER_BYTES + _FIXED.size, offset + length, wanted) or (0, 0)


def info(kind: str, data: bytes = b"") -> bytes:
    """IFLA_LINKINFO. Data without attributes is left out."""
    return pack(_LINKINFO, pack_text(_KIND, kind) + (pack(_DATA, data) if data else b""))


def created(name: str, mac: str, mtu: int) -> bytes:
    """Attributes of a new link. The kernel chooses what is not given."""
    attributes = pack_text(_IFNAME, name)
    if mac:
        attributes += pack_mac(_ADDRESS, mac)
    return attributes + pack_number(_MTU, mtu) if mtu else attributes
