"""Requests put together from kept attributes are, byte for byte, what pyroute2 makes of the whole message."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.kernel import Port, RouteEntry, Vlan
from cni_cnm.kernel.netlink import encoding
from cni_cnm.kernel.rtnetlink import addresses, links, routes, tc
from cni_cnm.kernel.token_bucket import Bucket

NAMES = st.from_regex(r"[a-z][a-z0-9]{0,14}", fullmatch=True)
MACS = st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":"))
INDEXES = st.integers(0, 2**31 - 1)
MTUS = st.integers(0, 2**32 - 1)
FLAGS = st.none() | st.booleans()
V4 = st.builds(lambda ip, length: IPv4Interface((ip, length)), st.ip_addresses(v=4), st.integers(0, 32))
V6 = st.builds(lambda ip, length: IPv6Interface((ip, length)), st.ip_addresses(v=6), st.integers(0, 128))
DESTINATIONS = (V4 | V6).map(lambda interface: interface.network)
GATEWAYS = st.none() | st.ip_addresses()
NUMBERS = st.none() | st.integers(1, 2**32 - 1)

CHANGES = st.builds(
    lambda index, up, promisc, name, mac, group: links.change(
        index,
        up=up,
        promisc=promisc,
        allmulti=None,
        attributes=(("IFLA_IFNAME", name), ("IFLA_ADDRESS", mac), ("IFLA_GROUP", group)),
    ),
    INDEXES, FLAGS, FLAGS, st.none() | NAMES, st.none() | MACS, NUMBERS,
)  # fmt: skip
VETHS = st.builds(
    lambda name, mac, mtu, master, peer, peer_mac, fd: links.veth(
        name, mac, mtu, master, peer=peer, peer_mac=peer_mac, peer_namespace=fd
    ),
    NAMES, MACS | st.just(""), MTUS, INDEXES, NAMES, MACS | st.just(""), INDEXES,
)  # fmt: skip
ROUTES = st.builds(
    lambda dst, gw, link, mtu, priority, table, delete: routes.message(
        RouteEntry(dst=dst, gw=gw, link=link, mtu=mtu, priority=priority, table=table), delete=delete
    ),
    DESTINATIONS, GATEWAYS, INDEXES, NUMBERS, NUMBERS, NUMBERS, st.booleans(),
)  # fmt: skip
MESSAGES = st.one_of(
    st.builds(lambda index, name, master: links.query(index, name=name, master=master), INDEXES, NAMES, INDEXES),
    st.builds(links.bridge, NAMES, MACS, MTUS, st.booleans()),
    VETHS,
    st.builds(links.ifb, NAMES, MTUS),
    CHANGES,
    st.builds(
        lambda index, hairpin, isolated: links.port_change(index, Port(hairpin, isolated)),
        INDEXES, st.booleans(), st.booleans(),
    ),
    st.builds(
        lambda index, vid, pvid, on: links.vlan_change(index, Vlan(vid, pvid, not pvid), on_bridge=on),
        INDEXES, st.integers(1, 4094), st.booleans(), st.booleans(),
    ),
    st.builds(lambda index, address, flags: addresses.message(index, address, flags=flags), INDEXES, V4 | V6,
              st.integers(0, 255)),
    ROUTES,
    st.builds(tc.root, INDEXES, st.builds(Bucket, st.integers(1, 2**40), MTUS, MTUS)),
    st.builds(tc.ingress, INDEXES),
    st.builds(tc.redirect, INDEXES, INDEXES, st.sampled_from(tc.FILTERS)),
    st.builds(tc.place, INDEXES, st.sampled_from((tc.ROOT, tc.INGRESS))),
)  # fmt: skip


def whole(message: Any, kind: int, flags: int, sequence: int) -> bytes:
    message["header"] = {"type": kind, "flags": flags, "sequence_number": sequence, "pid": 0}
    message.encode()
    return bytes(message.data)


@given(MESSAGES, st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1))
def test_every_request_is_pyroute2s(message: Any, kind: int, flags: int, sequence: int) -> None:
    """Made anew, made of what is kept by now, and by pyroute2 alone."""
    first = encoding.request(message, kind, flags, sequence)
    assert encoding.request(message, kind, flags, sequence) == first
    assert whole(message, kind, flags, sequence) == first


def test_a_wrong_value_is_refused_as_by_pyroute2() -> None:
    for bad in ("02:00:00:00:00", "nonsense"):
        message = links.change(1, up=None, promisc=None, allmulti=None, attributes=[("IFLA_ADDRESS", bad)])
        with pytest.raises((ValueError, struct.error)):
            encoding.request(message, 16, 5, 1)


def test_what_is_kept_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many names and addresses come by."""
    monkeypatch.setattr(encoding, "_CACHE_MAX", 10)
    monkeypatch.setattr(encoding, "_cache", {})
    for number in range(100):
        encoding.request(links.query(name=f"veth{number}"), 18, 1, number)
        assert len(encoding._cache) <= 10


def test_families_do_not_share_what_is_kept() -> None:
    """A default route of IPv4 and of IPv6 through the same kind of attribute, one after the other."""
    for dst, gw in (("0.0.0.0/0", IPv4Address("10.0.0.1")), ("::/0", IPv6Address("fd00::1"))):
        made = [routes.message(RouteEntry(dst=ip_network(dst), gw=gw, link=3)) for _ in range(2)]
        assert encoding.request(made[0], 24, 5, 9) == whole(made[1], 24, 5, 9)
