"""The plugin `sbr`: source-based routing of an interface's addresses."""

from __future__ import annotations

from cni_cnm.cni.names.chained_plugin import verbs
from cni_cnm.cnm.interface import source_routing
from cni_cnm.model import Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cni.invocation import Invocation


def _parse(invocation: Invocation) -> Part | None:
    return Part("sbr", source_routing=source_routing.parse(invocation.given, ""))


VERBS = verbs(_parse, "This plugin must be called as chained plugin")
