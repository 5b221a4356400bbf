"""A real cluster on one machine: kube-apiserver, controllers, and nodes as namespaces on one link.

api server 192.0.2.10   node1 .11   node2 .12        192.0.2.0/24, fd00:a::/64
pods 10.244.0.0/16, fd00:244::/48                    Services 10.96.0.0/16, fd00:96::/112

with Lab(folder, ("node1", "node2")) as lab:
    lab.start()                               nodes register, kube-controller-manager gives them podCIDRs
    lab.pod("a", "node1")                     a pod with a web server that names itself and its caller
    lab.service("web", {"app": "a"}, …)       a Service
    lab.ask(…)                                see KubernetesNode.ask
"""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from cni_cnm.model import stable_mac
from tests.kernel.lab import Namespace
from tests.kubernetes.kube_proxy.service_checks import Caller, in_node
from tests.kubernetes.real.api_client import ApiClient
from tests.kubernetes.real.api_server import SERVICES, ApiServer
from tests.kubernetes.real.kubernetes_node import KubernetesNode, needed_tools
from tests.kubernetes.real.programs import programs
from tests.kubernetes.real.rights import ACCOUNT, NAMESPACE, create_rights
from tests.system.containerd import IMAGE
from tests.waiting import until

API, API6 = "192.0.2.10", "fd00:a::10"
OUTSIDE, OUTSIDE6 = "192.0.2.1", "fd00:a::1"
"""The nodes' gateway. It has no route to pods."""
PODS = "10.244.0.0/16,fd00:244::/48"
PORT = 8080
ANSWER = "#!/bin/sh\\necho\\necho $NAME $REMOTE_ADDR\\n"
SERVER = (
    f"busybox mkdir -p /tmp/www/cgi-bin && busybox printf '{ANSWER}' >/tmp/www/cgi-bin/who && "
    f"busybox chmod 755 /tmp/www/cgi-bin/who && exec busybox httpd -f -p {PORT} -h /tmp/www"
)
WHO = "/cgi-bin/who"


