from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.program import program
from tests.side import REFERENCE, Side
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
    "side",
]

if TYPE_CHECKING:
    from collections.abc import Iterator
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


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Side]:
    """A host with the program and the containers c1 and c2; the reference plugins are on its CNI_PATH.

    A file that needs more of the host has a fixture `side` of its own, which takes this one and adds it.
    """
    made = Side(program(tmp_path), "cni-cnm", (REFERENCE,))
    for container in ("c1", "c2"):
        made.container(container)
    yield made
    made.close()
