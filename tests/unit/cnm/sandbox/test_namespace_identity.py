"""A namespace is known again by its cookie, or where that is not recorded, by its number and our link in it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from cni_cnm.cnm.sandbox.namespace_identity import joined
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.stack import MemoryStack


class World(NamedTuple):
    namespaces: MemoryNamespaces
    host: Any
    container: MemoryStack

    def record(self, **changes: Any) -> Any:
        """Of an endpoint whose link is eth0 in the container and veth1 on the host."""
        known = {"netns_cookie": self.container.cookie(), "netns_inode": self.container.inode()}
        return SimpleNamespace(**{"host_ifname": "veth1", "ifname": "eth0", **known, **changes})


@pytest.fixture
def world() -> World:
    namespaces = MemoryNamespaces()
    host, container = namespaces.host(), namespaces.create("/c1")
    host.add_veth("veth1", peer="eth0", peer_stack=container)
    return World(namespaces, SimpleNamespace(stack=host), container)


def test_by_cookie(world: World) -> None:
    """Whatever the number is, which the kernel uses again."""
    assert joined(world.host, world.record(netns_inode=7), world.container)
    assert not joined(world.host, world.record(netns_cookie=7), world.container)


def test_by_number(world: World) -> None:
    """A record of version 0.1.0 has no cookie."""
    assert joined(world.host, world.record(netns_cookie=0), world.container)
    assert not joined(world.host, world.record(netns_cookie=0, netns_inode=7), world.container)


def test_a_number_that_is_used_again(world: World) -> None:
    """In the later namespace another link has the interface's name: ours has another index."""
    later = world.namespaces.create("/c2")
    later.space.inode = world.container.inode()
    record = world.record(netns_cookie=0)
    assert joined(world.host, record, later)  # nothing says otherwise, and nothing there could be harmed
    later.add_bridge("other0", mac="02:00:00:00:00:01")
    later.add_bridge("eth0", mac="02:00:00:00:00:02")
    assert not joined(world.host, record, later)
