"""Requests about links, addresses and routes are, byte for byte, what pyroute2 makes of the same attributes."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Interface, IPv6Interface
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from cni_cnm.errors import KernelError
from cni_cnm.kernel import Port, RouteEntry, Vlan
from cni_cnm.kernel.netlink.header import HEADER
from cni_cnm.kernel.rtnetlink import addresses, links, routes

NAMES = st.from_regex(r"[a-z][a-z0-9]{0,14}", fullmatch=True)
MACS = st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":"))
INDEXES = st.integers(0, 2**31 - 1)
POSITIVE = st.integers(1, 2**31 - 1)
NUMBERS = st.integers(1, 2**32 - 1)
V4 = st.builds(lambda ip, length: IPv4Interface((ip, length)), st.ip_addresses(v=4), st.integers(0, 32))
V6 = st.builds(lambda ip, length: IPv6Interface((ip, length)), st.ip_addresses(v=6), st.integers(0, 128))


def theirs(cls: Any, attributes: list[tuple[str, Any]], **fields: Any) -> bytes:
    """The message as pyroute2 encodes it, without header."""
    message = cls()
    message.update(fields, attrs=attributes)
    message.encode()
    return bytes(message.data[HEADER.size :])


def link(attributes: list[tuple[str, Any]], **fields: Any) -> bytes:
    return theirs(ifinfmsg, [(name, value) for name, value in attributes if value], **fields)


def info(kind: str, *data: tuple[str, Any]) -> tuple[str, Any]:
    inside = [("IFLA_INFO_DATA", {"attrs": list(data)})] if data else []
    return "IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", kind), *inside]}


def created(name: str, mac: str, mtu: int) -> list[tuple[str, Any]]:
    return [("IFLA_IFNAME", name), ("IFLA_ADDRESS", mac), ("IFLA_MTU", mtu)]


@given(INDEXES, NAMES, INDEXES)
def test_queries(index: int, name: str, master: int) -> None:
    """One link by index or name, without statistics; the ports of a bridge; all links of a kind."""
    skip = ("IFLA_EXT_MASK", 8)
    assert links.query(index) == link([skip] if index else [], index=index)
    assert links.query(name=name) == link([skip, ("IFLA_IFNAME", name)])
    assert links.query(master=master) == link([("IFLA_MASTER", master)])
    assert links.query(kind="veth") == link([info("veth")])
    assert links.vlan_query() == link([("IFLA_EXT_MASK", 2)], family=7)
    assert addresses.query(index) == theirs(ifaddrmsg, [], index=index)


@given(NAMES, MACS | st.just(""), NUMBERS, INDEXES, NAMES, MACS | st.just(""), INDEXES, st.booleans())
def test_new_links(
    name: str, mac: str, mtu: int, master: int, peer: str, peer_mac: str, fd: int, flag: bool
) -> None:  # fmt: skip
    """A veth with its peer in another namespace, a bridge, an ifb."""
    inner = [(key, value) for key, value in created(peer, peer_mac, mtu) if value]
    one_queue = [("IFLA_NUM_TX_QUEUES", 1), ("IFLA_NUM_RX_QUEUES", 1)]
    other = {"attrs": [*inner, *one_queue, ("IFLA_NET_NS_FD", fd)]}
    up = {"flags": 1, "change": 1} if flag else {}
    pair = [*created(name, mac, mtu), *one_queue, ("IFLA_MASTER", master), info("veth", ("VETH_INFO_PEER", other))]
    made = links.veth(name, mac, mtu, master, peer=peer, peer_mac=peer_mac, peer_namespace=fd, up=flag)
    assert made == link(pair, **up)
    data = [("IFLA_BR_VLAN_FILTERING", 1)] if flag else []
    assert links.bridge(name, mac, mtu, flag, False) == link([*created(name, mac, mtu), info("bridge", *data)])
    data += [("IFLA_BR_NF_CALL_IPTABLES", 1), ("IFLA_BR_NF_CALL_IP6TABLES", 1)]
    assert links.bridge(name, mac, mtu, flag, True) == link([*created(name, mac, mtu), info("bridge", *data)])
    assert links.ifb(name, mtu) == link([*created(name, "", mtu), info("ifb")], flags=1, change=1)


@given(
    NAMES,
    MACS | st.just(""),
    INDEXES.filter(bool),
    INDEXES.filter(bool),
    st.integers(1, 4094),
    st.sampled_from(sorted(links.MACVLAN_MODES)),
)
def test_links_on_a_parent(name: str, mac: str, parent: int, fd: int, vid: int, mode: str) -> None:
    """A macvlan where the pod is, a VLAN beside its parent. pyroute2 writes a macvlan's mode as we do."""
    here = [*created(name, mac, 1400), ("IFLA_LINK", parent)]
    made = links.on_parent("vlan", links.vlan(vid), name, parent, mac=mac, mtu=1400)
    assert made == link([*here, info("vlan", ("IFLA_VLAN_ID", vid))])
    data = "IFLA_MACVLAN_MODE", mode
    made = links.on_parent("macvlan", links.macvlan(mode, 0), name, parent, mac=mac, mtu=1400, namespace=fd)
    assert made == link([*here, ("IFLA_NET_NS_FD", fd), info("macvlan", data)])


