"""A node of a cluster, with a real containerd, the stand-in for the API server, and the image.

    192.0.2.1   the node, and the API server on port 6443, with TLS and a service account's token
    192.0.2.2   node2: only its Node is there, which says how it is reached

with OneNode(folder, archive) as one:
    one.apply()                     kubectl apply -f conf/kubernetes/cni-cnm.yaml: the pod, ready
    one.pod("a")                    a pod that the runtime gives to the CNI plugin
"""

from __future__ import annotations

import json
import os
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cni_cnm.kernel.setns import entered
from tests.cluster.certificates import Authority
from tests.kubernetes.api_server import AGENT, ApiServer
from tests.kubernetes.images import NAME
from tests.kubernetes.kubelet import Kubelet
from tests.kubernetes.manifests import Object, objects
from tests.system.containerd import Containerd
from tests.system.demo import build_outside
from tests.system.node import Node
from tests.waiting import until

if TYPE_CHECKING:
    from tests.kubernetes.kubelet import DaemonPod
    from tests.system.cri import Pod

ADDRESS, OTHER = "192.0.2.1", "192.0.2.2"
PORT, TOKEN = 6443, "first"
CIDRS = ("10.244.0.0/16", "fd00:10:244::/56")
CONFLIST = "/etc/cni/net.d/10-cni-cnm.conflist"
OTHER_SAYS = {
    "instance": "2" * 32, "addresses": [OTHER], "mac": "02:00:00:00:00:02", "network": "pods", "vni": 4096,
    "port": 4799, "direct": "auto",
}  # fmt: skip
READY_S = 30


class ManifestNode:
    """A node whose network comes from the manifests. `ca` is the API server's, which is at `api`."""

    def __init__(self, node: Node, name: str, ca: str, api: str, archive: bytes) -> None:
        self.node = node
        self.name = name
        self.node.run("sh", "-c", "rm -rf /opt/cni; mkdir -p /opt/cni/bin").ok()
        self.containerd = Containerd(self.node, bin_dir=Path("/opt/cni/bin"))
        self.load(archive)
        account = {"ca.crt": ca, "token": TOKEN}
        environ = {"KUBERNETES_SERVICE_HOST": api, "KUBERNETES_SERVICE_PORT": str(PORT)}
        self.kubelet = Kubelet(self.containerd, name, account, environ)
        self.daemon: DaemonPod | None = None

    def load(self, archive: bytes) -> None:
        """`kind load image-archive`."""
        self.node.path("/run/archive.tar").write_bytes(archive)
        ctr = ("ctr", "--namespace", "k8s.io", "images", "import", "--snapshotter", "native")
        self.node.run(*ctr, "/run/archive.tar").ok()
        self.node.path("/run/archive.tar").unlink()

    def apply(self, image: str = NAME, manifest: list[Object] | None = None) -> DaemonPod:
        """The pod of the DaemonSet in the place of an earlier one, as its controller does: at most one runs."""
        self.delete()
        self.daemon = self.kubelet.start(with_image(manifest or objects("cni-cnm"), image))
        return self.daemon

    def delete(self) -> None:
        """`kubectl delete -f`: the pod ends, and no other one starts."""
        if self.daemon is not None:
            self.daemon.stop()
        self.daemon = None

    def wait_ready(self) -> None:
        """Until the readiness probe is content."""
        daemon = self.daemon
        assert daemon is not None
        until(lambda: daemon.probe("readinessProbe")[0] == 0, "the pod is ready", READY_S,
              lambda: f"{daemon.probe('readinessProbe')}\n{daemon.log()[-3000:]}")  # fmt: skip

    def pod(self, name: str, **more: object) -> Pod:
        """RunPodSandbox, which calls the plugin."""
        return self.containerd.cri.run_pod(name, **more)  # type: ignore[arg-type]

    def remove(self, pod: Pod) -> None:
        self.containerd.cri.stop(pod.id)
        self.containerd.cri.remove(pod.id)


class OneNode(ManifestNode):
    def __init__(self, folder: Path, archive: bytes) -> None:
        node = Node()
        build_outside(node)
        authority = Authority(folder / "authority")
        server = authority.issue("server", f"IP:{ADDRESS}")
        place = os.open(f"/proc/{node.pid}/ns/net", os.O_RDONLY)
        tls = (str(authority.file), str(server[0]), str(server[1]))
        self.api = entered(place, lambda: ApiServer(cluster_cidrs=CIDRS, address=ADDRESS, port=PORT, tls=tls))
        os.close(place)
        self.api.tokens[TOKEN] = AGENT
        self.api.do(lambda model: model.add("node1", ADDRESS))
        said = {"metadata": {"annotations": {"cni-cnm/underlay": json.dumps(OTHER_SAYS)}}}
        self.api.do(lambda model: (model.add("node2", OTHER), model.change("node2", said)))
        super().__init__(node, "node1", authority.file.read_text(), ADDRESS, archive)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.api.close()
        self.containerd.close()
        self.node.close()


def with_image(manifest: list[Object], image: str) -> list[Object]:
    """`kubectl set image`."""
    changed = deepcopy(manifest)
    for one in changed:
        if one["kind"] == "DaemonSet":
            spec = one["spec"]["template"]["spec"]
            for container in (*spec["initContainers"], *spec["containers"]):
                container["image"] = image
    return changed
