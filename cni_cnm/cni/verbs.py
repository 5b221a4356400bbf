"""The verbs of `cni-cnm`. Each parses and validates everything before it acts.

DEL       needs the network's name and the ids; nothing else in the configuration can make it fail
others    need a configuration that is valid in everything that is read of it
"""

from __future__ import annotations

from cni_cnm.cni import request, versions
from cni_cnm.errors import CnmError, InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.cni.invocation import Invocation, Verb
    from cni_cnm.frontend.engine import Engine
    from cni_cnm.model import EndpointKey, EndpointSpec, IpamSpec, NetworkSpec


def _add(invocation: Invocation) -> bytes:
    from cni_cnm.cni import result

    network, endpoint, key = invocation.network(), invocation.endpoint(), invocation.key()
    if request.is_chained(invocation.config):
        return _add_to_chain(invocation, request.chained(network, invocation.config), endpoint)
    old = versions.shape(invocation.version) == versions.PER_FAMILY
    if old and network.ipam.type in ("", "none"):
        result.refuse_unsupported(invocation.version, ())
    engine = invocation.controller()
    if old and (families := engine.families(network, endpoint)) is not None:
        result.refuse_unsupported(invocation.version, families)
    invocation.refuse_own_namespace(engine)
    attachment = engine.attach(network, endpoint)
    invocation.warn(attachment.warnings)
    if attachment.network_made:
        invocation.log_profile()
    try:
        document = result.encode(attachment, invocation.version)
    except CnmError as error:
        _undo(engine, key, endpoint, network.ipam, error)
        raise
    invocation.outcome = ",".join(str(address.interface) for address in attachment.addresses)
    return result.dump(document)


def _undo(engine: Engine, key: EndpointKey, endpoint: EndpointSpec, ipam: IpamSpec, error: CnmError) -> None:
    try:
        engine.detach(key, endpoint, ipam)
    except CnmError as second:
        error.add_note(f"while undoing: {second}")


def _add_to_chain(invocation: Invocation, network: NetworkSpec, endpoint: EndpointSpec) -> bytes:
    """Change another plugin's interface. The result is that plugin's, in this configuration's version."""
    from cni_cnm.cni import result

    previous = result.decode(invocation.config.object("prevResult"), invocation.version, endpoint.ifname)
    result.require_listed(previous, endpoint.ifname)
    engine = invocation.controller()
    invocation.refuse_own_namespace(engine)
    made = engine.attach(network, endpoint._replace(previous=previous))
    invocation.warn(made.warnings)
    invocation.outcome = "chained"
    changed = made if endpoint.tuning or endpoint.bandwidth else None
    return result.passed_on(invocation.config.mapping("prevResult"), changed, invocation.version, endpoint.ifname)


def _del(invocation: Invocation) -> bytes:
    engine = invocation.controller()
    endpoint = request.leaving(invocation.call)
    if invocation.leads_to_own_namespace(engine):  # the container's is gone
        endpoint = endpoint._replace(netns="", environ={**endpoint.environ, "CNI_NETNS": ""})
    invocation.warn(engine.detach(invocation.key(), endpoint, _ipam_if_readable(invocation)))
    return b""


def _ipam_if_readable(invocation: Invocation) -> IpamSpec | None:
    """None if it is invalid, or absent: without it no other plugin can have leased an address."""
    if invocation.config.raw("ipam") is None:
        return None
    try:
        return request.ipam_of(invocation.given, invocation.config, invocation.call)
    except InvalidConfig as error:
        invocation.warnings.append(f"the ipam of the configuration is not used: {error}")
        return None


def _check(invocation: Invocation) -> bytes:
    from cni_cnm.cni import result

    network, endpoint = invocation.network(), invocation.endpoint()
    if not invocation.config.mapping("prevResult"):
        raise InvalidConfig("required prevResult missing", hint="CHECK compares with the result of ADD")
    previous = result.decode(invocation.config.object("prevResult"), invocation.version, invocation.call.ifname)
    invocation.warn(invocation.controller().check(network, endpoint, previous))
    return b""


def _gc(invocation: Invocation) -> bytes:
    network, owner = invocation.network(), invocation.owner()
    if not request.states_valid(invocation.document):
        raise InvalidConfig(
            f"{request.VALID[0]} is missing, so every endpoint would be removed",
            hint="send an empty list to remove all of them",
        )
    valid = request.valid_of(invocation.config, network.name)
    invocation.warnings += invocation.controller().collect(network, owner, valid, invocation.call.environ)
    return b""


def _status(invocation: Invocation) -> bytes:
    network, strict = invocation.network(), invocation.config.flag("statusExhausted")
    invocation.warnings += invocation.controller().status(network, exhausted_is_error=strict)
    return b""


VERBS: Mapping[str, Verb] = {"ADD": _add, "CHECK": _check, "DEL": _del, "GC": _gc, "STATUS": _status}
