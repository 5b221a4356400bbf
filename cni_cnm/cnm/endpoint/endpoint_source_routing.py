"""Source-based routing of an endpoint: its tables are on record before a rule is added.

An endpoint with tables of its own offers its sandbox no default route: it has them in those tables.
"""

from __future__ import annotations

from cni_cnm.cnm.interface import default_routes, source_routing
from cni_cnm.cnm.sandbox import namespace_identity, sandbox_endpoints

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cnm.endpoint.locked_endpoint import LockedEndpoint
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.cnm.rollback import ErrorList, Rollback
    from cni_cnm.kernel import Stack
    from cni_cnm.model import Route, SourceRouting


def apply(endpoint: LockedEndpoint, stack: Stack, undo: Rollback) -> None:
    """Choose the tables, record them, add rules and routes. One endpoint of a sandbox at a time."""
    record, host = endpoint.record, endpoint.host
    wanted = record.source_routing
    assert wanted is not None
    with sandbox_endpoints.lock(host, sandbox_endpoints.sandbox_id(record.container_id)):
        chosen = source_routing.choose_tables(stack, record.ifname, record.addresses, wanted)
        endpoint.write(source_routing=chosen)
        routes = record.full_lease.routes
        undo.push(lambda: source_routing.remove(stack, record.ifname, record.addresses, chosen, _listed(record)))
        source_routing.apply(stack, record.ifname, record.addresses, chosen, routes)


def extend(endpoint: LockedEndpoint, stack: Stack, wanted: SourceRouting, undo: Rollback) -> None:
    """The same for an endpoint that is connected, in the place of what it had. The default gateway is elected again."""
    record, host = endpoint.record, endpoint.host
    _remove(host, record)
    endpoint.write(source_routing=wanted, default_routes=record.default_routes if wanted.table else ())
    apply(endpoint, stack, undo)
    if record.default_routes and not wanted.table:
        elect_again(host, endpoint.record, stack)


def withdraw(endpoint: LockedEndpoint, parts: tuple[str, ...], gathered: ErrorList) -> None:
    """The routes are in the main table again, and the endpoint offers its sandbox its default routes."""
    record, host, role = endpoint.record, endpoint.host, endpoint.role
    remove(host, record, gathered)
    if gathered.errors:
        return
    offers = default_routes.default_routes(record.full_lease, role)[1] if role.configured else ()
    endpoint.write(source_routing=None, default_routes=offers, parts=parts)
    stack = namespace_identity.open_joined(host, record) if offers else None
    if stack is not None:
        with stack:
            elect_again(host, endpoint.record, stack)


def elect_again(host: Host, record: EndpointRecord, stack: Stack) -> None:
    """The endpoint offers its sandbox other default routes than before."""
    sandbox_endpoints.join_sandbox(host, record, stack)


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
        source_routing.remove(stack, record.ifname, record.addresses, wanted, _listed(record))


def _listed(record: EndpointRecord) -> Sequence[Route]:
    """Routes that were in the main table. The default routes of an interface of ours are elected."""
    return () if record.role.configured else record.full_lease.routes
