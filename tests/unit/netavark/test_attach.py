"""setup and teardown: what a container gets, what is left after it, and what happens twice or without a namespace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cni_cnm.cnm.controller import Controller
from cni_cnm.errors import NotReady
from cni_cnm.kernel import RouteEntry
from cni_cnm.model import EndpointSpec, IpamSpec, NameService, NetworkSpec, ip_network
from cni_cnm.netavark import complete, configured
from cni_cnm.state.files import FileStore
from cni_cnm.state.store import ENDPOINTS, GIVEN
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.nft import MemoryNft
from tests.netavark_messages import container, network, port, route
from tests.unit.netavark.plugin import NETNS, Plugin, refused

OTHER = "/run/netns/netns-2"
SUBNET = [{"subnet": "10.9.0.0/24"}]
DUAL = [{"subnet": "10.9.0.0/24"}, {"subnet": "fd09::/64"}]


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plugin:
    monkeypatch.setattr(configured, "subnets", lambda: ())
    monkeypatch.setattr(complete, "unanswered", lambda: "")
    made = Plugin(tmp_path)
    made.namespaces.create(OTHER)
    return made


def made(plugin: Plugin, subnets: Any = SUBNET, **changes: Any) -> dict[str, Any]:
    return plugin.create(network(subnets=subnets, **changes))


def inside(plugin: Plugin, netns: str = NETNS, name: str = "eth0") -> set[str]:
    stack = plugin.inside(netns)
    return {str(address) for address in stack.addresses(stack.link(name).ifindex)}


def routes(plugin: Plugin, kind: str = "") -> set[tuple[str, str, int]]:
    found = plugin.inside().routes(kind=kind, versions=(4,))
    return {(str(one.dst), str(one.gw or ""), one.priority or 0) for one in found if one.gw or one.kind}


def test_the_status_block(plugin: Plugin) -> None:
    """Addresses of both versions with their gateways, several in one subnet, and the MAC that was requested."""
    given = container(made(plugin, DUAL), "10.9.0.5", "10.9.0.6", "fd09::5", static_mac="AA:bb:cc:dd:ee:00")
    assert plugin.setup(given) == {
        "dns_search_domains": [],
        "dns_server_ips": [],
        "interfaces": {
            "eth0": {
                "mac_address": "aa:bb:cc:dd:ee:00",
                "subnets": [
                    {"ipnet": "10.9.0.5/24", "gateway": "10.9.0.1"},
                    {"ipnet": "10.9.0.6/24", "gateway": "10.9.0.1"},
                    {"ipnet": "fd09::5/64", "gateway": "fd09::1"},
                ],
            }
        },
    }
    assert inside(plugin) == {"10.9.0.5/24", "10.9.0.6/24", "fd09::5/64"}
    assert ("0.0.0.0/0", "10.9.0.1", 0) in routes(plugin)


def test_names(plugin: Plugin) -> None:
    """With dns_enabled the gateways are the name servers. A network in a VLAN has none, nor one without subnets."""
    named = made(plugin, DUAL, dns_enabled=True, network_dns_servers=["192.0.2.53"])
    assert named["dns_enabled"] is True
    block = plugin.setup(container(named, "10.9.0.5", "fd09::5", aliases=["db"]))
    assert block["dns_server_ips"] == ["10.9.0.1", "fd09::1"]
    assert block["dns_search_domains"] == ["web.internal"]
    found = plugin.controller.network("web")
    assert found.record.names == NameService("web.internal", ("192.0.2.53",))
    (endpoint,) = found.endpoints()
    assert "db" in endpoint.record.names


def test_an_endpoint_says_whose_it_is(plugin: Plugin) -> None:
    """The owner, the container's name and aliases, and ports with ranges for each protocol and host address."""
    ports = [port(8080, 80, "tcp,udp", size=3), port(53, 53, "udp", "127.0.0.1"), port(53, 53, "udp", "::1")]
    reply = plugin.call("setup", NETNS, message=container(made(plugin), "10.9.0.5", port_mappings=ports))
    assert reply.code == 0
    (endpoint,) = plugin.controller.network("web").endpoints()
    record = endpoint.record
    assert record.shown == "web/752947ff91f9/eth0 (testctr)"
    assert (record.owner, record.aliases) == ("netavark", ("testctr", "752947ff91f9"))
    assert [str(one) for one in record.ports] == ["8080-8082/tcp", "8080-8082/udp", "127.0.0.1 53/udp"]
    assert reply.err == (
        "cni-cnm: ::1 53/udp is not published on the network web: the container has no IPv6 address there\n"
    )


