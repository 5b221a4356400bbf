"""What scripts/demo --kubernetes shows: a cluster's network by its manifest, on two nodes with containerd each.

Nodes, containerd, pods and the program are real. The API server is a stand-in (tests/kubernetes/api_server.py), and so
are the kubelets: they start the manifest's pods by CRI (tests/kubernetes/kubelet.py). Every line is an observation made
here and now; the first that is not as it should be ends the demo with exit code 1.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cni_cnm import __version__
from tests.cluster.certificates import Authority
from tests.kubernetes import images
from tests.kubernetes.api_server import AGENT, ApiServer
from tests.kubernetes.manifests import objects
from tests.kubernetes.node_lab import NodeLab
from tests.kubernetes.one_node import CIDRS, CONFLIST, PORT, TOKEN, ManifestNode
from tests.overlay.lab import CONFIG, STORE
from tests.system.containerd import IMAGE
from tests.system.demo import head, machine, show
from tests.system.demo_hosts import Started
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kubernetes.api_model import ApiModel

LATER = "9.9.9"
KINDS = ("br-", "cnm-vx", "veth")


class Cluster(NodeLab):
    """Two nodes on one link, and an API server with TLS and the token of a service account."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "authority")
        certificate, key = self.authority.issue("server", f"IP:{STORE}")
        self._tls = (str(self.authority.file), str(certificate), str(key))
        super().__init__(*CIDRS)

    def _serve(self, before: ApiServer | None) -> ApiServer:
        model = before.model if before else None
        made = self._store_place.call(
            lambda: ApiServer(cluster_cidrs=CIDRS, model=model, address=STORE, port=PORT, tls=self._tls)
        )
        made.tokens[TOKEN] = AGENT
        return made

    def join(self, name: str, archive: bytes) -> ManifestNode:
        """A node whose kubelet has registered it. It has no network yet."""
        host = self.node(name, serve=False)
        host.node.path(CONFIG).unlink()  # its settings come from the ConfigMap
        return ManifestNode(host.node, name, self.authority.file.read_text(), STORE, archive)


def main() -> None:
    before = machine()
    with TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder))
        nodes: list[ManifestNode] = []
        try:
            _scenes(cluster, nodes, Path(folder))
        finally:
            for node in nodes:
                node.containerd.close()
            cluster.close()
    show("the machine's own links, addresses, routes and packet filter are as before", machine() == before)


def _scenes(cluster: Cluster, nodes: list[ManifestNode], folder: Path) -> None:
    head("Two nodes with containerd, and a stand-in for the Kubernetes API server: no kubelet, no kube-proxy")
    archive = images.light(folder)
    show(f"{images.NAME}: {len(archive) >> 20} MiB, made of the program and this machine's libraries")
    nodes += [cluster.join(name, archive) for name in ("node1", "node2")]
    one, two = nodes
    for node in nodes:
        ready, why = node.containerd.cri.network_ready()
        show(f"{node.name}: NetworkReady is false: {why}", not ready)

    head("kubectl apply -f conf/kubernetes/cni-cnm.yaml")
    for node in nodes:
        start = time.monotonic()
        node.apply()
        node.containerd.wait_ready()
        took = time.monotonic() - start
        show(f"{node.name}: installed, announced, {CONFLIST} written, NetworkReady after {took:.1f} s")
        node.wait_ready()

    head("Pods")
    red, blue = _start(one, "red"), _start(two, "blue")
    print(_picture(cluster, red, blue))
    for pod, other in ((red, "blue"), (blue, "red")):
        for address in (blue if other == "blue" else red).pod.addresses:
            show(f"{pod.pod.name} reaches {other} ({address})", pod.reaches(address))
    link = one.node.ip("route", "get", blue.address)[0]["dev"]
    show(f"packets from node1 to blue leave by a plain route on {link}: both nodes are on one link", link == "eth0")

    head("The pod cni-cnm of node1 is killed")
    assert one.daemon is not None
    one.daemon.stop(0)
    show("red reaches blue", red.reaches(blue.address))
    black = _start(one, "black")
    show(f"black is started by the full program on the node, with {black.address}, and reaches blue",
         black.reaches(blue.address))  # fmt: skip
    black.remove()
    show("black is deleted")

    head(f"kubectl set image: {LATER}, the same program under another version")
    one.daemon = None
    one.load(images.light(folder, LATER))
    one.apply(image=images.NAME.replace(__version__, LATER))
    one.wait_ready()
    shown = one.node.run("readlink", "/opt/cni/lib/cni-cnm/current").out.strip()
    show(f"node1 has {shown} in use", shown == LATER)
    show("red still reaches blue", red.reaches(blue.address))

    head("kubectl delete node node2")
    block = blue.address.rpartition(".")[0] + ".0/24"
    cluster.api.do(lambda model: _remove(model, "node2"))
    show(f"node1's route to {block} is removed", _soon(lambda: not one.node.ip("route", "show", block)))
    green = _start(one, "green")
    show(f"red reaches green ({green.address}) on its own node", red.reaches(green.address))

    head("kubectl delete -f cni-cnm.yaml, kubectl apply -f uninstall.yaml")
    one.delete()
    removal = one.kubelet.begin(objects("uninstall"))
    show("it waits for red and green", _soon(lambda: "default/green" in removal.log("uninstall")))
    for pod in (red, green):
        pod.remove()
    removal.wait_initialized()
    left = [link for link in one.node.links() if link.startswith(KINDS)]
    left += sorted(one.node.files("/opt/cni", "/etc/cni", "/var/lib/cni-cnm", "/run/cni-cnm"))
    show(f"node1 has no link, file or record of it{': ' + ', '.join(left) if left else ''}", not left)


def _start(node: ManifestNode, name: str) -> Started:
    pod = node.pod(name)
    return Started(pod, node.containerd.cri.run_container(pod, IMAGE, ["sleep", "1000"]), node.containerd)


def _remove(model: ApiModel, name: str) -> None:
    model.remove(name)


def _soon(holds: Callable[[], object], limit: float = 20) -> bool:
    try:
        until(holds, "", limit)
    except AssertionError:
        return False
    return True


def _picture(cluster: Cluster, red: Started, blue: Started) -> str:
    first, second = cluster.hosts
    return f"""
      node1 {first.addresses[0]:<16}        node2 {second.addresses[0]}
      containerd, pod cni-cnm       containerd, pod cni-cnm
        red  {red.address:<17}        blue {blue.address}
             {red.pod.addresses[1]:<17}             {blue.pod.addresses[1]}
        │                             │
      ──┴──────────┬──────────────────┴──
                   │
        API server (stand-in) {STORE}
"""


if __name__ == "__main__":
    main()
