"""Options of `docker network create`, and what the calls about endpoints make of them."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.cnm.records import network_records
from cni_cnm.kernel import link_key
from tests.unit.cnm.docker.dockerd import INET, Dockerd, docker_id, port


@pytest.fixture
def docker(tmp_path: Path) -> Dockerd:
    return Dockerd(tmp_path)


def join(docker: Dockerd, *addresses: str) -> dict[str, Any]:
    """The answer to the Join of an endpoint of the network `red`."""
    ids = docker.endpoint("red", "one", *addresses)
    return docker.call("NetworkDriver.Join", **ids, SandboxKey="/run/docker/netns/box", Options={})


def addresses(docker: Dockerd) -> list[str]:
    """Of the bridge of `red`."""
    bridge = docker.host.stack.link(f"br-{docker_id('red')[:12]}")
    assert bridge is not None
    return [str(address) for address in docker.host.stack.addresses(bridge.ifindex)]


def test_another_default_gateway_than_the_bridge(docker: Dockerd) -> None:
    """`--aux-address DefaultGatewayIPv4=…`: the bridge has its own address, and containers route by the other one."""
    message = docker.network_message("red", "10.1.0.0/24", "fd01::/64")
    message["IPv4Data"][0]["AuxAddresses"] = {"DefaultGatewayIPv4": "10.1.0.254/24", "printer": "10.1.0.9/24"}
    message["IPv6Data"][0]["AuxAddresses"] = {"DefaultGatewayIPv6": "fd01::fe/64"}
    docker.call("NetworkDriver.CreateNetwork", **message)
    assert addresses(docker) == ["10.1.0.1/24", "fd01::1/64"]
    answer = join(docker, "10.1.0.2/24", "fd01::2/64")
    assert (answer["Gateway"], answer["GatewayIPv6"]) == ("10.1.0.254", "fd01::fe")


def test_a_default_gateway_outside_the_subnet_is_refused(docker: Dockerd) -> None:
    message = docker.network_message("red", "10.1.0.0/24")
    message["IPv4Data"][0]["AuxAddresses"] = {"DefaultGatewayIPv4": "10.2.0.254/24"}
    assert "not in the subnet 10.1.0.0/24" in docker.refused("NetworkDriver.CreateNetwork", **message)
    assert not list(network_records(docker.host.store))


def test_names_of_interfaces(docker: Dockerd) -> None:
    docker.network("red", "10.1.0.0/24", container_iface_prefix="net")
    assert join(docker, "10.1.0.2/24")["InterfaceName"]["DstPrefix"] == "net"


def test_an_address_for_ports_without_one(docker: Dockerd) -> None:
    """As Docker: IPv4 alone is published then. A port that names an address has that one."""
    options = {"bridge.host_binding_ipv4": "127.0.0.1"}
    docker.network("red", "10.1.0.0/24", "fd01::/64", **options)
    ids = docker.endpoint("red", "one", "10.1.0.2/24", "fd01::2/64")
    docker.join(ids, "box")
    assert docker.program(ids, port(8080), port(8081, address="0.0.0.0")) == {}
    assert docker.published(4) == {"127.0.0.1 . 6 . 8080": "10.1.0.2 . 80", "6 . 8081": "10.1.0.2 . 80"}
    assert not docker.published(6)


def test_options_of_dockerd_are_accepted(docker: Dockerd) -> None:
    """It applies them by itself."""
    docker.network("red", "10.1.0.0/24", advertise_addr_nmsgs="3", advertise_addr_ms="100", enable_ipv6="false")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"container_iface_prefix": "a/b"}, "container_iface_prefix"),
        ({"bridge.host_binding_ipv4": "::1"}, "an IPv4 address"),
        ({"host_ipv4": "fd00::1"}, "it must be an IPv4 address"),
        ({"bridge.gateway_mode_ipv4": "isolated"}, "internal networks only"),
        ({"bridge.gateway_mode_ipv4": "open"}, "it must be nat"),
        ({"bridge.trusted_host_interfaces": "eth0:a b"}, "trusted_host_interfaces"),
        ({"bridge.nonsense": "1"}, "bridge.nonsense"),
    ],
)
def test_a_wrong_value_is_refused(docker: Dockerd, options: dict[str, str], said: str) -> None:
    message = docker.network_message("red", "10.1.0.0/24", **options)
    assert said in docker.refused("NetworkDriver.CreateNetwork", **message)


def test_a_bridge_without_address(docker: Dockerd) -> None:
    """`inhibit_ipv4`: another router has the gateway's address."""
    options = {"bridge.inhibit_ipv4": "true"}
    docker.network("red", "10.1.0.0/24", "fd01::/64", **options)
    assert join(docker, "10.1.0.2/24", "fd01::2/64")["Gateway"] == "10.1.0.1"
    assert addresses(docker) == ["fd01::1/64"]


