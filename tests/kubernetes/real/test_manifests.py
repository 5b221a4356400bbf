"""conf/kubernetes on a real cluster: `kubectl apply`, a rollout, and the uninstall, while pods run."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.kubernetes import images
from tests.kubernetes.manifests import FOLDER
from tests.kubernetes.real.kubernetes_node import CONFLIST
from tests.kubernetes.real.lab import PORT, Lab, new_lab
from tests.system.daemon import Daemon
from tests.waiting import until

OURS = ("/opt/cni", "/etc/cni", "/etc/cni-cnm", "/run/cni-cnm", "/var/lib/cni-cnm", "/var/lib/cni/networks")
APPLY = ("apply", "-f", str(FOLDER / "cni-cnm.yaml"))


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two nodes with kube-proxy and the image; nothing of ours is on their disks before."""
    archive = images.light(tmp_path_factory.mktemp("image"))
    with new_lab() as lab:
        lab.start(bin_dir="/opt/cni/bin")
        for node in lab.nodes.values():
            node.load(archive)
            node.proxy("nftables")
        lab.server.kubectl(*APPLY)
        rolled_out(lab, "cni-cnm")
        lab.wait_ready()
        lab.make_pod("one", "node1", wait=False)
        lab.make_pod("two", "node2", wait=False)
        lab.wait_running("one", "two")
        yield lab


def rolled_out(lab: Lab, name: str) -> None:
    lab.server.kubectl("--namespace", "cni-cnm", "rollout", "status", f"daemonset/{name}", "--timeout=120s")


def talk(lab: Lab) -> bool:
    caller = lab.caller("one")
    return [caller.ask(address, PORT) for address in lab.addresses("two")] == list(caller.addresses)


def test_one_command_gives_the_cluster_its_network(applied: Lab) -> None:
    assert talk(applied)
    for name, node in applied.nodes.items():
        assert node.node.path(CONFLIST).exists()
        assert applied.api.get(f"nodes/{name}")["metadata"]["annotations"]["cni-cnm/underlay"]


def test_a_rollout_does_not_touch_pods(applied: Lab) -> None:
    """Packets between the pods go on while the service of both nodes is started anew."""
    node = applied.nodes["node1"]
    netns = node.pod_netns("one")
    ping = ("ping", "-i", "0.05", "-q", applied.addresses("two")[0])
    steady = Daemon(node.node, "nsenter", f"--net={netns}", *ping, log="/run/ping.log")
    before = node.status()["pid"]
    applied.server.kubectl("--namespace", "cni-cnm", "rollout", "restart", "daemonset/cni-cnm")
    rolled_out(applied, "cni-cnm")
    until(lambda: node.status().get("pid") not in (None, before), "another agent runs", 60, node.log)
    steady.stop(signal.SIGINT)
    assert " 0% packet loss" in steady.log()


def test_deleted_pods_go_on_and_uninstalling_waits_for_them(applied: Lab) -> None:
    lab = applied
    lab.server.kubectl("delete", "-f", str(FOLDER / "cni-cnm.yaml"), "--timeout=120s")
    assert talk(lab)
    lab.make_pod("later", "node1")
    assert all(node.node.path(CONFLIST).exists() for node in lab.nodes.values())
    lab.server.kubectl("apply", "-f", str(FOLDER / "uninstall.yaml"))
    until(lambda: waits(lab), "it waits for pods", 60, lab.log)
    lab.remove_pods("one", "two", "later")
    rolled_out(lab, "cni-cnm-uninstall")
    for name, node in lab.nodes.items():
        assert node.node.files(*OURS) == set()
        assert {link for link in node.node.links() if link not in ("lo", "eth0")} == set()
        assert "cni_cnm" not in node.node.run("nft", "list", "ruleset").ok().out
        until(lambda name=name: not lab.is_ready(name), f"{name} is not Ready any more", 60, lab.log)  # type: ignore[misc]


def waits(lab: Lab) -> bool:
    """The uninstall's log on node1 names a pod."""
    logs = lab.nodes["node1"].node.path("/var/log/pods")
    texts = [path.read_text() for path in logs.glob("cni-cnm_cni-cnm-uninstall-*/uninstall/*.log")]
    return any("containers have these endpoints" in text for text in texts)
