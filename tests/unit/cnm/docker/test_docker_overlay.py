"""Docker's networks on overlay networks: the subnet of all hosts is requested, this host's block is the answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.cnm.controller import Controller
from cni_cnm.docker_server import calls
from tests.cluster.hosts import ClusterWorld, addresses, overlay
from tests.cluster.memory_directory import MemoryStore
from tests.unit.cnm.docker.dockerd import docker_id

SUBNET, SUBNET6 = "10.32.0.0/16", "fd32::/48"
NAMED = {"cni-cnm.network": "web"}
OVERLAY = {**NAMED, "cni-cnm.driver": "overlay"}


@pytest.fixture
def host(tmp_path: Path) -> ClusterWorld:
    return ClusterWorld(tmp_path, MemoryStore(), "node1")


def ask(host: ClusterWorld, call: str, **body: Any) -> dict[str, Any]:
    @contextmanager
    def engine() -> Iterator[Controller]:
        yield host.controller

    found: dict[str, Any] = json.loads(calls.answer(engine, call, json.dumps(body).encode()).body)
    return found


def pool(host: ClusterWorld, subnet: str = SUBNET, **options: str) -> dict[str, Any]:
    body = {"AddressSpace": "cni-cnm", "Pool": subnet, "SubPool": "", "V6": ":" in subnet}
    return ask(host, "IpamDriver.RequestPool", **body, Options={**OVERLAY, **options})


def create(host: ClusterWorld, *pools: str, space: str = "cni-cnm", **generic: str) -> dict[str, Any]:
    data: dict[int, list[dict[str, str]]] = {4: [], 6: []}
    for one in map(ip_network, pools):
        data[one.version].append({"AddressSpace": space, "Pool": str(one), "Gateway": f"{one[1]}/{one.prefixlen}"})
    options = {"com.docker.network.generic": {**OVERLAY, **generic}}
    body = {"NetworkID": docker_id("web"), "Options": options, "IPv4Data": data[4], "IPv6Data": data[6]}
    return ask(host, "NetworkDriver.CreateNetwork", **body)


def test_the_pool_is_the_block_of_this_host(host: ClusterWorld) -> None:
    """The first host makes the network, with the values of the options. Docker is told of its own block alone."""
    answer = pool(host, **{"cni-cnm.block": "25", "cni-cnm.direct": "never"})
    assert [answer["Pool"]] == host.blocks()
    assert ip_network(answer["Pool"]).prefixlen == 25
    assert host.cluster.store.networks["web"].direct == "never"
    assert create(host, answer["Pool"]) == {}
    assert host.record().docker_networks == (docker_id("web"),)


def test_a_network_that_cni_uses(host: ClusterWorld) -> None:
    """Both IP versions; the driver need not be named then."""
    host.add("a", overlay("web", SUBNET, SUBNET6))
    pools = [pool(host, subnet, **{"cni-cnm.driver": ""}) for subnet in (SUBNET, SUBNET6)]
    assert create(host, *(one["Pool"] for one in pools)) == {}
    given = ask(host, "IpamDriver.RequestAddress", PoolID=pools[0]["PoolID"], Address="")["Address"]
    assert ip_interface(given).network == ip_network(host.blocks()[0])
    assert given != addresses(host.add("b", overlay()))[0], "one folder of leases for both"


def test_join_has_routes_to_the_other_hosts(host: ClusterWorld) -> None:
    """The own block is on the link by the address's prefix; everything else of the subnet is behind the gateway."""
    block = pool(host)
    assert create(host, block["Pool"]) == {}
    address = ask(
        host, "IpamDriver.RequestAddress", PoolID=block["PoolID"], Address="",
        Options={"com.docker.network.endpoint.name": "c"},
    )["Address"]  # fmt: skip
    ids = {"NetworkID": docker_id("web"), "EndpointID": docker_id("c")}
    interface = {"Address": address, "AddressIPv6": "", "MacAddress": ""}
    assert "Err" not in ask(host, "NetworkDriver.CreateEndpoint", **ids, Interface=interface, Options={})
    joined = ask(host, "NetworkDriver.Join", **ids, SandboxKey="/run/docker/netns/c", Options={})
    gateway = str(ip_network(block["Pool"])[1])
    assert joined["Gateway"] == gateway
    assert joined["StaticRoutes"] == [{"Destination": SUBNET, "RouteType": 0, "NextHop": gateway}]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cni-cnm.driver": "overlay"}, "needs the name that all hosts know it by"),
        ({**NAMED, "cni-cnm.driver": "macvlan"}, "cni-cnm.driver is 'macvlan', it must be bridge or overlay"),
        ({**NAMED, "cni-cnm.block": "24"}, "cni-cnm.block is for an overlay network"),
        ({**OVERLAY, "cni-cnm.block": "8"}, "block is 8, and a block cannot be larger than the subnet 10.32.0.0/16"),
        ({**OVERLAY, "cni-cnm.color": "red"}, "the IPAM option cni-cnm.color is not known"),
    ],
)
def test_wrong_options_of_a_pool(host: ClusterWorld, options: dict[str, str], said: str) -> None:
    assert said in ask(host, "IpamDriver.RequestPool", Pool=SUBNET, Options=options)["Err"]
    assert not host.cluster.store.blocks


def test_a_subnet_that_is_not_told(host: ClusterWorld) -> None:
    host.add("a", overlay("web", SUBNET))
    assert f"add --subnet {SUBNET}" in pool(host, "")["Err"]
    assert "has the subnet 10.32.0.0/16, not 10.40.0.0/16" in pool(host, "10.40.0.0/16")["Err"]
    assert "has no IPv6 subnet" in pool(host, SUBNET6)["Err"]


def test_dockers_own_addresses_are_refused(host: ClusterWorld) -> None:
    """They are the same on every host."""
    host.add("a", overlay("web", SUBNET))
    said = create(host, "10.32.0.0/16", space="LocalDefault")["Err"]
    assert "gives the same addresses on every host" in said
    assert "--ipam-driver cni-cnm" in said


def test_another_driver_on_this_host(host: ClusterWorld) -> None:
    host.add("a", overlay("web", SUBNET)._replace(driver="bridge"))
    assert "the network web of this host has the driver bridge" in pool(host)["Err"]


def test_the_network_stays_when_docker_removes_its_own(host: ClusterWorld) -> None:
    """As every shared network; removing it here frees the block."""
    block = pool(host)["Pool"]
    create(host, block)
    ask(host, "NetworkDriver.DeleteNetwork", NetworkID=docker_id("web"))
    assert host.blocks() == [block]
    host.controller.network("web").delete()
    assert not host.cluster.store.blocks
