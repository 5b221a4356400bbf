"""Port mappings as runtimes send them: twice, and to every network of a container."""

from __future__ import annotations

from typing import Any

from tests.side import Side
from tests.surroundings.configs import network

ONE = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}
FIRST = network("alpha", "10.91.0.0/24", "fd00:91::/64", isDefaultGateway=True)
SECOND = network("beta", "10.92.0.0/24", "fd00:92::/64", isDefaultGateway=True)


def publishing(config: dict[str, Any], *mappings: dict[str, Any]) -> dict[str, Any]:
    return {**config, "capabilities": {"portMappings": True}, "runtimeConfig": {"portMappings": list(mappings)}}


def serve(side: Side, port: int = 80) -> None:
    """A TCP server on both families in c1, which answers with its own address on the connection."""
    script = f"""
import socket
server = socket.create_server(("::", {port}), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    client, _ = server.accept()
    client.sendall(client.getsockname()[0].removeprefix("::ffff:").encode())
    client.close()
"""
    side.node.run("sh", "-c", f"nsenter --net=/run/netns/c1 python3 -Ic '{script}' >/dev/null 2>&1 &").ok()
    wait = f"until nsenter --net=/run/netns/c1 ss -ltn | grep -q :{port}; do sleep 0.05; done"
    side.node.run("sh", "-c", wait).ok()


def asked(side: Side, address: str, port: int = 8080) -> str:
    """Who answers on a published port of the node; "" if no server does."""
    script = f"import socket; print(socket.create_connection(({address!r}, {port}), 1).recv(99).decode())"
    return side.node.run("python3", "-Ic", script).out.strip()


EQUAL: dict[str, list[dict[str, Any]]] = {
    "the same": [ONE, ONE],
    "the protocol left out": [ONE, {"hostPort": 8080, "containerPort": 80}],
    "spelled otherwise": [ONE, {**ONE, "protocol": "TCP"}, {**ONE, "hostIP": ""}],
    "an address": [{**ONE, "hostIP": "127.0.0.1"}, {**ONE, "hostIP": "127.0.0.1"}],
}


def test_equal_mappings_are_one(side: Side) -> None:
    """-p 8080:80 -p 8080:80/tcp."""
    side.container("c1")
    serve(side)
    for mappings in EQUAL.values():
        config = publishing(FIRST, *mappings)
        result = side.add(config).ok().json
        assert asked(side, "127.0.0.1") == result["ips"][0]["address"].partition("/")[0], mappings
        side.check(config, result).ok()
        side.delete(config).ok()


def test_mappings_that_contradict_each_other_are_refused(side: Side) -> None:
    """One host port to two ports of the container."""
    side.container("c1")
    refused = side.add(publishing(FIRST, ONE, {**ONE, "containerPort": 81}))
    assert (refused.code, refused.json["code"]) == (1, 7)


def test_two_networks_of_one_container_with_the_same_port(side: Side) -> None:
    """What go-cni and podman send: the first serves it; when it leaves, the second does, and then none."""
    side.container("c1")
    first, second = publishing(FIRST, ONE), publishing(SECOND, ONE)
    side.add(first).ok()
    result = side.add(second, ifname="eth1").ok().json
    serve(side)
    side.node.run("ip", "addr", "add", "192.0.2.1/32", "dev", "lo").ok()
    side.node.run("ip", "addr", "add", "2001:db8::1/128", "dev", "lo").ok()
    assert (asked(side, "192.0.2.1"), asked(side, "2001:db8::1")) == ("10.91.0.2", "fd00:91::2")
    side.check(second, result, ifname="eth1").ok()
    side.delete(first).ok()
    assert (asked(side, "192.0.2.1"), asked(side, "2001:db8::1")) == ("10.92.0.2", "fd00:92::2")
    side.check(second, result, ifname="eth1").ok()
    side.delete(second, ifname="eth1").ok()
    assert asked(side, "192.0.2.1") == ""
    side.container("c2")
    side.add(first, "c2").ok()


def test_the_second_network_leaves_first(side: Side) -> None:
    """The first one goes on serving the port."""
    side.container("c1")
    first, second = publishing(FIRST, ONE), publishing(SECOND, ONE)
    result = side.add(first).ok().json
    side.add(second, ifname="eth1").ok()
    side.delete(second, ifname="eth1").ok()
    serve(side)
    assert asked(side, "127.0.0.1") == "10.91.0.2"
    side.check(first, result).ok()


def test_another_container_is_refused_as_before(side: Side) -> None:
    """One port has one container, and the refusal names it, also after a handover."""
    for name in ("c1", "c2"):
        side.container(name)
    first, second = publishing(FIRST, ONE), publishing(SECOND, ONE)
    side.add(first).ok()
    side.add(second, ifname="eth1").ok()
    serve(side)  # a container that runs is not about to leave
    for _ in range(2):
        refused = side.add(second, "c2")
        assert (refused.code, refused.json["code"]) == (1, 100)
        assert "c1" in refused.json["msg"]
        side.delete(first).ok()


def test_more_ports_on_the_second_network(side: Side) -> None:
    """Each port is served by the first that asked for it."""
    side.container("c1")
    side.add(publishing(FIRST, ONE)).ok()
    side.add(publishing(SECOND, ONE, {**ONE, "hostPort": 8081}), ifname="eth1").ok()
    serve(side)
    assert asked(side, "127.0.0.1", 8080) == "10.91.0.2"
    assert asked(side, "127.0.0.1", 8081) == "10.92.0.2"
    side.delete(FIRST).ok()
    assert asked(side, "127.0.0.1", 8080) == "10.92.0.2"


def test_a_flushed_ruleset_comes_back_as_it_was(side: Side) -> None:
    """What is put back for both endpoints is the first one's port."""
    side.container("c1")
    first, second = publishing(FIRST, ONE), publishing(SECOND, ONE)
    side.add(first).ok()
    side.add(second, ifname="eth1").ok()
    serve(side)
    side.node.run("nft", "delete", "table", "inet", "cni_cnm").ok()
    side.container("c2")
    side.add(network("alpha", "10.91.0.0/24", "fd00:91::/64", isDefaultGateway=True), "c2").ok()
    assert asked(side, "127.0.0.1") == "10.91.0.2"
