"""Both sides of the protocol meet: our remote driver uses the plugin that our service is for Docker.

They share the host's network and nothing else: the caller keeps its records and leases in folders of its own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.program import form, program
from tests.side import Side
from tests.system.daemon import Daemon
from tests.waiting import until

OURS = "/run/docker/plugins/cni-cnm.sock"
CALLER = """
run_dir = "/run/caller"
state_dir = "/run/caller-state"
leases_dir = "/run/caller-leases"
"""


class Pair:
    def __init__(self, folder: Path) -> None:
        self.side = Side(program(folder), "cni-cnm")
        self.node = self.side.node
        for container in ("c1", "c2"):
            self.side.container(container)
        self.node.write("/etc/docker/plugins/mirror.spec", f"unix://{OURS}\n")
        self.node.write("/etc/caller.toml", CALLER)
        argv = (str(self.side.executable), "serve", "--docker", "--socket", "/run/plugin.sock")
        self._service = Daemon(self.node, *argv)
        self._service.wait(self.node.path(OURS).exists)

    def close(self) -> None:
        self._service.stop()
        self.side.close()

    def call(self, verb: str, config: dict[str, Any], container: str = "c1") -> Any:
        return self.side.call(verb, config, container, env={"CNI_CNM_CONFIG": "/etc/caller.toml"})

    def network_rm(self) -> None:
        environ = {"CNI_CNM_CONFIG": "/etc/caller.toml"}
        self.node.run(str(self.side.executable), "network", "rm", "net", env=environ).ok()

    def nothing_left(self) -> None:
        """With either of them."""
        assert self.node.links() == {"lo"}
        assert all(self.node.links(f"/run/netns/{container}") == {"lo"} for container in ("c1", "c2"))
        records = ("/run/caller/endpoints", "/run/caller/sandboxes", "/run/caller-state", "/run/cni-cnm/endpoints")
        assert self.node.files(*records, "/var/lib/cni-cnm/networks", "/var/lib/cni-cnm/pools") == set()
        listed = self.node.run("nft", "list", "ruleset").out
        assert "10.71.0." not in listed.replace("10.71.0.0/24", ""), "elements go, chains of a subnet stay"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    if form() == "service":
        pytest.skip("the relay asks the one service of the node, which keeps the records of the plugin's side")
    made = Pair(tmp_path)
    yield made
    made.close()


def conf(ipam: str, **keys: Any) -> dict[str, Any]:
    ranges = [[{"subnet": "10.71.0.0/24"}], [{"subnet": "fd00:71::/64"}]]
    return {
        "cniVersion": "1.1.0", "name": "net", "driver": "mirror", "ipam": {"type": ipam, "ranges": ranges}, **keys
    }  # fmt: skip


@pytest.mark.parametrize("ipam", ["host-local", "mirror"])
def test_pods_on_our_own_plugin(pair: Pair, ipam: str) -> None:
    """They reach each other, the gateway and, by its MAC, are who they are; CHECK agrees; DEL leaves nothing."""
    config = conf(ipam, options={"com.docker.network.driver.mtu": "1400"})
    results = {container: pair.call("ADD", config, container).ok().json for container in ("c1", "c2")}
    first, second = ([ip["address"].partition("/")[0] for ip in results[c]["ips"]] for c in ("c1", "c2"))
    for address in (*second, "10.71.0.1", "fd00:71::1"):
        assert pair.node.ping(address, netns="/run/netns/c1"), address
    assert pair.node.ping(first[0])
    assert [route["dst"] for route in results["c1"]["routes"]] == ["0.0.0.0/0", "::/0"]
    (link,) = pair.node.ip("link", "show", "eth0", netns="/run/netns/c1")
    assert (link["mtu"], link["address"]) == (1400, results["c1"]["interfaces"][0]["mac"])
    for container, result in results.items():
        pair.call("CHECK", {**config, "prevResult": result}, container).ok()
        pair.call("DEL", config, container).ok()
        pair.call("DEL", config, container).ok()
    pair.network_rm()
    pair.nothing_left()


def test_a_published_port(pair: Pair) -> None:
    """Our plugin's packet filter publishes it, ours stays out of it."""
    ports = {"portMappings": [{"hostPort": 8080, "containerPort": 80}]}
    config = conf("mirror", runtimeConfig=ports)
    pair.call("ADD", config).ok()
    server = subprocess.Popen(
        ["nsenter", "--no-fork", *pair.node.command("busybox", "httpd", "-f", "-p", "80", netns="/run/netns/c1")[1:]],
        stdin=subprocess.DEVNULL,
    )
    try:
        until(lambda: "404" in pair.node.run("busybox", "wget", "-O-", "http://127.0.0.1:8080/").err, "the web server")
        refused = pair.call("ADD", config, "c2")
        assert "8080/tcp is already published" in refused.json["msg"]
        assert pair.node.links("/run/netns/c2") == {"lo"}
    finally:
        server.kill()
        server.wait()
    pair.call("DEL", config).ok()
    pair.network_rm()
    pair.nothing_left()


def test_an_internal_network(pair: Pair) -> None:
    config = conf("mirror", internal=True)
    results = [pair.call("ADD", config, container).ok().json for container in ("c1", "c2")]
    assert not results[0].get("routes")
    assert pair.node.ping(results[1]["ips"][0]["address"].partition("/")[0], netns="/run/netns/c1")
    for container in ("c1", "c2"):
        pair.call("DEL", config, container).ok()
    pair.network_rm()
    pair.nothing_left()


def test_a_container_that_is_gone(pair: Pair) -> None:
    """The veth went with its namespace; what is left of it on the host goes with the DEL."""
    pair.call("ADD", conf("mirror")).ok()
    pair.node.run("ip", "netns", "del", "c1").ok()
    pair.side.containers.remove("c1")
    pair.call("DEL", conf("mirror")).ok()
    pair.network_rm()
    pair.node.add_netns("c1")
    pair.nothing_left()
