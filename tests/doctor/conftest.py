from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cni_cnm.kernel.setns import CLONE_NEWNET, own_fd, setns
from tests.conftest import _call, _loopback_up
from tests.doctor.world import World

SHADOWED = ("/etc/cni", "/etc/systemd", "/etc/NetworkManager", "/run/cni-cnm", "/run/systemd", "/var/lib/kubelet")


def _bound_netns(folder: Path, name: str) -> str:
    path = folder / name
    path.touch()
    before = own_fd()
    try:
        _call("unshare", CLONE_NEWNET)
        _call("mount", b"/proc/thread-self/ns/net", str(path).encode(), None, 0x1000, None)
    finally:
        setns(before, CLONE_NEWNET)
        os.close(before)
    return str(path)


@pytest.fixture(scope="module")
def world(left_namespaces: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """This thread lives in the host's namespace until the module's tests have run."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network and mount namespaces")
    if not os.path.ismount("/run/cni-cnm"):
        pytest.skip("writes into /etc: scripts/test has a mount namespace for it")
    folder = tmp_path_factory.mktemp("host")
    for place in SHADOWED:
        os.makedirs(place, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "doctor", place], check=True)
    before = own_fd()
    _call("unshare", CLONE_NEWNET)
    made: list[str] = []

    def make_netns(name: str) -> str:
        made.append(_bound_netns(folder, name))
        return made[-1]

    try:
        _loopback_up()
        world = World(folder, make_netns)
        yield world
        world.close()
    finally:
        setns(before, CLONE_NEWNET)
        os.close(before)
        for place in (*made, *SHADOWED):
            subprocess.run(["umount", "--lazy", place], check=False)
