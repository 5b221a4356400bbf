"""The plugin contract's traps, and what a first plugin of this kind got wrong: which test is about which.

What can be asked without a dockerd is asked here, message by message.

trap of the contract                                test
──────────────────────────────────────────────────  ──────────────────────────────────────────────────────────────
no Content-Type, empty body, always JSON, no hang   test_what_is_sent_is_answered_once_or_refused_with_the_reason,
                                                    test_any_change_of_any_request_is_answered
Docker's API is never called (it would deadlock)    test_a_dockerd_that_starts_without_the_service
nothing is replayed                                 test_dockerd_is_restarted_under_its_containers,
                                                    test_both_end_and_come_back
Delete*, Leave are idempotent, leaks are reconciled test_a_deleted_network_that_docker_forgets_is_reconciled,
                                                    test_killed_while_containers_start,
                                                    test_what_was_requested_and_never_used_goes_with_the_network
a network is told by -o, a pool by --ipam-opt       test_docker_joins_a_network_of_pods_and_leaves_it_whole
ReleasePool and network rm spare what pods hold     test_what_pods_hold_no_request_of_dockers_releases
the gateway, asked for again and again              test_the_gateway_is_the_same_answer_every_time
Err and Error                                       test_a_body_that_is_none_of_ours_is_answered
no replay of addresses wanted                       test_what_the_plugin_says_of_itself
another pool each time                              test_without_a_subnet_each_network_gets_another_one
Program twice, and for two endpoints                test_steps_that_come_twice_are_the_same_step,
                                                    test_two_endpoints_of_a_sandbox_share_its_ports_by_family
Leave implies Revoke                                test_leave_alone_takes_the_published_port_down
EndpointOperInfo has the ports                      test_published_ports_are_reached_and_reported
no gateway on an internal network                   test_join_of_an_internal_network_names_no_gateway
CreateEndpoint fills only what is empty, MAC twice  test_only_what_was_left_empty_is_filled_in
forward and masquerade beside other firewalls       tests/system/test_docker_forward.py
a new EndpointID each start                         test_a_container_keeps_its_mac_and_address_when_it_is_started_again
the sandbox is gone before Leave                    test_a_sandbox_that_is_gone_is_no_obstacle
a request for the interface's name                    test_a_wish_for_the_interfaces_name_is_passed_on

fault of the first plugin                           test
──────────────────────────────────────────────────  ──────────────────────────────────────────────────────────────
1-3 no way between two, gateway dead, eth1          test_containers_reach_each_other_and_the_gateway_by_one_interface
4 no MAC in inspect, no OperInfo                    test_inspect_shows_mac_and_addresses
5 nothing survives a restart                        test_the_service_is_restarted_under_dockerd
6 a second CreateNetwork overwrites the first       test_a_subnet_that_a_network_has_is_refused,
                                                    test_the_same_call_many_times_at_once_is_one
7 short ids, bad JSON                               test_ids_of_every_kind
8 no locks                                          test_fifty_endpoints_of_dockers_and_fifty_pods_at_once
9 a stale socket, a vanished link                   test_a_link_that_vanished_is_no_obstacle
10 options ignored                                  test_options_of_the_bridge_driver_are_honoured,
                                                    test_an_internal_network_has_no_way_out, test_ipv6
11 no firewall of its own                           test_connect_and_disconnect_a_running_container,
                                                    tests/system/test_docker_forward.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.program import ROOT
from tests.system.docker_host import PluginHost
from tests.waiting import until

NETWORK, OTHER = "a1" * 32, "b2" * 32
END, SECOND = "c3" * 32, "d4" * 32
GATEWAY = {"RequestAddressType": "com.docker.network.gateway"}
PODNET = {"ipam": {"type": "host-local", "subnet": "10.88.0.0/24"}}
SHARED = {"cni-cnm.network": "podnet"}
INTERNAL = "com.docker.network.internal"
PORTS = "com.docker.network.portmap"
PORT = {"Proto": 6, "IP": "", "Port": 80, "HostIP": "", "HostPort": 8080, "HostPortEnd": 8080}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[PluginHost]:
    request.getfixturevalue("left_namespaces")
    host = PluginHost(tmp_path_factory.mktemp("docker"))
    yield host
    host.close()


@pytest.fixture
def plugin(require_root: None, host: PluginHost) -> Iterator[PluginHost]:
    """Afterwards nothing may be left of what the test has deleted; networks of pods are deleted here."""
    yield host
    for network in (NETWORK, OTHER):
        host.call("NetworkDriver.DeleteNetwork", {"NetworkID": network})
    if any("podnet" in record for record in host.records()):
        host.node.run(str(host.program), "network", "rm", "podnet").ok()
    assert not host.records()
    assert not host.elements()
    assert not {link for link in host.node.links() if link.startswith(("veth", "br-", "tmp"))}


def where(endpoint: str = END, network: str = NETWORK) -> dict[str, str]:
    return {"NetworkID": network, "EndpointID": endpoint}


def network(plugin: PluginHost, name: str = NETWORK, *subnets: str, **options: Any) -> None:
    """With addresses of Docker's own IPAM; subnets by their gateways."""
    given = subnets or ("10.9.0.1/24",)
    data = [{"AddressSpace": "LocalDefault", "Pool": pool(one), "Gateway": one, "AuxAddresses": {}} for one in given]
    body = {"NetworkID": name, "Options": options, "IPv4Data": [d for d in data if ":" not in d["Pool"]],
            "IPv6Data": [d for d in data if ":" in d["Pool"]]}  # fmt: skip
    plugin.call("NetworkDriver.CreateNetwork", body)


