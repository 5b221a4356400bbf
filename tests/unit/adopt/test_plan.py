"""What is refused before anything is looked at, in an order that names the first cause."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cni_cnm.adopt import plan
from cni_cnm.errors import Conflict, NotFound
from tests.memory_kernel.host import memory_host

REFERENCE = {"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "bridge", "ipam": {"type": "host-local"}}]}


def test_a_network_that_no_file_configures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said also where the program is not installed; that is said of a network that there is."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bridge").touch()
    monkeypatch.setattr(plan, "BIN_FOLDERS", [str(tmp_path / "bin")])
    monkeypatch.delenv("CNI_PATH", raising=False)
    conf = tmp_path / "net.d"
    conf.mkdir()
    (conf / "10-net.conflist").write_text(json.dumps(REFERENCE), encoding="utf-8")
    host = memory_host(tmp_path / "host")
    for name, refusal, sentence in (("nett", NotFound, "configures a network nett"), ("net", Conflict, "not beside")):
        with pytest.raises(refusal, match=sentence):
            plan.make(host, name, str(conf), str(tmp_path), lambda _: "")
