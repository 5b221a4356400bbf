"""`kubectl apply -f conf/kubernetes/cni-cnm.yaml` on a real cluster, and what follows: update, rollback, uninstall.

kube-apiserver, controllers, kubelets, kube-proxy and containerd 2 are real. The tests are one story, in their order.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cni_cnm import __version__
from tests.kubernetes import images
from tests.kubernetes.manifests import FOLDER
from tests.kubernetes.real.api_client import ApiClient, ApiError
from tests.kubernetes.real.kubernetes_node import CONFLIST
from tests.kubernetes.real.lab import PORT, Lab, new_lab
from tests.system.daemon import Daemon
from tests.waiting import until

LATER = "9.9.9"
APPLY, UNINSTALL = FOLDER / "cni-cnm.yaml", FOLDER / "uninstall.yaml"
LIB = "/opt/cni/lib/cni-cnm"
OURS = ("/opt/cni", "/etc/cni", "/etc/cni-cnm", "/run/cni-cnm", "/var/lib/cni-cnm", "/var/lib/cni/networks")


@pytest.fixture(scope="module")
def lab(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two nodes with kube-proxy and the images, without a network of pods."""
    folder = tmp_path_factory.mktemp("images")
    with new_lab() as made:
        for node in made.nodes.values():
            node.node.run("sh", "-c", "rm -rf /opt/cni && mkdir -p /opt/cni/bin").ok()
        made.start(bin_dir="/opt/cni/bin")
        archives = images.light(folder), images.light(folder, LATER)
        for node in made.nodes.values():
            node.proxy("nftables")
            for archive in archives:
                node.load(archive)
        yield made


def kubectl(lab: Lab, *words: str) -> str:
    """In the namespace of ours; files name the namespace of each object, and one of them is in another."""
    namespace = () if "--filename" in words else ("--namespace", "cni-cnm")
    return lab.server.kubectl(*namespace, *words)


def wait_rollout(lab: Lab, name: str = "cni-cnm") -> None:
    try:
        kubectl(lab, "rollout", "status", f"daemonset/{name}", "--timeout=100s")
    except AssertionError as error:
        logs = "\n".join(said(lab, node) for node in lab.nodes)
        raise AssertionError(f"{error}\n{kubectl(lab, 'describe', 'pods')}\n{logs}\n{lab.log()}") from error


def in_use(lab: Lab) -> set[str]:
    """The versions that the nodes have in use."""
    return {node.node.run("readlink", f"{LIB}/current").out.strip() for node in lab.nodes.values()}


def wait_answers(lab: Lab, caller: str, pod: str) -> None:
    """Until a pod's server answers another pod by each IP version. It sees that pod's own address."""
    asked = lab.caller(caller)
    for own, address in zip(asked.addresses, lab.addresses(pod), strict=True):
        until(lambda own=own, address=address: asked.ask(address, PORT) == own,  # type: ignore[misc]
              f"{pod} answers {caller} at {address}", 20, lab.log)  # fmt: skip


def said(lab: Lab, node: str) -> str:
    """What the containers of our namespace have written on a node. (`kubectl logs` needs the kubelet's certificate.)"""
    files = lab.nodes[node].node.path("/var/log/pods").glob("cni-cnm_*/*/*.log")
    return "".join(path.read_text(encoding="utf-8", errors="replace") for path in files)


def since_ready(lab: Lab) -> dict[str, Any]:
    """Since when each Node is Ready."""
    return {name: lab.condition(name)["lastTransitionTime"] for name in lab.nodes if lab.is_ready(name)}


