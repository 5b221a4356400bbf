"""A real kube-apiserver without nodes, for what needs only the API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kubernetes.real.api_server import ApiServer
from tests.kubernetes.real.programs import programs


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """On loopback. Skipped if the programs are missing."""
    if missing := programs().missing:
        pytest.skip(missing)
    server = ApiServer(tmp_path_factory.mktemp("kubernetes"))
    yield server
    server.stop()
