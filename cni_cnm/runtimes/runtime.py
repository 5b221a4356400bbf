"""A runtime of this host, as `cni-cnm gc` sees it."""

from __future__ import annotations

from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Runtime(NamedTuple):
    name: str
    owners: frozenset[str]
    """Owners of the endpoints that this runtime, and the tools that work with it, have made."""
    containers: Callable[[], frozenset[str]]
    """The ids of all its containers, as CNI calls name them. RuntimeSilent if the list is not complete."""
