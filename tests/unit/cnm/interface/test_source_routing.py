"""Source-based routing through the whole engine, on a kernel in memory."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.cnm.interface import source_routing
from cni_cnm.cnm.records import EndpointRecord
from cni_cnm.errors import CheckFailed, CnmError, InvalidConfig, KernelError
from cni_cnm.kernel import RouteEntry, RoutingRule
from cni_cnm.model import EndpointSpec, IpamSpec, NetworkSpec, SourceRouting, Tuning
from tests.unit.drivers.world import World

RANGES = {"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]}
SBR = SourceRouting()
NEIGHBOURS = ("10.1.0.0/24", "fd00:1::/64")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def net(name: str = "net", ranges: dict[str, Any] = RANGES, **keys: Any) -> NetworkSpec:
    options = {"profile": "cnm", "labels": {"com.docker.network.bridge.name": f"br-{name}"}, **keys}
    return NetworkSpec(name, "bridge", options, IpamSpec("host-local", ranges))


def tables(world: World) -> dict[str, int]:
    return {str(rule.source): rule.table for rule in world.containers["a"].rules()}


def routes(world: World, table: int | None = None) -> set[tuple[str, str]]:
    return {(str(route.dst), str(route.gw or "")) for route in world.containers["a"].routes(table=table)}


def test_a_container_s_life(world: World) -> None:
    """Each address has a table with the routes of the interface; the main table has none."""
    made = world.attach(net(), source_routing=SBR)
    assert tables(world) == {"10.1.0.2/32": 100, "fd00:1::2/128": 101}
    assert routes(world, 100) == {("0.0.0.0/0", "10.1.0.1"), ("10.1.0.0/24", "")}
    assert routes(world, 101) == {("::/0", "fd00:1::1"), ("fd00:1::/64", "")}
    assert routes(world) == set()
    assert {str(route.dst) for route in made.routes} == {"0.0.0.0/0", "::/0"}
    world.check(net())
    record = world.controller.network("net").endpoint("eth0").record
    assert record.source_routing == SourceRouting(0, (100, 101))
    assert EndpointRecord.from_json(record.to_json()) == record
    world.detach(net())
    assert tables(world) == {}


def test_a_table_of_the_configuration(world: World) -> None:
    """Rules alone: the routes stay in the main table, and the default route is elected as ever."""
    world.attach(net(), source_routing=SourceRouting(7))
    assert tables(world) == {"10.1.0.2/32": 7, "fd00:1::2/128": 7}
    assert routes(world, 7) == set()
    assert ("0.0.0.0/0", "10.1.0.1") in routes(world)
    world.check(net())
    world.detach(net())
    assert tables(world) == {}


def test_tables_that_others_use(world: World) -> None:
    """A table with a rule or a route is not chosen."""
    container = world.containers["a"]
    container.add_rule(RoutingRule(100, ip_network("192.0.2.0/24")))
    container.set_link(1, up=True)
    container.add_route(RouteEntry(ip_network("198.51.100.0/24"), link=1, table=102))
    world.attach(net(), source_routing=SBR)
    assert tables(world) == {"192.0.2.0/24": 100, "10.1.0.2/32": 101, "fd00:1::2/128": 103}
    world.detach(net())
    assert tables(world) == {"192.0.2.0/24": 100}
    assert routes(world, 102) == {("198.51.100.0/24", "")}


@pytest.mark.parametrize("order", ["first", "second"])
def test_beside_another_network(world: World, order: str) -> None:
    """The other one is the container's default gateway, whichever came first, and keeps its routes."""
    other = net("other", {"subnet": "10.2.0.0/24"})

    def attach_other() -> None:
        world.controller.attach(other, EndpointSpec("a", "eth1", "/netns/a", "test"))

    if order == "second":
        attach_other()
    world.attach(net(), source_routing=SBR)
    if order == "first":
        attach_other()
    assert routes(world) == {("0.0.0.0/0", "10.2.0.1"), ("10.2.0.0/24", "")}
    assert routes(world, 100) == {("0.0.0.0/0", "10.1.0.1"), ("10.1.0.0/24", "")}
    world.check(net())
    world.detach(net())
    assert ("0.0.0.0/0", "10.2.0.1") in routes(world)


