"""create: what is chosen for a network, what stays as it was given, and what is refused before any container."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from cni_cnm.model import IPNetwork
from cni_cnm.names import server
from cni_cnm.netavark import complete, configured
from tests.netavark_messages import container, network, route
from tests.unit.netavark.plugin import NETNS, Plugin, refused
from tests.waiting import until


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plugin:
    monkeypatch.setattr(configured, "subnets", lambda: ())
    monkeypatch.setattr(complete, "unanswered", lambda: "")
    return Plugin(tmp_path)


def test_a_network_gets_a_subnet_its_gateway_and_a_bridge(plugin: Plugin) -> None:
    """Name, id, driver and keys that are not read stay as they are."""
    given = network(labels={"a": "b"}, future={"key": 1})
    made = plugin.create(given)
    (subnet,) = made["subnets"]
    pool = ip_network(subnet["subnet"])
    assert subnet["gateway"] == str(pool[1])
    assert made["network_interface"] == f"br-{given['id'][:12]}"
    assert {key: made[key] for key in given} == given
    assert not [*plugin.controller.networks()]
    assert [link.name for link in plugin.host.links()] == ["lo"]


@pytest.mark.parametrize("subnets", [None, [{"subnet": "10.9.0.0/24"}], [{"subnet": "fd09::/64"}]])
def test_ipv6_adds_the_version_that_is_missing(plugin: Plugin, subnets: Any) -> None:
    """Both versions, each with a gateway, and the subnet that was given among them."""
    made = plugin.create(network(ipv6_enabled=True, subnets=subnets))
    assert {ip_network(one["subnet"]).version for one in made["subnets"]} == {4, 6}
    assert all(one["gateway"] == str(ip_network(one["subnet"])[1]) for one in made["subnets"])
    assert subnets is None or made["subnets"][0]["subnet"] == subnets[0]["subnet"]


def test_an_ipv6_subnet_enables_it(plugin: Plugin) -> None:
    assert plugin.create(network(subnets=[{"subnet": "fd09::/64"}]))["ipv6_enabled"] is True


def test_an_internal_network_has_no_gateway_unless_one_is_given(plugin: Plugin) -> None:
    """As with netavark: nothing is routed there."""
    subnets = [{"subnet": "10.9.0.0/24"}, {"subnet": "10.10.0.0/24", "gateway": "10.10.0.7"}]
    made = plugin.create(network(internal=True, subnets=subnets))
    assert made["subnets"] == subnets


def test_a_lease_range_stays(plugin: Plugin) -> None:
    """podman allocates from it."""
    lease_range = {"start_ip": "10.9.0.100", "end_ip": "10.9.0.200"}
    made = plugin.create(network(subnets=[{"subnet": "10.9.0.0/24", "lease_range": lease_range}]))
    assert made["subnets"][0]["lease_range"] == lease_range
    long = {"start_ip": "fd09::5", "end_ip": "fd09::9"}
    listed = [{"subnet": "10.9.0.0/24"}, {"subnet": "FD09:0::/64", "lease_range": long}]
    assert [one.get("lease_range") for one in plugin.create(network(subnets=listed))["subnets"]] == [None, long]


def test_the_own_gateway_is_no_name_server(plugin: Plugin) -> None:
    """Of the network it is: other questions would come back to it."""
    given = network(subnets=[{"subnet": "10.9.0.0/24"}], dns_enabled=True, network_dns_servers=["10.9.0.1"])
    assert "the name server 10.9.0.1 is the gateway of 10.9.0.0/24" in refused(plugin.call("create", message=given))
    assert plugin.create({**given, "dns_enabled": False})["dns_enabled"] is False


def test_without_addresses(plugin: Plugin) -> None:
    """The ipam driver none: no subnet is chosen."""
    made = plugin.create(network(ipam_options={"driver": "none"}))
    assert made["subnets"] == []
    assert made["ipam_options"] == {"driver": "none"}


def test_subnets_of_podman_and_of_networks_here_are_not_chosen(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ip_network(plugin.create(network())["subnets"][0]["subnet"])
    taken: list[IPNetwork] = [first]
    monkeypatch.setattr(configured, "subnets", lambda: taken)
    second = ip_network(plugin.create(network())["subnets"][0]["subnet"])
    assert not first.overlaps(second)
    plugin.controller.new_network("other", ipam_config={"subnet": str(second)})
    third = ip_network(plugin.create(network())["subnets"][0]["subnet"])
    assert not third.overlaps(second)


def test_podmans_files_are_read(tmp_path: Path) -> None:
    """What is no network is left out."""
    subnets = [{"subnet": "10.89.0.0/24"}, {"subnet": "fd89::/64"}]
    (tmp_path / "web.json").write_text(json.dumps(network(subnets=subnets)))
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "wrong.json").write_text('{"subnets": [{"subnet": "x"}]}')
    (tmp_path / "note.txt").write_text("{}")
    assert [str(one) for one in configured.subnets(str(tmp_path))] == ["10.89.0.0/24", "fd89::/64"]
    assert configured.subnets(str(tmp_path / "missing")) == ()


def test_names_that_nothing_would_answer(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    """podman's default is to enable them. Then it is told, and the network has none; name servers cannot be given."""
    monkeypatch.setattr(complete, "unanswered", lambda: "dnsmasq is not installed")
    reply = plugin.call("create", message=network(dns_enabled=True))
    assert json.loads(reply.out)["dns_enabled"] is False
    assert "names of the network web are not answered, as with --disable-dns: dnsmasq is not installed" in reply.err
    given = network(dns_enabled=True, network_dns_servers=["192.0.2.53"])
    assert "name servers are given" in refused(plugin.call("create", message=given))