def pool(gateway: str) -> str:
    from ipaddress import ip_interface

    return str(ip_interface(gateway).network)


def endpoint(plugin: PluginHost, at: dict[str, str], *, key: str = "/run/docker/netns/x", **interface: str) -> Any:
    """Created and joined: both answers."""
    given = {"Address": "10.9.0.5/24", "AddressIPv6": "", "MacAddress": "", **interface}
    created = plugin.call("NetworkDriver.CreateEndpoint", {**at, "Interface": given, "Options": {}})
    return created, plugin.call("NetworkDriver.Join", {**at, "SandboxKey": key, "Options": {}})


def program(plugin: PluginHost, at: dict[str, str], **options: Any) -> None:
    body = {**at, "Options": {PORTS: [PORT], **options}}
    plugin.call("NetworkDriver.ProgramExternalConnectivity", body)


def ports(plugin: PluginHost, at: dict[str, str]) -> list[Any]:
    found = plugin.call("NetworkDriver.EndpointOperInfo", at)["Value"].get(PORTS, [])
    assert isinstance(found, list)
    return found


def elements(plugin: PluginHost, name: str) -> bool:
    """Whether the packet filter's map has the published port."""
    listed = plugin.node.run("nft", "list", "map", "inet", "cni_cnm", name)
    return "8080" in listed.out


def test_what_the_plugin_says_of_itself(plugin: PluginHost) -> None:
    """Scope local; no MAC wanted before an address, and no replay, after whose failure Docker drops the pool."""
    assert plugin.call("Plugin.Activate", {}) == {"Implements": ["NetworkDriver", "IpamDriver"]}
    assert plugin.call("NetworkDriver.GetCapabilities", {})["Scope"] == "local"
    said = plugin.call("IpamDriver.GetCapabilities", {})
    assert not said.get("RequiresRequestReplay")
    assert not said.get("RequiresMACAddress")
    spaces = plugin.call("IpamDriver.GetDefaultAddressSpaces", {})
    assert spaces["LocalDefaultAddressSpace"] != spaces["GlobalDefaultAddressSpace"]


def request_pool(plugin: PluginHost, **options: str) -> str:
    asked = {"AddressSpace": "cni-cnm", "Pool": "10.88.0.0/24", "SubPool": "", "Options": options, "V6": False}
    return str(plugin.call("IpamDriver.RequestPool", asked)["PoolID"])


def own_network(plugin: PluginHost, name: str) -> None:
    data = [{"AddressSpace": "cni-cnm", "Pool": "10.88.0.0/24", "Gateway": "10.88.0.1/24"}]
    plugin.call("NetworkDriver.CreateNetwork", {"NetworkID": name, "Options": {}, "IPv4Data": data})


