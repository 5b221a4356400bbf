"""Addresses: which a container gets, and which subnets a network takes."""

from __future__ import annotations

import signal
from ipaddress import ip_network

from tests.system.docker_scenarios import Seen, scenario
from tests.system.docker_scenarios.side import BOTH, Side, label

SYSCTLS = "com.docker.network.endpoint.sysctls"
NO_IPV6 = f"driver-opt={SYSCTLS}=net.ipv6.conf.IFNAME.disable_ipv6=1"


def _families(side: Side, container: str, link: str = "eth0") -> list[int]:
    """IP versions of the interface, with link-local addresses."""
    found = side.node.addresses(link, netns=side.docker.netns(container))
    return sorted({6 if ":" in address else 4 for address in found})


@scenario("TestDisableIPv6Addrs", "TestDisableIPv6OnInterface", "TestContainerDisabledIPv6")
def a_container_without_ipv6(side: Side) -> Seen:
    """By a sysctl of the container or of the interface. Neighbours find no IPv6 address by its name."""
    side.network("red", *BOTH)
    side.docker.start("with", "--net=red")
    side.docker.start("none", "--net=red", "--sysctl=net.ipv6.conf.all.disable_ipv6=1")
    side.docker.start("interface", f'--network=name=red,"{NO_IPV6}"', "-p", "8080:80")
    seen: Seen = {name: _families(side, name) for name in ("with", "none", "interface")}
    for name in ("none", "interface"):
        seen[f"{name}, IPv6 address"] = side.address(name, "red", 6)
        seen[f"{name}, by name"] = side.see({f"IPv{v}": (side.names, "with", name, v) for v in (4, 6)})
    return seen


@scenario("TestDisableIPv4", "TestNonIPv6Network")
def one_ip_version(side: Side) -> Seen:
    seen: Seen = {}
    side.network("four", "--subnet", "172.30.1.0/24")
    side.network("six", "--ipv4=false", "--ipv6", "--subnet", "fd00:6::/64")
    for name in ("four", "six"):
        side.docker.start(name, f"--net={name}")
        seen[name] = [_families(side, name), _families(side, name, "lo")]
        disabled = side.inside(name, "cat", "/proc/sys/net/ipv6/conf/eth0/disable_ipv6").out
        seen[f"{name}, disable_ipv6"] = disabled.strip()
    return seen


@scenario("TestNetworkInspectGateway", "TestSetIPWithNoConfiguredSubnet", "TestCreateWithIPv6DefaultsToULAPrefix")
def chosen_subnets(side: Side) -> Seen:
    """Without --subnet. A container may request an address of them."""
    side.network("red", "--ipv6")
    config = side.docker.inspect("network", "red")["IPAM"]["Config"]
    subnets = sorted((ip_network(one["Subnet"]) for one in config), key=lambda one: one.version)
    four, six = (str(subnet.network_address + 9) for subnet in subnets)
    side.docker.start("one", "--net=red", "--ip", four, "--ip6", six)
    return {
        "gateways": [
            str(ip_network(one["Subnet"]).network_address + 1) == one.get("Gateway", "").partition("/")[0]
            for one in config
        ],
        "ULA": subnets[1].subnet_of(ip_network("fd00::/8")),  # type: ignore[arg-type]
        "prefix lengths": [side.node.addresses("eth0", netns=side.docker.netns("one")) != set(), subnets[1].prefixlen],
        "requested": {one.partition("/")[0] for one in side.addresses("one")} == {four, six},
    }


@scenario("TestCreateMultipleNetworksWithOverlappingIPAM", "TestForbidDuplicateNetworkNames")
def overlaps(side: Side) -> Seen:
    def created(name: str, *options: str) -> bool:
        return side.docker.try_("network", "create", *side.driver, *options, name).code == 0

    first = ("--subnet", "192.178.0.0/16", "--ip-range", "192.178.128.0/17", "--gateway", "192.178.138.100")
    second = ("--subnet", "192.178.128.0/17", "--gateway", "192.178.128.1")
    seen: Seen = {"first": created("zero", *first), "same name": created("zero"), "overlaps": created("one", *second)}
    seen["apart"] = created("two", "--subnet", "192.169.0.0/16", "--gateway", "192.169.100.100")
    side.docker("network", "rm", "zero")
    seen["free again"] = created("one", *second)
    seen["chosen"] = [created(name) for name in ("three", "four")]
    return seen


@scenario("Test64BitIPRange", "TestIPRangeAt64BitLimit")
def ranges_of_ipv6(side: Side) -> Seen:
    """A container starts in each: as long as the subnet, and of two addresses at a boundary."""
    seen: Seen = {}
    for subnet in ("fd2e:b68c:ce26::/64", "fd2e:b68c:ce26::/56"):
        for ip_range in ("", "fd2e:b68c:ce26::/64"):
            for gateway in ("", "fd2e:b68c:ce26::1"):
                given = (("--ip-range", ip_range), ("--gateway", gateway))
                options = [text for pair in given if pair[1] for text in pair]
                side.network("red", "--ipv6", "--subnet", subnet, *options)
                seen[f"{subnet} {ip_range} {gateway}"] = side.starts("--net=red")
                side.docker("network", "rm", "red")
    for subnet, ip_range in (
        ("fda9:8d04:86e::/64", "fda9:8d04:86e::ffff:ffff:ffff:ff0e/127"),
        ("fda9:8d04:86e::/64", "fda9:8d04:86e::ffff:ffff:ffff:fffe/127"),
        ("fda9:8d04:86e::/56", "fda9:8d04:86e:aa:ffff:ffff:ffff:fffe/127"),
    ):
        side.network("red", "--ipv6", "--subnet", subnet, "--ip-range", ip_range)
        seen[f"{subnet} {ip_range}"] = side.starts("--net=red")
        side.docker("network", "rm", "red")
    return seen


@scenario("TestPreferredSubnetRestore", "TestDaemonRestartWithExistingNetwork")
def subnets_after_a_restart(side: Side) -> Seen:
    """Any subnet of a size; it is the same after a restart of dockerd, and can still be used."""
    side.network("four", "--subnet", "0.0.0.0/24")
    side.network("six", "--ipv4=false", "--ipv6", "--subnet", "::/120")
    side.network("both", "--ipv6", "--subnet", "0.0.0.0/24", "--subnet", "::/120")

    def subnets() -> list[str]:
        names = ("four", "six", "both")
        return [one["Subnet"] for name in names for one in side.docker.inspect("network", name)["IPAM"]["Config"]]

    before = subnets()
    side.docker.restart(signal.SIGTERM)
    return {
        "lengths": [ip_network(one).prefixlen for one in before],
        "same": subnets() == before,
        "starts": [side.starts(f"--net={name}") for name in ("four", "six", "both")],
    }


@scenario("TestBridgeIPAMStatus")
def counted_addresses(side: Side) -> Seen:
    """`docker network inspect` counts the addresses in use."""
    side.network("red", "--subnet", "172.30.1.0/24")
    return {"counted": bool(side.docker.inspect("network", "red").get("Status"))}


@scenario("TestNetworkCreateErrorNoBridge")
def nothing_is_left_of_a_refused_network(side: Side) -> Seen:
    """The bridge's name is an existing link's, which is no bridge; a wrong value."""
    before = side.node.links()
    seen = {
        value: side.docker.try_("network", "create", *side.driver, *label(key, value), "red").code == 0
        for key, value in (("bridge.name", "up0"), ("bridge.gateway_mode_ipv4", "open"), ("driver.mtu", "x"))
    }
    return {**seen, "left": side.node.links() - before}
