"""The plugin `tuning`: sysctls of the container's network, and attributes of its interface."""

from __future__ import annotations

from cni_cnm.cni import conventions
from cni_cnm.cni.names.chained_plugin import verbs
from cni_cnm.cnm.interface import tuning
from cni_cnm.fields import Fields
from cni_cnm.model import Part, Tuning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cni.invocation import Invocation


def _parse(invocation: Invocation) -> Part | None:
    config, call = invocation.config, invocation.call
    # Without args: their MAC is read below, and outranks the runtime's here.
    asked = {key: value for key, value in invocation.given.items() if key.lower() == "runtimeconfig"}
    mac = Fields(asked).object("runtimeConfig").mac("mac") or conventions.argued_mac(call.args)
    found = tuning.parse(invocation.given, config.object("args").mapping("cni"), call.ifname, mac=mac)
    return Part("tuning", tuning=found) if found and found != Tuning() else None


VERBS = verbs(_parse, "Required prevResult missing")
