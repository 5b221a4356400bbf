"""A plugin that makes an interface: a driver of ours, in the profile `reference`.

Only the keys that the reference plugin reads are used. Published ports, policies, limits and tuning are other plugins'
of the same list (chained_plugin.py).
"""

from __future__ import annotations

from cni_cnm.cni import verbs as own
from cni_cnm.cni.names import original
from cni_cnm.cni.request import VALID
from cni_cnm.errors import CheckFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cni_cnm.cni.invocation import Invocation, Verb
    from cni_cnm.model import Json

_KEYS = frozenset(("cniversion", "name", "type", "ipam", "dns", "args", "prevresult", *VALID))
"""Of all interface plugins, in lower case."""
_RUNTIME_KEYS = frozenset(("mac", "ips", "ipranges", "aliases"))
"""Of `runtimeConfig`: the MAC, and what IPAM plugins read. `aliases` are recorded."""


def verbs(driver: str, keys: Iterable[str]) -> Mapping[str, Verb]:
    """The verbs of the plugin whose interfaces `driver` makes. `keys`: its own, in any case."""
    read = _KEYS | {key.lower() for key in keys}

    def as_ours(invocation: Invocation) -> Invocation:
        invocation.read_as(_document(invocation.given, driver, read, invocation.call.verb))
        return invocation

    def add(invocation: Invocation) -> bytes:
        return own.VERBS["ADD"](as_ours(invocation))

    def check(invocation: Invocation) -> bytes:
        recorded = invocation.controller().lists.driver_of(invocation.key())
        if recorded != driver:
            if original.run(invocation):
                return b""
            raise CheckFailed(
                f"nothing is recorded for {invocation.call.ifname} of container {invocation.call.container_id}, and "
                f"no other {invocation.plugin} is on CNI_PATH",
                hint="was it made before a reboot? DEL and ADD it again",
            )
        return own.VERBS["CHECK"](as_ours(invocation))

    def delete(invocation: Invocation) -> bytes:
        recorded = invocation.controller().lists.driver_of(invocation.key())
        own.VERBS["DEL"](as_ours(invocation))
        if recorded != driver:
            if recorded:  # a chained one: the interface is of the original
                own.VERBS["DEL"](invocation)
            original.run(invocation)
        return b""

    def collect(invocation: Invocation) -> bytes:
        return own.VERBS["GC"](as_ours(invocation))

    def status(invocation: Invocation) -> bytes:
        return own.VERBS["STATUS"](as_ours(invocation))

    return {"ADD": add, "CHECK": check, "DEL": delete, "GC": collect, "STATUS": status}


def _document(given: Mapping[str, Json], driver: str, keys: frozenset[str], verb: str) -> dict[str, Json]:
    """The configuration as that of `cni-cnm`. An ADD makes an interface, whatever was made before it."""
    unread = ("prevresult",) if verb == "ADD" else ()
    kept = {key: value for key, value in given.items() if key.lower() in keys and key.lower() not in unread}
    for key, value in given.items():
        if key.lower() == "runtimeconfig" and isinstance(value, dict):
            kept[key] = {name: one for name, one in value.items() if name.lower() in _RUNTIME_KEYS}
    return {**kept, "driver": driver, "profile": "reference"}
