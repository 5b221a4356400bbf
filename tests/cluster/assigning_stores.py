"""Stores that give each host its block, as Kubernetes does: the stand-in API server, and one in memory.

Another kind (the real API server) is a subclass of `AssigningTestStore`; tests/kubernetes/real has it.
"""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from cni_cnm.cluster.directory import Directory
from cni_cnm.cluster.kubernetes.directory import KubernetesDirectory
from cni_cnm.cluster.values import ClusterHost
from cni_cnm.cluster_settings import ClusterSettings
from cni_cnm.errors import CnmError
from tests.cluster.assigning_directory import AssigningStore
from tests.cluster.stores import TestStore
from tests.kubernetes.api_server import ApiServer

BLOCKS = {"a": ("10.244.0.0/24",), "b": ("10.244.1.0/24",), "c": ("10.244.2.0/24",)}
"""Of each host that `expect` makes a Node of."""


class AssigningTestStore(TestStore):
    def expect(self, host: ClusterHost) -> None:
        self.node(host.name, [str(each) for each in host.addresses], BLOCKS.get(host.name, ()))

    @abstractmethod
    def node(self, name: str, addresses: Sequence[str], pod_cidrs: Sequence[str]) -> None:
        """There is a Node with these addresses; one that is there already keeps its podCIDRs if it has some."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """The Node is deleted."""

    @abstractmethod
    def show_life(self, name: str) -> None:
        """The kubelet shows life again."""


class AssigningMemory(AssigningTestStore):
    def __init__(self) -> None:
        self._store = AssigningStore()

    def directory(self) -> Directory:
        return self._store.directory()

    def node(self, name: str, addresses: Sequence[str], pod_cidrs: Sequence[str]) -> None:
        if not self._store.nodes.get(name):
            self._store.assign(name, *pod_cidrs)

    def delete(self, name: str) -> None:
        self._store.remove_node(name)

    def expire(self, host: str) -> None:
        self._store.expire(host)

    def show_life(self, name: str) -> None:
        self._store.directory().show_life(self._store.hosts[name])

    def compact(self) -> None:
        self._store.compact()

    def backup(self) -> Callable[[], None]:
        saved = self._store.backup()
        return lambda: self._store.restore(saved)

    def close(self) -> None:
        pass


class StandIn(AssigningTestStore):
    def __init__(self, **settings: object) -> None:
        """`settings`: of this host's cluster, besides store and kubeconfig."""
        self.api = ApiServer()
        self._folder = tempfile.TemporaryDirectory()
        kubeconfig = self.api.kubeconfig(Path(self._folder.name) / "kubeconfig")
        self.settings = ClusterSettings("kubernetes", kubeconfig=kubeconfig)._replace(**settings)  # type: ignore[arg-type]
        self._opened: list[KubernetesDirectory] = []

    def directory(self, timeout_s: float = 5) -> KubernetesDirectory:
        self._opened.append(KubernetesDirectory(self.settings, timeout_s))
        return self._opened[-1]

    def node(self, name: str, addresses: Sequence[str], pod_cidrs: Sequence[str]) -> None:
        if name not in self.api.model.nodes:
            self.api.do(lambda model: model.add(name, *addresses, pod_cidrs=pod_cidrs))
            return
        given = [{"type": "InternalIP", "address": each} for each in addresses]
        self.api.do(lambda model: model.change(name, {"status": {"addresses": given}}))
        if pod_cidrs and not model_cidrs(self.api, name):
            spec = {"podCIDR": pod_cidrs[0], "podCIDRs": list(pod_cidrs)}
            self.api.do(lambda model: model.change(name, {"spec": spec}))

    def delete(self, name: str) -> None:
        self.api.do(lambda model: model.remove(name))

    def expire(self, host: str) -> None:
        self.api.do(lambda model: model.ready(host, "Unknown"))

    def show_life(self, name: str) -> None:
        self.api.do(lambda model: model.ready(name, "True"))

    def compact(self) -> None:
        self.api.do(lambda model: model.compact())

    def backup(self) -> Callable[[], None]:
        saved = self.api.model.backup()

        def restore() -> None:
            self.api.do(lambda model: model.restore(saved))
            self.api.cut_watches()

        return restore

    def close(self) -> None:
        for each in self._opened:
            with suppress(CnmError):
                each.close()
        self.api.close()
        self._folder.cleanup()


def model_cidrs(api: ApiServer, name: str) -> Sequence[str]:
    found: Sequence[str] = api.model.nodes[name]["spec"].get("podCIDRs", ())
    return found