class Lab:
    def __init__(self, names: tuple[str, ...] = ("node1", "node2"), *, only_ipv6: bool = False) -> None:
        """`only_ipv6`: nodes, pods and Services have no IPv4 address."""
        self._first = int(only_ipv6)
        self.folder = Path(tempfile.mkdtemp(prefix="kubernetes-lab-"))
        self.switch = Namespace()
        self.switch.ip("link add near type bridge")
        self.switch.ip("link set near up")
        for gateway, length in ((OUTSIDE, 24), (OUTSIDE6, 64)):
            self.switch.run("ip", "address", "add", f"{gateway}/{length}", "dev", "near", "nodad")
        self._control = Namespace()
        self.cidrs, services = self._families(PODS, SERVICES)
        self._plug("control", self._control.path, (API, API6)[self._first :])
        self.server = ApiServer(
            self.folder / "control", place=self._control, address=(API, API6)[self._first], nodes=names,
            services=services,
        )  # fmt: skip
        self.nodes: dict[str, KubernetesNode] = {}
        for number, name in enumerate(names, 11):
            addresses = (f"192.0.2.{number}", f"fd00:a::{number}")[self._first :]
            node = KubernetesNode(
                name, addresses, self.server.kubeconfig(f"system:node:{name}"),
                self.server.kubeconfig("system:kube-proxy"), self.cidrs,
            )  # fmt: skip
            self.nodes[name] = node
            self._plug_node(node)

    def _families(self, *both: str) -> list[str]:
        """Each without its IPv4 part where there is no IPv4."""
        return [",".join(each.split(",")[self._first :]) for each in both]

    @property
    def api(self) -> ApiClient:
        return self.server.api

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _plug_node(self, node: KubernetesNode) -> None:
        port = f"port-{node.name}"
        self._plug(port, f"/proc/{node.node.pid}/ns/net", node.addresses)

    def reboot(self, name: str) -> None:
        """The disk stays. The runtime and kubelet are started, our service is not."""
        node = self.nodes[name]
        node.reboot(partial(self._plug_node, node))
        node.start_containerd()
        node.start_kubelet()

    def _plug(self, port: str, namespace: str, addresses: tuple[str, ...]) -> None:
        self.switch.run("ip", "link", "delete", port, check=False)
        mac = stable_mac("uplink", port)  # as the network card of a node that reboots
        self.switch.ip(f"link add {port} type veth peer name eth0 address {mac} netns {namespace}")
        self.switch.ip(f"link set {port} master near up")
        enter = ("nsenter", f"--net={namespace}", "ip")
        self.switch.run(*enter, "link", "set", "eth0", "up")
        for address in addresses:
            more = ("nodad",) if ":" in address else ()
            length = 64 if more else 24
            self.switch.run(*enter, "address", "add", f"{address}/{length}", "dev", "eth0", *more)
        for gateway in (OUTSIDE, OUTSIDE6)[self._first :]:
            self.switch.run(*enter, "route", "add", "default", "via", gateway)

    def start(self, *nodes: str, bin_dir: str = "") -> None:
        """The controllers and these nodes, or all, without a network of pods. Each Node gets podCIDRs.

        `bin_dir`: where containerd finds plugins; the built ones if empty.
        """
        self.server.start_controllers(cluster_cidrs=self.cidrs)
        create_rights(self.api)
        for name in nodes or self.nodes:
            self.nodes[name].start(bin_dir=bin_dir)
        for name in nodes or self.nodes:
            self._wait_registered(name)

    def start_node(self, name: str) -> None:
        """A further one."""
        self.nodes[name].start()
        self._wait_registered(name)

    def _wait_registered(self, name: str) -> None:
        until(partial(self.api.there, f"nodes/{name}"), f"{name} registers", 120, self.log)
        self.api.wait(f"nodes/{name}", lambda found: found["spec"].get("podCIDRs"), f"{name} has podCIDRs", 60)

    def serve(self, *nodes: str, settings: str = "") -> None:
        """Our service on the nodes, with the rights of the agent. `settings`: further lines of `[cluster]`."""
        for name in nodes or self.nodes:
            path = self.folder / f"{name}.kubeconfig"
            if not path.exists():
                self.server.write_kubeconfig(path, self.server.account_token(ACCOUNT, NAMESPACE))
            self.nodes[name].serve(f'kubeconfig = "{path}"\n{settings}')

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()
        self.server.stop()
        self._control.close()
        self.switch.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        return "\n".join([self.server.log(), *(node.log() for node in self.nodes.values())])

    # what users make -----------------------------------------------------------------

    def condition(self, node: str, kind: str = "Ready") -> dict[str, Any]:
        """A condition of a Node: its status, reason and message."""
        found: list[dict[str, Any]] = self.api.get(f"nodes/{node}")["status"].get("conditions", [])
        return next((each for each in found if each["type"] == kind), {"status": "", "reason": "", "message": ""})

    def is_ready(self, node: str) -> bool:
        return bool(self.condition(node)["status"] == "True")

    def wait_ready(self, *nodes: str, limit: float = 60) -> None:
        for name in nodes or self.nodes:
            until(partial(self.is_ready, name), f"{name} is Ready", limit, self.log)

    def make_pod(
        self, name: str, node: str, *, wait: bool = True, annotations: dict[str, str] | None = None, **container: Any
    ) -> None:
        """A pod that answers HTTP on PORT with its name and the address of who asks. Its label `app` is its name."""
        self.api.create(
            "pods",
            {
                "metadata": {"name": name, "labels": {"app": name, "pods": "all"}, "annotations": annotations or {}},
                "spec": {
                    "nodeName": node,
                    "terminationGracePeriodSeconds": 0,
                    "automountServiceAccountToken": False,
                    "tolerations": [{"operator": "Exists"}],
                    "containers": [
                        {
                            "name": "main",
                            "image": IMAGE,
                            "imagePullPolicy": "Never",
                            "command": ["sh", "-c", SERVER],
                            "env": [{"name": "NAME", "value": name}],
                            **container,
                        }
                    ],
                },
            },
        )
        if wait:
            self.wait_running(name)

    def wait_running(self, *names: str, limit: float = 90) -> None:
        for name in names:
            until(partial(self.runs, name), f"pod {name} is ready", limit, partial(self._said_of, name))

    def runs(self, pod: str) -> bool:
        """Whether it is Ready, as the API server knows it."""
        conditions = self.api.get(f"pods/{pod}")["status"].get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def _said_of(self, pod: str) -> str:
        return f"{self.events(pod)}\n{self.log()}"

    def events(self, name: str) -> str:
        """What was said of a pod."""
        found = self.api.get(f"events?fieldSelector=involvedObject.name={name}")
        return "\n".join(f"{each['reason']}: {each.get('message', '')}" for each in found)

    def caller(self, pod: str) -> Caller:
        """A pod that asks."""
        node = self.nodes[self.api.get(f"pods/{pod}")["spec"]["nodeName"]]
        return in_node(node.node, tuple(self.addresses(pod)), node.pod_netns(pod))

    def addresses(self, pod: str) -> list[str]:
        """Of both families, IPv4 first."""
        return [each["ip"] for each in self.api.get(f"pods/{pod}")["status"]["podIPs"]]

    def remove_pods(self, *names: str) -> None:
        for name in names:
            self.api.delete(f"pods/{name}", grace=0)

    def make_service(self, name: str, selector: dict[str, str], **spec: Any) -> dict[str, Any]:
        """A Service of both families at port 80; its spec."""
        port = {"port": 80, "targetPort": PORT, **spec.pop("port", {})}
        made: dict[str, Any] = self.api.create(
            "services",
            {
                "metadata": {"name": name},
                "spec": {"selector": selector, "ipFamilyPolicy": "PreferDualStack", "ports": [port], **spec},
            },
        )["spec"]
        return made


def require_programs() -> None:
    """The test is skipped where one is missing."""
    if missing := programs().missing or needed_tools():
        pytest.skip(missing)


def new_lab(*nodes: str, only_ipv6: bool = False) -> Lab:
    require_programs()
    return Lab(nodes or ("node1", "node2"), only_ipv6=only_ipv6)
