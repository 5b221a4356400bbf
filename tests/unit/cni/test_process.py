"""A CNI call as a process: which settings it needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_cnm.cni import process
from cni_cnm.errors import InvalidConfig


@pytest.mark.parametrize("verb", ["ADD", "DEL", "CHECK", "STATUS", "GC"])
def test_only_a_del_needs_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'state_dir = "{tmp_path}"\n[cluster]\nstore = "kubernetes"\nmtu = 1400\n', encoding="utf-8")
    monkeypatch.setenv("CNI_CNM_CONFIG", str(config))
    if verb == "DEL":
        assert process.open_controller({"CNI_COMMAND": verb}).host.settings.state_dir == str(tmp_path)
        return
    with pytest.raises(InvalidConfig, match=r"cluster\.mtu is an unknown key"):
        process.open_controller({"CNI_COMMAND": verb})
