"""Result objects of every version, there and back."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.cni import result
from cni_cnm.cni.versions import SUPPORTED
from cni_cnm.errors import InvalidConfig
from cni_cnm.fields import Fields
from cni_cnm.model import Address, Attachment, Dns, Interface, Route

DUAL = Attachment(
    interfaces=(
        Interface("cni0", "02:00:00:00:00:01", 1500),
        Interface("veth1", "02:00:00:00:00:02", 1500),
        Interface("eth0", "02:00:00:00:00:03", 1500, "/run/netns/a"),
    ),
    addresses=(
        Address(ip_interface("10.1.0.2/16"), ip_address("10.1.0.1")),
        Address(ip_interface("fd00::2/64"), ip_address("fd00::1")),
    ),
    routes=(
        Route(ip_network("0.0.0.0/0"), ip_address("10.1.0.1"), mtu=1400, priority=5),
        Route(ip_network("::/0")),
    ),
    dns=Dns(("10.1.0.1",), "cluster.local", ("svc",), ("ndots:5",)),
    container_index=2,
)
DNS = {"nameservers": ["10.1.0.1"], "domain": "cluster.local", "search": ["svc"], "options": ["ndots:5"]}
INTERFACES = [
    {"name": "cni0", "mac": "02:00:00:00:00:01"},
    {"name": "veth1", "mac": "02:00:00:00:00:02"},
    {"name": "eth0", "mac": "02:00:00:00:00:03", "sandbox": "/run/netns/a"},
]
ROUTES = [{"dst": "0.0.0.0/0", "gw": "10.1.0.1", "mtu": 1400, "priority": 5}, {"dst": "::/0"}]


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_per_family(version: str) -> None:
    """0.1.0 and 0.2.0: ip4 and ip6, each with its own routes, of which only dst and gw survive."""
    assert result.encode(DUAL, version) == {
        "cniVersion": version,
        "ip4": {
            "ip": "10.1.0.2/16",
            "gateway": "10.1.0.1",
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}],
        },
        "ip6": {"ip": "fd00::2/64", "gateway": "fd00::1", "routes": [{"dst": "::/0"}]},
        "dns": DNS,
    }


@pytest.mark.parametrize("version", ["0.3.0", "0.3.1", "0.4.0"])
def test_versioned(version: str) -> None:
    """0.3.0 to 0.4.0: addresses say their IP version, interfaces no MTU."""
    assert result.encode(DUAL, version) == {
        "cniVersion": version,
        "interfaces": INTERFACES,
        "ips": [
            {"version": "4", "interface": 2, "address": "10.1.0.2/16", "gateway": "10.1.0.1"},
            {"version": "6", "interface": 2, "address": "fd00::2/64", "gateway": "fd00::1"},
        ],
        "routes": ROUTES,
        "dns": DNS,
    }


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
def test_plain(version: str) -> None:
    """1.x: no IP version; interfaces say their MTU since 1.1.0."""
    assert result.encode(DUAL, version) == {
        "cniVersion": version,
        "interfaces": [{**link, **({"mtu": 1500} if version == "1.1.0" else {})} for link in INTERFACES],
        "ips": [
            {"interface": 2, "address": "10.1.0.2/16", "gateway": "10.1.0.1"},
            {"interface": 2, "address": "fd00::2/64", "gateway": "fd00::1"},
        ],
        "routes": ROUTES,
        "dns": DNS,
    }


@pytest.mark.parametrize("version", SUPPORTED)
def test_empty_dns(version: str) -> None:
    """dns is printed although empty before 1.0.0, and left out since."""
    encoded = result.encode(DUAL._replace(dns=Dns()), version)
    assert encoded.get("dns") == (None if version.startswith("1.") else {})


def test_nothing_but_a_link() -> None:
    """Without addresses and routes (L2) their lists are left out."""
    bare = Attachment((Interface("eth0", sandbox="/n"),), (), (), Dns(), 0)
    assert result.encode(bare, "1.0.0") == {
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "eth0", "sandbox": "/n"}],
    }


def test_no_form_without_addresses() -> None:
    """0.1.0 and 0.2.0 cannot say a result without addresses."""
    with pytest.raises(InvalidConfig, match="cannot convert: no valid IP addresses"):
        result.encode(DUAL._replace(addresses=()), "0.2.0")


def test_route_needs_an_address_of_its_family() -> None:
    """Down to 0.2.0 a route of a family without address is dropped, and so is a second address."""
    second = Address(ip_interface("10.2.0.2/16"))
    four = DUAL._replace(addresses=(DUAL.addresses[0], second))
    encoded = result.encode(four, "0.2.0")
    assert "ip6" not in encoded
    assert encoded["ip4"]["ip"] == "10.1.0.2/16"
    assert encoded["ip4"]["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}]


def test_printed_in_one_line() -> None:
    """Keys in alphabetical order, no newline at the end."""
    printed = result.dump(result.encode(DUAL, "1.0.0"))
    assert printed.startswith(b'{"cniVersion": "1.0.0", "dns": {')
    assert b'"interfaces": [{"mac": ' in printed
    assert b"\n" not in printed
    assert json.loads(printed) == result.encode(DUAL, "1.0.0")


def test_last_minute_address_of_another_link() -> None:
    """A chained plugin's address on its own link is not taken for the container's interface."""
    raw = {
        "interfaces": [{"name": "eth0", "sandbox": "/n"}, {"name": "tun0", "sandbox": "/n"}],
        "ips": [{"address": "10.0.0.2/24", "interface": 0}, {"address": "10.9.0.2/24", "interface": 1}],
    }
    decoded = result.decode(Fields(raw), "1.0.0", "eth0")
    assert [str(address.interface) for address in decoded.addresses] == ["10.0.0.2/24"]
    assert decoded.container_index == 0
    assert len(result.decode(Fields(raw), "1.0.0").addresses) == 2


def test_up_from_the_oldest() -> None:
    """ip4 and ip6 become addresses, their routes one list."""
    raw = Fields(result.encode(DUAL, "0.1.0"))
    decoded = result.decode(raw, "1.0.0")
    assert decoded.addresses == DUAL.addresses
    assert decoded.routes == (
        Route(ip_network("0.0.0.0/0"), ip_address("10.1.0.1")),
        Route(ip_network("::/0")),
    )
    assert (decoded.interfaces, decoded.container_index, decoded.dns) == ((), None, DUAL.dns)


def test_version_of_the_caller_counts_where_the_result_names_none() -> None:
    """A prevResult without cniVersion is of the configuration's version."""
    raw = {"ip4": {"ip": "10.0.0.2/24"}, "ips": [{"address": "10.0.0.3/24"}]}
    assert str(result.decode(Fields(raw), "0.2.0").addresses[0].interface) == "10.0.0.2/24"
    assert str(result.decode(Fields(raw), "1.0.0").addresses[0].interface) == "10.0.0.3/24"


