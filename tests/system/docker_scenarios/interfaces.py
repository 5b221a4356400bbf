"""A container's interfaces: names, MACs, sysctls, default routes, announcements."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.surroundings.test_announcements import LISTEN
from tests.system.docker_scenarios import Seen, scenario
from tests.system.docker_scenarios.side import BOTH, OTHER, Side, label

FOUR, FIVE, SIX = (("--subnet", f"172.30.{n}.0/24") for n in (4, 5, 6))
IFNAME = "driver-opt=com.docker.network.endpoint.ifname="
SYSCTLS = "com.docker.network.endpoint.sysctls="


@scenario(
    "TestEndpointWithCustomIfname", "TestCustomIfnameCollidesWithExistingIface",
    "TestCustomIfnameWithMatchingDynamicPrefix", "TestCustomIfnameIsPreservedOnLiveRestore",
)  # fmt: skip
def names_of_interfaces(side: Side) -> Seen:
    """Chosen names beside those that dockerd counts, also after a restart of dockerd; one that is in use."""
    for name, subnet in (("four", FOUR), ("five", FIVE), ("six", SIX)):
        side.network(name, *subnet)

    def shown(container: str) -> dict[str, set[str]]:
        links = side.node.links(netns=side.docker.netns(container)) - {"lo"}
        return {link: side.addresses(container, link) for link in sorted(links)}

    side.docker.start("one", f"--network=name=four,{IFNAME}eth1", "--network=five")
    seen: Seen = {"two": shown("one")}
    side.docker("network", "connect", "six", "one")
    seen["three"] = shown("one")
    side.docker("network", "disconnect", "five", "one")
    side.docker("network", "disconnect", "six", "one")
    side.docker("network", "connect", "six", "one")
    seen["again"] = sorted(shown("one"))
    collides = side.docker.try_("network", "connect", "--driver-opt", f"{_option(IFNAME)}eth1", "five", "one")
    seen["collides"] = [collides.code == 0, "file exists" in collides.err, shown("one")["eth1"]]
    side.docker.start("two", f"--network=name=four,{IFNAME}foobar")
    side.docker.restart(signal.SIGTERM)
    seen["after a restart of dockerd"] = sorted(shown("two"))
    side.docker("network", "disconnect", "four", "two")
    seen["disconnected"] = sorted(shown("two"))
    return seen


@scenario("TestMACAddrOnRestart", "TestCfgdMACAddrOnRestart", "TestInspectCfgdMAC", "TestNetworkConnectWithMACAddress")
def macs(side: Side) -> Seen:
    wanted = "02:42:ac:11:00:42"

    def mac(name: str, network: str = "four") -> str:
        return str(side.docker.inspect(name)["NetworkSettings"]["Networks"][network]["MacAddress"])

    side.network("four", *FOUR)
    side.network("five", *FIVE)
    side.docker.start("one", "--net=four")
    side.docker.start("set", f"--network=name=four,mac-address={wanted}")
    side.docker("stop", "-t0", "one", "set")
    side.docker.start("two", "--net=four")
    side.docker("start", "one", "set")
    seen: Seen = {"differ": mac("one") != mac("two"), "kept": mac("set") == wanted}
    side.docker("stop", "-t0", "set")
    side.docker.restart(signal.SIGTERM)
    side.docker("start", "set")
    seen["kept after a restart of dockerd"] = mac("set") == wanted
    there = side.docker.try_("run", "-d", "--name=late", "--net=five", "box").ok()
    assert there.out
    side.docker("network", "disconnect", "five", "late")
    side.docker("network", "connect", "four", "late")
    links = side.node.ip("link", "show", "eth0", netns=side.docker.netns("late"))
    return {**seen, "as shown": links[0]["address"] == mac("late")}


@scenario("TestSetEndpointSysctl", "TestSetInterfaceSysctl")
def sysctls(side: Side) -> Seen:
    side.network("four", *FOUR)
    seen: Seen = {}
    for value in ("0", "1"):
        for word in ("IFNAME", "ifname"):
            option = f"driver-opt={SYSCTLS}net.ipv4.conf.{word}.forwarding={value}"
            side.docker.start("one", f"--network=name=four,{option}")
            seen[f"{word}={value}"] = side.inside("one", "cat", "/proc/sys/net/ipv4/conf/eth0/forwarding").out.strip()
            side.docker.remove("one")
    return seen


@scenario("TestCreateWithPriority", "TestConnectWithPriority", "TestGatewayErrorOnNetDisconnect")
def default_routes(side: Side) -> Seen:
    """By priority, and by what is left. A network whose interface is down is left and joined all the same."""
    side.network("one", *BOTH)
    side.network("two", *OTHER)
    side.docker.start("web", "--network=name=one,gw-priority=10", f"--network=name=two,gw-priority=100,{IFNAME}eth2")

    def routes() -> list[str]:
        shown = (side.inside("web", "ip", f"-{family}", "route", "show", "default").out for family in (4, 6))
        return [text.partition(" dev")[0] for text in shown]

    seen: Seen = {"at first": routes()}
    side.docker("network", "disconnect", "two", "web")
    seen["left"] = routes()
    side.docker("network", "connect", "--gw-priority=20", "two", "web")
    seen["joined"] = routes()
    side.docker.start("down", "--network=name=one,gw-priority=1", f"--network=name=two,{IFNAME}eth2")
    side.inside("down", "ip", "link", "set", "eth2", "down").ok()
    for step in (
        ("network", "disconnect", "one", "down"),
        ("network", "connect", "one", "down"),
        ("restart", "-t0", "down"),
    ):
        seen[" ".join(step)] = side.docker.try_(*step).code == 0
    return {**seen, "networks": sorted(side.docker.inspect("down")["NetworkSettings"]["Networks"])}


@scenario("TestJoinError")
def a_join_that_fails(side: Side) -> Seen:
    """A default route of the container's own is in the way. Nothing is left, and later it works."""
    side.network("inner", "--internal", "--subnet", "172.30.1.0/24")
    side.network("outer", "--subnet", "172.30.2.0/24")
    side.docker.start("one", "--net=inner")
    side.inside("one", "ip", "route", "add", "default", "via", "172.30.1.1").ok()
    refused = side.docker.try_("network", "connect", "outer", "one")

    def state() -> list[object]:
        return [
            sorted(side.docker.inspect("one")["NetworkSettings"]["Networks"]),
            len(side.docker.inspect("network", "outer")["Containers"]),
            side.node.links(netns=side.docker.netns("one")),
        ]

    seen: Seen = {"refused": [refused.code != 0, "file exists" in refused.err], "after": state()}
    side.inside("one", "ip", "route", "del", "default").ok()
    seen["again"] = [side.docker.try_("network", "connect", "outer", "one").code == 0, state()]
    return seen


