"""Which endpoints a sandbox has: an endpoint joins it or leaves it, and the default gateway is elected again.

A container has one sandbox. Its record lists the endpoints in the order they joined, and the elected gateways.
"""

from __future__ import annotations

from cni_cnm.cnm.records import SandboxRecord, load_endpoint, load_sandbox
from cni_cnm.cnm.sandbox import default_gateway, namespace_identity
from cni_cnm.errors import CnmError
from cni_cnm.model import digest
from cni_cnm.state.store import SANDBOXES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from contextlib import AbstractContextManager

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.kernel import Stack


def sandbox_id(container_id: str) -> str:
    return digest("sandbox", container_id)


def lock(host: Host, identity: str) -> AbstractContextManager[None]:
    return host.store.lock(f"sandbox/{identity}")


def sandbox_of(host: Host, container_id: str) -> SandboxRecord | None:
    """The record of a container's sandbox; None if it has none in this epoch."""
    return load_sandbox(host.store, sandbox_id(container_id), host.epoch)


def members_of(host: Host, sandbox: SandboxRecord, *, without: str = "") -> list[EndpointRecord]:
    """The sandbox's endpoints, in the order they joined; not the endpoint of the id `without`, which is not read."""
    found = (load_endpoint(host.store, endpoint) for endpoint in sandbox.endpoints if endpoint != without)
    return [record for record in found if record]


def gateways_of(host: Host, container_id: str) -> dict[int, str]:
    """IP version to the id of the endpoint that is the container's default gateway."""
    record = sandbox_of(host, container_id)
    return {int(version): endpoint for version, endpoint in record.gateways.items()} if record else {}


def join_sandbox(host: Host, endpoint: EndpointRecord, stack: Stack, index: int = 0) -> frozenset[int]:
    """Record that an endpoint, whose link is configured, is in its sandbox. Elects the default gateway again.

    Returns the IP versions for which the endpoint is elected. `index` is the link's, where the caller knows it.
    """
    identity = sandbox_id(endpoint.container_id)
    with lock(host, identity):
        record = load_sandbox(host.store, identity, host.epoch)
        if record is None:
            record = SandboxRecord(identity, endpoint.container_id, endpoint.netns, host.epoch)
        others = members_of(host, record, without=endpoint.id)
        members = [member for member in others if namespace_identity.joined(host, member, stack)]
        if not members:
            record = record._replace(netns=endpoint.netns, gateways={})
        members.append(endpoint)
        elected = default_gateway.elect(members, record.gateways, stack, endpoint.id, index)
        if len(members) > 1:
            default_gateway.loosen_reverse_path(members, stack)
        changed = record._replace(endpoints=tuple(member.id for member in members), gateways=_recorded(elected))
        host.store.put(SANDBOXES, identity, changed.to_json())
        default_gateway.program_external_connectivity(members, record.gateways, changed.gateways, newcomer=endpoint.id)
    return frozenset(version for version, winner in elected.items() if winner == endpoint.id)


def leave_sandbox(host: Host, endpoint: EndpointRecord, *, delete_empty: bool) -> None:
    """Record that an endpoint, whose link is removed, has left its sandbox. No error if it had not joined.

    The default gateway is elected again. With `delete_empty` the record of an empty sandbox is deleted.
    """
    identity = sandbox_id(endpoint.container_id)
    failure: CnmError | None = None
    with lock(host, identity):
        record = load_sandbox(host.store, identity, host.epoch)
        members = members_of(host, record, without=endpoint.id) if record else []
        if delete_empty and not members:
            host.store.delete(SANDBOXES, identity)
            return
        if record is None:
            return
        gateways = {version: key for version, key in record.gateways.items() if key != endpoint.id}
        stack = _open_any(host, [endpoint, *members]) if members and gateways != dict(record.gateways) else None
        if stack is not None:
            try:
                gateways = _recorded(default_gateway.elect(members, record.gateways, stack))
            except CnmError as error:
                failure = error
            finally:
                stack.close()
        changed = record._replace(endpoints=tuple(member.id for member in members), gateways=gateways)
        host.store.put(SANDBOXES, identity, changed.to_json())
        default_gateway.program_external_connectivity(members, record.gateways, changed.gateways)
    if failure is not None:
        raise failure


def _open_any(host: Host, endpoints: Sequence[EndpointRecord]) -> Stack | None:
    """The sandbox's namespace, by the path of whichever endpoint still leads to it; None if it is gone."""
    opened = (namespace_identity.open_joined(host, endpoint) for endpoint in endpoints)
    return next((stack for stack in opened if stack is not None), None)


def record_member(host: Host, endpoint: EndpointRecord, versions: Collection[int]) -> None:
    """Record that an endpoint is in its sandbox, whose routes are not changed.

    `versions`: the IP versions whose default route is by its interface. Of these it is the default gateway.
    """
    identity = sandbox_id(endpoint.container_id)
    with lock(host, identity):
        record = load_sandbox(host.store, identity, host.epoch)
        if record is None:
            record = SandboxRecord(identity, endpoint.container_id, endpoint.netns, host.epoch)
        others = tuple(one for one in record.endpoints if one != endpoint.id)
        gateways = {**record.gateways, **{str(version): endpoint.id for version in versions}}
        changed = record._replace(endpoints=(*others, endpoint.id), gateways=gateways)
        host.store.put(SANDBOXES, identity, changed.to_json())


def register_sandbox(host: Host, container_id: str, netns: str) -> bool:
    """Write the record of a sandbox without endpoints. False if the container has a sandbox already."""
    identity = sandbox_id(container_id)
    with lock(host, identity):
        if load_sandbox(host.store, identity, host.epoch) is not None:
            return False
        host.store.put(SANDBOXES, identity, SandboxRecord(identity, container_id, netns, host.epoch).to_json())
        return True


def _recorded(elected: Mapping[int, str]) -> dict[str, str]:
    return {str(version): endpoint for version, endpoint in elected.items()}
