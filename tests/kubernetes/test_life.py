"""A node's network by the manifests, from the first boot to the uninstall, in a real containerd.

The program comes from the image, and the kubelet, the API server and the controller are stand-ins: tests/kubernetes.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kubernetes import images
from tests.kubernetes.images import NAME
from tests.kubernetes.manifests import objects
from tests.kubernetes.one_node import CONFLIST, OneNode, with_image
from tests.system.daemon import Daemon
from tests.waiting import until

if TYPE_CHECKING:
    from tests.system.cri import Pod

LATER = "9.9.9"
"""What the image of the update calls itself."""
LIB = "/opt/cni/lib/cni-cnm"
OURS = ("/opt/cni", "/etc/cni", "/etc/cni-cnm", "/run/cni-cnm", "/var/lib/cni-cnm", "/var/lib/cni/networks")


@pytest.fixture(params=["light", pytest.param("shipped", marks=pytest.mark.long)])
def one(request: pytest.FixtureRequest, bundle: Path, tmp_path: Path) -> Iterator[OneNode]:
    if os.geteuid():
        pytest.skip("needs root")
    archive = images.light(tmp_path) if request.param == "light" else images.shipped()
    with OneNode(tmp_path, archive) as made:
        yield made


def pings(one: OneNode, pod: Pod) -> bool:
    return all(one.node.ping(address) for address in pod.addresses)


def versions(one: OneNode) -> set[str]:
    return {path.name for path in one.node.path(LIB).iterdir() if not path.is_symlink()}


def test_installed_updated_rolled_back_and_removed(one: OneNode, tmp_path: Path) -> None:
    """Pods live through all of it, are made and deleted at each stage, and nothing is left at the end."""
    assert one.containerd.cri.network_ready()[0] is False
    one.apply()
    one.wait_ready()
    one.containerd.wait_ready()
    before = one.node.path(CONFLIST).stat()
    first = one.pod("first", ports=[{1: 0, 2: 80, 3: 8080}])
    assert first.addresses[0].startswith("10.244.0.")
    assert first.addresses[1].startswith("fd00:10:244:")
    # Packets to the first pod, while all that follows happens.
    steady = Daemon(one.node, "ping", "-i", "0.05", "-q", first.addresses[0], log="/run/ping.log")

    one.load(images.light(tmp_path, LATER))
    one.delete()
    assert "no agent of the cluster runs" in one.node.run(f"{LIB}/current/cni-cnm", "probe", "ready").err
    between = one.pod("between")  # by the program on the node: no service runs
    later = one.apply(image=NAME.replace(NAME.rpartition(":")[2], LATER))
    one.wait_ready()
    assert versions(one) == {NAME.rpartition(":")[2], LATER}
    assert os.readlink(one.node.path(f"{LIB}/current")) == LATER
    second = one.pod("second")
    assert f"pod='default/second' {second.addresses[0]}/24" in later.log()
    one.remove(between)

    one.apply()
    one.wait_ready()
    assert os.readlink(one.node.path(f"{LIB}/current")) == NAME.rpartition(":")[2]
    after = one.node.path(CONFLIST).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    one.remove(second)

    one.delete()
    assert one.node.path(CONFLIST).exists()
    third = one.pod("third")
    assert pings(one, third)
    assert pings(one, first)
    steady.stop(signal.SIGINT)
    assert " 0% packet loss" in steady.log()
    removal = one.kubelet.begin(objects("uninstall"))
    until(lambda: "waiting: containers have these endpoints" in removal.log("uninstall"), "it waits for pods", 20)
    assert "default/first" in removal.log("uninstall")
    assert one.node.path(CONFLIST).exists()
    for pod in (third, first):
        one.remove(pod)
    removal.wait_initialized()
    assert one.node.files(*OURS) == set()
    assert {link for link in one.node.links() if link not in ("lo", "uplink")} == set()
    assert "cni_cnm" not in one.node.run("nft", "list", "ruleset").ok().out
    routes = one.node.run("ip", "-4", "route").ok().out + one.node.run("ip", "-6", "route").ok().out
    assert "10.244." not in routes
    assert "fd00:10:244" not in routes
    removal.stop()


@pytest.mark.long
def test_uninstalling_beside_a_service_waits(one: OneNode) -> None:
    """What the service would make again is not removed: its DaemonSet is to be deleted first."""
    one.apply()
    one.wait_ready()
    removal = one.kubelet.begin(objects("uninstall"))
    until(lambda: "waiting: the service still runs" in removal.log("uninstall"), "it waits for the service", 20)
    assert one.node.path(CONFLIST).exists()
    assert not removal.initialized
    one.delete()
    removal.wait_initialized()
    assert one.node.files(*OURS) == set()
    removal.stop()


OTHER_PLUGIN = """#!/bin/sh
echo "$CNI_COMMAND" >>/run/other.log
case $CNI_COMMAND in
VERSION) echo '{"cniVersion": "1.0.0", "supportedVersions": ["1.0.0"]}' ;;
ADD) echo '{"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "'$CNI_NETNS'"}],
"ips": [{"address": "10.9.9.9/24", "interface": 0}]}' ;;
esac
"""


@pytest.mark.long
@pytest.mark.parametrize("file", ["05-other.conflist", "20-other.conflist"])
def test_another_network_takes_its_place(one: OneNode, file: str) -> None:
    """Whichever file is first: containerd gives the DEL of our pod to the other one, and the uninstall ends."""
    one.apply()
    one.wait_ready()
    one.containerd.wait_ready()
    first = one.pod("first")
    one.delete()
    one.node.write("/opt/cni/bin/other", OTHER_PLUGIN)
    one.node.path("/opt/cni/bin/other").chmod(0o755)
    entry = {"type": "other"}
    one.node.write(f"/etc/cni/net.d/{file}", json.dumps({"cniVersion": "1.0.0", "name": "o", "plugins": [entry]}))
    removal = one.kubelet.begin(objects("uninstall"))
    until(lambda: "waiting: containers have these endpoints" in removal.log("uninstall"), "it waits for pods", 20)
    assert pings(one, first)
    assert not one.node.path(CONFLIST).exists()
    one.pod("second")
    one.remove(first)
    assert {"ADD", "DEL"} <= set(one.node.path("/run/other.log").read_text().split())
    removal.wait_initialized()
    assert one.node.files(*OURS) == {f"/etc/cni/net.d/{file}", "/opt/cni/bin/other"}
    removal.stop()


@pytest.mark.long
def test_settings_of_the_node_are_not_replaced(one: OneNode) -> None:
    """They are neither followed nor lost silently: the init container fails, and its log says what to do."""
    one.node.write("/etc/cni-cnm/config.toml", "# of a package\n\n")
    one.apply()
    assert 'store = "kubernetes"' in one.node.path("/etc/cni-cnm/config.toml").read_text()
    one.delete()
    one.node.write("/etc/cni-cnm/config.toml", "port_wait = 7\n")
    with pytest.raises(AssertionError, match="has settings that were made on this host"):
        one.kubelet.start(with_image(objects("cni-cnm"), NAME))
    assert one.node.path("/etc/cni-cnm/config.toml").read_text() == "port_wait = 7\n"
