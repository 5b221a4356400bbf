"""Ranges: what is accepted, and in which order addresses come."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, ip_address, ip_network
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.errors import InvalidConfig
from cni_cnm.fields import Fields
from cni_cnm.ipam import ranges, special_ranges
from cni_cnm.model import IPAddress, Json


def parse(config: Json, requested: Sequence[Json] = ()) -> tuple[ranges.RangeSet, ...]:
    return ranges.parse(Fields(config, "ipam."), requested)


def order(config: object, last: IPAddress | None = None, limit: int = 1000) -> list[str]:
    (range_set,) = parse({"ranges": [config]})
    return [str(member.address(number)) for member, number in islice(ranges.in_order(range_set, last), limit)]


@pytest.mark.parametrize(
    ("subnet", "start", "end", "gateway"),
    [
        ("10.1.0.0/24", "10.1.0.1", "10.1.0.254", "10.1.0.1"),
        ("10.1.0.0/30", "10.1.0.1", "10.1.0.2", "10.1.0.1"),
        ("fd00::/64", "fd00::1", "fd00::ffff:ffff:ffff:ffff", "fd00::1"),
        ("fd00::/126", "fd00::1", "fd00::3", "fd00::1"),
        ("10.1.0.2/31", "10.1.0.2", "10.1.0.3", "10.1.0.2"),
        ("fd00::2/127", "fd00::2", "fd00::3", "fd00::2"),
    ],
)
def test_defaults(subnet: str, start: str, end: str, gateway: str) -> None:
    """A range without ends spans its subnet, with the gateway first; IPv4 leaves the broadcast address out."""
    ((found,),) = parse({"subnet": subnet})
    assert (found.start, found.end) == (int(ip_address(start)), int(ip_address(end)))
    assert found.gateway == ip_address(gateway)


def test_order_of_sets() -> None:
    """The runtime's sets come first, then the old-style subnet, then `ranges`."""
    config = {"subnet": "10.2.0.0/24", "ranges": [[{"subnet": "10.3.0.0/24"}]]}
    sets = parse(config, ([{"subnet": "10.1.0.0/24"}],))
    assert [str(range_set[0].subnet) for range_set in sets] == ["10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24"]


@pytest.mark.parametrize("subnet", ["10.1.0.0/31", "fd00::/127"])
def test_a_runtimes_range_of_two_addresses_is_refused(subnet: str) -> None:
    """The runtime's ranges are the reference host-local's."""
    with pytest.raises(InvalidConfig, match=r"runtimeConfig\.ipRanges\[0\]\[0\]\.subnet .* is too small"):
        parse({}, ([{"subnet": subnet}],))


@given(st.sampled_from([4, 6]), st.integers(0, 2**31 - 1), st.integers(1, 12), st.data())
def test_a_whole_subnet(version: int, block: int, host_bits: int, data: st.DataObject) -> None:
    """Every address that a host can have is the gateway or is allocated, once. A /31 and a /127 have two of them."""
    base, bits = (10 << 24, 32) if version == 4 else (0xFD << 120, 128)
    first = base + (block << host_bits) % 2**24
    subnet = ip_network((first, bits - host_bits))
    usable = [*subnet] if host_bits == 1 else [*subnet][1 : -1 if version == 4 else None]
    chosen = data.draw(st.none() | st.sampled_from(usable))
    gateway = usable[0] if chosen is None else chosen
    ((found,),) = parse({"subnet": str(subnet), **({} if chosen is None else {"gateway": str(chosen)})})
    order = [found.address(number) for _, number in ranges.in_order((found,), None)]
    assert found.gateway == gateway
    assert order == [address for address in usable if address != gateway]
    assert found.capacity == len(order)
    assert {*subnet} - {*usable} == {address for address, _ in special_ranges.reserved(subnet)}


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({}, "no addresses"),
        ({"subnet": "10.1.0.0/32"}, "too small"),
        ({"subnet": "fd00::/128"}, "too small"),
        ({"subnet": "10.1.0.5/24"}, "host bits"),
        ({"subnet": "10.1.0.0"}, "a network in CIDR notation"),
        ({"subnet": "10.1.0.0/255.255.255.0"}, "a network in CIDR notation"),
        ({"subnet": 10}, "must be a string"),
        ({"subnet": "10.1.0.0/24", "rangestart": "10.2.0.1"}, "rangeStart 10.2.0.1 is not in"),
        ({"subnet": "10.1.0.0/24", "rangeend": "fd00::1"}, "rangeEnd fd00::1 is not in"),
        ({"subnet": "10.1.0.0/24", "rangestart": "10.1.0.9", "rangeend": "10.1.0.8"}, "rangeEnd is before rangeStart"),
        ({"subnet": "10.1.0.0/24", "gateway": "router"}, 'gateway is "router"'),
        ({"ranges": [[]]}, "ranges\\[0\\] is empty"),
        ({"ranges": [[{"subnet": "10.1.0.0/24"}, {"subnet": "fd00::/64"}]]}, "mixes"),
        ({"ranges": [[{"subnet": "10.1.0.0/24"}, {"subnet": "10.1.0.0/25"}]]}, "overlap"),
        ({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.1.0.0/16"}]]}, "overlaps with ipam.ranges\\[1\\]"),
        ({"ranges": {"subnet": "10.1.0.0/24"}}, "must be a list"),
        ({"ranges": [["10.1.0.0/24"]]}, "must be an object"),
    ],
)
def test_refused(config: dict[str, object], named: str) -> None:
    """A range that cannot be right is refused with a sentence that names the key."""
    with pytest.raises(InvalidConfig, match=named):
        parse(config)


