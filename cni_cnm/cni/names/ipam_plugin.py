"""A plugin that leases addresses for the interface of another plugin, which has called it.

No endpoint is recorded: the interface is not ours. The lease is in the folder that the reference executable uses, and
stays until its DEL, or until a reboot voids it.
"""

from __future__ import annotations

from cni_cnm.cni import conventions, request, result
from cni_cnm.errors import InvalidConfig
from cni_cnm.model import Attachment, EndpointSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.cni.invocation import Invocation, Verb
    from cni_cnm.model import IpamSpec

_KEYS = frozenset(("cniversion", "name", "ipam", "args"))
_RUNTIME_KEYS = frozenset(("ips", "ipranges"))


def verbs(kind: str) -> Mapping[str, Verb]:
    """The verbs of the IPAM `kind`."""

    def ipam(invocation: Invocation) -> IpamSpec:
        if not invocation.config.mapping("ipam"):
            raise InvalidConfig("IPAM config missing 'ipam' key")
        return request.ipam_of(invocation.given, invocation.config, invocation.call)._replace(type=kind)

    def add(invocation: Invocation) -> bytes:
        spec, endpoint = ipam(invocation), _endpoint(invocation)
        engine = invocation.controller()
        if invocation.leads_to_own_namespace(engine):  # any other need not be there: nothing is made in it
            invocation.refuse_own_namespace(engine)
        network = request.name_of(invocation.config)
        lease = engine.lists.lease(network, spec, endpoint)
        leased = Attachment((), lease.addresses, lease.routes, lease.dns, None)
        invocation.outcome = ",".join(str(address.interface) for address in lease.addresses)
        return result.dump(result.encode(leased, invocation.version))

    def check(invocation: Invocation) -> bytes:
        previous = result.decode(invocation.config.object("prevResult"), invocation.version, invocation.call.ifname)
        invocation.controller().lists.check_lease(
            request.name_of(invocation.config), ipam(invocation), _endpoint(invocation), previous.addresses
        )
        return b""

    def delete(invocation: Invocation) -> bytes:
        if kind != "static":  # its configuration may be wrong by now: nothing is leased
            invocation.controller().lists.release(invocation.key(), ipam(invocation), invocation.call.environ)
        return b""

    return {"ADD": add, "CHECK": check, "DEL": delete, "GC": _nothing, "STATUS": _nothing}


def _endpoint(invocation: Invocation) -> EndpointSpec:
    """Whom the addresses are for, and which ones are requested for it."""
    call, given = invocation.call, invocation.given
    kept = {key: value for key, value in given.items() if key.lower() in _KEYS}
    for key, value in given.items():
        if key.lower() == "runtimeconfig" and isinstance(value, dict):
            kept[key] = {name: one for name, one in value.items() if name.lower() in _RUNTIME_KEYS}
    invocation.read_as({**kept, **{key: value for key, value in given.items() if key.lower() == "prevresult"}})
    requested = conventions.requested(invocation.config, call.args)
    return EndpointSpec(
        call.container_id,
        call.ifname,
        call.netns,
        owner="",
        addresses=requested.addresses,
        addresses_replace=requested.addresses_replace,
        gateways=requested.gateways,
        ranges=requested.ranges,
        environ=call.environ,
    )


def _nothing(invocation: Invocation) -> bytes:  # noqa: ARG001 - whose leases are whose, is known to the interface plugins
    return b""
