"""What a network's record says of its subnets, also one that a person has edited."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest

from cni_cnm.cnm.network.network_description import subnets_of
from cni_cnm.cnm.records import NetworkRecord
from tests.unit.cnm.test_records import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.mark.parametrize(
    ("ipam", "subnets"),
    [
        ({"subnet": "10.1.0.0/24"}, ["10.1.0.0/24"]),
        ({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]}, ["10.1.0.0/24", "fd00::/64"]),
        ({"ranges": ([{"subnet": "10.1.0.0/24"}],)}, ["10.1.0.0/24"]),
        ({}, []),
        ({"subnet": False}, []),
        ({"subnet": 7}, []),
        ({"subnet": "none"}, []),
        ({"ranges": True}, []),
        ({"ranges": [7, "text", [False, {"subnet": None}]], "subnet": "10.1.0.0/24"}, ["10.1.0.0/24"]),
    ],
)
def test_what_is_no_subnet_is_left_out(ipam: Mapping[str, Any], subnets: list[str]) -> None:
    record = NetworkRecord("id", "net", "bridge", OPTIONS, "host-local", ipam)
    assert subnets_of(record) == [ip_network(text) for text in subnets]
