"""Fixtures of the tests that drive the built program.

bundle       dist/, built from the sources as they are
node         a machine of its own for one test
libcni       a runtime's side of CNI: Debian's libcni, compiled, called in `node`
containerd   a real containerd in `node`, calling the bundle
dockerd      a real dockerd in a machine of its own, one for all tests of a module
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.program import built
from tests.system.dockerd import EVERY_RELEASE
from tests.system.node import BIN, Node

GOCODE = Path("/usr/share/gocode")


@pytest.fixture(scope="session")
def bundle() -> Path:
    """The folder of the built executables."""
    return built()


@pytest.fixture
def node(require_root: None) -> Iterator[Node]:
    node = Node()
    yield node
    node.close()


class Refused(Exception):
    """The error a plugin gave through libcni: `code` and `msg`."""

    def __init__(self, code: int, msg: str) -> None:
        super().__init__(f"{code}: {msg}")
        self.code = code
        self.msg = msg


class Libcni:
    """One container's attachment, seen from a runtime."""

    def __init__(self, client: Path, node: Node) -> None:
        self._client = client
        self.node = node
        self.cache = "/var/lib/cni-runtime"
        self.path = [str(BIN)]

    def __call__(
        self,
        verb: str,
        conflist: Mapping[str, Any],
        netns: str,
        *,
        container: str = "pod-1",
        ifname: str = "eth0",
        args: Sequence[tuple[str, str]] = (),
        capabilities: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The decoded result; {} where the verb has none. Raises `Refused`."""
        request = {
            "conflist": conflist, "path": self.path, "cache": self.cache, "containerID": container,
            "netns": netns, "ifname": ifname, "args": list(args), "capabilities": dict(capabilities or {}),
        }  # fmt: skip
        done = self.node.run(str(self._client), verb, stdin=json.dumps(request), env={"GOMAXPROCS": "1"})
        answer = json.loads(done.out) if done.out.strip() else {}
        if done.code:
            raise Refused(answer.get("code", 0), f"{answer.get('msg', '')} {answer.get('details', '')} {done.err}")
        assert isinstance(answer, dict)
        return answer


@pytest.fixture(scope="session")
def libcni_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("go") is None or not (GOCODE / "src/github.com/containernetworking/cni").is_dir():
        pytest.skip("needs Go and libcni's source (golang-go, golang-github-appc-cni-dev)")
    out = tmp_path_factory.mktemp("libcni") / "client"
    environ = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GOCODE), "GOFLAGS": "", "CGO_ENABLED": "0"}
    source = Path(__file__).parent / "libcni_client"
    subprocess.run(["go", "build", "-o", out, "."], cwd=source, env=environ, check=True, capture_output=True)
    return out


@pytest.fixture
def libcni(bundle: Path, libcni_client: Path, node: Node) -> Libcni:
    return Libcni(libcni_client, node)


@pytest.fixture
def containerd(bundle: Path, node: Node) -> Iterator[Any]:
    for program in ("containerd", "runc", "busybox"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    from tests.system.containerd import Containerd

    containerd = Containerd(node)
    yield containerd
    containerd.close()


@pytest.fixture(scope="module", params=EVERY_RELEASE)
def dockerd(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Skips where there is no root or no such Docker."""
    from tests.system.dockerd import Dockerd, missing

    if os.geteuid() != 0:
        pytest.skip("needs root: network and mount namespaces")
    if why := missing(request.param):
        pytest.skip(why)
    node = Node()
    try:
        with Dockerd(node, release=request.param) as dockerd:
            yield dockerd
    finally:
        node.close()
