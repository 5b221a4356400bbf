"""Stores for the contract's tests: each one makes directories of several hosts, and can do what happens to stores.

Those whose blocks the store itself gives are in tests/cluster/assigning_stores.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from itertools import count

from cni_cnm.cluster.directory import Directory
from cni_cnm.cluster.etcd.directory import EtcdDirectory
from cni_cnm.cluster.values import ClusterHost
from cni_cnm.cluster_settings import ClusterSettings
from cni_cnm.errors import CnmError
from tests.cluster.etcd_server import EtcdServer, b64
from tests.cluster.memory_directory import MemoryStore
from tests.cluster.model_gateway import ModelGateway

_prefixes = count(1)


class TestStore(ABC):
    """A store with nothing in it."""

    __test__ = False

    @abstractmethod
    def directory(self) -> Directory:
        """A further host's way to it."""

    def expect(self, host: ClusterHost) -> None:  # noqa: B027 - most stores need nothing
        """Make what must be there before this host announces itself with these addresses: in Kubernetes, its Node."""

    @abstractmethod
    def expire(self, host: str) -> None:
        """The host's lease is over."""

    @abstractmethod
    def compact(self) -> None:
        """Only the present is kept."""

    @abstractmethod
    def backup(self) -> Callable[[], None]:
        """Back up; the result restores."""

    @abstractmethod
    def close(self) -> None:
        """Stop what was started."""


class InMemory(TestStore):
    def __init__(self) -> None:
        self._store = MemoryStore()

    def directory(self) -> Directory:
        return self._store.directory()

    def expire(self, host: str) -> None:
        self._store.expire(host)

    def compact(self) -> None:
        self._store.compact()

    def backup(self) -> Callable[[], None]:
        saved = self._store.backup()
        return lambda: self._store.restore(saved)

    def close(self) -> None:
        pass


class Etcd(TestStore):
    """Over a gateway, below a prefix of its own."""

    def __init__(self, url: str) -> None:
        self.settings = ClusterSettings("etcd", (url,), prefix=f"/test-{next(_prefixes)}")
        self._opened: list[EtcdDirectory] = []

    def directory(self) -> EtcdDirectory:
        self._opened.append(EtcdDirectory(self.settings, 5))
        return self._opened[-1]

    def close(self) -> None:
        for each in self._opened:
            with suppress(CnmError):
                each.close()


class ModelEtcd(Etcd):
    def __init__(self) -> None:
        self.gateway = ModelGateway()
        super().__init__(self.gateway.url)

    def expire(self, host: str) -> None:
        pair = self.gateway.model.pairs[f"{self.settings.prefix}/alive/{host}".encode()]
        self.gateway.do(lambda model: model.expire(pair.lease))

    def compact(self) -> None:
        self.gateway.do(lambda model: model.answer("kv/compaction", {"revision": model.revision}))

    def backup(self) -> Callable[[], None]:
        saved = self.gateway.model.backup()

        def restore() -> None:
            self.gateway.do(lambda model: model.restore(saved))
            self.gateway.cut_watches()

        return restore

    def close(self) -> None:
        super().close()
        self.gateway.__exit__()


class RealEtcd(Etcd):
    def __init__(self, server: EtcdServer) -> None:
        super().__init__(server.url)
        self._server = server

    def expire(self, host: str) -> None:
        _, found = self._server.gateway("kv/range", {"key": b64(f"{self.settings.prefix}/alive/{host}")})
        self._server.gateway("lease/revoke", {"ID": found["kvs"][0]["lease"]})

    def compact(self) -> None:
        _, found = self._server.gateway("kv/range", {"key": b64("x")})
        self._server.gateway("kv/compaction", {"revision": found["header"]["revision"]})

    def backup(self) -> Callable[[], None]:
        raise NotImplementedError("tests/cluster/test_etcd_failures.py does it")