def test_an_isolated_network(docker: Dockerd) -> None:
    """Internal, and not even the host has an address on it."""
    options = {"bridge.gateway_mode_ipv4": "isolated"}
    message = docker.network_message("red", "10.1.0.0/24", **options)
    message["Options"]["com.docker.network.internal"] = True
    del message["IPv4Data"][0]["Gateway"]
    docker.call("NetworkDriver.CreateNetwork", **message)
    assert "Gateway" not in join(docker, "10.1.0.2/24")
    assert addresses(docker) == []


def test_links_that_are_trusted(docker: Dockerd) -> None:
    """They reach all ports; the network takes its exceptions with it."""
    options = {"bridge.trusted_host_interfaces": "lan0:lan1"}
    docker.network("red", "10.1.0.0/24", **options)
    ids = docker.endpoint("red", "one", "10.1.0.2/24")
    docker.join(ids, "box")
    bridge = f"br-{docker_id('red')[:12]}"

    def pairs() -> set[str]:
        return {element.key for element in docker.nft.elements(INET, "allowed")}

    assert pairs() == {f"{link_key(link)} . {link_key(bridge)}" for link in ("lan0", "lan1", bridge)}
    docker.leave(ids)
    docker.release("10.1.0.2/24")
    docker.call("NetworkDriver.DeleteNetwork", NetworkID=docker_id("red"))
    assert pairs() == set()


def test_an_address_of_the_host_for_outgoing_packets(docker: Dockerd) -> None:
    docker.network("red", "10.1.0.0/24", "fd01::/64", host_ipv4="192.0.2.9")
    docker.join(docker.endpoint("red", "one", "10.1.0.2/24", "fd01::2/64"), "box")
    chains = {one.value for version in (4, 6) for one in docker.nft.elements(INET, f"masquerade{version}")}
    assert chains == {"goto outside_10.1.0.0/24_192.0.2.9", "goto outside_fd01--/64"}


@pytest.mark.parametrize(("requested", "prefixlen"), [("0.0.0.0/27", 27), ("::/72", 72)])
def test_any_subnet_of_a_size(docker: Dockerd, requested: str, prefixlen: int) -> None:
    """A different one each time."""
    found = [ip_network(docker.pool(requested)) for _ in range(2)]
    assert [one.prefixlen for one in found] == [prefixlen, prefixlen]
    assert found[0] != found[1]
    assert not any(one.network_address.is_unspecified for one in found)


GENERIC = "com.docker.network.generic"
INTERNAL = "com.docker.network.internal"


def skipped(docker: Dockerd, *, internal: bool = True, **generic: str) -> dict[str, Any]:
    """The answer to GwAllocCheck of a network with these options."""
    options = {GENERIC: {f"com.docker.network.bridge.{key}": text for key, text in generic.items()}, INTERNAL: internal}
    return docker.call("NetworkDriver.GwAllocCheck", Options=options)


