"""Whose a container is that the reference plugins have attached: they keep no owner, so the runtimes are asked."""

from __future__ import annotations

from cni_cnm.errors import CnmError
from cni_cnm.names import nerdctl
from cni_cnm.runtimes.all_runtimes import ALL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.runtimes.runtime import Runtime

UNKNOWN = "cni/unknown"
"""No GC and no `cni-cnm gc` removes endpoints of this owner."""
NERDCTL = "cni/nerdctl"
"""containerd lists nerdctl's containers, too. Those that nerdctl has a name for are its own."""


class Owners:
    """Asks each runtime once, at the first container."""

    def __init__(self, runtimes: Sequence[Runtime] = ALL, nerdctl_root: str = "") -> None:
        self._runtimes = runtimes
        self._nerdctl_root = nerdctl_root or nerdctl.data_root()
        self._lists: list[tuple[str, frozenset[str]]] | None = None

    def __call__(self, container_id: str) -> str:
        if nerdctl.names(container_id, self._nerdctl_root):
            return NERDCTL
        if self._lists is None:
            self._lists = [(_owner(runtime), _containers(runtime)) for runtime in self._runtimes]
        return next((owner for owner, ids in self._lists if container_id in ids), UNKNOWN)


def _owner(runtime: Runtime) -> str:
    """The runtime's own name among those of the tools that work with it."""
    own = f"cni/{runtime.name}"
    return own if own in runtime.owners else min(runtime.owners)


def _containers(runtime: Runtime) -> frozenset[str]:
    try:
        return runtime.containers()
    except CnmError:  # it is not there, or does not answer
        return frozenset()