@pytest.mark.parametrize("options", [None, {"vlan": "5"}])
def test_the_last_container_takes_the_network_with_it(plugin: Plugin, options: Any) -> None:
    """The API has no call for that. The bridge goes, too, and in a VLAN the links of its gateway."""
    net = made(plugin, options=options)
    first, second = container(net, "10.9.0.5"), container(net, "10.9.0.6", container_id="f" * 64)
    plugin.setup(first)
    plugin.setup(second, OTHER)
    plugin.teardown(first)
    assert plugin.host.link(net["network_interface"]) is not None
    plugin.teardown(second, OTHER)
    assert plugin.host.link(net["network_interface"]) is None
    assert not [*plugin.controller.networks()]
    assert [link.name for link in (*plugin.host.links(), *plugin.inside().links())] == ["lo", "lo"]


@pytest.mark.parametrize("netns", ["", "/run/netns/gone", OTHER])
def test_teardown_needs_no_namespace(plugin: Plugin, netns: str) -> None:
    """It is repeated, and it takes the record's word: another namespace may have the path by now."""
    given = container(made(plugin), "10.9.0.5")
    plugin.setup(given)
    plugin.namespaces.remove(NETNS)
    for _ in range(2):
        reply = plugin.call("teardown", netns or NETNS, message=given)
        assert reply.code == 0, reply.out
    assert not [*plugin.controller.networks()]
    assert [link.name for link in plugin.host.links()] == ["lo"]


def test_teardown_reads_only_what_it_needs(plugin: Plugin) -> None:
    """A message whose other values are wrong still takes the container down."""
    given = container(made(plugin), "10.9.0.5")
    plugin.setup(given)
    given["network"] |= {"options": {"vrf": "red"}, "subnets": "nonsense"}
    plugin.teardown({**given, "port_mappings": [{"protocol": "icmp"}]})
    assert not [*plugin.controller.networks()]


def test_a_container_that_vanished_gives_its_address_back(plugin: Plugin) -> None:
    """podman gave the address to another one, and the namespace of the first is gone."""
    net = made(plugin)
    plugin.setup(container(net, "10.9.0.5", port_mappings=[port(8080, 80)]))
    plugin.namespaces.remove(NETNS)
    second = container(net, "10.9.0.5", container_id="f" * 64, port_mappings=[port(8080, 80)])
    plugin.setup(second, OTHER)
    (endpoint,) = plugin.controller.network("web").endpoints()
    assert endpoint.record.container_id == "f" * 64


def test_an_address_of_a_living_container_is_refused(plugin: Plugin) -> None:
    """podman has lost its list of addresses, for example. After a reboot the record of the first is no holder."""
    net = made(plugin)
    plugin.setup(container(net, "10.9.0.5"))
    second = container(net, "10.9.0.6", "10.9.0.5", container_id="f" * 64)
    said = refused(plugin.call("setup", OTHER, message=second))
    assert "10.9.0.5 is in use by web/752947ff91f9/eth0" in said
    assert inside(plugin) == {"10.9.0.5/24"}
    assert [link.name for link in plugin.inside(OTHER).links()] == ["lo"]
    settings = plugin.controller.host.settings
    later = MemoryNamespaces()
    later.create(OTHER)
    folder = Path(settings.run_dir).parent
    plugin.controller = Controller(memory_host(folder, later, MemoryNft(), epoch="later"))
    plugin.setup(second, OTHER)


