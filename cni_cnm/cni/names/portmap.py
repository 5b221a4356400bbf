"""The plugin `portmap`: publishes the ports of `runtimeConfig.portMappings`."""

from __future__ import annotations

from cni_cnm.cni.names.chained_plugin import verbs
from cni_cnm.firewall.portmap_options import parse_mappings, parse_options
from cni_cnm.model import Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cni.invocation import Invocation


def _parse(invocation: Invocation) -> Part | None:
    options, _ = parse_options(invocation.given)
    ports = parse_mappings(invocation.config.object("runtimeConfig").raw("portMappings") or [])
    return Part("portmap", ports=ports, portmap=options) if ports else None


VERBS = verbs(_parse, "must be called as chained plugin")
