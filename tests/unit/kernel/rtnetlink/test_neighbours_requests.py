"""Requests about VXLAN devices, neighbours, forwarding entries and the agent's routes are, byte for byte, pyroute2's.

What the kernel answers is read as pyroute2 encodes it.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from cni_cnm.kernel import RouteEntry
from cni_cnm.kernel.contract.overlay_stack import FdbEntry, Neighbour, Vxlan
from cni_cnm.kernel.contract.route import CLUSTER, completed
from cni_cnm.kernel.netlink.header import HEADER, RTM_NEWLINK, RTM_NEWNEIGH, RTM_NEWROUTE
from cni_cnm.kernel.rtnetlink import neighbours, routes, vxlan
from cni_cnm.model import IPAddress
from tests.unit.kernel.rtnetlink.test_links_requests import INDEXES, MACS, NAMES, POSITIVE, created, info, link, theirs

FAMILIES = {4: 2, 6: 10}
BRIDGE, PERMANENT, SELF, EXT_LEARNED = 7, 0x80, 2, 0x10
ADDRESSES = st.ip_addresses()
PROTOCOLS = st.integers(1, 255)


def datagram(body: bytes, kind: int) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, 0, 1, 0) + body


@given(POSITIVE, ADDRESSES, MACS, PROTOCOLS)
def test_neighbours(index: int, address: IPAddress, mac: str, protocol: int) -> None:
    """Added, named, listed, read."""
    family = FAMILIES[address.version]
    attributes = [("NDA_DST", str(address)), ("NDA_LLADDR", mac), ("NDA_PROTOCOL", protocol)]
    entry = Neighbour(index, address, mac, protocol)
    body = theirs(ndmsg, attributes, family=family, ifindex=index, state=PERMANENT)
    assert neighbours.neighbour(entry) == body
    assert neighbours.read_neighbour(datagram(body, RTM_NEWNEIGH), 0) == entry
    assert neighbours.named_neighbour(index, address) == theirs(
        ndmsg, [("NDA_DST", str(address))], family=family, ifindex=index
    )
    assert neighbours.neighbour_query(index) == theirs(ndmsg, [("NDA_IFINDEX", index)])


@given(POSITIVE, st.none() | ADDRESSES, MACS, st.booleans())
def test_forwarding_entries(index: int, to: IPAddress | None, mac: str, external: bool) -> None:
    """The same of a VXLAN device."""
    attributes = [("NDA_LLADDR", mac), *([("NDA_DST", str(to))] if to is not None else [])]
    flags = SELF | (EXT_LEARNED if external else 0)
    entry = FdbEntry(index, mac, to, external)
    body = theirs(ndmsg, attributes, family=BRIDGE, ifindex=index, state=PERMANENT, flags=flags)
    assert neighbours.fdb_entry(entry) == body
    assert neighbours.read_fdb_entry(datagram(body, RTM_NEWNEIGH), 0) == entry
    named = theirs(ndmsg, [("NDA_LLADDR", mac)], family=BRIDGE, ifindex=index, flags=SELF)
    assert neighbours.named_fdb_entry(index, mac) == named
    assert neighbours.fdb_query(index) == theirs(ndmsg, [("NDA_IFINDEX", index)], family=BRIDGE)


@given(NAMES, st.integers(1, 2**24 - 1), st.integers(1, 65535), st.none() | ADDRESSES, st.booleans(), MACS)
def test_vxlan_devices(name: str, vni: int, port: int, local: IPAddress | None, learning: bool, mac: str) -> None:
    """A device is made, reads back, and its source address changes."""
    source = [(f"IFLA_VXLAN_LOCAL{'6' if local.version == 6 else ''}", str(local))] if local is not None else []
    wanted = Vxlan(vni, port, local, learning)
    data = [("IFLA_VXLAN_ID", vni), ("IFLA_VXLAN_PORT", port), ("IFLA_VXLAN_LEARNING", int(learning)), *source]
    body = link([*created(name, mac, 1450), info("vxlan", *data)])
    assert vxlan.created(name, wanted, mac, 1450) == body
    assert vxlan.read(datagram(body, RTM_NEWLINK), 0) == wanted
    if local is not None:
        moved = link([info("vxlan", ("IFLA_VXLAN_ID", vni), *source)], index=7)
        assert vxlan.moved(7, vni, local) == moved


@given(
    st.builds(lambda ip, n: IPv4Network((ip, n), strict=False), st.ip_addresses(v=4), st.integers(1, 32))
    | st.builds(lambda ip, n: IPv6Network((ip, n), strict=False), st.ip_addresses(v=6), st.integers(1, 128)),
    INDEXES.filter(bool),
)
def test_routes(dst: Any, index: int) -> None:
    """Protocol, `onlink` and `unreachable` are where pyroute2 has them, in requests, queries and answers."""
    named = [("RTA_DST", str(dst.network_address))]
    fields = {"family": FAMILIES[dst.version], "dst_len": dst.prefixlen, "table": 254, "proto": CLUSTER}
    gateway = dst.network_address
    by_gateway = RouteEntry(dst, gateway, index, protocol=CLUSTER, onlink=True)
    attributes = [("RTA_OIF", index), *named, ("RTA_GATEWAY", str(gateway))]
    body = theirs(rtmsg, attributes, **fields, type=1, flags=4)
    assert routes.message(by_gateway) == body
    assert routes.message(by_gateway, delete=True) == theirs(rtmsg, attributes, **fields, scope=255, type=1, flags=4)
    assert routes.read(datagram(body, RTM_NEWROUTE), 0) == completed(by_gateway)
    refusing = RouteEntry(dst, priority=7, protocol=CLUSTER, kind="unreachable")
    body = theirs(rtmsg, [*named, ("RTA_PRIORITY", 7)], **fields, type=7)
    assert routes.message(refusing) == body
    assert routes.read(datagram(body, RTM_NEWROUTE), 0) == refusing
    asked = {**fields, "dst_len": 0, "type": 0}
    assert routes.query(dst.version, protocol=CLUSTER) == theirs(rtmsg, [], **asked)
