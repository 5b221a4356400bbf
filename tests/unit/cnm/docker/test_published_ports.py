"""Which endpoint of a sandbox publishes a port, by which IP version, and what is refused."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from threading import Barrier, Thread

import pytest

from cni_cnm.firewall import portmap
from cni_cnm.kernel import RouteEntry
from cni_cnm.model import PortMapping
from tests.unit.cnm.docker.dockerd import Dockerd, Held, port

V4, V6 = "10.1.0.0/24", "fd01::/64"


@pytest.fixture
def docker(tmp_path: Path) -> Dockerd:
    made = Dockerd(tmp_path)
    made.network("dual", V4, V6)
    made.network("front", "10.2.0.0/24")
    return made


@pytest.fixture
def dual(docker: Dockerd) -> dict[str, str]:
    """An endpoint of the dual-stack network, joined."""
    made = docker.endpoint("dual", "d", "10.1.0.2/24", "fd01::2/64")
    docker.join(made, "box")
    return made


@pytest.fixture
def front(docker: Dockerd, dual: dict[str, str]) -> dict[str, str]:
    """A second endpoint of the same sandbox, with IPv4 only."""
    made = docker.endpoint("front", "f", "10.2.0.2/24")
    docker.join(made, "box")
    return made


def test_ports_move_with_their_ip_version(docker: Dockerd, dual: dict[str, str], front: dict[str, str]) -> None:
    """The first endpoint was the gateway of both; then the second one is that of IPv4; then the first one leaves."""
    docker.program(dual, port(8099))
    assert docker.published(4) == {"6 . 8099": "10.1.0.2 . 80"}
    docker.program(dual, port(8099))
    docker.program(front, port(8099), ipv6_elsewhere=True)
    assert docker.published(4) == {"6 . 8099": "10.2.0.2 . 80"}
    assert docker.published(6) == {"6 . 8099": "fd01::2 . 80"}
    docker.leave(dual)
    assert docker.published(4) == {"6 . 8099": "10.2.0.2 . 80"}
    assert not docker.published(6)


def test_ports_come_back(docker: Dockerd, dual: dict[str, str], front: dict[str, str]) -> None:
    """The second endpoint leaves again; a host port that was chosen stays the same."""
    docker.program(dual, port(0))
    [chosen] = docker.published(4)
    docker.program(front, port(0), ipv6_elsewhere=True)
    assert docker.published(4) == {chosen: "10.2.0.2 . 80"}
    docker.leave(front)
    docker.program(dual, port(0))
    assert docker.published(4) == {chosen: "10.1.0.2 . 80"}
    assert docker.published(6) == {chosen: "fd01::2 . 80"}


def test_a_move_that_fails_leaves_everything_as_it_was(
    docker: Dockerd, dual: dict[str, str], front: dict[str, str]
) -> None:
    """The second endpoint requests a port more, which another program's pod has."""
    docker.program(dual, port(8099))
    address = ip_interface("10.9.0.9/24")
    docker.nft.commit(portmap.publish("e" * 64, "pod", [address], (PortMapping("tcp", 8100, 80),)))
    docker.host.store.put("endpoints", "e" * 64, {})
    answer = docker.program(front, port(8099), port(8100), ipv6_elsewhere=True)
    assert "8100/tcp is already published by pod" in answer["Err"]
    assert docker.published(4) == {"6 . 8099": "10.1.0.2 . 80", "6 . 8100": "10.9.0.9 . 80"}
    assert docker.published(6) == {"6 . 8099": "fd01::2 . 80"}


def test_ipv4_is_left_to_the_network_that_the_sandbox_routes_by(docker: Dockerd) -> None:
    """Docker's own bridge is the gateway of IPv4, and it publishes by itself."""
    made = docker.endpoint("dual", "d", "10.1.0.2/24", "fd01::2/64")
    docker.join(made, "box", "172.17.0.2/16", "10.1.0.2/24")
    docker.program(made, port(8099))
    assert docker.published(4)
    sandbox = docker.namespaces.open("/run/docker/netns/box")
    sandbox.add_route(RouteEntry(ip_network("0.0.0.0/0"), ip_address("172.17.0.1"), sandbox.links()[-1].ifindex))
    docker.program(made, port(8099))
    assert not docker.published(4)
    assert docker.published(6) == {"6 . 8099": "fd01::2 . 80"}