def follow(plugin: PluginHost, refusal: str) -> None:
    """Run the command of the hint, of which Docker shows the text as it is."""
    found = re.search(r"(?:cni-cnm |rm -rf )[^)'`\n]*", refusal)
    assert found, refusal
    plugin.node.run("sh", "-c", found[0].replace("cni-cnm ", f"{plugin.program} ", 1)).ok()


def test_the_only_network_and_docker_has_lost_it(plugin: PluginHost) -> None:
    """The service cannot know it. The hint of `network rm` removes it."""
    network(plugin)
    refused = plugin.node.run(str(plugin.program), "network", "rm", f"docker-{NETWORK[:12]}")
    assert refused.code == 1
    assert f"if `docker network ls` does not show that id: cni-cnm network rm --force docker-{NETWORK[:12]}" in (
        refused.err
    )
    follow(plugin, refused.err)
    assert not plugin.records()


@pytest.mark.parametrize("given", [False, True])
def test_the_subnet_of_a_network_that_docker_has_lost(plugin: PluginHost, given: bool) -> None:
    """The hint of RequestPool, and with Docker's own addresses (`given`) that of CreateNetwork, makes it free."""
    request_pool(plugin)
    own_network(plugin, NETWORK)

    def again() -> None:
        if given:
            network(plugin, OTHER, "10.88.0.1/24")
        else:
            request_pool(plugin)
            own_network(plugin, OTHER)

    with pytest.raises(AssertionError, match=f"`docker network ls` does not show {NETWORK[:12]}") as refused:
        again()
    follow(plugin, str(refused.value))
    again()


def test_a_subnet_that_docker_requested_and_has_lost(plugin: PluginHost) -> None:
    """For a network of another driver. Its addresses are free after the hint's command, too."""
    address = {"Address": "10.88.0.9", "Options": {}}
    plugin.call("IpamDriver.RequestAddress", {"PoolID": request_pool(plugin), **address})
    with pytest.raises(AssertionError, match="which Docker has requested already") as refused:
        request_pool(plugin)
    follow(plugin, str(refused.value))
    name = request_pool(plugin)
    requested = {"PoolID": name, **address, "Options": {"com.docker.network.endpoint.name": "web"}}
    assert plugin.call("IpamDriver.RequestAddress", requested)["Address"] == "10.88.0.9/24"
    plugin.call("IpamDriver.ReleasePool", {"PoolID": name})


def test_the_gateway_is_the_same_answer_every_time(plugin: PluginHost) -> None:
    """For a network that pods have, whose gateway is the bridge's already, and for one to come; by number, too."""
    plugin.add("podnet", "pod", **PODNET)
    for options in (SHARED, {}):
        if not options:
            plugin.delete("podnet", "pod", **PODNET)
            plugin.node.run(str(plugin.program), "network", "rm", "podnet").ok()
        name = request_pool(plugin, **options)
        asked = [{"PoolID": name, "Address": text, "Options": GATEWAY} for text in ("", "", "10.88.0.1", "")]
        given = {plugin.call("IpamDriver.RequestAddress", one)["Address"] for one in asked}
        assert given == {"10.88.0.1/24"}
        plugin.call("IpamDriver.ReleaseAddress", {"PoolID": name, "Address": "10.88.0.1"})
        again = plugin.call("IpamDriver.RequestAddress", {"PoolID": name, "Address": "", "Options": GATEWAY})
        assert again["Address"] == "10.88.0.1/24"
        plugin.call("IpamDriver.ReleasePool", {"PoolID": name})


def shared_network(plugin: PluginHost, name: str) -> None:
    data = [{"AddressSpace": "cni-cnm", "Pool": "10.88.0.0/24", "Gateway": "10.88.0.1/24"}]
    options = {"com.docker.network.generic": SHARED}
    plugin.call("NetworkDriver.CreateNetwork", {"NetworkID": name, "Options": options, "IPv4Data": data})


