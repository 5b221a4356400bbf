"""Default address pools: a subnet that is not in use."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.errors import AddressesExhausted
from cni_cnm.ipam import choose_subnet, pools
from cni_cnm.model import IPNetwork
from cni_cnm.settings import AddressPool, Settings

POOL = AddressPool(ip_network("10.8.0.0/21"), 24)


def test_dockers_order() -> None:
    """Without settings the subnets come as Docker gives them: 31 IPv4 networks in all."""
    used: list[IPNetwork] = []
    for _ in range(31):
        used.append(choose_subnet(4, Settings(), used))
    assert [str(subnet) for subnet in (used[0], used[3], used[14], used[15], used[30])] == [
        "172.17.0.0/16",
        "172.20.0.0/16",
        "172.31.0.0/16",
        "192.168.0.0/20",
        "192.168.240.0/20",
    ]
    with pytest.raises(AddressesExhausted, match="no subnet is left in the IPv4 pools"):
        choose_subnet(4, Settings(), used)


def test_ipv6_is_the_hosts_own() -> None:
    """The IPv6 series is a unique local /48 that another host does not share, and this one keeps."""
    one, other = (pools.predefined(host)[-1] for host in ("one", "other"))
    assert one == pools.predefined("one")[-1] != other
    assert one.base.subnet_of(ip_network("fd00::/8"))  # type: ignore[arg-type]
    assert (one.base.prefixlen, one.size) == (48, 64)
    first = pools.choose(6, [one], [])
    assert pools.choose(6, [one], [first]).network_address == first.network_address + 2**64


def test_default_route_claims_nothing() -> None:
    """A default route is no reason against any subnet; a more specific route is."""
    assert pools.choose(4, [POOL], [ip_network("0.0.0.0/0")]) == ip_network("10.8.0.0/24")
    assert pools.choose(4, [POOL], [ip_network("10.0.0.0/13"), ip_network("10.8.0.128/25")]) == ip_network(
        "10.8.1.0/24"
    )


def test_no_pool_of_the_family() -> None:
    """Settings with IPv4 pools only have no IPv6 subnet to give."""
    with pytest.raises(AddressesExhausted, match="IPv6"):
        pools.choose(6, [POOL], [])


@given(st.lists(st.tuples(st.integers(0, 2**12 - 1), st.integers(20, 32)), max_size=12))
def test_first_free_one(blocks: list[tuple[int, int]]) -> None:
    """The choice is the first aligned subnet that overlaps nothing, as trying them one after another finds."""
    used = [
        ip_network((int(ip_network("10.8.0.0/16").network_address) + offset, size), strict=False)
        for offset, size in blocks
    ]
    expected = next(
        (subnet for subnet in POOL.base.subnets(new_prefix=24) if not any(subnet.overlaps(u) for u in used)),
        None,
    )
    if expected is None:
        with pytest.raises(AddressesExhausted):
            pools.choose(4, [POOL], used)
    else:
        assert pools.choose(4, [POOL], used) == expected
