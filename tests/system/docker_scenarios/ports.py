"""Published ports of the host: who reaches them, and which are refused."""

from __future__ import annotations

import signal

from tests.system.crossroads import OUTSIDE
from tests.system.docker_scenarios import Seen, Ways, scenario
from tests.system.docker_scenarios.side import BOTH, HOST4, HOST6, OTHER, Side, label, modes

FOUR = ("--subnet", "172.30.1.0/24")


@scenario("TestAccessPublishedPortFromHost", "TestAccessPublishedPortFromRemoteHost", "TestAccessPublishedPortFromCtr")
def from_everywhere(side: Side) -> Seen:
    """On a network with IPv6 and on one without."""
    seen: Seen = {}
    for what, options in (("both", BOTH), ("IPv4", FOUR)):
        side.network("red", *options)
        side.web("web", "--net=red", "-p", "8080:80")
        side.docker.start("near", "--net=red")
        ways: Ways = {"host, 127.0.0.1": (side.asks, "127.0.0.1", 8080), "host, ::1": (side.asks, "::1", 8080)}
        for address in (HOST4, HOST6):
            ways[f"host, {address}"] = (side.asks, address, 8080)
            ways[f"another host, {address}"] = (side.asks, address, 8080, OUTSIDE)
            for who in ("near", "web"):
                ways[f"{who}, {address}"] = (side.container_asks, who, address, 8080)
        seen[what] = side.see(ways)
        side.clear()
    return seen


@scenario(
    "TestAccessPublishedPortFromAnotherNetwork", "TestAccessToPublishedPort", "TestPortMappedHairpinTCP", smoke=True
)
def from_another_network(side: Side) -> Seen:
    """By its own gateway's address, and by another one of the host; with each gateway mode of the client."""
    side.network("server", *BOTH)
    side.web("web", "--net=server", "-p", "8080:80")
    seen: Seen = {}
    for mode in ("nat", "routed"):
        side.network("client", *OTHER, *modes(mode))
        side.docker.start("asks", "--net=client")
        seen[mode] = side.see(
            {
                address: (side.container_asks, "asks", address, 8080)
                for address in ("172.30.2.1", "fd00:2::1", HOST4, HOST6)
            }
        )
        side.docker.remove("asks")
        side.docker("network", "rm", "client")
    return seen


@scenario("TestPortMappedHairpinUDP")
def datagrams(side: Side) -> Seen:
    side.network("server", *BOTH)
    side.network("client", *OTHER)
    side.docker.start("web", "--net=server", "-p", "5000:5000/udp")
    side.docker.start("asks", "--net=client")
    return {
        address: side.datagram(5000, address, side.docker.netns("asks"), "web")
        for address in (HOST4, HOST6, "172.30.2.1", "fd00:2::1")
    }


@scenario("TestDisableNAT")
def modes_by_ip_version(side: Side) -> Seen:
    """A routed IP version has no port of the host."""
    seen: Seen = {}
    for what, options in {
        "nat, routed": (*label("bridge.gateway_mode_ipv4", "nat"), *label("bridge.gateway_mode_ipv6", "routed")),
        "routed, nat": (*label("bridge.gateway_mode_ipv4", "routed"), *label("bridge.gateway_mode_ipv6", "nat")),
    }.items():
        side.network("red", *BOTH, *options)
        side.web("web", "--net=red", "-p", "8080:80")
        seen[what] = side.see({address: (side.asks, address, 8080, OUTSIDE) for address in (HOST4, HOST6)})
        side.clear()
    return seen


@scenario("TestProxy4To6")
def an_ipv6_address_for_ipv4(side: Side) -> Seen:
    side.network("red", *FOUR)
    return {address: side.starts("--net=red", "-p", f"[{address}]:8080:80") for address in ("::1", HOST6)}


