"""Every test here is marked `kubernetes`: scripts/test --kubernetes runs it. It is skipped if a program is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.real.api_server import ApiServer
from tests.kubernetes.real.lab import Lab, new_lab, require_programs

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.kubernetes)
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """On loopback, without nodes."""
    require_programs()
    server = ApiServer(tmp_path_factory.mktemp("kubernetes"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Two nodes that have registered, without a network of pods."""
    with new_lab() as made:
        made.start()
        yield made


@pytest.fixture(scope="module")
def network(lab: Lab) -> Lab:
    """With our service on both nodes, which are Ready."""
    lab.serve()
    lab.wait_ready()
    return lab
