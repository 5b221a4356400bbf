"""Who reaches whom, without a published port of the host."""

from __future__ import annotations

from tests.system.crossroads import OUTSIDE
from tests.system.docker_scenarios import Seen, Ways, scenario
from tests.system.docker_scenarios.side import BOTH, OTHER, OUT4, Side, label, modes

MAC, SLAAC = "02:42:ac:11:00:02", "fe80::42:acff:fe11:2%eth0"


@scenario("TestBridgeICC")
def neighbours(side: Side) -> Seen:
    """By name, and by link-local address; subnets of link-local addresses, too."""
    seen: Seen = {}
    for what, options in {
        "IPv4": (),
        "IPv4, internal": ("--internal",),
        "IPv6": ("--ipv6", "--subnet", "fd00:7::/64"),
        "IPv6, internal": ("--internal", "--ipv6", "--subnet", "fd00:7::/64"),
        "IPv6, link-local": ("--ipv6", "--subnet", "fe80::/64"),
        "IPv6, link-local, internal": ("--internal", "--ipv6", "--subnet", "fe80::/64"),
        "IPv6, another link-local": ("--ipv6", "--subnet", "fe80:1234::/64"),
    }.items():
        if side.docker.try_("network", "create", *side.driver, *options, "red").code:
            seen[what] = "refused"
            continue
        side.docker.start("one", f"--network=name=red,mac-address={MAC}")
        side.docker.start("two", "--net=red")
        family = 6 if "IPv6" in what else 4
        ways: Ways = {"by name": (side.names, "two", "one", family)}
        if family == 6:
            ways["link-local"] = (side.names, "two", SLAAC, 6)
        seen[what] = side.see(ways, 6)
        side.clear()
    return seen


@scenario("TestBridgeINC", "TestCreateWithMultiNetworks")
def networks_apart(side: Side) -> Seen:
    seen: Seen = {}
    for what, internal in (("open", ()), ("internal", ("--internal",))):
        side.network("red", *BOTH, *internal)
        side.network("blue", *OTHER, *internal)
        side.docker.start("one", "--net=red")
        side.docker.start("two", "--net=blue")
        side.docker.start("both", "--net=red", "--net=blue")
        seen[what] = side.see(
            {
                f"{who} by IPv{family}": (side.pings, who, side.address("one", "red", family))
                for who in ("two", "both")
                for family in (4, 6)
            }
        )
        side.clear()
    return seen


@scenario("TestBridgeINCRouted", "TestInterNetworkDirectRouting")
def ports_of_another_network(side: Side) -> Seen:
    """By each gateway mode of the server's network, whatever the policy of the chain FORWARD is."""
    side.network("client", *OTHER)
    side.docker.start("asks", "--net=client")
    seen: Seen = {}
    for mode in ("nat", "routed", "nat-unprotected"):
        side.network("server", *BOTH, *modes(mode))
        side.web("web", "--net=server", "-p", "80")
        for policy in ("ACCEPT", "DROP"):
            _policy(side, policy)
            ways: Ways = {}
            for family in (4, 6):
                web, asks = side.address("web", "server", family), side.address("asks", "client", family)
                ways[f"ping, IPv{family}"] = (side.pings, "asks", web)
                ways[f"ping back, IPv{family}"] = (side.pings, "web", asks)
                for port in (80, 81):
                    ways[f"port {port}, IPv{family}"] = (side.container_asks, "asks", web, port)
            seen[f"{mode}, {policy}"] = side.see(ways)
        _policy(side, "ACCEPT")
        side.docker.remove("web")
        side.docker("network", "rm", "server")
    return seen


@scenario("TestDirectRoutingOpenPorts", "TestDirectRemoteAccessOnExposedPort")
def from_another_host(side: Side) -> Seen:
    """It asks a container's own address, with each gateway mode, and behind a trusted link."""
    seen: Seen = {}
    for what, options in {
        "nat": modes("nat"),
        "nat-unprotected": modes("nat-unprotected"),
        "routed": modes("routed"),
        "trusted": label("bridge.trusted_host_interfaces", "up0"),
    }.items():
        side.network("server", *BOTH, *options)
        side.web("web", "--net=server", "-p", "80")
        ways: Ways = {}
        for family in (4, 6):
            web = side.address("web", "server", family)
            ways[f"ping, IPv{family}"] = (side.outside_pings, web)
            for port in (80, 81):
                ways[f"port {port}, IPv{family}"] = (side.asks, web, port, OUTSIDE)
        seen[what] = side.see(ways)
        side.clear()
    return seen


