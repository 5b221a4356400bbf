"""extend, withdraw: what one plugin of a list adds to the endpoint that another one has made (cni/names/).

    portmap     published ports
    firewall    the policy of the endpoint's network, and what other firewalls accept
    bandwidth   limits
    tuning      sysctls and link attributes
    sbr         rules and tables of its addresses

The endpoint's record names its parts, so taking the endpoint down removes them, whatever plugin is called first. While
a part is being added the record is pending: what a kill leaves is removed by the next DEL of the plugin or of the
endpoint. An interface that is not on record, another plugin's, gets an endpoint of the driver `chained`. It ends
with its last part.
"""

from __future__ import annotations

from cni_cnm.cnm.endpoint import extend_endpoint, locked_endpoint
from cni_cnm.cnm.endpoint.locked_endpoint import LockedEndpoint
from cni_cnm.cnm.endpoint.take_down_endpoint import take_down
from cni_cnm.cnm.records import READY, endpoint_records, load_endpoint
from cni_cnm.cnm.requests import attach, detach
from cni_cnm.cnm.rollback import ErrorList, Rollback
from cni_cnm.cnm.sandbox import namespace_identity
from cni_cnm.drivers import CHAINED
from cni_cnm.errors import Conflict, DamagedRecord, raise_gathered
from cni_cnm.firewall import isolation
from cni_cnm.model import EndpointKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.kernel import Stack
    from cni_cnm.model import Attachment, EndpointSpec, NetworkSpec, Part


def driver_of(host: Host, key: EndpointKey) -> str:
    record = _recorded(host, key)
    return record.driver if record is not None else ""


def parts_of(host: Host, key: EndpointKey) -> Sequence[str]:
    record = _recorded(host, key)
    return record.parts if record is not None else ()


def extend(host: Host, network: NetworkSpec, spec: EndpointSpec, part: Part) -> Attachment:
    """Add a part. The endpoint is as before if that fails."""
    key = EndpointKey(network.name, spec.container_id, spec.ifname)
    with host.namespaces.open(spec.netns) as stack:
        if part.policy and part.policy.get("ingresspolicy") == isolation.ISOLATED:
            from cni_cnm.cnm.endpoint import network_policy

            network_policy.isolate_others(host, key.network, key.id)
        with locked_endpoint.lock(host, key.id):
            record = load_endpoint(host.store, key.id)
            if record is not None and _is_here(host, record, stack, part.plugin):
                endpoint = LockedEndpoint(host, record)
                again = record.state != READY
                if again:
                    _withdraw_half(endpoint, part.plugin)
                return extend_endpoint.extend(endpoint, stack, spec, part, again=again)
        with Rollback() as undo:
            attach.attach(host, network, spec)
            undo.push(lambda: detach.detach(host, key, spec, None))
            with locked_endpoint.lock(host, key.id):
                record = load_endpoint(host.store, key.id)
                if record is None or record.state != READY:
                    raise Conflict(f"{spec.ifname} of container {spec.container_id} was removed meanwhile")
                return extend_endpoint.extend(LockedEndpoint(host, record), stack, spec, part)


def withdraw(host: Host, key: EndpointKey, plugin: str) -> bool:
    """Every step is tried. False if neither the part nor the interface is on record."""
    if _recorded(host, key) is None:
        return False
    with locked_endpoint.lock(host, key.id):
        record = load_endpoint(host.store, key.id)
        if record is None:
            return False
        endpoint, gathered = LockedEndpoint(host, record), ErrorList()
        if plugin in record.parts:
            extend_endpoint.withdraw(endpoint, plugin, gathered)
        if not gathered.errors and record.driver == CHAINED and not endpoint.record.parts:
            gathered = take_down(endpoint, {})
        raise_gathered(gathered.errors)
    return plugin in record.parts or record.driver != CHAINED


def collect(host: Host, network: str, owner: str, valid: Sequence[EndpointKey], plugin: str) -> None:
    keep, gathered = {key.id for key in valid}, ErrorList()
    for record in endpoint_records(host.store):
        if record.network == network and record.owner == owner and record.id not in keep and plugin in record.parts:
            gathered.attempt(lambda key=record.key: withdraw(host, key, plugin))  # type: ignore[misc]
    raise_gathered(gathered.errors)


def _is_here(host: Host, record: EndpointRecord, stack: Stack, plugin: str) -> bool:
    """Whether the endpoint on record has joined this namespace, and the plugin can add its part, or do it again.

    Conflict if another plugin was killed at it: taking it down would delete the interface, or the parts before.
    """
    if record.epoch != host.epoch or not namespace_identity.joined(host, record, stack):
        return False
    if record.state == READY or record.parts[-1:] == (plugin,):
        return True
    if record.driver == CHAINED and not record.parts:
        return False
    raise Conflict(
        f"{record.ifname} of container {record.container_id} is half made: a plugin before was killed",
        hint="DEL it, then ADD works",
    )


def _withdraw_half(endpoint: LockedEndpoint, plugin: str) -> None:
    """What a plugin that was killed has added. The relay calls it again if the service ends meanwhile."""
    gathered = ErrorList()
    extend_endpoint.withdraw(endpoint, plugin, gathered)
    raise_gathered(gathered.errors)
    endpoint.write(state=READY)


def _recorded(host: Host, key: EndpointKey) -> EndpointRecord | None:
    """None also for a record that cannot be read: detach removes that."""
    try:
        return load_endpoint(host.store, key.id)
    except DamagedRecord:
        return None
