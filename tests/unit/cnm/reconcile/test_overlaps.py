"""Subnets that the host has, too: said, and left as they are."""

from __future__ import annotations

from ipaddress import ip_interface
from pathlib import Path

from cni_cnm.cnm.reconcile import overlaps
from cni_cnm.cnm.reconcile.changed import Changed
from cni_cnm.cnm.reconcile.difference import Outcome
from cni_cnm.cnm.reconcile.reconcile import compare, reconcile
from cni_cnm.model import IpamSpec, NetworkSpec
from tests.unit.drivers.world import World

SPEC = NetworkSpec("net", "bridge", {"profile": "cnm"}, IpamSpec("host-local", {"subnet": "10.9.0.0/24"}))
SENTENCE = (
    "the subnet 10.9.0.0/24 of the network net overlaps with 10.9.0.0/25 of eth1, which has the address 10.9.0.9/25"
)


def test_an_overlap_is_noted(tmp_path: Path) -> None:
    """A VPN came up: nothing of it is changed, and the network goes on."""
    world = World(tmp_path)
    world.attach(SPEC, "a")
    assert list(reconcile(world.engine)) == []
    index = world.link("eth1").ifindex
    world.host.add_address(index, ip_interface("10.9.0.9/25"))
    assert list(reconcile(world.engine)) == [Outcome(SENTENCE, "noted")]
    assert [one.sentence for one in compare(world.engine)] == [SENTENCE]
    assert list(world.host.addresses(index)) == [ip_interface("10.9.0.9/25")]
    world.attach(SPEC, "b")
    [difference] = compare(world.engine)
    assert overlaps.repair(world.engine, difference) == ""


def test_a_change_of_our_own_bridge_is_no_reason_to_look(tmp_path: Path) -> None:
    """The look lists all links, addresses and routes of the host."""
    world = World(tmp_path)
    name = world.attach(SPEC, "a").interfaces[0].name
    world.host.add_address(world.link("eth1").ifindex, ip_interface("10.9.0.9/25"))
    assert list(overlaps.compare(world.engine, Changed(links=frozenset([name]), bridges=True))) == []
    assert len(list(overlaps.compare(world.engine, Changed(links=frozenset([name, "eth1"]))))) == 1
