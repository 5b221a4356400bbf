from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from cni_cnm.names.zones import reverse_zones


@pytest.mark.parametrize(
    ("subnet", "zones"),
    [
        ("10.0.0.0/8", ["10.in-addr.arpa"]),
        ("10.1.2.0/23", ["2.1.10.in-addr.arpa", "3.1.10.in-addr.arpa"]),
        ("192.0.2.4/31", ["4.2.0.192.in-addr.arpa", "5.2.0.192.in-addr.arpa"]),
        ("fd61::/62", [f"{digit}.0.0.0.0.0.0.0.0.0.0.0.1.6.d.f.ip6.arpa" for digit in "0123"]),
    ],
)
def test_zones(subnet: str, zones: list[str]) -> None:
    assert list(reverse_zones(ip_network(subnet))) == zones


@pytest.mark.parametrize("subnet", ["10.1.128.0/17", "172.16.0.0/12", "192.0.2.128/25", "fd00:1:2:8::/61"])
def test_every_address_of_the_subnet_and_no_other_is_in_them(subnet: str) -> None:
    network = ip_network(subnet)
    zones = list(reverse_zones(network))
    first, last = network[0], network[-1]
    for address, inside in ((first, True), (last, True), (first - 1, False), (last + 1, False)):
        name = f".{ip_address(address).reverse_pointer}"
        assert any(name.endswith(f".{zone}") for zone in zones) is inside
