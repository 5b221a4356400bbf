"""Where the Nodes of a contract's test are: the stand-in for the API server, or a real one. Both begin without Nodes.

nodes.add("node1", "192.0.2.11", cidrs=("10.244.1.0/24",))       a kubelet registers
nodes.change("node1", {…})                                       a merge patch, of the status, too
nodes.directory()                                                a host's way to it
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from cni_cnm.cluster.kubernetes.directory import KubernetesDirectory
from cni_cnm.errors import CnmError
from cni_cnm.settings import ClusterSettings
from tests.kubernetes import api_server
from tests.kubernetes.real.api_server import ApiServer

ACCOUNT = "cni-cnm"
RULES = [
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]},
]
"""The rights of the agent, and no others."""


class NodeStore(ABC):
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: list[KubernetesDirectory] = []
        self._numbers = count()

    @abstractmethod
    def kubeconfig(self, path: Path) -> None:
        """Write one with the agent's rights."""

    @abstractmethod
    def kubeconfig_without_rights(self, path: Path) -> None: ...

    @abstractmethod
    def add(self, name: str, *addresses: str, cidrs: tuple[str, ...] = ()) -> None: ...

    @abstractmethod
    def change(self, name: str, patch: dict[str, Any]) -> None: ...

    @abstractmethod
    def remove(self, name: str) -> None: ...

    @abstractmethod
    def get(self, name: str) -> dict[str, Any]: ...

    @abstractmethod
    def forget(self) -> None:
        """What has changed before is not told any more."""

    @abstractmethod
    def close(self) -> None: ...

    def ready(self, name: str, status: str) -> None:
        """The condition Ready. `Unknown`: the kubelet's lease has run out."""
        self.change(name, {"status": {"conditions": [{"type": "Ready", "status": status}]}})

    def directory(self, **settings: Any) -> KubernetesDirectory:
        path = self._folder / f"kubeconfig-{next(self._numbers)}"
        self.kubeconfig(path)
        return self.opened(path, **settings)

    def opened(self, kubeconfig: Path, **settings: Any) -> KubernetesDirectory:
        made = KubernetesDirectory(ClusterSettings("kubernetes", kubeconfig=str(kubeconfig), **settings), 5)
        self._opened.append(made)
        return made

    def close_directories(self) -> None:
        for each in self._opened:
            with suppress(CnmError):
                each.close()


class StandIn(NodeStore):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._server = api_server.ApiServer()
        self._server.__enter__()

    def kubeconfig(self, path: Path) -> None:
        self._server.kubeconfig(path)

    def kubeconfig_without_rights(self, path: Path) -> None:
        self._server.tokens["nobody"] = frozenset()
        self._server.kubeconfig(path, token="nobody")

    def add(self, name: str, *addresses: str, cidrs: tuple[str, ...] = ()) -> None:
        self._server.do(lambda model: model.add(name, *addresses, pod_cidrs=cidrs))

    def change(self, name: str, patch: dict[str, Any]) -> None:
        self._server.do(lambda model: model.change(name, patch))

    def remove(self, name: str) -> None:
        self._server.do(lambda model: model.remove(name))

    def get(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._server.model.nodes[name]
        return found

    def forget(self) -> None:
        self._server.do(lambda model: model.compact())

    def close(self) -> None:
        self.close_directories()
        self._server.__exit__(None, None, None)


class Real(NodeStore):
    """A kube-apiserver. Its service account has the agent's ClusterRole."""

    def __init__(self, folder: Path, server: ApiServer) -> None:
        super().__init__(folder)
        self._server, self._api = server, server.api
        role, binding = (f"/apis/rbac.authorization.k8s.io/v1/clusterrole{end}" for end in ("s", "bindings"))
        if not self._api.there(f"{role}/{ACCOUNT}"):
            self._api.create(role, {"metadata": {"name": ACCOUNT}, "rules": RULES})
            subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": "default"}
            reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ACCOUNT}
            self._api.create(binding, {"metadata": {"name": ACCOUNT}, "roleRef": reference, "subjects": [subject]})

    def kubeconfig(self, path: Path) -> None:
        self._server.write_kubeconfig(path, self._server.account_token(ACCOUNT))

    def kubeconfig_without_rights(self, path: Path) -> None:
        self._server.write_kubeconfig(path, self._server.account_token("nobody"))

    def add(self, name: str, *addresses: str, cidrs: tuple[str, ...] = ()) -> None:
        self._api.create(
            "nodes",
            {
                "metadata": {"name": name},
                "spec": {"podCIDR": cidrs[0], "podCIDRs": list(cidrs)} if cidrs else {},
                "status": {
                    "addresses": [{"type": "InternalIP", "address": each} for each in addresses],
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            },
        )

    def change(self, name: str, patch: dict[str, Any]) -> None:
        status = {"status": patch["status"]} if "status" in patch else {}
        rest = {key: value for key, value in patch.items() if key != "status"}
        if rest:
            self._api.patch(f"nodes/{name}", rest)
        if status:
            self._api.patch(f"nodes/{name}/status", status)

    def remove(self, name: str) -> None:
        self._api.delete(f"nodes/{name}")

    def get(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._api.get(f"nodes/{name}")
        return found

    def forget(self) -> None:
        """A server that starts again has in memory only what is there."""
        self._server.stop()
        self._server.start()

    def close(self) -> None:
        self.close_directories()
        for each in self._api.get("nodes"):
            self.remove(each["metadata"]["name"])
