"""Subnets and gateways that cannot be a network's."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from cni_cnm.errors import InvalidConfig
from cni_cnm.ipam.special_ranges import refuse_gateway, refuse_subnet


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0/0", "::/0", "0.0.0.0/8", "127.0.0.0/8", "127.5.0.0/24", "126.0.0.0/7", "224.0.0.0/4", "239.1.0.0/16",
        "::/64", "::1/128", "::ffff:0:0/96", "::ffff:10.0.0.0/104", "ff02::/64", "fe00::/7",
    ],
)  # fmt: skip
def test_special_subnets(text: str) -> None:
    """A subnet of special addresses, or one that holds some, is refused with the key and itself."""
    with pytest.raises(InvalidConfig, match=r"ipam\.subnet is ") as error:
        refuse_subnet("ipam.subnet", ip_network(text))
    assert str(ip_network(text)) in error.value.msg
    assert error.value.code == 7


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.0/8",
        "100.64.0.0/10",
        "169.254.7.0/24",
        "192.0.2.0/24",
        "1.0.0.0/8",
        "fd00::/8",
        "2001:db8::/64",
        "fe80::/64",
    ],
)
def test_usual_subnets(text: str) -> None:
    """Private, shared, link-local, documentation and public subnets are the administrator's choice."""
    refuse_subnet("ipam.subnet", ip_network(text))


@pytest.mark.parametrize(
    ("gateway", "subnet"),
    [("10.1.0.0", "10.1.0.0/24"), ("10.1.0.255", "10.1.0.0/24"), ("fd00::", "fd00::/64")],
)
@pytest.mark.parametrize("outside", [True, False])
def test_addresses_that_are_no_gateway(gateway: str, subnet: str, outside: bool) -> None:
    """The subnet's own address and its broadcast address are refused in both profiles."""
    with pytest.raises(InvalidConfig, match=r"ipam\.gateway is "):
        refuse_gateway("ipam.gateway", ip_address(gateway), ip_network(subnet), outside=outside)


def test_outside_of_the_subnet() -> None:
    """Only with `outside`, as the reference takes it."""
    gateway, subnet = ip_address("10.2.0.1"), ip_network("10.1.0.0/24")
    refuse_gateway("ipam.gateway", gateway, subnet, outside=True)
    with pytest.raises(InvalidConfig, match="not in the subnet"):
        refuse_gateway("ipam.gateway", gateway, subnet, outside=False)


@pytest.mark.parametrize(
    ("gateway", "subnet"),
    [
        ("10.1.0.1", "10.1.0.0/24"),
        ("10.1.0.254", "10.1.0.0/24"),
        ("fd00::ffff", "fd00::/112"),
        ("10.1.0.0", "10.1.0.0/31"),
    ],
)
def test_good_gateways(gateway: str, subnet: str) -> None:
    """Any address that a host can have; IPv6 has no broadcast, and a /31 has two hosts (RFC 3021)."""
    refuse_gateway("ipam.gateway", ip_address(gateway), ip_network(subnet), outside=False)
