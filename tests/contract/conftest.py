"""The two implementations a contract test runs on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from cni_cnm.kernel import Link, Namespaces, Stack
from cni_cnm.kernel.netns import KernelNamespaces
from tests.memory_kernel.namespaces import MemoryNamespaces


class World(NamedTuple):
    """A host and a container, each with its Stack."""

    namespaces: Namespaces
    host: Stack
    container: Stack
    make: Callable[[str], str]
    """A further namespace; gives its path."""

    def bridge(self, name: str = "br0") -> Link:
        """A bridge on the host, up."""
        self.host.add_bridge(name, mac="02:00:00:00:00:01")
        index = _there(self.host, name).ifindex
        self.host.set_link(index, up=True)
        return _there(self.host, name)

    def pair(self, *, master: int = 0, up: bool = True) -> tuple[Link, Link]:
        """veth0 on the host, eth0 in the container."""
        self.host.add_veth("veth0", peer="eth0", peer_stack=self.container, master=master)
        if up:
            self.host.set_link(_there(self.host, "veth0").ifindex, up=True)
            self.container.set_link(_there(self.container, "eth0").ifindex, up=True)
        return _there(self.host, "veth0"), _there(self.container, "eth0")


def _there(stack: Stack, name: str) -> Link:
    link = stack.link(name)
    assert link is not None
    return link


@pytest.fixture(params=["memory", "kernel"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A fresh host and a fresh container, in memory or of the kernel."""
    namespaces: Namespaces
    if request.param == "memory":
        memory = MemoryNamespaces(vlan_filtering=False)
        namespaces = memory

        def make(name: str) -> str:
            memory.create(f"/netns/{name}")
            return f"/netns/{name}"

        path = make("container")
    else:
        request.getfixturevalue("host")
        make = request.getfixturevalue("make_netns")
        path = make("container")
        namespaces = KernelNamespaces()
    host, container = namespaces.host(), namespaces.open(path)
    yield World(namespaces, host, container, make)
    host.close()
    container.close()
