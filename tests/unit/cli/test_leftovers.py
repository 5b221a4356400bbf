"""What commands of this command line leave behind when they are killed, or their container ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from cni_cnm.cli import leftovers
from cni_cnm.cnm.controller import Controller
from cni_cnm.cnm.host import Host
from cni_cnm.state.store import ENDPOINTS
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces

RUN = "run-4194304-1"
"""No process has this number: it is above the kernel's limit. A process of another PID namespace may be called so."""


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


def killed(host: Host, network: str, name: str) -> None:
    """A command that was killed after it had made an endpoint, and before its join."""
    child = os.fork()
    if child == 0:
        with leftovers.at_work(host, "", name), leftovers.at_work(host, network, name):
            Controller(host).network(network).create_endpoint(name, owner=leftovers.OWNER)
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def test_a_run_that_lives(host: Host, namespaces: MemoryNamespaces) -> None:
    """Its pid says nothing: it may be of another PID namespace."""
    join(host, namespaces, RUN)
    leftovers.remove(host)
    assert left(host) == [RUN]


@pytest.mark.parametrize("sees_all", [True, False])
def test_a_run_that_was_killed(host: Host, namespaces: MemoryNamespaces, sees_all: bool) -> None:
    namespaces.sees_all = sees_all
    join(host, namespaces, RUN)
    namespaces.remove(f"/run/netns/{RUN}")
    leftovers.remove(host)
    assert left(host) == []
    assert list(Controller(host).sandboxes()) == []


def test_a_command_that_was_killed_before_its_join(host: Host, namespaces: MemoryNamespaces) -> None:
    """The next command finds it, whether it was to join a container or a command. One that is at work stays."""
    namespaces.create("/run/netns/x")
    for name in ("c1", RUN):
        Controller(host).new_sandbox(name, "/run/netns/x")
        killed(host, "net", name)
    assert left(host) == ["c1", RUN]
    with leftovers.at_work(host, "", RUN), leftovers.at_work(host, "net", RUN):
        Controller(host).new_sandbox("run-1-1", "/run/netns/x")
        leftovers.remove(host)
        assert left(host) == [RUN]
        assert sorted(sandbox.container_id for sandbox in Controller(host).sandboxes()) == ["c1", RUN]
    leftovers.remove(host)
    assert left(host) == []
    assert [sandbox.container_id for sandbox in Controller(host).sandboxes()] == ["c1"]


def test_a_command_that_was_killed_in_its_join(host: Host, namespaces: MemoryNamespaces) -> None:
    """The container lives on, and its address is free again."""
    join(host, namespaces, "c1")
    [endpoint] = Controller(host).network("net").endpoints()
    host.store.put(ENDPOINTS, endpoint.id, endpoint.record._replace(state="pending").to_json())
    leftovers.remove(host)
    assert left(host) == []


def test_a_container_that_ended(host: Host, namespaces: MemoryNamespaces) -> None:
    """Its namespace is gone, or is another one now. Endpoints of other owners are theirs to remove."""
    for name in ("gone", "replaced", "lives", "unmounted"):
        join(host, namespaces, name)
    join(host, namespaces, "of-runtime", "cni/containerd")
    for name in ("gone", "replaced", "of-runtime"):
        namespaces.remove(f"/run/netns/{name}")
    namespaces.create("/run/netns/replaced")
    namespaces.move("/run/netns/unmounted", "/proc/7/ns/net")
    leftovers.remove(host)
    assert left(host) == ["lives", "of-runtime", "unmounted"]
