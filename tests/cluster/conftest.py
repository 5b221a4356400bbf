"""Fixtures: real etcd servers that a whole run shares, and each kind of store (tests/cluster/stores.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.cluster.assigning_stores import AssigningMemory, StandIn
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


CLAIMED = ["memory", "model", "etcd", pytest.param("newer_etcd", marks=pytest.mark.long)]
ASSIGNED = ["assigning memory", "stand-in"]


def _made(request: pytest.FixtureRequest) -> Iterator[TestStore]:
    makers: dict[str, Callable[[], TestStore]] = {
        "memory": InMemory,
        "model": ModelEtcd,
        "etcd": lambda: RealEtcd(request.getfixturevalue("etcd")),
        "newer_etcd": lambda: RealEtcd(request.getfixturevalue("newer_etcd")),
        "assigning memory": AssigningMemory,
        "stand-in": StandIn,
    }
    made = makers[request.param]()
    yield made
    made.close()


@pytest.fixture(params=CLAIMED)
def store(request: pytest.FixtureRequest) -> Iterator[TestStore]:
    """Each kind of store whose blocks hosts claim; a test that takes it is run with all of them."""
    yield from _made(request)


@pytest.fixture(params=ASSIGNED)
def assigning_store(request: pytest.FixtureRequest) -> Iterator[TestStore]:
    """Each kind of store that gives hosts their blocks."""
    yield from _made(request)


@pytest.fixture(params=[*CLAIMED, *ASSIGNED])
def any_store(request: pytest.FixtureRequest) -> Iterator[TestStore]:
    """Each kind of store."""
    yield from _made(request)


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    """A stand-in for the API server alone, with a kubeconfig that is allowed what cni-cnm needs."""
    made = StandIn()
    yield made
    made.close()
