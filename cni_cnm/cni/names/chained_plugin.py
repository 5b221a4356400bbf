"""A plugin behind an interface plugin: it adds its part to the endpoint of the interface.

The endpoint is the one that an interface plugin of ours has recorded. The interface of another plugin gets a record
with the first part that is added to it. DEL withdraws the part alone. A call without anything to add changes nothing.
"""

from __future__ import annotations

from cni_cnm.cni import request, result
from cni_cnm.cni.names import original
from cni_cnm.drivers import CHAINED, POLICY_OF_CHAIN
from cni_cnm.errors import CheckFailed, InvalidConfig
from cni_cnm.model import EndpointSpec, NetworkSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from cni_cnm.cni.invocation import Invocation, Verb
    from cni_cnm.model import Attachment, Part

    Parser: TypeAlias = Callable[[Invocation], Part | None]
    """The part that a configuration asks for; None for nothing. InvalidConfig for a wrong value."""


def verbs(parse: Parser, missing: str) -> Mapping[str, Verb]:
    """The verbs of a plugin. `missing`: what the reference plugin says if there is no prevResult."""

    def add(invocation: Invocation) -> bytes:
        part = parse(invocation)
        previous = _previous(invocation, missing)
        made: Attachment | None = None
        if part is not None:
            result.refuse_another(previous, invocation.call.ifname)
            engine = invocation.controller()
            invocation.refuse_own_namespace(engine)
            made = engine.lists.extend(_network(invocation), _endpoint(invocation)._replace(previous=previous), part)
            invocation.warn(made.warnings)
        invocation.outcome = "nothing to add" if part is None else "added"
        previous_result = invocation.config.mapping("prevResult")
        return result.passed_on(previous_result, made, invocation.version, invocation.call.ifname)

    def check(invocation: Invocation) -> bytes:
        part = parse(invocation)
        _previous(invocation, missing)
        if part is None:
            return b""
        engine = invocation.controller()
        if part.plugin in engine.lists.parts_of(invocation.key()):
            invocation.warn(engine.lists.check_part(invocation.key(), _endpoint(invocation), part))
        elif not original.run(invocation):
            raise CheckFailed(
                f"nothing of {part.plugin} is recorded for {invocation.call.ifname} of container "
                f"{invocation.call.container_id}",
                hint="was it made before a reboot? DEL and ADD it again",
            )
        return b""

    def delete(invocation: Invocation) -> bytes:
        withdrawn = invocation.controller().lists.withdraw(invocation.key(), invocation.plugin)
        if not withdrawn and original.may_have_made(invocation):
            original.run(invocation)
        return b""

    def collect(invocation: Invocation) -> bytes:
        if not request.states_valid(invocation.document):
            raise InvalidConfig(f"{request.VALID[0]} is missing, so every part would be removed")
        name = request.name_of(invocation.config)
        valid = request.valid_of(invocation.config, name)
        invocation.controller().lists.collect_parts(name, invocation.owner(), valid, invocation.plugin)
        return b""

    return {"ADD": add, "CHECK": check, "DEL": delete, "GC": collect, "STATUS": _nothing}


def _previous(invocation: Invocation, missing: str) -> Attachment:
    if not invocation.config.mapping("prevResult"):
        raise InvalidConfig(missing)
    return result.decode(invocation.config.object("prevResult"), invocation.version, invocation.call.ifname)


def _network(invocation: Invocation) -> NetworkSpec:
    """The network of an interface that another plugin has made."""
    return NetworkSpec(request.name_of(invocation.config), CHAINED, {POLICY_OF_CHAIN: True})


def _endpoint(invocation: Invocation) -> EndpointSpec:
    call = invocation.call
    return EndpointSpec(
        call.container_id,
        call.ifname,
        call.netns,
        owner=invocation.owner(),
        environ=call.environ,
        request_id=call.environ.get("CNI_CNM_REQUEST", ""),
    )


def _nothing(invocation: Invocation) -> bytes:  # noqa: ARG001 - what it adds to an interface cannot be used up
    return b""
