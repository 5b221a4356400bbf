"""netavark's plugin API with real namespaces and packets: by a stand-in caller, and by netavark 2 where it is built.

The stand-in calls the program from source. netavark calls the built one: a relay in front of a service.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.netavark_messages import network, port, route
from tests.program import built, program
from tests.side import Side
from tests.system.netavark import Caller, PluginFailed, netavark
from tests.system.test_ports import ask, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

C1, C2 = "/run/netns/c1", "/run/netns/c2"
OTHER = {"container_id": "f" * 64, "container_name": "other"}


@pytest.fixture(params=["stand-in", "netavark"])
def real(request: pytest.FixtureRequest) -> bool:
    """Whether netavark itself calls."""
    return str(request.param) == "netavark"


@pytest.fixture
def side(real: bool, tmp_path: Path, require_root: None) -> Iterator[Side]:
    if real:
        netavark()  # skips before anything is built
    made = Side(built() / "cni-cnm" if real else program(tmp_path), "cni-cnm", serve=False)
    if real:
        made.serve()
    for container in ("c1", "c2"):
        made.container(container)
    yield made
    made.close()


@pytest.fixture
def caller(real: bool, side: Side) -> Caller:
    return Caller(side, netavark(), served=True) if real else Caller(side)


def on(ifname: str, *addresses: str, **options: Any) -> dict[str, Any]:
    return {"interface_name": ifname, "static_ips": list(addresses), **options}


def test_the_life_of_two_containers(side: Side, caller: Caller) -> None:
    """Two networks, published ports, static addresses and MAC, routes; nothing is left after both are gone."""
    listed = [route("10.77.0.0/16", kind="blackhole"), route("10.78.0.0/16", "10.9.0.2", 7)]
    web = caller.create(network("web", subnets=[{"subnet": "10.9.0.0/24"}, {"subnet": "fd09::/64"}], routes=listed))
    back = caller.create(network("back", subnets=[{"subnet": "10.8.0.0/24"}], options={"metric": "300"}))
    first = (web, on("eth0", "10.9.0.5", "fd09::5", static_mac="aa:bb:cc:dd:ee:00")), (back, on("eth1", "10.8.0.5"))
    ports = {"port_mappings": [port(8080, 80, size=2)]}
    status = caller.setup(C1, *first, **ports)["web"]["interfaces"]["eth0"]
    assert status["mac_address"] == "aa:bb:cc:dd:ee:00"
    assert [one["ipnet"] for one in status["subnets"]] == ["10.9.0.5/24", "fd09::5/64"]
    second = (web, on("eth0", "10.9.0.6", options={"host_interface_name": "second0"}))
    caller.setup(C2, second, **OTHER)
    with pytest.raises(PluginFailed, match="already"):
        caller.setup(C2, second, **OTHER)
    assert "second0" in side.node.links()
    lines = side.node.run("ip", "route", netns=C1).ok().out
    assert "blackhole 10.77.0.0/16" in lines
    assert "10.78.0.0/16 via 10.9.0.2 dev eth0 metric 7" in lines
    assert "default via 10.9.0.1 dev eth0 \n" in lines
    assert "default via 10.8.0.1 dev eth1 metric 300" in lines
    serve(side, "c1", "tcp", 81)
    assert ask(side, "tcp", "10.9.0.5", 81, "c2") == "10.9.0.6"
    assert ask(side, "tcp", "10.9.0.1", 8081, "c2") == "10.9.0.1"  # masqueraded, as the container is on the same bridge
    assert ask(side, "tcp", "10.8.0.5", 81, "c2").startswith("no")
    shown = side.node.run(str(side.executable), "endpoint", "ls").ok().out
    assert shown.count("netavark") == 3
    caller.teardown("/run/netns/gone", second, **OTHER)
    for _ in range(2):
        caller.teardown(C1, *first, **ports)
    assert side.node.links() == {"lo"}
    assert side.node.links(C1) == side.node.links(C2) == {"lo"}
    assert "blackhole" not in side.node.run("ip", "route", netns=C1).ok().out
    assert side.node.run(str(side.executable), "network", "ls", "-q").ok().out == ""


def test_what_is_refused_is_one_sentence(side: Side, caller: Caller) -> None:
    """podman shows it. What this kernel lacks is named when a container needs it."""
    with pytest.raises(PluginFailed, match="the network option vrf is not supported"):
        caller.create(network("web", options={"vrf": "red"}))
    side.node.run("ip", "link", "add", "br9", "type", "bridge").ok()
    with pytest.raises(PluginFailed, match="the host has an interface br9 already"):
        caller.create(network("web", network_interface="br9"))
    net = caller.create(network("web", subnets=[{"subnet": "10.9.0.0/24"}], network_interface="br9",
                                options={"mode": "unmanaged", "mtu": "1400"}))  # fmt: skip
    caller.setup(C1, (net, on("eth0", "10.9.0.5")))
    assert side.node.addresses("br9") == set()
    with pytest.raises(PluginFailed, match=r"10\.9\.1\.5 is not in 10\.9\.0\.0/24"):
        caller.setup(C2, (net, on("eth0", "10.9.1.5")), **OTHER)
    caller.teardown(C1, (net, on("eth0", "10.9.0.5")))
    assert side.node.links() == {"lo", "br9"}
