"""What every Stack promises about routing rules."""

from __future__ import annotations

import errno
from ipaddress import ip_network

import pytest

from cni_cnm.errors import KernelError
from cni_cnm.kernel import RoutingRule
from tests.contract.conftest import World

V4 = RoutingRule(100, ip_network("10.0.0.2/32"))
V6 = RoutingRule(100_000, ip_network("fd00::2/128"), 6)


def added(world: World) -> list[RoutingRule]:
    """Without the kernel's own, which lead to the tables local, main and default."""
    return [rule for rule in world.container.rules() if rule.source is not None]


def test_rules(world: World) -> None:
    """They are listed, with tables of any number; the last one is asked first. Equal ones are two."""
    other = RoutingRule(7, ip_network("10.0.0.3/32"))
    for rule in (V4, other, V6):
        world.container.add_rule(rule)
    assert [rule for rule in added(world) if rule.version == 4] == [other, V4]
    assert [rule for rule in added(world) if rule.version == 6] == [V6]
    world.container.add_rule(V4)
    assert added(world).count(V4) == 2
    world.container.delete_rule(V4)
    world.container.delete_rule(V4)
    with pytest.raises(KernelError, match=r"from 10\.0\.0\.2") as error:
        world.container.delete_rule(V4)
    assert error.value.errno == errno.ENOENT
    assert set(added(world)) == {other, V6}


def test_rules_are_of_one_namespace(world: World) -> None:
    world.container.add_rule(V4)
    assert [rule for rule in world.host.rules() if rule.source is not None] == []