def test_a_gateway_without_use_is_not_reserved(docker: Dockerd) -> None:
    """As Docker's own driver: the mode `isolated`, or an internal network whose bridge has no IPv4 address."""
    assert docker.call("NetworkDriver.GetCapabilities") == {"Scope": "local", "GwAllocChecker": True}
    assert skipped(docker) == {"SkipIPv4": False, "SkipIPv6": False}
    assert skipped(docker, gateway_mode_ipv4="isolated") == {"SkipIPv4": True, "SkipIPv6": False}
    assert skipped(docker, gateway_mode_ipv6="isolated") == {"SkipIPv4": False, "SkipIPv6": True}
    assert skipped(docker, inhibit_ipv4="true") == {"SkipIPv4": True, "SkipIPv6": False}
    assert skipped(docker, internal=False, inhibit_ipv4="true") == {"SkipIPv4": False, "SkipIPv6": False}
    shared = {GENERIC: {"cni-cnm.network": "podnet"}, INTERNAL: True}
    assert docker.call("NetworkDriver.GwAllocCheck", Options=shared) == {"SkipIPv4": False, "SkipIPv6": False}


def test_wrong_options_are_refused_before_a_pool_is_requested(docker: Dockerd) -> None:
    refused = docker.refused("NetworkDriver.GwAllocCheck", Options={GENERIC: {"colour": "red"}})
    assert "colour is not known" in refused


@pytest.mark.parametrize("own", [True, False])
def test_without_a_gateway_its_address_is_a_containers(docker: Dockerd, own: bool) -> None:
    """Both addresses of a /31 are requested, by number or not; `own`: the network's driver is this plugin, too."""
    subnet = docker.pool("10.1.0.0/31")
    if own:
        data = [{"AddressSpace": "cni-cnm", "Pool": subnet}]
        options = {GENERIC: {"com.docker.network.bridge.gateway_mode_ipv4": "isolated"}, INTERNAL: True}
        docker.call("NetworkDriver.CreateNetwork", NetworkID=docker_id("red"), Options=options, IPv4Data=data)
    pool = docker.pools[subnet]
    named = {"com.docker.network.endpoint.name": "c"}
    for address in ("10.1.0.0", ""):
        given = docker.call("IpamDriver.RequestAddress", PoolID=pool, Address=address, Options=named)["Address"]
        assert given == ("10.1.0.0/31" if address else "10.1.0.1/31")
        if own:
            ids = {"NetworkID": docker_id("red"), "EndpointID": docker_id(given)}
            docker.call("NetworkDriver.CreateEndpoint", **ids, Interface={"Address": given}, Options={})
            answer = docker.call("NetworkDriver.Join", **ids, SandboxKey="/run/docker/netns/box", Options={})
            assert "Gateway" not in answer
    assert "no free address" in docker.refused("IpamDriver.RequestAddress", PoolID=pool, Address="", Options=named)
    if own:
        assert not addresses(docker)
        gateway = {"RequestAddressType": "com.docker.network.gateway"}
        assert "has no gateway" in docker.refused("IpamDriver.RequestAddress", PoolID=pool, Address="", Options=gateway)


def test_the_name_of_an_interface_is_said_to_create_endpoint_alone(docker: Dockerd) -> None:
    docker.network("red", "10.1.0.0/24")
    ids = {"NetworkID": docker_id("red"), "EndpointID": docker_id("one")}
    label = "com.docker.network.endpoint.ifname"
    endpoint = {**ids, "Interface": {"Address": "10.1.0.2/24"}}
    assert label in docker.refused("NetworkDriver.CreateEndpoint", **endpoint, Options={label: "a/b"})
    docker.call("NetworkDriver.CreateEndpoint", **endpoint, Options={label: "uplink0"})
    for _ in range(2):
        answer = docker.call("NetworkDriver.Join", **ids, SandboxKey="/run/docker/netns/box", Options={})
        assert answer["InterfaceName"]["DstName"] == "uplink0"