@scenario("TestAdvertiseAddresses", "TestAdvertiseAddressesLiveRestore")
def announcements(side: Side) -> Seen:
    """How often a new container's addresses are announced, with numbers of the network's own."""
    seen: Seen = {}
    for count in ("0", "2"):
        options = (*label("advertise_addr_nmsgs", count), *label("advertise_addr_ms", "100"))
        side.network("red", *BOTH, *options)
        side.docker.start("near", "--net=red")
        with _heard(side) as heard:
            side.docker.start("one", "--net=red")
            time.sleep(0.5)
        seen[count] = heard
        side.clear()
    side.network("red", *BOTH, *label("advertise_addr_ms", "100"))
    for name in ("near", "one"):
        side.docker.start(name, "--net=red")
    time.sleep(0.5)
    with _heard(side) as heard:
        side.docker.restart(signal.SIGTERM)
    seen["live restore"] = {version: count > 0 for version, count in heard.items()}
    return seen


def _option(driver_opt: str) -> str:
    return driver_opt.partition("=")[2]


@contextmanager
def _heard(side: Side) -> Iterator[dict[str, int]]:
    """How many announcements of each IP version the container `near` hears of others, once the block has ended."""
    own = str(side.docker.inspect("near")["NetworkSettings"]["Networks"]["red"]["MacAddress"])
    argv = side.node.command("python3", "-Iuc", LISTEN, netns=side.docker.netns("near"))
    found = dict.fromkeys(("IPv4", "IPv6"), 0)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "ready\n"
        yield found
        for line in listener.communicate(timeout=20)[0].splitlines():
            if own not in line:
                found[f"IPv{line[0]}"] += 1