@pytest.mark.parametrize(("program", "why"), [("", "dnsmasq is not installed"), ("/bin/true", "no service runs")])
def test_why_names_are_not_answered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, why: str) -> None:
    monkeypatch.setattr(server, "program", lambda: program)
    monkeypatch.setenv("CNI_CNM_SOCKET", str(tmp_path / "service.sock"))
    assert why in complete.unanswered()


def test_names_are_answered_where_a_service_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(server, "program", lambda: "/bin/true")
    monkeypatch.setenv("CNI_CNM_SOCKET", str(tmp_path / "service.sock"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "service.sock"))
        listener.listen()
        assert complete.unanswered() == ""


def test_a_service_that_calls_have_left_behind_answers_no_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(server, "program", lambda: "/bin/true")
    path = str(tmp_path / "service.sock")
    monkeypatch.setenv("CNI_CNM_SOCKET", path)
    script = (
        "import signal, socket, sys; one = socket.socket(socket.AF_UNIX); one.bind(sys.argv[1]); one.listen()\n"
        "signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", script, path, "--linger", "60"]) as service:
        try:
            until(lambda: os.path.exists(path) and not _refuses(path), "the service")
            assert complete.unanswered() == "no service runs (cni-cnm serve)"
        finally:
            service.kill()


def _refuses(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(path) != 0


def test_a_network_of_cni_is_shared(plugin: Plugin, tmp_path: Path) -> None:
    """podman's containers join it as it is; addresses are leased there."""
    plugin.controller.new_network("web", ipam_config={"subnet": "10.9.0.0/24"}, internal=True)
    shared = plugin.create(network())
    assert shared["subnets"] == [{"subnet": "10.9.0.0/24", "gateway": "10.9.0.1"}]
    assert shared["internal"] is True
    status = plugin.setup(container(shared, "10.9.0.9"))
    assert status["interfaces"]["eth0"]["subnets"][0]["ipnet"] == "10.9.0.9/24"
    assert (tmp_path / "leases/web/10.9.0.9").exists()
    plugin.teardown(container(shared, "10.9.0.9"))
    assert not (tmp_path / "leases/web/10.9.0.9").exists()
    assert [one.name for one in plugin.controller.networks()] == ["web"]


def test_a_network_of_cni_with_other_subnets_is_not_shared(plugin: Plugin) -> None:
    plugin.controller.new_network("web", ipam_config={"subnet": "10.9.0.0/24"})
    sentence = refused(plugin.call("create", message=network(subnets=[{"subnet": "10.8.0.0/24"}])))
    assert "there is a network web already, and it has 10.9.0.0/24" in sentence
    for changes, reason in (
        ({"options": {"mtu": "1400"}}, "options are given for it"),
        ({"routes": [route("10.1.0.0/16", "10.9.0.7")]}, "routes are given for it"),
        ({"network_dns_servers": ["192.0.2.53"]}, "name servers are given for it"),
        ({"internal": True}, "it is not internal"),
    ):
        assert reason in refused(plugin.call("create", message=network(**changes)))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "name": ({"name": "a/b"}, "name"),
    "id": ({"id": ""}, "id is missing"),
    "dhcp": ({"ipam_options": {"driver": "dhcp"}}, "the ipam driver dhcp is not supported"),
    "none with subnets": (
        {"ipam_options": {"driver": "none"}, "subnets": [{"subnet": "10.9.0.0/24"}]},
        "subnets are given",
    ),
    "bridge name": ({"network_interface": "much-too-long-a-name"}, "network_interface"),
    "host bits": ({"subnets": [{"subnet": "10.9.0.1/24"}]}, "subnets[0].subnet"),
    "one address": ({"subnets": [{"subnet": "10.9.0.1/32"}]}, "too small"),
    "gateway": ({"subnets": [{"subnet": "10.9.0.0/24", "gateway": "10.8.0.1"}]}, "gateway 10.8.0.1 is not in"),
    "lease range": (
        {"subnets": [{"subnet": "10.9.0.0/24", "lease_range": {"start_ip": "10.9.0.9", "end_ip": "10.9.0.8"}}]},
        "end_ip 10.9.0.8 is before",
    ),
    "overlap": ({"subnets": [{"subnet": "10.9.0.0/24"}, {"subnet": "10.9.0.0/16"}]}, "overlaps"),
    "route without gateway": ({"routes": [route("10.1.0.0/16")]}, "has no gateway"),
    "blackhole with gateway": ({"routes": [route("10.1.0.0/16", "172.18.0.2", kind="blackhole")]}, "no gateway"),
    "route type": ({"routes": [route("10.1.0.0/16", kind="throw")]}, "type"),
    "route host bits": ({"routes": [route("10.1.0.1/16", "172.18.0.2")]}, "destination"),
    "vrf": ({"options": {"vrf": "red"}}, "the network option vrf is not supported"),
    "unknown option": ({"options": {"bclim": "1"}}, "the network option bclim is not supported"),
    "isolate": ({"options": {"isolate": "yes"}}, "isolate is 'yes', it must be strict, true, false"),
    "mtu": ({"options": {"mtu": "many"}}, "the option mtu"),
    "mtu of IPv6": ({"options": {"mtu": "67"}}, "mtu is 67"),
    "metric": ({"options": {"metric": "-1"}}, "the option metric"),
    "vlan": ({"options": {"vlan": "4095"}}, "the option vlan"),
    "mode": ({"options": {"mode": "auto"}}, "managed or unmanaged"),
    "no_default_route": ({"options": {"no_default_route": "maybe"}}, "the option no_default_route"),
    "outbound address": ({"options": {"outbound_addr4": "fd00::1"}}, "an IPv4 address"),
    "unmanaged without a bridge": ({"options": {"mode": "unmanaged"}}, "no bridge is named"),
    "unmanaged with rules": (
        {"network_interface": "br9", "options": {"mode": "unmanaged", "isolate": "true"}},
        "its packets get no rules",
    ),
    "unmanaged, no bridge": (
        {"network_interface": "br9", "options": {"mode": "unmanaged"}},
        "the bridge br9 does not exist",
    ),
}


