from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cni_cnm.kernel import iptables
from cni_cnm.kernel.stack import KernelStack
from tests.program import ROOT
from tests.reference.pods import Pods
from tests.side import REFERENCE, require_reference


@pytest.fixture(scope="session")
def newest() -> Path:
    """The folder of the newest reference plugins."""
    done = subprocess.run([ROOT / "scripts/reference"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    return Path(done.stdout.strip())


@pytest.fixture
def make_pods(
    host: KernelStack, make_netns: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path, str], Pods]:
    """Plugins' folder and form (`iptables`, `legacy`, `nftables`) to `Pods` in the test's namespace."""

    def make(plugins: Path, form: str) -> Pods:
        pods = Pods(tmp_path, plugins, make_netns)
        if form == "legacy":
            if not Path("/usr/sbin/iptables-legacy").exists():
                pytest.skip("needs iptables-legacy")
            pods.with_legacy()
            monkeypatch.setitem(iptables.PATH, "PATH", pods.path)
        return pods

    return make


@pytest.fixture
def debian() -> Path:
    """The folder of Debian's reference plugins."""
    require_reference()
    return REFERENCE
