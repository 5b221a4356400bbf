"""The packet filter's repair runs beside a call of Docker, before each of the call's steps: no port is left behind.

A step is a record that is written or a transaction of the packet filter. The repair runs on its own thread. Where the
call holds the lock that the repair needs, the repair ends after the call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from cni_cnm.cnm.host import Host
from cni_cnm.cnm.packet_filter import firewall_reconcile
from cni_cnm.state.files import FileStore
from tests.memory_kernel.host import memory_host
from tests.unit.cnm.docker.dockerd import Dockerd, port

STEPS = 12
"""More than any of the calls has."""
_ENOUGH_S = 0.05
"""For a repair that waits for no lock."""


class Repair:
    """Repairs once, before the step of that number."""

    def __init__(self, docker: Dockerd, step: int) -> None:
        self._docker = docker
        self._left = step
        self._thread: Thread | None = None

    def before_step(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._left = -1
            self._thread = Thread(target=self._run)
            self._thread.start()
            self._thread.join(_ENOUGH_S)

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        docker = self._docker
        firewall_reconcile.put_back_missing(memory_host(docker.folder, docker.namespaces, docker.nft))


@contextmanager
def repaired(docker: Dockerd, step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    repair = Repair(docker, step)
    put, commit = FileStore.put, docker.nft.commit
    calling = True

    def stepping(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            if calling:
                repair.before_step()
            return function(*arguments, **named)

        return run

    monkeypatch.setattr(FileStore, "put", stepping(put))
    monkeypatch.setattr(docker.nft, "commit", stepping(commit))
    yield
    calling = False
    repair.join()


@pytest.fixture
def docker(tmp_path: Path) -> Dockerd:
    made = Dockerd(tmp_path)
    made.network("red", "10.1.0.0/24")
    made.network("blue", "10.2.0.0/24")
    return made


@pytest.fixture
def endpoint(docker: Dockerd) -> dict[str, str]:
    made = docker.endpoint("red", "one", "10.1.0.2/24")
    docker.join(made, "box")
    docker.program(made, port(8080))
    return made


@pytest.mark.parametrize("step", range(1, STEPS))
@pytest.mark.parametrize(
    "call", ["NetworkDriver.RevokeExternalConnectivity", "NetworkDriver.Leave", "NetworkDriver.DeleteEndpoint"]
)
def test_a_port_that_is_withdrawn_stays_so(
    docker: Dockerd, endpoint: dict[str, str], call: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with repaired(docker, step, monkeypatch):
        docker.call(call, **endpoint)
    assert not docker.published()


@pytest.mark.parametrize("step", range(1, STEPS))
def test_a_second_join_publishes_nothing(
    docker: Dockerd, endpoint: dict[str, str], step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with repaired(docker, step, monkeypatch):
        docker.call("NetworkDriver.Join", **endpoint, SandboxKey="/run/docker/netns/next", Options={})
    assert not docker.published()


@pytest.mark.parametrize("step", range(1, STEPS))
def test_another_port_in_its_place(
    docker: Dockerd, endpoint: dict[str, str], step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with repaired(docker, step, monkeypatch):
        docker.program(endpoint, port(8081))
    assert docker.published() == {"6 . 8081": "10.1.0.2 . 80"}


@pytest.mark.parametrize("step", range(1, STEPS))
def test_a_port_that_another_endpoint_takes_over(
    docker: Dockerd, endpoint: dict[str, str], step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = docker.endpoint("blue", "two", "10.2.0.2/24")
    docker.join(other, "box")
    with repaired(docker, step, monkeypatch):
        docker.program(other, port(8080), ipv6_elsewhere=True)
    assert docker.published() == {"6 . 8080": "10.2.0.2 . 80"}


def test_steps_are_counted(docker: Dockerd, endpoint: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The repair of the tests above runs: the first step of every call has one before it."""
    ran = list[Host]()

    def repair(host: Host) -> None:
        ran.append(host)

    monkeypatch.setattr(firewall_reconcile, "put_back_missing", repair)
    with repaired(docker, 1, monkeypatch):
        docker.call("NetworkDriver.Leave", **endpoint)
    assert len(ran) == 1
