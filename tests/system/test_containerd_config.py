"""What conf/containerd says: where its lines go, so that the user's other CRI settings still count."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.program import ROOT

FOLDER = ROOT / "conf" / "containerd"
USERS = {
    "v2": 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "users/pause:1"\n',
    "v3": 'version = 3\n[plugins."io.containerd.cri.v1.images".pinned_images]\nsandbox = "users/pause:1"\n',
}
"""A configuration with a setting of the user's, in each form."""


def containerd(release: str) -> str:
    """The program of a release; skipped where there is none."""
    if release == "1":
        if not (found := shutil.which("containerd")):
            pytest.skip("no containerd")
        return found
    command = [str(ROOT / "scripts/reference"), "--built", "docker"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(done.stderr.strip())
    return f"{done.stdout.strip()}/containerd"


def dumped(release: str, form: str, folder: Path, *, imported: bool) -> dict[str, Any]:
    """What containerd makes of the user's configuration with our lines, in it or in an imported file."""
    ours = (FOLDER / f"{form}.toml").read_text("utf-8").replace('"/etc/cni/net.d"', '"/etc/ours"')
    main, beside = folder / "config.toml", folder / "cni.toml"
    if imported:
        beside.write_text(ours, "utf-8")
        main.write_text(f'imports = ["{beside}"]\n{USERS[form]}', "utf-8")
    else:
        main.write_text(USERS[form] + ours.replace(f"version = {form[1]}\n", ""), "utf-8")
    command = [containerd(release), "--config", str(main), "config", "dump"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    plugins: dict[str, Any] = tomllib.loads(done.stdout)["plugins"]
    return plugins


@pytest.mark.parametrize(
    ("release", "form", "imported"), [("1", "v2", False), ("2", "v2", False), ("2", "v3", False), ("2", "v3", True)]
)
def test_the_users_settings_still_count(release: str, form: str, imported: bool, tmp_path: Path) -> None:
    """Where the file says that its lines go: both its folder and the user's image are in force."""
    plugins = dumped(release, form, tmp_path, imported=imported)
    if release == "1":
        cri = plugins["io.containerd.grpc.v1.cri"]
        assert (cri["cni"]["conf_dir"], cri["sandbox_image"]) == ("/etc/ours", "users/pause:1")
    else:
        cni = plugins["io.containerd.cri.v1.runtime"]["cni"]
        assert (cni["conf_dir"], cni["bin_dirs"]) == ("/etc/ours", ["/opt/cni/bin"])
        assert plugins["io.containerd.cri.v1.images"]["pinned_images"]["sandbox"] == "users/pause:1"


def test_an_import_of_containerd_1_drops_them(tmp_path: Path) -> None:
    """Which is why v2.toml says that its lines do not go into an imported file."""
    plugins = dumped("1", "v2", tmp_path, imported=True)
    assert plugins["io.containerd.grpc.v1.cri"]["cni"]["conf_dir"] == "/etc/ours"
    assert plugins["io.containerd.grpc.v1.cri"]["sandbox_image"] != "users/pause:1"
