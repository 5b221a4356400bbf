"""Fixtures: real etcd servers that a whole run shares, and each kind of store (tests/cluster/stores.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.cluster.etcd_server import EtcdServer, program
from tests.cluster.stores import InMemory, ModelEtcd, RealEtcd, TestStore


def _shared(release: str, folder_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    if not program(release):
        pytest.skip(f"needs etcd {release}: {'etcd-server' if release == '3.4' else 'scripts/reference etcd'}")
    server = EtcdServer(folder_factory.mktemp("etcd"), release=release)
    yield server
    server.kill()


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """Debian's. A test uses a prefix of its own."""
    yield from _shared("3.4", tmp_path_factory)


@pytest.fixture(scope="session")
def newer_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    yield from _shared("3.6", tmp_path_factory)


@pytest.fixture(params=["memory", "model", "etcd", pytest.param("newer_etcd", marks=pytest.mark.long)])
def store(request: pytest.FixtureRequest) -> Iterator[TestStore]:
    """Each kind of store; a test that takes it is run with all of them."""
    makers: dict[str, Callable[[], TestStore]] = {
        "memory": InMemory,
        "model": ModelEtcd,
        "etcd": lambda: RealEtcd(request.getfixturevalue("etcd")),
        "newer_etcd": lambda: RealEtcd(request.getfixturevalue("newer_etcd")),
    }
    made = makers[request.param]()
    yield made
    made.close()
