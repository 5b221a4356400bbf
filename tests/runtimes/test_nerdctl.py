"""A real nerdctl: its own networks, whose types are fixed, under drop-in names, and a network of a file of ours."""

from __future__ import annotations

import json
import re
import shutil
import signal
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.program import ROOT
from tests.runtimes.conftest import new_node
from tests.runtimes.nerdctl import Nerdctl, missing
from tests.system.containerd import IMAGE
from tests.system.daemon import Daemon
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.long

OURS: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "name": "ours",
    "plugins": [
        {
            "type": "cni-cnm",
            "capabilities": {"portMappings": True, "ips": True, "mac": True},
            "ipam": {"ranges": [[{"subnet": "10.77.0.0/24"}]]},
        }
    ],
}
HTTPD = ("httpd", "-f", "-p", "80")


@pytest.fixture(autouse=True)
def _nothing_left(nerdctl: Nerdctl) -> Iterator[None]:
    """Each test leaves neither endpoints nor links; one that fails leaves no container to the others."""
    nerdctl.node.write("/etc/cni/net.d/10-ours.conflist", json.dumps(OURS))
    yield
    containers = nerdctl("ps", "-aq").split()
    if containers:
        nerdctl("rm", "-f", *containers)
    assert endpoints(nerdctl) == []
    assert not {link for link in nerdctl.node.links() if link.startswith("veth")}
    assert "elements" not in nerdctl.node.run("nft", "list", "map", "inet", "cni_cnm", "ports4").out  # no map: no ports


def endpoints(nerdctl: Nerdctl) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(nerdctl.node.run("cni-cnm", "endpoint", "ls", "--json").ok().out)
    return found


def get(nerdctl: Nerdctl, target: str) -> str:
    return nerdctl.node.run("busybox", "wget", "-O-", f"http://{target}/none").err


def address(nerdctl: Nerdctl, name: str, ifname: str = "eth0") -> str:
    out = nerdctl.execute(name, "ip", "-4", "-o", "address", "show", "dev", ifname).ok().out.split()
    return out[out.index("inet") + 1].partition("/")[0]


def test_a_network_of_its_own_is_one_endpoint_for_a_container(nerdctl: Nerdctl) -> None:
    """create, run with ports, two containers that reach each other, rm: its chain of four plugins is one endpoint."""
    made = nerdctl.try_("network", "create", "--subnet", "10.91.0.0/24", "red").ok()
    assert "firewall" not in made.err  # no warning about the version of the plugin of that name
    chain = json.loads(nerdctl.node.path("/etc/cni/net.d/default/nerdctl-red.conflist").read_text(encoding="utf-8"))
    assert [plugin["type"] for plugin in chain["plugins"]] == ["bridge", "portmap", "firewall", "tuning"]
    nerdctl.start("web", "--net=red", "-p", "8080:80", "-p", "8053:53/udp", command=HTTPD)
    nerdctl.start("other", "--net=red")
    assert sorted(one["network"] for one in endpoints(nerdctl)) == ["red", "red"]
    web = next(one for one in endpoints(nerdctl) if one["published"])
    assert web["owner"] == "cni/nerdctl"
    assert len(web["published"]) == 2
    until(lambda: "404" in get(nerdctl, "127.0.0.1:8080"), "the published port answers")
    assert "404" in get(nerdctl, f"{address(nerdctl, 'web')}:80")
    assert nerdctl.execute("other", "ping", "-c1", "-W2", address(nerdctl, "web")).code == 0
    assert nerdctl.node.run("cni-cnm", "doctor").ok().out.strip()
    nerdctl("rm", "-f", "web", "other")
    nerdctl("network", "rm", "red")
    assert "red" not in nerdctl("network", "ls")


def test_networks_of_its_own_do_not_reach_each_other(nerdctl: Nerdctl) -> None:
    """Its firewall has `same-bridge`; with icc off a network's containers do not reach each other either."""
    nerdctl("network", "create", "--subnet", "10.92.0.0/24", "green")
    nerdctl("network", "create", "--subnet", "10.93.0.0/24", "blue")
    icc = ("-o", "com.docker.network.bridge.enable_icc=false")
    nerdctl("network", "create", "--subnet", "10.94.0.0/24", *icc, "alone")
    for name, network in (("g1", "green"), ("b1", "blue"), ("a1", "alone"), ("a2", "alone")):
        nerdctl.start(name, f"--net={network}")
    for source, target in (("g1", "b1"), ("b1", "g1"), ("a1", "a2")):
        assert nerdctl.execute(source, "ping", "-c1", "-W1", address(nerdctl, target)).code != 0
    nerdctl("rm", "-f", "g1", "b1", "a1", "a2")
    nerdctl("network", "rm", "green", "blue", "alone")