def test_one_apply(lab: Lab) -> None:
    """The nodes are Ready, and pods of both reach each other. The probes are kubelet's. Each pod announces its Node."""
    kubectl(lab, "apply", "--filename", str(FOLDER / "own-node-only.yaml"))
    kubectl(lab, "apply", "--filename", str(APPLY))
    wait_rollout(lab)
    lab.wait_ready()
    assert in_use(lab) == {__version__}
    for name, node in (("a", "node1"), ("b", "node2")):
        lab.make_pod(name, node)
    wait_answers(lab, "a", "b")
    wait_answers(lab, "b", "a")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"metadata": {"annotations": {"cni-cnm/underlay": "{}"}}}, "may change its own Node only"),
        ({"metadata": {"labels": {"x": "y"}}}, "may change an annotation only"),
        ({"metadata": {"annotations": {"x": "y"}}}, "may change the annotation cni-cnm/underlay only"),
    ],
    ids=["another Node", "a label", "another annotation"],
)
def test_a_stolen_token_changes_nothing_else(lab: Lab, change: dict[str, Any], reason: str) -> None:
    """With own-node-only.yaml. The token is of the account, bound to the pod of node1 in the last two cases."""
    token = lab.server.account_token("cni-cnm", "cni-cnm")
    if "own Node" not in reason:
        node = lab.nodes["node1"].node
        (mounted,) = node.path("/var/lib/kubelet/pods").glob("*/volumes/kubernetes.io~projected/*/token")
        token = mounted.read_text()
    server = lab.server
    client = ApiClient(server.address, server.port, str(server.authority.file), token, server._connect)
    with pytest.raises(ApiError, match=reason):
        client.patch("nodes/node1/status", change)


def test_an_update_and_a_rollback_touch_no_pod_and_no_node(lab: Lab) -> None:
    """No packet is lost, no Node is NotReady for a moment, no container is started again."""
    before = since_ready(lab), lab.api.get("pods/a")["status"]["containerStatuses"]
    assert len(before[0]) == len(lab.nodes)
    node, other = lab.nodes["node1"], lab.addresses("b")[0]
    steady = Daemon(node.node, "nsenter", f"--net={node.pod_netns('a')}", "ping", "-i", "0.1", "-q", other,
                    log="/run/ping.log")  # fmt: skip
    image = f"localhost/cni-cnm:{LATER}"
    kubectl(lab, "set", "image", "daemonset/cni-cnm", f"install={image}", f"cni-cnm={image}")
    wait_rollout(lab)
    assert in_use(lab) == {LATER}
    lab.make_pod("c", "node1")
    wait_answers(lab, "c", "b")
    kubectl(lab, "rollout", "undo", "daemonset/cni-cnm")
    wait_rollout(lab)
    assert in_use(lab) == {__version__}
    lab.remove_pods("c")
    steady.stop(signal.SIGINT)
    assert " 0% packet loss" in steady.log()
    assert (since_ready(lab), lab.api.get("pods/a")["status"]["containerStatuses"]) == before


def test_it_is_removed_when_no_pod_needs_it(lab: Lab) -> None:
    """Pods go on without the DaemonSet. The uninstall waits for them, and leaves nothing on a node."""
    kubectl(lab, "delete", "--filename", str(APPLY), "--timeout=100s")
    wait_answers(lab, "a", "b")
    kubectl(lab, "apply", "--filename", str(UNINSTALL))

    text = "waiting: containers have these endpoints"
    for name in lab.nodes:
        until(lambda name=name: text in said(lab, name), f"{name} waits for its pods", 60, lab.log)  # type: ignore[misc]
    assert all(node.node.path(CONFLIST).exists() for node in lab.nodes.values())
    wait_answers(lab, "b", "a")
    lab.remove_pods("a", "b")
    wait_rollout(lab, "cni-cnm-uninstall")
    for node in lab.nodes.values():
        assert node.node.files(*OURS) == set()
        assert not [link for link in node.node.links() if link.startswith(("br-", "cnm-vx", "veth"))]
        assert "cni_cnm" not in node.node.run("nft", "list", "ruleset").ok().out
    for name in lab.nodes:
        until(lambda name=name: not lab.is_ready(name), f"{name} is not Ready any more", 60, lab.log)  # type: ignore[misc]
    kubectl(lab, "delete", "--filename", str(UNINSTALL), "--timeout=100s")