def test_a_damaged_record_of_another_container_stops_no_setup(plugin: Plugin) -> None:
    """It is said where it matters: the address is its."""
    net = made(plugin)
    plugin.setup(container(net, "10.9.0.5"))
    store = plugin.controller.host.store
    (name,) = store.names(ENDPOINTS)
    Path(store.place(ENDPOINTS, name)).write_text("{")
    for address, said in (("10.9.0.6", False), ("10.9.0.5", True)):
        other = container(net, address, container_id="f" * 64)
        reply = plugin.call("setup", OTHER, message=other)
        assert reply.code == 0, reply.out
        assert (name in reply.err) is said
        reply = plugin.call("teardown", OTHER, message=other)
        assert (reply.code, f"{name}.json is not JSON" in reply.err) == (0, said)


def test_records_of_other_containers_are_not_read(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are. The network stays until the last one leaves, also if another way has removed some."""
    net, read = made(plugin), list[str]()
    get = FileStore.get

    def counting(store: FileStore, kind: str, name: str) -> Any:
        read.append(kind)
        return get(store, kind, name)

    monkeypatch.setattr(FileStore, "get", counting)

    def counted(number: int) -> int:
        given = container(net, f"10.9.0.{number}", container_id=f"{number:064x}")
        plugin.namespaces.create(f"/netns/{number}")
        plugin.setup(given, f"/netns/{number}")
        plugin.teardown(given, f"/netns/{number}")
        found = read.count(ENDPOINTS)
        read.clear()
        plugin.setup(given, f"/netns/{number}")
        return found

    counts = [counted(number) for number in range(5, 15)]
    assert set(counts[1:]) == {counts[1]}
    for endpoint in plugin.controller.network("web").endpoints():
        endpoint.delete(force=True)
    plugin.setup(container(net, "10.9.0.5"))
    assert len([*plugin.controller.host.store.names(GIVEN)]) == 10
    plugin.teardown(container(net, "10.9.0.5"))
    assert not [*plugin.controller.networks()]
    assert not [*plugin.controller.host.store.names(GIVEN)]


def test_the_same_container_twice_is_refused(plugin: Plugin) -> None:
    given = container(made(plugin), "10.9.0.5")
    plugin.setup(given)
    assert "already" in refused(plugin.call("setup", NETNS, message=given))
    assert inside(plugin) == {"10.9.0.5/24"}


def test_routes_of_the_network(plugin: Plugin) -> None:
    """Unicast with and without a metric, and those that drop packets; all go with the container."""
    listed = [
        route("10.1.0.0/16", "10.9.0.7"),
        route("10.2.0.0/16", "10.9.0.7", 7),
        *(
            route(f"10.{number}.0.0/16", kind=kind)
            for number, kind in enumerate(("blackhole", "unreachable", "prohibit"), 3)
        ),
    ]
    given = container(made(plugin, routes=listed), "10.9.0.5")
    plugin.setup(given)
    assert routes(plugin) >= {("10.1.0.0/16", "10.9.0.7", 0), ("10.2.0.0/16", "10.9.0.7", 7)}
    for number, kind in enumerate(("blackhole", "unreachable", "prohibit"), 3):
        assert routes(plugin, kind) == {(f"10.{number}.0.0/16", "", 0)}
    plugin.teardown(given)
    assert not any(routes(plugin, kind) for kind in ("", "blackhole", "unreachable", "prohibit"))


def test_routes_of_ipv6_that_drop_packets(plugin: Plugin) -> None:
    """Each goes by its metric: another route to there may be in the container, of another program."""
    listed = [route("fd50::/16", "fd09::9", 5), route("fd50::/16", kind="blackhole")]
    given = container(made(plugin, DUAL, routes=listed), "10.9.0.5", "fd09::5")
    plugin.setup(given)
    stack = plugin.inside()
    stack.add_route(RouteEntry(ip_network("fd50::/16"), link=1, priority=3))
    plugin.teardown(given)
    assert [one.priority for one in stack.routes(versions=(6,)) if one.dst == ip_network("fd50::/16")] == [3]
    assert not stack.routes(versions=(6,), kind="blackhole")


def test_a_setup_that_fails_leaves_no_route(plugin: Plugin) -> None:
    """A port that another container has: routes that drop packets have no link to go with."""
    other = made(plugin, [{"subnet": "10.8.0.0/24"}], name="other")
    plugin.setup(container(other, "10.8.0.5", port_mappings=[port(8080, 80)], container_id="f" * 64), OTHER)
    net = made(plugin, routes=[route("10.1.0.0/16", kind="blackhole")])
    refused(plugin.call("setup", NETNS, message=container(net, "10.9.0.5", port_mappings=[port(8080, 80)])))
    assert not routes(plugin, "blackhole")
    assert [one.name for one in plugin.controller.networks()] == ["other"]


def test_default_routes_with_a_metric_are_side_by_side(plugin: Plugin) -> None:
    """Without one a container has one default route, by its first network."""
    first = made(plugin, options={"metric": "200"})
    second = made(plugin, [{"subnet": "10.8.0.0/24"}], name="other", options={"metric": "100"})
    third = made(plugin, [{"subnet": "10.7.0.0/24"}], name="third", options={"no_default_route": "true"})
    plugin.setup(container(first, "10.9.0.5"))
    plugin.setup(container(second, "10.8.0.5", ifname="eth1"))
    plugin.setup(container(third, "10.7.0.5", ifname="eth2"))
    defaults = {one for one in routes(plugin) if one[0] == "0.0.0.0/0"}
    assert defaults == {("0.0.0.0/0", "10.9.0.1", 200), ("0.0.0.0/0", "10.8.0.1", 100)}


@pytest.mark.parametrize(
    ("isolate", "policy"), [(None, "same-bridge"), ("strict", "same-bridge"), ("true", "routed"), ("false", "open")]
)
def test_isolation(plugin: Plugin, isolate: str | None, policy: str) -> None:
    """strict is the default, as in netavark 2."""
    options = {"isolate": isolate} if isolate else None
    plugin.setup(container(made(plugin, options=options), "10.9.0.5"))
    assert plugin.controller.network("web").record.policy.ingress == policy


def test_options_reach_the_devices(plugin: Plugin) -> None:
    options = {"mtu": "1400", "outbound_addr4": "192.0.2.1"}
    net = made(plugin, network_interface="podman7", options=options)
    plugin.setup(container(net, "10.9.0.5", options={"host_interface_name": "web0"}))
    assert {link.name for link in plugin.host.links()} == {"lo", "podman7", "web0"}
    assert plugin.inside().link("eth0").mtu == plugin.host.link("podman7").mtu == 1400
    assert plugin.controller.network("web").record.policy.sources == ("192.0.2.1",)


@pytest.mark.parametrize("label", ["com.docker.network.driver.mtu", "mtu"])
def test_dockers_names_of_options(plugin: Plugin, label: str) -> None:
    net = made(plugin, options={label: "1300", "com.docker.network.bridge.name": "br7"})
    assert net["network_interface"] == "br7"
    plugin.setup(container(net, "10.9.0.5"))
    assert plugin.host.link("br7").mtu == 1300


def test_a_name_on_the_host_that_is_taken(plugin: Plugin) -> None:
    """The interface of that name is not touched."""
    given = container(made(plugin), "10.9.0.5", options={"host_interface_name": "web0"})
    plugin.host.add_bridge("web0", mac="02:00:00:00:00:09", mtu=0)
    assert "the host has an interface web0" in refused(plugin.call("setup", NETNS, message=given))
    plugin.teardown(given)
    assert plugin.host.link("web0").kind == "bridge"


def test_an_unmanaged_bridge_stays_as_it_is(plugin: Plugin) -> None:
    """No address, no rules, no published ports, and it stays when the last container leaves."""
    plugin.host.add_bridge("br9", mac="02:00:00:00:00:09", mtu=0)
    net = made(plugin, network_interface="br9", options={"mode": "unmanaged"})
    given = container(net, "10.9.0.5", port_mappings=[port(8080, 80)])
    reply = plugin.call("setup", NETNS, message=given)
    assert "it is unmanaged" in reply.err
    assert plugin.host.addresses(plugin.host.link("br9").ifindex) == []
    assert ("0.0.0.0/0", "10.9.0.1", 0) in routes(plugin)
    policy = plugin.controller.network("web").record.policy
    assert (policy.masquerade, policy.isolates) == (False, False)
    plugin.teardown(given)
    assert plugin.host.link("br9").mac == "02:00:00:00:00:09"


def test_an_internal_network(plugin: Plugin) -> None:
    """No gateway on the bridge, no default route, no published ports."""
    net = made(plugin, internal=True)
    reply = plugin.call("setup", NETNS, message=container(net, "10.9.0.5", port_mappings=[port(8080, 80)]))
    assert "8080/tcp is not published on the network web: it is internal" in reply.err
    assert plugin.host.addresses(plugin.host.link(net["network_interface"]).ifindex) == []
    assert routes(plugin) == set()
    assert plugin.controller.network("web").record.policy.internal


def test_a_network_without_addresses(plugin: Plugin) -> None:
    net = plugin.create(network(ipam_options={"driver": "none"}))
    status = plugin.setup(container(net))
    assert status["interfaces"]["eth0"]["subnets"] == []
    assert inside(plugin) == set()
    plugin.teardown(container(net))
    assert not [*plugin.controller.networks()]


def test_only_podman_gives_addresses_there(plugin: Plugin) -> None:
    """A container of CNI cannot be attached: nothing here knows which addresses are free."""
    plugin.setup(container(made(plugin), "10.9.0.5"))
    spec = NetworkSpec("web", ipam=IpamSpec("given", {"ranges": [[{"subnet": "10.9.0.0/24"}]]}))
    with pytest.raises(NotReady, match="the runtime that made this network allocates them"):
        plugin.controller.attach(spec, EndpointSpec("pod", "eth0", OTHER, "cni/test"))


REFUSED: dict[str, tuple[tuple[str, ...], dict[str, Any], str]] = {
    "not in a subnet": (("10.8.0.5",), {}, "10.8.0.5 is not in 10.9.0.0/24"),
    "the gateway": (("10.9.0.1",), {}, "is the gateway"),
    "no address": (("10.9.0",), {}, "network_options.static_ips"),
    "none at all": ((), {}, "cannot get an address"),
    "interface": (("10.9.0.5",), {"ifname": "a/b"}, "network_options.interface_name"),
    "MAC": (("10.9.0.5",), {"static_mac": "ff:ff:ff:ff:ff:ff"}, "network_options.static_mac"),
    "option": (("10.9.0.5",), {"options": {"colour": "red"}}, "network_options.options.colour is not known"),
    "container": (("10.9.0.5",), {"container_id": ""}, "container_id is missing"),
    "protocol": (("10.9.0.5",), {"port_mappings": [port(1, 1, "icmp")]}, "port_mappings[0].protocol"),
    "port 0": (("10.9.0.5",), {"port_mappings": [port(0, 80)]}, "port_mappings[0].host_port"),
    "range": (("10.9.0.5",), {"port_mappings": [port(65535, 80, size=2)]}, "port_mappings[0].host_port"),
}


@pytest.mark.parametrize(("addresses", "changes", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_attached(
    plugin: Plugin, addresses: tuple[str, ...], changes: dict[str, Any], sentence: str
) -> None:
    """One sentence that names the value, and nothing is made."""
    given = container(made(plugin), *addresses, **changes)
    assert sentence in refused(plugin.call("setup", NETNS, message=given))
    assert not [*plugin.controller.networks()]
    assert [link.name for link in plugin.host.links()] == ["lo"]


def test_every_address_of_a_subnet_can_be_requested(plugin: Plugin) -> None:
    """A lease range is podman's: `--ip` may be outside of it."""
    subnets = [{"subnet": "10.9.0.0/24", "lease_range": {"start_ip": "10.9.0.100", "end_ip": "10.9.0.110"}}]
    plugin.setup(container(made(plugin, subnets), "10.9.0.5"))
    assert inside(plugin) == {"10.9.0.5/24"}
