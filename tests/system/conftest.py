from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.system.fixtures import bundle, containerd, dockerd, libcni, libcni_client, node
from tests.system.relay import SANITIZED, Relay, compile_relay

__all__ = [
    "bundle",
    "compiled_relay",
    "containerd",
    "dockerd",
    "libcni",
    "libcni_client",
    "node",
    "relay",
    "sanitized_relay",
]

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def compiled_relay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The relay as it is shipped."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    return compile_relay(tmp_path_factory.mktemp("relay") / "cni-cnm")


@pytest.fixture(scope="session")
def sanitized_relay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The relay under AddressSanitizer and UndefinedBehaviorSanitizer, which end it at the first fault."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    return compile_relay(tmp_path_factory.mktemp("relay-sanitized") / "cni-cnm", *SANITIZED)


@pytest.fixture(params=["compiled_relay", "sanitized_relay"])
def relay(request: pytest.FixtureRequest, tmp_path: Path) -> Relay:
    return Relay(request.getfixturevalue(request.param), tmp_path)
