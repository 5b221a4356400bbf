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
    """Without settings the subnets come as Docker gives them, without what others take by convention."""
    used: list[IPNetwork] = []
    for _ in range(29):
        used.append(choose_subnet(4, Settings(), used))
    assert [str(subnet) for subnet in (used[0], used[2], used[13], used[14], used[28])] == [
        "172.18.0.0/16",
        "172.20.0.0/16",
        "172.31.0.0/16",
        "192.168.0.0/20",
        "192.168.240.0/20",
    ]
    assert ip_network("192.168.112.0/20") not in used, "libvirt's default network is in it"
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


@pytest.mark.parametrize(
    ("family", "pool", "routed"),
    [
        (4, POOL, ["0.0.0.0/0"]),
        (4, POOL, ["0.0.0.0/1", "128.0.0.0/1"]),
        (4, POOL, ["10.0.0.0/8"]),
        (4, POOL, ["10.8.0.0/20"]),
        (6, AddressPool(ip_network("fd00:8::/48"), 64), ["::/0", "fc00::/7", "fd00::/8"]),
    ],
    ids=["default", "VPN halves", "company", "one bit wider", "IPv6"],
)
def test_a_route_wider_than_the_pool_claims_nothing(family: int, pool: AddressPool, routed: list[str]) -> None:
    """Packets to the pool's subnets prefer the subnets' own routes."""
    found = pools.choose(family, [pool], [], [ip_network(text) for text in routed])
    assert found == ip_network(f"{pool.base.network_address}/{pool.size}")


def test_a_route_into_the_pool_is_a_claim() -> None:
    """A route as wide as the pool, or narrower, leads to a network that has the addresses."""
    assert pools.choose(4, [POOL], [], [ip_network("10.8.0.128/25")]) == ip_network("10.8.1.0/24")
    with pytest.raises(AddressesExhausted):
        pools.choose(4, [POOL], [], [ip_network("10.8.0.0/21")])


def test_a_network_wider_than_the_pool_is_a_claim() -> None:
    """Another network's subnet counts, however wide it is."""
    assert pools.choose(4, [POOL, AddressPool(ip_network("10.0.0.0/24"), 24)], [ip_network("10.8.0.0/13")]) == (
        ip_network("10.0.0.0/24")
    )


def test_pools_of_the_settings_are_the_administrators() -> None:
    """A subnet that others take by convention is given where the settings ask for it."""
    assert choose_subnet(4, Settings(default_address_pools=(AddressPool(ip_network("10.88.0.0/16"), 16),)), []) == (
        ip_network("10.88.0.0/16")
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
