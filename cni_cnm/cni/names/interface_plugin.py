"""A plugin that makes an interface: a driver of ours, in the profile `reference`.

Only the keys that the reference plugin reads are used. Published ports, policies, limits and tuning are other plugins'
of the same list (chained_plugin.py).
"""

from __future__ import annotations

from cni_cnm.cni import verbs as own
from cni_cnm.cni.names import original
from cni_cnm.cni.request import VALID
from cni_cnm.errors import CheckFailed
from cni_cnm.fields import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable, Mapping

    from cni_cnm.cni.invocation import Invocation, Verb
    from cni_cnm.model import Json

_KEYS = frozenset(
    ("cniversion", "name", "type", "ipam", "dns", "args", "prevresult", "dnsenabled", "dnsservers", *VALID)
)
"""Of all interface plugins, in lower case; and those of our name service, which no reference plugin has."""
_RUNTIME_KEYS = frozenset(("ips", "ipranges", "aliases"))
"""Of `runtimeConfig`: what IPAM plugins read. `aliases` are recorded."""
MACS = frozenset(("CNI_ARGS", "args", "runtimeConfig"))
"""Where a MAC can be requested, beside the configuration."""


def verbs(
    driver: str,
    keys: Iterable[str],
    *,
    runtime: Iterable[str] = (),
    macs: Collection[str] = (),
    prepare: Callable[[Mapping[str, Json]], Mapping[str, Json]] = dict,
) -> Mapping[str, Verb]:
    """The verbs of the plugin whose interfaces `driver` makes.

    Args:
        driver: its name.
        keys: the plugin's own keys, in any case.
        runtime: those of `runtimeConfig`, in lower case.
        macs: those of `MACS` that the plugin reads. A MAC that is requested elsewhere is another plugin's, as tuning's.
        prepare: changes an ADD's configuration before its keys are chosen.
    """
    read = _KEYS | {key.lower() for key in keys}
    of_runtime = {*_RUNTIME_KEYS, *runtime, *(("mac",) if "runtimeConfig" in macs else ())}

    def as_ours(invocation: Invocation) -> Invocation:
        call = invocation.call
        given = prepare(invocation.given) if call.verb == "ADD" else invocation.given
        document = _document(given, read, of_runtime, call.verb)
        if "args" not in macs:
            document = _without_mac(document)
        if "CNI_ARGS" not in macs:
            pieces = [piece for piece in call.args.split(";") if not piece.startswith("MAC=")]
            invocation.call = call._replace(args=";".join(pieces))
        invocation.read_as({**document, "driver": driver, "profile": "reference"})
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
        of_original = recorded != driver and original.may_have_made(invocation)  # seen before it is removed
        own.VERBS["DEL"](as_ours(invocation))
        if recorded not in ("", driver):  # a chained one: the interface is of the original
            own.VERBS["DEL"](invocation)
        if of_original:
            original.run(invocation)
        return b""

    def collect(invocation: Invocation) -> bytes:
        return own.VERBS["GC"](as_ours(invocation))

    def status(invocation: Invocation) -> bytes:
        return own.VERBS["STATUS"](as_ours(invocation))

    return {"ADD": add, "CHECK": check, "DEL": delete, "GC": collect, "STATUS": status}


def _document(given: Mapping[str, Json], keys: Container[str], runtime: Container[str], verb: str) -> dict[str, Json]:
    """The configuration as that of `cni-cnm`. An ADD makes an interface, whatever was made before it."""
    unread = ("prevresult",) if verb == "ADD" else ()
    kept = {key: value for key, value in given.items() if key.lower() in keys and key.lower() not in unread}
    for key, value in given.items():
        if key.lower() == "runtimeconfig" and isinstance(value, dict):
            kept[key] = {name: one for name, one in value.items() if name.lower() in runtime}
    return kept


def _without_mac(document: dict[str, Json]) -> dict[str, Json]:
    """Without `args.cni.mac`."""
    args = Fields(document).raw("args")
    cni = Fields(args).raw("cni") if isinstance(args, dict) else None
    if not isinstance(cni, dict):
        return document
    kept = {key: value for key, value in cni.items() if key.lower() != "mac"}
    return {**{key: value for key, value in document.items() if key.lower() != "args"}, "args": {"cni": kept}}
