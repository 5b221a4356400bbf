"""The plugin `bandwidth`: limits what an interface sends and receives."""

from __future__ import annotations

from cni_cnm.cni.names.chained_plugin import verbs
from cni_cnm.cnm.interface import shaping
from cni_cnm.errors import UnsupportedField
from cni_cnm.model import Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cni.invocation import Invocation


def _parse(invocation: Invocation) -> Part | None:
    for key in ("shapedSubnets", "unshapedSubnets"):
        if invocation.config.raw(key):
            raise UnsupportedField(
                f"{key} is given, but a limit here is for everything that an interface sends and receives"
            )
    limits = shaping.parse(invocation.given, invocation.config.object("runtimeConfig").mapping("bandwidth"))
    return Part("bandwidth", bandwidth=limits) if limits else None


VERBS = verbs(_parse, "must be called as chained plugin")