def test_what_pods_hold_no_request_of_dockers_releases(plugin: PluginHost) -> None:
    """ReleaseAddress of a pod's address and of the gateway, ReleasePool, DeleteNetwork: pods, bridge, leases stay."""
    one = plugin.add("podnet", "one", **PODNET)
    name = request_pool(plugin, **SHARED)
    shared_network(plugin, NETWORK)
    for address in (one, "10.88.0.1", "10.88.0.200"):
        plugin.call("IpamDriver.ReleaseAddress", {"PoolID": name, "Address": address})
    assert plugin.leases("podnet") == {one: "one\r\neth0"}
    plugin.call("IpamDriver.ReleasePool", {"PoolID": name})
    plugin.call("NetworkDriver.DeleteNetwork", {"NetworkID": NETWORK})
    assert plugin.leases("podnet") == {one: "one\r\neth0"}
    assert plugin.node.ping("10.88.0.1", netns="/run/netns/one")
    two = plugin.add("podnet", "two", **PODNET)
    assert plugin.node.ping(one, netns="/run/netns/two")
    assert two != one
    for pod in ("one", "two"):
        plugin.delete("podnet", pod, **PODNET)


def test_what_was_requested_and_never_used_goes_with_the_network(plugin: PluginHost) -> None:
    """A dockerd that was killed between RequestAddress and CreateEndpoint releases nothing. Two networks: the last."""
    one = plugin.add("podnet", "one", **PODNET)
    name = request_pool(plugin, **SHARED)
    shared_network(plugin, NETWORK)
    second = request_pool(plugin, **SHARED)
    shared_network(plugin, OTHER)
    plugin.call("IpamDriver.RequestAddress", {"PoolID": name, "Address": "10.88.0.77", "Options": {}})
    for guest, pool_id in ((NETWORK, name), (OTHER, second)):
        assert set(plugin.leases("podnet")) == {one, "10.88.0.77"}
        plugin.call("IpamDriver.ReleasePool", {"PoolID": pool_id})
        plugin.call("NetworkDriver.DeleteNetwork", {"NetworkID": guest})
    assert set(plugin.leases("podnet")) == {one}
    plugin.delete("podnet", "one", **PODNET)


def test_only_what_was_left_empty_is_filled_in(plugin: PluginHost) -> None:
    """A MAC of ours where Docker named none, nothing where it did: an answer that repeats it is an error to Docker."""
    network(plugin)
    first, _ = endpoint(plugin, where())
    assert re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", first["Interface"]["MacAddress"])
    assert not first["Interface"].get("Address")
    mac = "02:42:0a:0b:0c:0d"
    second, joined = endpoint(plugin, where(SECOND), Address="10.9.0.6/24", MacAddress=mac)
    assert not second.get("Interface")
    link = plugin.node.ip("link", "show", joined["InterfaceName"]["SrcName"])[0]
    assert link["address"] == mac
    third = {"Address": "10.9.0.7/24", "AddressIPv6": "", "MacAddress": ""}
    options = {"com.docker.network.endpoint.macaddress": "AkIKCwwO"}
    body = {**where("e5" * 32), "Interface": third, "Options": options}
    assert plugin.call("NetworkDriver.CreateEndpoint", body)["Interface"]["MacAddress"] == "02:42:0a:0b:0c:0e"


def test_join_of_an_internal_network_names_no_gateway(plugin: PluginHost) -> None:
    """Docker would install it; and no second interface on docker_gwbridge is wanted."""
    network(plugin, NETWORK, "10.9.0.1/24", **{INTERNAL: True})
    _, joined = endpoint(plugin, where())
    assert not joined.get("Gateway")
    assert joined["DisableGatewayService"] is True
    network(plugin, OTHER, "10.10.0.1/24")
    _, joined = endpoint(plugin, where(SECOND, OTHER), Address="10.10.0.5/24")
    assert joined["Gateway"] == "10.10.0.1"
    assert not joined.get("DisableGatewayService")


def test_a_wish_for_the_interfaces_name_is_passed_on(plugin: PluginHost) -> None:
    """In DstName, which newer dockerds honour; older ones look at DstPrefix. Join is not told of it."""
    network(plugin)
    given = {"Address": "10.9.0.5/24", "AddressIPv6": "", "MacAddress": ""}
    options = {"com.docker.network.endpoint.ifname": "uplink0"}
    plugin.call("NetworkDriver.CreateEndpoint", {**where(), "Interface": given, "Options": options})
    joined = plugin.call("NetworkDriver.Join", {**where(), "SandboxKey": "/run/docker/netns/x", "Options": {}})
    assert joined["InterfaceName"]["DstName"] == "uplink0"
    assert joined["InterfaceName"]["DstPrefix"] == "eth"


