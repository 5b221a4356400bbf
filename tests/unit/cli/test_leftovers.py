"""What commands of this command line leave behind when they are killed, or their container ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cni_cnm.cli import leftovers
from cni_cnm.cnm.controller import Controller
from cni_cnm.cnm.host import Host
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces

ENDED = "run-4194304-1"
"""No process has this number: it is above the kernel's limit."""


@pytest.fixture
def namespaces() -> MemoryNamespaces:
    return MemoryNamespaces()


@pytest.fixture
def host(tmp_path: Path, namespaces: MemoryNamespaces) -> Host:
    made = memory_host(tmp_path, namespaces)
    Controller(made).new_network("net")
    return made


def left(host: Host) -> list[str]:
    return sorted(endpoint.name for endpoint in Controller(host).network("net").endpoints())


def join(host: Host, namespaces: MemoryNamespaces, name: str, owner: str = leftovers.OWNER) -> None:
    namespaces.create(f"/run/netns/{name}")
    sandbox = Controller(host).new_sandbox(name, f"/run/netns/{name}")
    Controller(host).network("net").create_endpoint(name, owner=owner).join(sandbox)


def test_a_run_that_was_killed(host: Host, namespaces: MemoryNamespaces) -> None:
    """After its join, and before it; one whose process lives stays, also if another process has its number."""
    join(host, namespaces, ENDED)
    network = Controller(host).network("net")
    alive = leftovers.run_name(os.getpid())
    earlier = f"run-{os.getpid()}-1"
    for name in (alive, earlier, "run-4194305-7"):
        network.create_endpoint(name, owner=leftovers.OWNER)
    Controller(host).new_sandbox("run-4194305-7", "/run/netns/" + ENDED)
    leftovers.remove(host)
    assert left(host) == [alive]
    assert list(Controller(host).sandboxes()) == []


def test_a_container_that_ended(host: Host, namespaces: MemoryNamespaces) -> None:
    """Its namespace is gone, or is another one now. Endpoints of other owners are theirs to remove."""
    for name in ("gone", "replaced", "lives"):
        join(host, namespaces, name)
    join(host, namespaces, "of-runtime", "cni/containerd")
    for name in ("gone", "replaced", "of-runtime"):
        namespaces.remove(f"/run/netns/{name}")
    namespaces.create("/run/netns/replaced")
    leftovers.remove(host)
    assert left(host) == ["lives", "of-runtime"]


def test_names_that_are_no_command(host: Host) -> None:
    """A container may be called so, and an endpoint that waits for its container is none."""
    network = Controller(host).network("net")
    for name in ("run-", "run-x-1", "runner-1-1", "run-1", "waits"):
        network.create_endpoint(name, owner=leftovers.OWNER)
    leftovers.remove(host)
    assert left(host) == ["run-", "run-1", "run-x-1", "runner-1-1", "waits"]