@pytest.mark.parametrize("network", ["ours", "fixed"])
def test_a_static_address_and_mac(nerdctl: Nerdctl, network: str) -> None:
    """nerdctl sends a MAC only where the first type is bridge or macvlan."""
    subnet = "10.77.0" if network == "ours" else "10.95.0"
    if network == "fixed":
        nerdctl("network", "create", "--subnet", "10.95.0.0/24", "fixed")
    mac = () if network == "ours" else ("--mac-address", "02:42:ac:11:00:09")
    nerdctl.start("still", f"--net={network}", "--ip", f"{subnet}.77", *mac)
    assert address(nerdctl, "still") == f"{subnet}.77"
    if mac:
        assert mac[1] in nerdctl.execute("still", "ip", "link", "show", "eth0").out
    nerdctl("rm", "-f", "still")
    if network == "fixed":
        nerdctl("network", "rm", "fixed")


def test_two_networks_and_a_restart(nerdctl: Nerdctl) -> None:
    nerdctl("network", "create", "--subnet", "10.96.64.0/24", "second")
    nerdctl.start("both", "--net=ours", "--net=second", "-p", "8081:80", command=HTTPD)
    assert address(nerdctl, "both").startswith("10.77.0.")
    assert address(nerdctl, "both", "eth1").startswith("10.96.64.")
    nerdctl("stop", "--time=1", "both")
    assert endpoints(nerdctl) == []
    nerdctl("start", "both")
    until(lambda: "404" in get(nerdctl, "127.0.0.1:8081"), "the port answers again")
    nerdctl("rm", "-f", "both")
    nerdctl("network", "rm", "second")


def test_a_network_of_ours_is_listed_and_not_removed(nerdctl: Nerdctl) -> None:
    """Without a nerdctlID in its file it is the administrator's."""
    assert "ours" in nerdctl("network", "ls")
    nerdctl.start("web", "--net=ours", "-p", "8082:80", command=HTTPD)
    until(lambda: "404" in get(nerdctl, "127.0.0.1:8082"), "the port answers")
    assert nerdctl.try_("network", "rm", "ours").code != 0
    nerdctl("rm", "-f", "web")


@pytest.mark.skipif(not shutil.which("dnsmasq"), reason="dnsmasq-base is not installed")
def test_names_are_asked_where_nerdctl_is_told_the_name_server(nerdctl: Nerdctl) -> None:
    """It does not write the result's name servers into the container's resolv.conf."""
    named = "/etc/cni/net.d/20-named.conflist"
    plugin = {**OURS["plugins"][0], "dnsEnabled": True, "ipam": {"subnet": "10.78.0.0/24"}}
    nerdctl.node.write(named, json.dumps({**OURS, "name": "named", "plugins": [plugin]}))
    service = Daemon(nerdctl.node, "cni-cnm", "serve")
    try:
        nerdctl.start("web", "--net=named")
        nerdctl.start("front", "--net=named", "--dns=10.78.0.1", "--dns-search=named.internal")
        until(lambda: "10.78.0.2" in nerdctl.execute("front", "nslookup", "web.named.internal").out, "its name")
        assert "10.78.0.1" not in nerdctl.execute("web", "cat", "/etc/resolv.conf").ok().out
        nerdctl("rm", "-f", "web", "front")
    finally:
        service.stop()
        nerdctl.node.path(named).unlink()


def test_a_container_whose_shim_was_killed(nerdctl: Nerdctl) -> None:
    """kill -9 of the process and of its shim: the DEL comes a little after `rm`, without a namespace."""
    nerdctl("network", "create", "--subnet", "10.97.0.0/24", "short")
    nerdctl.start("web", "--net=short", "-p", "8083:80", command=HTTPD)
    pid = int(nerdctl.inspect("web")["State"]["Pid"])
    nerdctl.node.run("sh", "-c", f"kill -{signal.SIGKILL:d} {pid} $(pidof containerd-shim-runc-v2)").ok()
    until(lambda: nerdctl.try_("rm", "-f", "web").code == 0, "the container is removed")
    until(lambda: endpoints(nerdctl) == [], "its endpoint is removed")
    nerdctl("network", "rm", "short")


def test_installed_by_the_page(bundle: Path) -> None:
    """The commands of docs/runtimes.md for nerdctl as they stand (install, mkdir, echo to nerdctl.toml, nerdctl,
    cni-cnm), on a host without the program."""
    page = (ROOT / "docs/runtimes.md").read_text(encoding="utf-8")
    (commands,) = [block for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "nerdctl" in block]
    image = f"--pull=never --security-opt=seccomp=unconfined {IMAGE} {' '.join(HTTPD)}"
    with closing(new_node(missing())) as node, Nerdctl(node, cni_path="") as found:
        assert not node.path("/opt/cni/bin/cni-cnm").exists()
        script = f"set -e\ncd {ROOT}\n{commands.replace('nginx', image)}"
        shown = node.run("sh", "-c", script, env={"PATH": found.path}).ok().out
        for name, network in (("shop", "web"), ("other", "podnet")):
            assert re.search(rf"^\S+ +{network} +\S+ +eth0 .* cni/nerdctl +ready$", shown, re.MULTILINE), (name, shown)
        until(lambda: "404" in get(found, "127.0.0.1:8080"), "the port answers")
        until(lambda: "404" in get(found, "127.0.0.1:8081"), "the port answers")
        found("rm", "-f", "shop", "other")
        found("network", "rm", "web")
        assert endpoints(found) == []