def test_parallel_requests_for_a_range_get_a_port_each(docker: Dockerd) -> None:
    """16 containers that are started at once, with a range of 16 ports."""
    there = [docker.endpoint("front", f"e{n}", f"10.2.0.{n}/24") for n in range(10, 26)]
    for n, one in enumerate(there):
        docker.join(one, f"box{n}")
    barrier, errors = Barrier(len(there)), list[str]()

    def start(one: dict[str, str]) -> None:
        barrier.wait()
        errors.extend(docker.program(one, port(8090, 8105)).values())

    threads = [Thread(target=start, args=(one,)) for one in there]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sorted(docker.published(4)) == sorted(f"6 . {number}" for number in range(8090, 8106))


@pytest.mark.parametrize(("first", "second"), [("", "127.0.0.1"), ("127.0.0.1", ""), ("0.0.0.0", "127.0.0.1")])
def test_one_address_and_every_address_overlap(docker: Dockerd, dual: dict[str, str], first: str, second: str) -> None:
    """As Docker refuses it, in both orders. The same port of two addresses, or of two IP versions, is none."""
    docker.program(dual, port(8080, address=first))
    other = docker.endpoint("dual", "o", "10.1.0.3/24", "fd01::3/64")
    docker.join(other, "other")
    assert "8080/tcp is already published" in docker.program(other, port(8080, address=second))["Err"]
    assert docker.program(other, port(8081, address="127.0.0.1")) == {}
    assert docker.program(dual, port(8080, address="127.0.0.2"), port(8081, address="::")) == {}


def test_ports_are_held_while_they_are_published(docker: Dockerd, dual: dict[str, str], front: dict[str, str]) -> None:
    """Of a range one is chosen that no process has; the next owner of a port holds it before the first one releases."""
    docker.held = held = Held(8080)
    assert docker.program(dual, port(8080, 8081)) == {}
    assert held.ports == {dual["EndpointID"]: {8081}}
    assert docker.program(front, port(8081), ipv6_elsewhere=True) == {}
    assert held.ports == {dual["EndpointID"]: {8081}, front["EndpointID"]: {8081}}
    assert "is in use by a process" in docker.program(front, port(8082), port(8080), ipv6_elsewhere=True)["Err"]
    assert held.ports[front["EndpointID"]] == {8081}
    docker.leave(dual)
    assert held.ports == {front["EndpointID"]: {8081}}
    docker.leave(front)
    assert held.ports == {}


def test_a_port_requested_twice_is_refused(docker: Dockerd, dual: dict[str, str]) -> None:
    answer = docker.program(dual, port(8080), port(8080, address="127.0.0.1", container=81))
    assert "the host port 8080/tcp is requested twice" in answer["Err"]
    assert not docker.published(4)


def test_a_port_that_would_be_published_nowhere_is_refused(docker: Dockerd, front: dict[str, str]) -> None:
    assert "has no address 203.0.113.9" in docker.program(front, port(8080, address="203.0.113.9"))["Err"]
    assert "has no IPv6 addresses" in docker.program(front, port(8080, address="::"))["Err"]
    assert "routes no packets" in docker.program(front, port(8080, address="::1"))["Err"]
    assert not docker.published(4)


def test_the_other_ip_version_is_another_endpoints(
    docker: Dockerd, dual: dict[str, str], front: dict[str, str]
) -> None:
    """A port of an IPv6 address is not the IPv4 gateway's to publish, nor to refuse."""
    assert docker.program(front, port(8080, address="::"), ipv6_elsewhere=True) == {}
    assert docker.program(dual, port(8080, address="::")) == {}
    assert docker.published(6) == {"6 . 8080": "fd01::2 . 80"}
    assert not docker.published(4)
