"""Nodes of a Kubernetes cluster on one machine: the lab of tests/overlay, with a stand-in for the API server.

    with NodeLab("10.244.0.0/16") as lab:
        one = lab.node("node1")                  a host with a service, and its Node; register=False: without a Node
        lab.api.do(lambda model: …)              what an administrator, a controller or a kubelet does to Nodes
        lab.leave_api(); lab.return_api()        the API server is away
        one.wait_conflist()                      the runtime may start pods
        pod = one.pod(PODS)                      ADD, as the runtime would send it

The kubelet is not here: the test registers Nodes and starts pods.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cni_cnm.cluster.kubernetes.announcement import ANNOTATION
from cni_cnm.conflists import pod_network
from tests.kubernetes.api_server import ApiServer
from tests.overlay.lab import FAR, NEAR, READY_S, STORE, STORE6, Host, Lab
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from tests.kubernetes.api_model import ApiModel
    from tests.overlay.lab import Pod

PORT = 6443
WHO = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n%s' \"$REMOTE_ADDR\"\n"
FETCH = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode(), end='')"
KUBECONFIG = "/etc/cni-cnm/kubeconfig"
CONFLIST = "/etc/cni/net.d/10-cni-cnm.conflist"
NETWORK = "pods"
_LISTED = json.loads(pod_network.content(NETWORK))
PODS: dict[str, Any] = {"name": NETWORK, "cniVersion": "1.1.0", **_LISTED["plugins"][0]}
"""What a runtime of CNI 1.1.0 gives the plugin."""
STATUS = {key: value for key, value in PODS.items() if key != "capabilities"}


class NodeLab(Lab):
    """`cidrs` are the cluster's: each Node that is registered gets a block of them."""

    def __init__(self, *cidrs: str, version: int = 4) -> None:
        super().__init__()
        self._cidrs = cidrs
        self._address = STORE if version == 4 else STORE6
        self.api = self._serve(None)

    def _serve(self, before: ApiServer | None) -> ApiServer:
        def make() -> ApiServer:
            model = before.model if before else None
            return ApiServer(cluster_cidrs=self._cidrs, model=model, address=self._address, port=PORT)

        return self._store_place.call(make)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for host in self.hosts:
            host.power_off()
        self.hosts.clear()
        self.api.close()
        super().close()

    def leave_api(self) -> None:
        """Nothing listens any more, and connections end."""
        self.api.close()

    def return_api(self) -> None:
        """It listens again, with what it had."""
        self.api = self._serve(self.api)

    def store_settings(self, versions: Sequence[int]) -> str:
        return f'store = "kubernetes"\nkubeconfig = "{KUBECONFIG}"\nnetwork = "{NETWORK}"\nconflist = "{CONFLIST}"'

    def node(
        self, name: str, *, far: bool = False, versions: Sequence[int] = (4, 6), register: bool = True,
        pod_cidrs: Sequence[str] | None = None, settings: str = "", serve: bool = True,
    ) -> PodNode:  # fmt: skip
        """A further node. `register`: its kubelet does so first, and gets `pod_cidrs` or what is free."""
        segment = FAR if far else NEAR
        made = PodNode(self, name, self.addresses_of(segment, versions), segment, self.text(name, versions, settings))
        self.hosts.append(made)
        made.write_kubeconfig()
        if register:
            self.register(made, pod_cidrs)
        return made.serve() if serve else made

    def register(self, node: PodNode, pod_cidrs: Sequence[str] | None = None) -> None:
        """The kubelet makes the Node."""
        self.api.do(lambda model: model.add(node.name, *node.addresses, pod_cidrs=pod_cidrs))


class PodNode(Host):
    """A host of the cluster that is a Node."""

    lab: NodeLab

    def serve(self, *options: str) -> PodNode:
        super().serve(*options)
        return self

    def reboot(self) -> None:
        """The files of /etc stay, too."""
        kept = self.node.path(CONFLIST).read_bytes() if self.has_conflist() else b""
        super().reboot()
        self.write_kubeconfig()
        if kept:
            self.node.write(CONFLIST, kept.decode())

    def write_kubeconfig(self) -> None:
        path = self.lab.folder / f"{self.name}.kubeconfig"
        self.lab.api.kubeconfig(path)
        self.node.write(KUBECONFIG, path.read_text())
        self.node.path(KUBECONFIG).chmod(0o600)

    def has_conflist(self) -> bool:
        return self.node.path(CONFLIST).is_file()

    def wait_conflist(self, limit: float = READY_S) -> None:
        until(self.has_conflist, f"{self.name}: {CONFLIST} is there", limit, lambda: f"{self.status()}\n{self.said()}")

    def wait_why(self, text: str, limit: float = READY_S) -> None:
        """Until the agent says why this node gives no addresses."""

        def there() -> bool:
            status = self.status()
            why = status.get("networks", {}).get(NETWORK, {}).get("why", "")
            return text in f"{why} {status.get('conflict', '')}"

        until(there, f"{self.name}: {text}", limit, lambda: f"{self.status()}\n{self.said()[-3000:]}")

    def wait_warning(self, text: str, limit: float = READY_S) -> None:
        until(lambda: any(text in one for one in self.status().get("warnings", ())), f"{self.name}: {text}", limit,
              lambda: str(self.status()))  # fmt: skip

    def runtime_status(self) -> dict[str, Any]:
        """STATUS of the runtime: empty, or the error."""
        answer = self.side.call("STATUS", STATUS)
        found: dict[str, Any] = answer.json or {}
        return found

    def annotation(self) -> dict[str, Any]:
        """What this node has announced; empty if it has not."""
        found: list[str] = []

        def read(model: ApiModel) -> None:
            meta = model.nodes.get(self.name, {}).get("metadata", {})
            found.append(meta.get("annotations", {}).get(ANNOTATION, ""))

        self.lab.api.do(read)
        said: dict[str, Any] = json.loads(found[0] or "{}")
        return said

    # who a pod sees -----------------------------------------------------------------

    def serve_who(self, pod: Pod) -> None:
        """A web server in a pod, on port 80: /cgi-bin/who answers with the client's address."""
        self.node.write("/run/www/cgi-bin/who", WHO)
        self.node.path("/run/www/cgi-bin/who").chmod(0o755)
        self.node.run("busybox", "httpd", "-p", "80", "-h", "/run/www", netns=pod.netns).ok()

    def seen_as(self, url: str, pod: Pod | None = None) -> str:
        """The address that the server at `url` (`http://HOST:PORT`) sees, for a client in a pod or on this node."""
        done = self.node.run("/usr/bin/python3", "-c", FETCH, f"{url}/cgi-bin/who", netns=pod.netns if pod else "")
        assert done.code == 0, f"{url} from {pod.name if pod else self.name}: {done.err}"
        return done.out.strip().strip("[]").removeprefix("::ffff:")