BOTH: dict[str, tuple[dict[str, Any], str]] = {
    "gateway elsewhere": ({"routes": [route("10.1.0.0/16", "10.8.0.7")]}, "10.8.0.7 of the route to 10.1.0.0/16 is no"),
    "broadcast": (
        {"routes": [route("10.1.0.0/16", "10.9.0.255")]},
        "10.9.0.255 of the route to 10.1.0.0/16 is no host",
    ),
    "IPv6 gateway": ({"routes": [route("fd01::/64", "fd08::7", 5)]}, "fd08::7 of the route to fd01::/64 is no host in"),
    "own subnet": ({"routes": [route("10.9.0.0/24", "10.9.0.7")]}, "10.9.0.0/24 have the metric 0: the network's own"),
    "two kinds": (
        {"routes": [route("10.1.0.0/16", kind="blackhole"), route("10.1.0.0/16", "10.9.0.7")]},
        "two routes to 10.1.0.0/16 have the metric 0: blackhole and unicast",
    ),
    "no subnet": (
        {"routes": [route("10.1.0.0/16", kind="blackhole")], "ipam_options": {"driver": "none"}, "subnets": None},
        "routes are given, and the network has no subnets",
    ),
    "mtu and IPv6": ({"options": {"mtu": "1279"}}, "the mtu of the network web would be 1279"),
}