def test_order_across_ranges() -> None:
    """After the end of a range comes the start of the next, after the last one the first; gateways are left out."""
    config = [
        {"subnet": "10.1.0.0/29", "rangestart": "10.1.0.1", "rangeend": "10.1.0.3"},
        {"subnet": "10.2.0.0/29", "rangestart": "10.2.0.3", "rangeend": "10.2.0.4", "gateway": "10.2.0.4"},
    ]
    assert order(config) == ["10.1.0.2", "10.1.0.3", "10.2.0.3"]
    assert order(config, ip_address("10.1.0.2")) == ["10.1.0.3", "10.2.0.3", "10.1.0.2"]
    assert order(config, ip_address("10.1.0.3")) == ["10.2.0.3", "10.1.0.2", "10.1.0.3"]
    assert order(config, ip_address("10.9.9.9")) == ["10.1.0.2", "10.1.0.3", "10.2.0.3"]


def test_order_in_a_large_subnet() -> None:
    """A range of 2^64 addresses begins at once, anywhere."""
    last = ip_address("fd00::ffff:ffff:ffff:fffe")
    assert order([{"subnet": "fd00::/64"}], last, 2) == ["fd00::ffff:ffff:ffff:ffff", "fd00::2"]


@st.composite
def range_sets(draw: st.DrawFn) -> ranges.RangeSet:
    members: list[dict[str, str]] = []
    for block in draw(st.lists(st.integers(0, 30), min_size=1, max_size=3, unique=True)):
        subnet = ip_network(f"10.0.{block}.0/{draw(st.integers(24, 30))}")
        hosts = list(map(str, subnet.hosts()))
        start, end = sorted([draw(st.integers(0, len(hosts) - 1)), draw(st.integers(0, len(hosts) - 1))])
        member = {"subnet": str(subnet), "rangestart": hosts[start], "rangeend": hosts[end]}
        if draw(st.booleans()):
            member["gateway"] = draw(st.sampled_from(hosts))
        members.append(member)
    return parse({"ranges": [members]})[0]


@given(range_sets(), st.data())
def test_ring_is_every_address_once(range_set: ranges.RangeSet, data: st.DataObject) -> None:
    """From wherever it starts, the order has each address once, no gateway, and `last` at its very end."""
    inside = [number for member in range_set for number in range(member.start, member.end + 1)]
    last = data.draw(st.none() | st.sampled_from(inside).map(IPv4Address))
    found = list(ranges.in_order(range_set, last))
    assert len(found) == len(set(found)) == sum(member.capacity for member in range_set)
    assert all(member.address(number) != member.gateway and member.allocates(number) for member, number in found)
    if last is not None and any(number == int(last) for _, number in found):
        assert found[-1][1] == int(last)


@given(range_sets(), range_sets())
def test_overlap_is_a_common_address(one: ranges.RangeSet, two: ranges.RangeSet) -> None:
    """Two ranges overlap exactly when an address lies in both."""
    for first in one:
        for second in two:
            common = set(range(first.start, first.end + 1)) & set(range(second.start, second.end + 1))
            assert first.overlaps(second) == second.overlaps(first) == bool(common)


def test_gateway_of_the_other_ip_version() -> None:
    """It could not be put on the bridge beside its subnet."""
    with pytest.raises(InvalidConfig, match=r"ipam\.gateway is fd00::1, which is not of the IP version"):
        parse({"subnet": "10.1.0.0/24", "gateway": "fd00::1"})


@pytest.mark.parametrize("sets", [True, False])
def test_thousands_of_ranges_are_compared_with_neighbours_only(sets: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing each with each would take a minute for a configuration that a runtime may send."""
    compared: list[object] = []
    overlaps = ranges.Range.overlaps

    def count(one: ranges.Range, other: ranges.Range) -> bool:
        compared.append(one)
        return overlaps(one, other)

    monkeypatch.setattr(ranges.Range, "overlaps", count)
    each = [{"subnet": f"10.{number >> 8}.{number & 255}.0/24"} for number in range(3000)]
    found = parse({"ranges": [[one] for one in each] if sets else [each]})
    assert sum(map(len, found)) == 3000
    assert len(compared) < 2 * 3000
    clash = [*each, {"subnet": "10.5.0.0/16"}]
    with pytest.raises(InvalidConfig, match=r"10\.5\.0\.1-10\.5\.0\.254.*10\.5\.0\.1-10\.5\.255\.254"):
        parse({"ranges": [[one] for one in clash] if sets else [clash]})


@given(st.lists(st.tuples(st.integers(0, 63), st.integers(0, 6)), min_size=2, max_size=6))
def test_overlaps_are_found(spans: list[tuple[int, int]]) -> None:
    """As by comparing each with each."""
    parts = [
        {"subnet": "10.0.0.0/24", "rangeStart": f"10.0.0.{start + 1}", "rangeEnd": f"10.0.0.{start + size + 1}"}
        for start, size in spans
    ]
    apart = all(
        one[0] > other[0] + other[1] or other[0] > one[0] + one[1]
        for index, one in enumerate(spans)
        for other in spans[index + 1 :]
    )
    try:
        parse({"ranges": [parts]})
    except InvalidConfig:
        assert not apart
    else:
        assert apart
