"""A real kube-apiserver as a store of the contract's tests. Its directories have the rights of the agent only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from cni_cnm.cluster.kubernetes.directory import KubernetesDirectory
from cni_cnm.cluster.values import Snapshot
from cni_cnm.cluster_settings import ClusterSettings
from cni_cnm.errors import CnmError
from tests.cluster.assigning_stores import AssigningTestStore
from tests.kubernetes.real.api_client import ApiClient
from tests.kubernetes.real.api_server import ApiServer
from tests.kubernetes.real.rights import ACCOUNT, NAMESPACE, create_rights


class LatestDirectory(KubernetesDirectory):
    """The API server answers lists from its memory, which is some milliseconds behind. Here they are the latest."""

    api: ApiClient

    def snapshot(self) -> Snapshot:
        found = super().snapshot()
        assert self._contents is not None
        latest = self.api.request("GET", "nodes?limit=1")["metadata"]["resourceVersion"]
        if self._contents.version == latest:
            return found
        self._contents.version = latest
        return super().snapshot()


class RealStore(AssigningTestStore):
    """Without Nodes at first. The rights are those of conf/kubernetes/cni-cnm.yaml."""

    def __init__(self, folder: Path, server: ApiServer) -> None:
        self._folder, self._server, self._api = folder, server, server.api
        self._opened: list[LatestDirectory] = []
        self._numbers = count()
        create_rights(self._api)

    # the directories ----------------------------------------------------------------

    def directory(self, **settings: Any) -> LatestDirectory:
        return self.opened(self._server.account_token(ACCOUNT, NAMESPACE), **settings)

    def directory_without_rights(self) -> LatestDirectory:
        return self.opened(self._server.account_token("nobody"))

    def opened(self, token: str, **settings: Any) -> LatestDirectory:
        path = self._folder / f"kubeconfig-{next(self._numbers)}"
        self._server.write_kubeconfig(path, token)
        made = LatestDirectory(ClusterSettings("kubernetes", kubeconfig=str(path), **settings), 5)
        made.api = self._api
        self._opened.append(made)
        return made

    def close(self) -> None:
        for each in self._opened:
            with suppress(CnmError):
                each.close()
        for each in self._api.get("nodes"):
            self.delete(each["metadata"]["name"])

    # what happens in the cluster -----------------------------------------------------

    def node(self, name: str, addresses: Sequence[str], pod_cidrs: Sequence[str]) -> None:
        spec = {"podCIDR": pod_cidrs[0], "podCIDRs": list(pod_cidrs)} if pod_cidrs else {}
        status = {
            "addresses": [{"type": "InternalIP", "address": each} for each in addresses],
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        if not self._api.there(f"nodes/{name}"):
            self._api.create("nodes", {"metadata": {"name": name}, "spec": spec, "status": status})
            return
        self.status(name, status)
        if spec and not self.get(name)["spec"].get("podCIDRs"):
            self._api.patch(f"nodes/{name}", {"spec": spec})

    def get(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._api.get(f"nodes/{name}")
        return found

    def status(self, name: str, status: dict[str, Any]) -> None:
        self._api.patch(f"nodes/{name}/status", {"status": status})

    def annotate(self, name: str, annotations: dict[str, str]) -> None:
        self._api.patch(f"nodes/{name}", {"metadata": {"annotations": annotations}})

    def delete(self, name: str) -> None:
        self._api.delete(f"nodes/{name}")

    def _ready(self, name: str, status: str) -> None:
        self.status(name, {"conditions": [{"type": "Ready", "status": status}]})

    def expire(self, host: str) -> None:
        self._ready(host, "Unknown")

    def show_life(self, name: str) -> None:
        self._ready(name, "True")

    def compact(self) -> None:
        """A server that starts again has in memory only what is there."""
        self._server.stop()
        self._server.start()

    def backup(self) -> Callable[[], None]:
        raise NotImplementedError("no test of assigned blocks restores a backup")