@scenario("TestAccessPortPublishedOnLoopbackAddress", "TestPortMappingOnDistinctLoopbackAddrs")
def loopback_addresses(side: Side) -> Seen:
    """Each has its own container, and another host reaches none."""
    side.network("red", *FOUR)
    for name in ("one", "two"):
        side.docker.start(
            name, "--net=red", "-p", f"127.0.1.{len(name) + (name == 'two')}:8080:80",
            command=("sh", "-c", f"mkdir -p /www && echo {name} >/www/index.html && exec httpd -f -p 80 -h /www"),
        )  # fmt: skip
    seen = side.see({"first": (side.asks, "127.0.1.3", 8080), "second": (side.asks, "127.0.1.4", 8080)})
    for address in ("127.0.1.3", "127.0.1.4"):
        seen[address] = side.node.run("busybox", "wget", "-q", "-O-", f"http://{address}:8080/").out
    side.node.run("ip", "route", "add", "127.0.1.3/32", "via", HOST4, netns=OUTSIDE)
    seen["another host"] = side.datagram(80, "127.0.1.3", OUTSIDE, "one")
    side.node.run("ip", "route", "del", "127.0.1.3/32", netns=OUTSIDE)
    return seen


@scenario("TestMixAnyWithSpecificHostAddrs", "TestPublishAllWithNilPortBindings", "TestEmptyPortBindingsBC")
def chosen_ports(side: Side) -> Seen:
    """Of several ports without a number each has another one, also with an address of the host; `-P`, too."""
    side.network("red", *BOTH)
    ports = ("-p", "81", "-p", "82", "-p", "127.0.0.1::80", "-p", "83/udp", "-p", "127.0.0.1::84/udp")
    return {
        "five": side.starts("--net=red", *ports),
        "all": side.starts("--net=red", "-P", "--expose=80", "--expose=81/udp"),
    }


@scenario("TestPublishedPortAlreadyInUse")
def a_port_in_use(side: Side) -> Seen:
    """The second container does not start, and is not started again."""
    side.network("red", *FOUR)
    side.docker.start("one", "--net=red", "-p", "8080:80")
    second = side.docker.try_("run", "-d", "--name=two", "--restart=always", "--net=red", "-p", "8080:80", "box")
    return {"starts": second.code == 0, "state": side.docker.inspect("two")["State"]["Status"]}


@scenario("TestRestartUserlandProxyUnder2MSL", "TestPortMappingRestore")
def started_again(side: Side) -> Seen:
    """A container whose port was used just now; and after a restart of dockerd."""
    side.network("red", *FOUR)
    side.web("web", "--net=red", "-p", "8080:80")
    seen = {"first": side.see({"asks": (side.asks, HOST4, 8080, OUTSIDE)})}
    side.docker("restart", "-t0", "web")
    seen["again"] = side.see({"asks": (side.asks, HOST4, 8080, OUTSIDE)})
    side.docker.restart(signal.SIGTERM)
    seen["dockerd again"] = side.see({"asks": (side.asks, HOST4, 8080, OUTSIDE)})
    side.docker("restart", "-t0", "web")
    seen["both again"] = side.see({"asks": (side.asks, HOST4, 8080, OUTSIDE)})
    return seen


@scenario("TestGatewaySelection", "TestAllPortMappingsAreReturned")
def by_the_gateway_of_each_ip_version(side: Side) -> Seen:
    """Networks with one IP version each, and one with both, which are connected and left."""
    side.network("four", *FOUR)
    side.network("six", "--ipv4=false", "--ipv6", "--subnet", "fd00:6::/64")
    side.network("both", *OTHER)
    side.web("web", "--net=four", "-p", "8080:80")
    seen: Seen = {}
    for what, change in {
        "four": (),
        "and six": ("connect", "six", "web"),
        "four alone": ("disconnect", "six", "web"),
        "and both": ("connect", "--gw-priority=1", "both", "web"),
        "both alone": ("disconnect", "four", "web"),
        "six, both": ("connect", "six", "web"),
        "six alone": ("disconnect", "both", "web"),
    }.items():
        if change:
            side.docker("network", *change)
        seen[what] = side.see({address: (side.asks, address, 8080, OUTSIDE) for address in (HOST4, HOST6)})
    return seen