def test_routes_of_the_ipam(world: World) -> None:
    """Those by a gateway of the subnet, and a default route that the configuration names."""
    ranges = {"subnet": "10.1.0.0/24", "routes": [{"dst": "192.0.2.0/24", "gw": "10.1.0.9"}, {"dst": "0.0.0.0/0"}]}
    world.attach(net(ranges=ranges), source_routing=SBR)
    assert routes(world, 100) == {("0.0.0.0/0", "10.1.0.1"), ("192.0.2.0/24", "10.1.0.9"), ("10.1.0.0/24", "")}
    assert routes(world) == set()
    world.check(net(ranges=ranges))


def test_check_names_what_is_missing(world: World) -> None:
    container = world.containers["a"]
    world.attach(net(), source_routing=SBR)
    rule = RoutingRule(100, ip_network("10.1.0.2/32"))
    container.delete_rule(rule)
    with pytest.raises(CheckFailed, match=r"the rule for packets from 10\.1\.0\.2 to use the table 100 is missing"):
        world.check(net())
    container.add_rule(rule)
    container.delete_route(RouteEntry(ip_network("0.0.0.0/0"), table=100))
    with pytest.raises(CheckFailed, match=r"the table 100, for packets from 10\.1\.0\.2, has no default route"):
        world.check(net())


def test_an_interface_without_addresses_is_refused(world: World) -> None:
    network = net()._replace(ipam=IpamSpec(""), options={"profile": "reference"})
    with pytest.raises(InvalidConfig, match="eth0 has no addresses"):
        world.attach(network, source_routing=SBR)
    assert world.containers["a"].link("eth0") is None


def test_a_failure_leaves_no_rule(world: World) -> None:
    """A step after it: the port is taken by another container."""
    sysctl = Tuning((("net/ipv4/no_such_key", "1"),))
    with pytest.raises(CnmError):
        world.attach(net(), source_routing=SBR, tuning=sysctl)
    assert tables(world) == {}


@pytest.mark.parametrize("step", ["add_rule", "delete_route"])
def test_a_kill_in_between(world: World, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """DEL removes the rules that a killed ADD has left: no undo has run."""

    class Killed(BaseException):
        pass

    stack = type(world.host)
    real = getattr(stack, step)

    def killed(self: Any, *args: Any, **named: Any) -> Any:
        real(self, *args, **named)
        raise Killed

    monkeypatch.setattr(stack, step, killed)
    monkeypatch.setattr("cni_cnm.cnm.rollback.Rollback.__exit__", lambda self, *_: None)
    with pytest.raises(Killed):
        world.attach(net(), source_routing=SBR)
    monkeypatch.undo()
    assert tables(world)
    world.detach(net())
    assert tables(world) == {}


def test_the_namespace_is_gone(world: World) -> None:
    """Nothing is made at its path, and the DEL is complete."""
    world.attach(net(), source_routing=SBR)
    world.namespaces.remove("/netns/a")
    world.detach(net())
    assert not list(world.controller.network("net").endpoints())


def test_routes_return_where_the_interface_stays(world: World) -> None:
    """`apply` and `remove` of an interface that another plugin has made."""
    world.attach(net())
    container = world.containers["a"]
    record = world.controller.network("net").endpoint("eth0").record
    before = routes(world)
    assert ("0.0.0.0/0", "10.1.0.1") in before
    chosen = source_routing.choose_tables(container, "eth0", record.addresses, SBR)
    given = container, "eth0", record.addresses, chosen, record.full_lease.routes
    source_routing.apply(*given)
    assert routes(world) == set()
    source_routing.remove(*given)
    assert routes(world) == before
    assert (routes(world, 100), routes(world, 101), tables(world)) == (set(), set(), {})
    source_routing.remove(*given)


def test_configuration() -> None:
    assert source_routing.parse(None) is None
    assert source_routing.parse({}) == SBR
    assert source_routing.parse({"TABLE": 7}) == SourceRouting(7)
    for wrong in (-1, 2**32, "x", True):
        with pytest.raises(InvalidConfig, match=r"sbr\.table is"):
            source_routing.parse({"table": wrong})


def test_errors_of_the_kernel_are_errors(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only "it is there" and "it is absent" are none."""

    def refused(*_: Any) -> None:
        raise KernelError("no", 1)

    world.attach(net(), source_routing=SBR)
    monkeypatch.setattr(type(world.host), "delete_rule", refused)
    with pytest.raises(KernelError):
        world.detach(net())
    monkeypatch.undo()
    world.detach(net())
    assert tables(world) == {}
