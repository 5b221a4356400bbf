"""A plugin called by TLS, as its .json says: from source, and by the built program with the host's OpenSSL."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.program import program
from tests.side import Side
from tests.system.recorder import Recorder

CONFIG = {"cniVersion": "1.0.0", "name": "net", "driver": "rec", "ipam": {"subnet": "10.73.0.0/24"}}


@pytest.fixture(params=["source", "bundle"])
def side(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Side]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    built: Path | None = request.getfixturevalue("bundle") if request.param == "bundle" else None
    made = Side(built / "cni-cnm" if built else program(tmp_path), "cni-cnm")
    made.container("c1")
    yield made
    made.close()


def certificate(folder: Path, name: str) -> Path:
    """A key and a certificate of its own for 127.0.0.1, in one file."""
    path = folder / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", f"{path}.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def test_a_plugin_by_tls(side: Side, tmp_path: Path) -> None:
    """Its certificate is verified against CAFile; another one is refused, before anything is sent."""
    pem, other = certificate(tmp_path, "plugin"), certificate(tmp_path, "other")
    rec = Recorder(side.node, address="127.0.0.1:9443", pem=str(pem))

    def trust(ca: Path) -> None:
        content: dict[str, Any] = {"Addr": "https://127.0.0.1:9443", "TLSConfig": {"CAFile": str(ca)}}
        side.node.write("/etc/docker/plugins/rec.json", json.dumps(content))

    try:
        trust(other)
        refused = side.add(CONFIG)
        assert "CERTIFICATE_VERIFY_FAILED" in refused.json["msg"], refused.json
        assert rec.requests(handshakes=True) == []
        trust(pem)
        side.add(CONFIG).ok()
        assert side.node.ping("10.73.0.1", netns="/run/netns/c1")
        side.delete(CONFIG).ok()
    finally:
        rec.stop()