def test_leave_alone_takes_the_published_port_down(plugin: PluginHost) -> None:
    """As newer dockerds do after a live restore: no Revoke comes. The next endpoint may have the port."""
    network(plugin)
    endpoint(plugin, where())
    program(plugin, where())
    assert elements(plugin, "ports4")
    assert len(ports(plugin, where())) == 1
    plugin.call("NetworkDriver.Leave", where())
    assert not elements(plugin, "ports4")
    assert not ports(plugin, where())
    endpoint(plugin, where(SECOND), Address="10.9.0.6/24")
    program(plugin, where(SECOND))
    assert elements(plugin, "ports4")


def test_two_endpoints_of_a_sandbox_share_its_ports_by_family(plugin: PluginHost) -> None:
    """Where IPv4 and IPv6 have different default gateways, both endpoints are programmed with the same ports."""
    network(plugin, NETWORK, "10.9.0.1/24")
    network(plugin, OTHER, "10.10.0.1/24", "fd00:10::1/64")
    endpoint(plugin, where())
    six = where(SECOND, OTHER)
    endpoint(plugin, six, Address="10.10.0.5/24", AddressIPv6="fd00:10::5/64")
    program(plugin, where(), **{"com.docker.network.driver.private.no_proxy_6to4": True})
    program(plugin, six)
    program(plugin, where(), **{"com.docker.network.driver.private.no_proxy_6to4": True})
    listed = plugin.node.run("nft", "list", "table", "inet", "cni_cnm").out
    assert "10.9.0.5 . 80" in listed
    assert "fd00:10::5 . 80" in listed
    assert "10.10.0.5 . 80" not in listed
    for at in (six, where()):
        plugin.call("NetworkDriver.RevokeExternalConnectivity", at)
    assert "8080" not in plugin.node.run("nft", "list", "table", "inet", "cni_cnm").out


def test_a_sandbox_that_is_gone_is_no_obstacle(plugin: PluginHost) -> None:
    """The namespace went with the container's end, and the device with it, before Docker says Leave."""
    network(plugin)
    plugin.node.add_netns("box")
    _, joined = endpoint(plugin, where(), key="/run/netns/box")
    plugin.node.run("ip", "link", "set", joined["InterfaceName"]["SrcName"], "netns", "box").ok()
    program(plugin, where())
    plugin.node.run("ip", "netns", "del", "box").ok()
    until(lambda: not [link for link in plugin.node.links() if link.startswith("veth")], "the device is removed")
    for call in ("Leave", "DeleteEndpoint"):
        plugin.call(f"NetworkDriver.{call}", where())
    assert not elements(plugin, "ports4")


def test_a_link_that_vanished_is_no_obstacle(plugin: PluginHost) -> None:
    """The endpoint's link was removed by hand, then the bridge: both are deleted without an error."""
    network(plugin)
    _, joined = endpoint(plugin, where())
    plugin.node.run("ip", "link", "del", joined["InterfaceName"]["SrcName"]).ok()
    for call in ("Leave", "DeleteEndpoint"):
        plugin.call(f"NetworkDriver.{call}", where())
    plugin.node.run("ip", "link", "del", f"br-{NETWORK[:12]}").ok()
    plugin.call("NetworkDriver.DeleteNetwork", {"NetworkID": NETWORK})


def test_every_test_named_above_exists() -> None:
    """The table is of tests that are there."""
    assert __doc__ is not None
    tests = "\n".join(path.read_text(encoding="utf-8") for path in Path(ROOT, "tests").rglob("test_*.py"))
    named = re.findall(r"(?<!/)\btest_\w+", __doc__)
    assert len(named) > 25
    assert not [name for name in named if f"def {name}(" not in tests]
    assert not [path for path in re.findall(r"tests/\S+\.py", __doc__) if not Path(ROOT, path).exists()]
