"""Source-based routing of an endpoint: its tables are on record before a rule is added.

An endpoint with tables of its own offers its sandbox no default route: it has them in those tables.
"""

from __future__ import annotations

from cni_cnm.cnm.interface import source_routing
from cni_cnm.cnm.sandbox import namespace_identity, sandbox_endpoints

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.endpoint.locked_endpoint import LockedEndpoint
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.cnm.rollback import ErrorList, Rollback
    from cni_cnm.kernel import Stack


def apply(endpoint: LockedEndpoint, stack: Stack, undo: Rollback) -> None:
    """Choose the tables, record them, add rules and routes. One endpoint of a sandbox at a time."""
    record, host = endpoint.record, endpoint.host
    wanted = record.source_routing
    assert wanted is not None
    with sandbox_endpoints.lock(host, sandbox_endpoints.sandbox_id(record.container_id)):
        chosen = source_routing.choose_tables(stack, record.ifname, record.addresses, wanted)
        endpoint.write(source_routing=chosen)
        routes = record.full_lease.routes
        undo.push(lambda: source_routing.remove(stack, record.ifname, record.addresses, chosen, routes))
        source_routing.apply(stack, record.ifname, record.addresses, chosen, routes)


def remove(host: Host, record: EndpointRecord, gathered: ErrorList) -> None:
    """Only in the namespace that the endpoint joined. No error if absent."""
    gathered.attempt(lambda: _remove(host, record))


def check(record: EndpointRecord, stack: Stack) -> None:
    """CheckFailed naming the first difference."""
    if record.source_routing is not None:
        source_routing.check(stack, record.addresses, record.source_routing)


def _remove(host: Host, record: EndpointRecord) -> None:
    wanted = record.source_routing
    stack = namespace_identity.open_joined(host, record)
    if stack is None or wanted is None:
        return
    with stack:
        source_routing.remove(stack, record.ifname, record.addresses, wanted, record.full_lease.routes)