@scenario("TestRoutedNonGateway")
def routed_beside_the_gateway(side: Side) -> Seen:
    """The container's default gateway is another network than the routed one."""
    side.network("nat", *BOTH)
    side.network("routed", *OTHER, *modes("routed"))
    side.web("web", "--network=name=nat,gw-priority=1", "--network=routed", "-p", "8080:80")
    ways: Ways = {}
    for network in ("nat", "routed"):
        for family in (4, 6):
            web = side.address("web", network, family)
            ways[f"{network}, IPv{family}"] = (side.asks, web, 80, OUTSIDE)
    ways["published"] = (side.asks, "192.0.2.1", 8080, OUTSIDE)
    return side.see(ways)


@scenario("TestInternalNwConnectivity")
def internal(side: Side) -> Seen:
    """The host is reached, and nothing beyond."""
    side.network("red", "--internal", *BOTH, "--gateway", "172.30.1.1", "--gateway", "fd00:1::1234")
    side.docker.start("one", "--net=red")
    return side.see(
        {
            "IPv4": (side.pings, "one", "172.30.1.1"),
            "IPv6": (side.pings, "one", "fd00:1::1234"),
            "beyond": (side.pings, "one", OUT4),
        }
    )


@scenario("TestPointToPoint", smoke=True)
def two_addresses(side: Side) -> Seen:
    """A subnet of two addresses that has no gateway has two containers."""
    seen: Seen = {}
    for what, options in {
        "inhibit_ipv4": label("bridge.inhibit_ipv4", "true"),
        "isolated": label("bridge.gateway_mode_ipv4", "isolated"),
    }.items():
        side.network("red", "--internal", "--subnet", "172.30.3.0/31", *options)
        for name in ("one", "two"):
            side.docker.start(name, "--net=red")
        seen[what] = {
            "addresses": [side.address(name, "red") for name in ("one", "two")],
            "default route": side.inside("one", "ip", "route", "show", "default").out,
            "third": side.starts("--net=red"),
            **side.see({"by name": (side.names, "one", "two")}),
        }
        side.clear()
    return seen


@scenario("TestIsolated")
def isolated(side: Side) -> Seen:
    side.network("red", "--internal", *BOTH, *modes("isolated"), *label("bridge.name", "br-red"))
    for name in ("one", "two"):
        side.docker.start(name, "--net=red")
    return {
        "bridge": side.node.addresses("br-red"),
        "addresses": side.addresses("one"),
        **side.see({f"IPv{family}": (side.names, "two", "one", family) for family in (4, 6)}),
    }


@scenario("TestDropInForwardChain")
def behind_a_dropping_rule(side: Side) -> Seen:
    """A rule at the end of FORWARD drops what no earlier rule accepts."""
    rule = ("FORWARD", "-j", "DROP")
    for tables in ("iptables", "ip6tables"):
        side.node.run(tables, "-A", *rule).ok()
    side.network("red", *BOTH)
    side.web("web", "--net=red", "-p", "8080:80")
    side.docker.start("asks", "--net=red")
    seen = side.see(
        {
            "IPv4": (side.container_asks, "asks", "192.0.2.1", 8080),
            "IPv6": (side.container_asks, "asks", "2001:db8:9::1", 8080),
            "beyond": (side.pings, "asks", OUT4),
        }
    )
    for tables in ("iptables", "ip6tables"):
        side.node.run(tables, "-D", *rule).ok()
    return seen


@scenario("TestHostIPv4BridgeLabel")
def source_addresses(side: Side) -> Seen:
    seen: Seen = {}
    side.node.run("ip", "address", "add", "192.0.2.77/24", "dev", "up0").ok()
    for what, options in {
        "chosen": label("host_ipv4", "192.0.2.77"),
        "default": (),
        "no masquerade": label("bridge.enable_ip_masquerade", "false"),
        "routed": label("bridge.gateway_mode_ipv4", "routed"),
    }.items():
        side.network("red", "--subnet", "172.30.1.0/24", *options)
        side.docker.start("one", "--net=red")
        seen[what] = side.source("one")
        side.clear()
    side.node.run("ip", "address", "del", "192.0.2.77/24", "dev", "up0").ok()
    return seen


def _policy(side: Side, policy: str) -> None:
    for tables in ("iptables", "ip6tables"):
        side.node.run(tables, "-P", "FORWARD", policy).ok()