@pytest.mark.parametrize(
    ("version", "families", "message"),
    [
        ("0.2.0", (), "no valid IP addresses"),
        ("0.1.0", (4, 4), "more than 1 address per family"),
        ("0.2.0", (4, 6, 6), "more than 1 address per family"),
        ("0.2.0", (4, 6), None),
        ("0.3.0", (4, 4, 6, 6), None),
        ("1.0.0", (), None),
    ],
)
def test_what_a_version_cannot_say(version: str, families: tuple[int, ...], message: str | None) -> None:
    """The limits of 0.1.0 and 0.2.0 are known before anything is done."""
    if message is None:
        result.refuse_unsupported(version, families)
        return
    with pytest.raises(InvalidConfig, match=message):
        result.refuse_unsupported(version, families)


IPV4 = st.integers(0, 2**32 - 1).map(IPv4Address)
IPV6 = st.integers(0, 2**128 - 1).map(IPv6Address)
ADDRESS = st.one_of(
    st.builds(lambda ip, n, gw: Address(ip_interface((ip, n)), gw), IPV4, st.integers(0, 32), st.none() | IPV4),
    st.builds(lambda ip, n, gw: Address(ip_interface((ip, n)), gw), IPV6, st.integers(0, 128), st.none() | IPV6),
)
NUMBER = st.none() | st.integers(0, 2**31)
ROUTE = st.builds(
    lambda a, gw, extras: Route(a.interface.network, gw, *extras),
    ADDRESS,
    st.none() | IPV4 | IPV6,
    st.tuples(NUMBER, NUMBER, NUMBER, NUMBER, NUMBER),
)
WORD = st.text("abcdefghijklmnopqrstuvwxyz0123456789.:-", min_size=1, max_size=15)
WORDS = st.lists(WORD, max_size=3).map(tuple)
DNS_VALUES = st.builds(Dns, WORDS, WORD | st.just(""), WORDS, WORDS)


@st.composite
def attachments(draw: st.DrawFn, *, mtu: bool) -> Attachment:
    """With a container's link `eth0` among links of other names."""
    names = draw(st.lists(WORD.filter(lambda name: name != "eth0"), max_size=3))
    sizes = st.integers(0, 65535) if mtu else st.just(0)
    links = [Interface(name, draw(WORD | st.just("")), draw(sizes), draw(WORD | st.just(""))) for name in names]
    index = draw(st.integers(0, len(links)))
    links.insert(index, Interface("eth0", draw(WORD), draw(sizes), "/run/netns/a"))
    return Attachment(
        tuple(links),
        tuple(draw(st.lists(ADDRESS, max_size=4))),
        tuple(draw(st.lists(ROUTE, max_size=4))),
        draw(DNS_VALUES),
        index,
    )


@given(attachments(mtu=True))
def test_there_and_back_at_the_newest(attachment: Attachment) -> None:
    """1.1.0 says all of an attachment."""
    encoded = json.loads(result.dump(result.encode(attachment, "1.1.0")))
    assert result.decode(Fields(encoded), "", "eth0") == attachment


@given(attachments(mtu=False), st.sampled_from(["0.3.0", "0.3.1", "0.4.0", "1.0.0"]))
def test_there_and_back_without_mtu(attachment: Attachment, version: str) -> None:
    """Since 0.3.0 nothing but the interfaces' MTU is lost."""
    encoded = json.loads(result.dump(result.encode(attachment, version)))
    assert result.decode(Fields(encoded), "1.1.0", "eth0") == attachment


@given(attachments(mtu=True).filter(lambda a: bool(a.addresses)), st.sampled_from(["0.1.0", "0.2.0"]))
def test_down_is_stable(attachment: Attachment, version: str) -> None:
    """What 0.2.0 can say survives going up and down again."""
    once = result.encode(attachment, version)
    up = result.decode(Fields(once), version)
    assert result.encode(up, version) == once


@given(attachments(mtu=False))
def test_one_shape_differs_in_its_version_only(attachment: Attachment) -> None:
    """0.3.0, 0.3.1 and 0.4.0 are the same object under another version; so are 0.1.0 and 0.2.0."""
    first, *others = ({**result.encode(attachment, v), "cniVersion": ""} for v in ("0.3.0", "0.3.1", "0.4.0"))
    assert all(other == first for other in others)
