"""Whose a container is, by what the runtimes and nerdctl say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cni_cnm.adopt import owners
from cni_cnm.errors import TryAgain
from cni_cnm.runtimes.runtime import Runtime

if TYPE_CHECKING:
    from pathlib import Path


def _silent() -> frozenset[str]:
    raise TryAgain("ctr cannot be run")


CRIO = Runtime("CRI-O", frozenset(("cni/crio",)), lambda: frozenset(("pod",)))
SILENT = Runtime("containerd", frozenset(("cni/containerd", "cni/nerdctl")), _silent)


def test_the_runtime_that_lists_it_or_nerdctl_that_has_named_it(tmp_path: Path) -> None:
    """nerdctl's own record is enough: containerd's list may be incomplete for the ctr of another version."""
    named = tmp_path / "1935db59/names/default/web"
    named.parent.mkdir(parents=True)
    named.write_text("abc")
    owner = owners.Owners((SILENT, CRIO), str(tmp_path))
    assert [owner(one) for one in ("pod", "default-abc", "default-abd")] == ["cni/crio", "cni/nerdctl", owners.UNKNOWN]