@given(
    INDEXES,
    st.fixed_dictionaries(
        {},
        optional={
            "name": NAMES, "mac": MACS, "mtu": NUMBERS, "master": INDEXES, "txqlen": NUMBERS, "group": NUMBERS,
            "alias": NAMES, "up": st.booleans(), "promisc": st.booleans(), "allmulti": st.booleans(),
        },
    ),
)  # fmt: skip
def test_changes(index: int, changes: Mapping[str, Any]) -> None:
    """Attributes and flags that are named; a flag that is not named stays."""
    names = {"name": "IFNAME", "mac": "ADDRESS", "alias": "IFALIAS"}
    attributes = [
        (f"IFLA_{names.get(key, key.upper())}", value)
        for key, value in changes.items()
        if key not in ("up", "promisc", "allmulti")
    ]
    bits = {"up": 1, "promisc": 0x100, "allmulti": 0x200}
    flags = sum(bit for key, bit in bits.items() if changes.get(key))
    change = sum(bit for key, bit in bits.items() if key in changes)
    expected = theirs(ifinfmsg, attributes, index=index, flags=flags, change=change)
    assert links.change(index, changes) == expected


@given(INDEXES, st.booleans(), st.booleans(), st.integers(1, 4094), NUMBERS, NAMES)
def test_ports_and_groups(index: int, first: bool, second: bool, vid: int, group: int, name: str) -> None:
    """Flags and VLANs of bridge ports; the reserved group of links; a move to another namespace."""
    data = {"attrs": [("IFLA_BRPORT_MODE", int(first)), ("IFLA_BRPORT_ISOLATED", int(second))]}
    slave = {"attrs": [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", data)]}
    assert links.port_change(index, Port(first, second)) == link([("IFLA_LINKINFO", slave)], index=index)
    of_both = links.port_change(index, Port(first, second), group)
    assert of_both == link([("IFLA_LINKINFO", slave), ("IFLA_GROUP", group)], index=index)
    flags = (2 if first else 0) | (4 if second else 0)
    spec = [("IFLA_BRIDGE_VLAN_INFO", {"flags": flags, "vid": vid})]
    of_port = links.vlan_change(index, Vlan(vid, first, second), on_bridge=False)
    assert of_port == link([("IFLA_AF_SPEC", {"attrs": spec})], index=index, family=7)
    spec.insert(0, ("IFLA_BRIDGE_FLAGS", 2))  # type: ignore[arg-type]
    of_bridge = links.vlan_change(index, Vlan(vid, first, second), on_bridge=True)
    assert of_bridge == link([("IFLA_AF_SPEC", {"attrs": spec})], index=index, family=7)
    assert links.grouped(index, group) == link([("IFLA_GROUP", group)], index=index)
    moved = link([("IFLA_NET_NS_FD", group), ("IFLA_IFNAME", name)], index=index)
    assert links.moved(index, group, name) == moved


@given(INDEXES, V4 | V6, st.sampled_from((0, addresses.NODAD, addresses.NOPREFIXROUTE)))
def test_addresses(index: int, address: IPv4Interface | IPv6Interface, flags: int) -> None:
    """The flags that do not fit the header are an attribute of their own; 127/8 has the scope of the host."""
    text, four = str(address.ip), address.version == 4
    attributes: list[tuple[str, Any]] = [("IFA_LOCAL", text), ("IFA_ADDRESS", text)]
    if four and address.network.prefixlen < 31:
        attributes.append(("IFA_BROADCAST", str(address.network.broadcast_address)))
    if flags > 0xFF:
        attributes.append(("IFA_FLAGS", flags))
    expected = theirs(
        ifaddrmsg, attributes, family=2 if four else 10, index=index, prefixlen=address.network.prefixlen,
        flags=flags & 0xFF, scope=254 if four and address.ip.is_loopback else 0,
    )  # fmt: skip
    assert addresses.message(index, address, flags=flags) == expected


@given(
    (V4 | V6).map(lambda interface: interface.network), st.none() | st.ip_addresses(), INDEXES, st.none() | NUMBERS,
    st.none() | NUMBERS, st.none() | NUMBERS, st.booleans(),
)  # fmt: skip
def test_routes(
    dst: Any, gw: Any, link: int, mtu: int | None, priority: int | None, table: int | None, delete: bool
) -> None:  # fmt: skip
    """Also by a gateway of the other family, and in tables whose numbers do not fit the header."""
    attributes: list[tuple[str, Any]] = [("RTA_TABLE", table)] if table and table > 255 else []
    if link:
        attributes.append(("RTA_OIF", link))
    if dst.prefixlen:
        attributes.append(("RTA_DST", str(dst.network_address)))
    if gw is not None:
        via = {"family": 2 if gw.version == 4 else 10, "addr": str(gw)}
        attributes.append(("RTA_GATEWAY", str(gw)) if gw.version == dst.version else ("RTA_VIA", via))
    if priority:
        attributes.append(("RTA_PRIORITY", priority))
    if mtu:
        attributes.append(("RTA_METRICS", {"attrs": [("RTAX_MTU", mtu)]}))
    expected = theirs(
        rtmsg, attributes, family=2 if dst.version == 4 else 10, dst_len=dst.prefixlen,
        table=254 if table is None else table if table < 256 else 252, proto=0 if delete else 3,
        scope=255 if delete else 0 if gw is not None or dst.version == 6 else 253, type=1,
    )  # fmt: skip
    entry = RouteEntry(dst=dst, gw=gw, link=link, mtu=mtu, priority=priority, table=table)
    assert routes.message(entry, delete=delete) == expected


@given((V4 | V6), st.lists(st.ip_addresses(v=4), min_size=1, max_size=4), st.ip_addresses())
def test_next_hops(interface: Any, gateways: list[Any], wanted: Any) -> None:
    """Several gateways on one link; the question which route is taken."""
    if interface.version == 4:
        first, *others = gateways
        entry = RouteEntry(dst=interface.network, gw=first, link=7, also_via=tuple(others), src=interface.ip)
        hops = [{"oif": 7, "attrs": [("RTA_GATEWAY", str(gw))]} for gw in gateways]
        attributes: list[tuple[str, Any]] = [] if others else [("RTA_OIF", 7)]
        if interface.network.prefixlen:
            attributes.append(("RTA_DST", str(interface.network.network_address)))
        attributes.append(("RTA_MULTIPATH", hops) if others else ("RTA_GATEWAY", str(first)))
        attributes.append(("RTA_PREFSRC", str(interface.ip)))
        expected = theirs(
            rtmsg, attributes, family=2, dst_len=interface.network.prefixlen, table=254, proto=3, scope=0, type=1
        )
        assert routes.message(entry) == expected
    family = 2 if wanted.version == 4 else 10
    asked = theirs(rtmsg, [("RTA_DST", str(wanted))], family=family, dst_len=wanted.max_prefixlen)
    assert routes.lookup(wanted) == asked


def test_a_value_that_does_not_fit_is_an_error() -> None:
    """It is named. The kernel is not asked."""
    for changes, said in (
        ({"mac": "02:00:00:00:00"}, "'02:00:00:00:00' is no MAC"),
        ({"mac": "nonsense"}, "'nonsense' is no MAC"),
        ({"mtu": 2**32}, "4294967296 is no number of 32 bits"),
        ({"mtu": -1}, "-1 is no number of 32 bits"),
        ({"alias": "\ud800"}, r"'\ud800' is no text for the kernel"),
    ):
        with pytest.raises(KernelError) as error:
            links.change(1, changes)
        assert error.value.msg == said
