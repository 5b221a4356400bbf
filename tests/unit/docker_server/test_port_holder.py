"""Ports of containers are held by a child process, for as long as a record has them."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from cni_cnm.cnm.controller import Controller
from cni_cnm.cnm.host import Host
from cni_cnm.docker_server.port_holder import PortHolder
from cni_cnm.docker_server.server import Server
from cni_cnm.model import PortMapping
from tests.unit.cnm.docker.dockerd import Dockerd, port

LOOPBACK = ip_address("127.0.0.1")
PORT = PortMapping("tcp", 28090, 80, LOOPBACK)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def holder(said: list[str]) -> Iterator[PortHolder]:
    made = PortHolder(said.append)
    yield made
    made.close()


def is_free(number: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((str(LOOPBACK), number))
        except OSError:
            return False
    return True


def test_a_port_is_held_until_its_last_owner_has_gone(holder: PortHolder) -> None:
    """Two endpoints of one sandbox have it while it moves from one to the other."""
    assert holder.hold("one", PORT)
    assert holder.hold("two", PORT)
    holder.keep("one", ())
    assert not is_free(28090)
    holder.keep("two", (PORT,))
    assert not is_free(28090)
    holder.keep("two", ())
    assert is_free(28090)


def test_a_port_of_a_process_is_refused(holder: PortHolder) -> None:
    """Of a range none is kept then."""
    with socket.socket() as server:
        server.bind((str(LOOPBACK), 28091))
        server.listen()
        assert not holder.hold("one", PORT._replace(size=2))
    assert is_free(28090)
    assert holder.hold("one", PORT._replace(size=2))


def test_the_child_may_do_nothing_but_bind(holder: PortHolder) -> None:
    """CAP_NET_BIND_SERVICE (10), where the test has it."""
    assert holder.hold("one", PORT)
    status = Path(f"/proc/{holder.pid}/status").read_text(encoding="ascii")
    [effective] = [line.split()[1] for line in status.splitlines() if line.startswith("CapEff")]
    assert int(effective, 16) in (0, 1 << 10)


def test_without_its_child_ports_are_published_all_the_same(holder: PortHolder, said: list[str]) -> None:
    """It is said once."""
    os.kill(holder.pid, signal.SIGKILL)
    os.waitpid(holder.pid, 0)
    assert holder.hold("one", PORT)
    holder.keep("one", ())
    assert len(said) == 1
    assert "not held any more" in said[0]


def test_what_the_records_say_is_held(tmp_path: Path, holder: PortHolder, said: list[str]) -> None:
    """After a start; what another process has removed is released; a port that a process took meanwhile is said."""
    docker = Dockerd(tmp_path)
    docker.network("red", "10.1.0.0/24")
    one = docker.endpoint("red", "one", "10.1.0.2/24")
    docker.join(one, "box")
    assert docker.program(one, port(28090, address="127.0.0.1"), port(28091, address="127.0.0.1")) == {}
    with socket.socket() as server:
        server.bind((str(LOOPBACK), 28091))
        server.listen()
        [refused] = holder.compare(docker.host)
    assert "28091/tcp" in refused
    assert not is_free(28090)
    holder.start(docker.host)
    assert not is_free(28091)
    assert not said
    docker.leave(one)
    assert not holder.compare(docker.host)
    assert is_free(28090)


@pytest.mark.parametrize("setting", ["docker", "none"])
def test_the_setting(tmp_path: Path, setting: str) -> None:
    """`hold_ports`: a server holds what the records say, or no port."""
    docker = Dockerd(tmp_path)
    docker.network("red", "10.1.0.0/24")
    one = docker.endpoint("red", "one", "10.1.0.2/24")
    docker.join(one, "box")
    docker.program(one, port(28090, address="127.0.0.1"))
    settings = docker.host.settings._replace(hold_ports=setting, docker_api="off")

    @contextmanager
    def engine() -> Iterator[Controller]:
        host = docker.host
        yield Controller(Host(settings, host.store, docker.namespaces, lambda: docker.nft, host.epoch))

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "plugin.sock"))
        listener.listen()
        server = Server(listener, engine)
        server.start()
        free = is_free(28090)
        server.stop()
    assert free is (setting == "none")
    assert is_free(28090)