@pytest.mark.parametrize(("changes", "sentence"), BOTH.values(), ids=BOTH)
def test_what_create_and_setup_refuse_with_one_sentence(plugin: Plugin, changes: dict[str, Any], sentence: str) -> None:
    """podman keeps its file: setup may get a network that an earlier version has let through."""
    subnets = [{"subnet": "10.9.0.0/24", "gateway": "10.9.0.1"}, {"subnet": "fd09::/64", "gateway": "fd09::1"}]
    given = network(**{"subnets": subnets, "network_interface": "br9", **changes})
    said = refused(plugin.call("create", message=given))
    assert sentence in said
    assert refused(plugin.call("setup", NETNS, message=container(given, "10.9.0.5", "fd09::5"))) == said
    assert [link.name for link in plugin.host.links()] == ["lo"]


def test_routes_that_a_container_can_have(plugin: Plugin) -> None:
    """By a link-local gateway, side by side by their metrics, and several gateways of one route."""
    listed = [
        route("fd01::/64", "fe80::1"), route("10.1.0.0/16", "10.9.0.7"), route("10.1.0.0/16", "10.9.0.8"),
        route("10.1.0.0/16", kind="blackhole", metric=9), route("10.9.0.0/24", "10.9.0.7", 5),
    ]  # fmt: skip
    net = plugin.create(network(subnets=[{"subnet": "10.9.0.0/24"}, {"subnet": "fd09::/64"}], routes=listed))
    plugin.setup(container(net, "10.9.0.5", "fd09::5"))


@pytest.mark.parametrize(("changes", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_a_container_could_not_use_is_refused_at_create(
    plugin: Plugin, changes: dict[str, Any], sentence: str
) -> None:
    """One sentence that names the value; nothing is recorded."""
    assert sentence in refused(plugin.call("create", message=network(**changes)))
    assert not [*plugin.controller.networks()]


def test_a_bridge_or_a_subnet_of_another_program_is_refused(plugin: Plugin) -> None:
    plugin.host.add_bridge("br9", mac="02:00:00:00:00:09", mtu=0)
    assert "the host has an interface br9 already" in refused(
        plugin.call("create", message=network(network_interface="br9"))
    )
    plugin.controller.new_network("other", ipam_config={"subnet": "10.9.0.0/24"})
    taken: Sequence[Any] = [{"subnet": "10.9.0.0/25"}]
    assert "overlaps with 10.9.0.0/24 of the network other" in refused(
        plugin.call("create", message=network(subnets=taken))
    )


@pytest.mark.parametrize("stdin", [b"", b"[]", b"{", b"\xff"])
def test_what_is_no_message(plugin: Plugin, stdin: bytes) -> None:
    assert "the message is not" in refused(plugin.call("create", message=stdin))


def test_info_and_words_that_are_no_verb(plugin: Plugin) -> None:
    """netavark's own plugins answer info without a verb, too."""
    for arguments in (("info",), ()):
        assert json.loads(plugin.call(*arguments).out)["api_version"] == "1.0.0"
    for verb in ("setup", "teardown"):
        assert "the path of the network namespace is missing" in refused(plugin.call(verb, message={}))
