"""Published ports by record, and what the packet filter has of them."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from cni_cnm.find.published_ports import MISSING, PUBLISHED, TAKEN, published_ports
from cni_cnm.kernel import Transaction
from cni_cnm.model import PortMapping
from tests.unit.find.pods import Pods


@pytest.fixture
def pods(tmp_path: Path) -> Pods:
    made = Pods(tmp_path)
    made.add("c1", "shop/web", ports=(PortMapping("tcp", 8080, 80),))
    made.add("c2", "shop/db", ports=(PortMapping("udp", 5300, 53, ip_address("192.0.2.1"), 3),))
    return made


def shown(pods: Pods) -> list[tuple[str, str, str, list[str]]]:
    return [(str(one.port), one.endpoint.container, one.state, list(one.targets)) for one in published_ports(pods.host)]


def test_all_are_published(pods: Pods) -> None:
    assert shown(pods) == [
        ("192.0.2.1 5300-5302/udp", "shop/db", PUBLISHED, ["10.1.0.3"]),
        ("8080/tcp", "shop/web", PUBLISHED, ["10.1.0.2", "fd01::2"]),
    ]


def test_a_port_that_is_missing_in_part(pods: Pods) -> None:
    """One element of a range, or of one family, is enough."""
    elements = pods.host.nft.elements("inet cni_cnm")
    for name, key in (("ports4_at", "5301"), ("ports6", "8080")):
        (gone,) = [one for one in elements if one.set == name and key in one.key]
        pods.host.nft.commit(Transaction(remove=(gone,)))
    assert [state for _, _, state, _ in shown(pods)] == [MISSING, MISSING]


def test_a_port_that_another_endpoint_has(pods: Pods) -> None:
    (one,) = [each for each in pods.host.nft.elements("inet cni_cnm", "ports4") if "8080" in each.key]
    pods.host.nft.commit(Transaction(remove=(one,)))
    pods.host.nft.commit(Transaction(put=(one._replace(comment="ffffffffffff other/c9/eth0"),)))
    assert [state for _, _, state, _ in shown(pods)] == [PUBLISHED, TAKEN]


def test_none(tmp_path: Path) -> None:
    assert published_ports(Pods(tmp_path).host) == []
