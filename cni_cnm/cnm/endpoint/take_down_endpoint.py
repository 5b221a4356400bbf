"""An endpoint leaves its sandbox, its addresses are released, and its record is deleted.

    disconnect ── links, sandbox ──► release ── addresses, packet filter ──► record deleted

Needs the record alone: neither the namespace nor a configuration. Every step is tried, whatever failed before it.
The record is deleted last, and only when nothing is left that it names.
"""

from __future__ import annotations

from cni_cnm import ipam
from cni_cnm.cnm.endpoint.endpoint_record import pool_of
from cni_cnm.cnm.packet_filter import endpoint_elements, firewall_state, foreign_accepts
from cni_cnm.cnm.records import CREATED, PENDING, load_endpoint
from cni_cnm.cnm.rollback import ErrorList
from cni_cnm.cnm.sandbox import namespace_identity
from cni_cnm.cnm.sandbox.sandbox_endpoints import gateways_of, leave_sandbox
from cni_cnm.drivers import Place
from cni_cnm.errors import CnmError, IoFailed, NamespaceGone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.cnm.endpoint.locked_endpoint import LockedEndpoint
    from cni_cnm.kernel import Stack
    from cni_cnm.model import IPAddress


def take_down(endpoint: LockedEndpoint, environ: Mapping[str, str]) -> ErrorList:
    """Remove everything that the record names. `environ` is the caller's, for IPAM executables."""
    host, policy, gathered = endpoint.host, endpoint.policy, ErrorList()
    early = ipam.needs_interface(endpoint.record.ipam_type, endpoint.record.ipam)
    if early:
        with firewall_state.lock(host, shared=True):
            _record_leaving(endpoint)
            gathered.attempt(lambda: release(endpoint, environ))
    disconnect(endpoint, gathered, delete_empty_sandbox=True)
    _read_ports(endpoint)
    gathered.attempt(lambda: foreign_accepts.withdraw_endpoint(host, endpoint.record, policy))
    with firewall_state.lock(host, shared=True):
        # A plugin that did not answer may still use the address, and no other endpoint must get it.
        if not early and not gathered.unanswered:
            _record_leaving(endpoint)
            gathered.attempt(lambda: release(endpoint, environ))
        if not gathered.errors and not endpoint.record.ports:
            gathered.attempt(endpoint.delete_record)
    if not gathered.errors and endpoint.record.ports:
        from cni_cnm.cnm.endpoint import shared_ports

        gathered.attempt(lambda: shared_ports.hand_over(host, endpoint.record))
        gathered.attempt(endpoint.delete_record)
    gathered.attempt(lambda: firewall_state.remove_unfinished(host))
    return gathered


def disconnect(endpoint: LockedEndpoint, gathered: ErrorList, *, delete_empty_sandbox: bool) -> None:
    """Remove the endpoint's links and let it leave its sandbox. Addresses and packet filter stay."""
    record = endpoint.record
    if record.names:
        from cni_cnm.cnm.endpoint import endpoint_names

        gathered.attempt(lambda: endpoint_names.withdraw(endpoint.host, record))
    gathered.attempt(lambda: _remove_links(endpoint, gathered))
    if record.container_id:
        gathered.attempt(lambda: leave_sandbox(endpoint.host, record, delete_empty=delete_empty_sandbox))


def release(endpoint: LockedEndpoint, environ: Mapping[str, str]) -> None:
    """Release the addresses. Elements keyed by them are removed first, while no other endpoint can get them."""
    record, policy, host = endpoint.record, endpoint.policy, endpoint.host
    pool = pool_of(host, record)

    def before_release(addresses: frozenset[IPAddress]) -> None:
        endpoint_elements.withdraw(lambda: host.nft, record, policy, addresses)

    pool.release(record.key, environ, before_release)
    endpoint_elements.end_streams(lambda: host.nft, record)


def move_back(endpoint: LockedEndpoint, stack: Stack) -> None:
    """Move a link of a plugin or of the host out of the sandbox, to the host, under the name it had there."""
    from cni_cnm.cnm.interface import move_link

    record = endpoint.record
    index = record.device.ifindex if record.device else 0
    keep = endpoint.role.interface == "device"
    move_link.back(stack, endpoint.host.stack, record.ifname, record.host_ifname, index, keep=keep)


def _remove_links(endpoint: LockedEndpoint, gathered: ErrorList) -> None:
    record, host, role = endpoint.record, endpoint.host, endpoint.role
    with host.stack.deleting():  # the kernel waits once for the ifb and the veth
        if record.tuning or record.bandwidth:
            from cni_cnm.cnm.endpoint import interface_tuning

            stays = not role.configured or role.interface == "device"
            interface_tuning.remove(endpoint, gathered, link_stays=stays)
        if record.source_routing is not None:
            from cni_cnm.cnm.endpoint import endpoint_source_routing

            endpoint_source_routing.remove(host, record, gathered)
        if record.lease is not None and any(route.kind for route in record.lease.routes):
            gathered.attempt(lambda: _remove_dropping_routes(endpoint, gathered))
        if record.state == CREATED and role.interface == "moved":  # its plugin does not know of it yet
            return
        _leave(endpoint, gathered)
        if not gathered.unanswered:
            gathered.attempt(lambda: endpoint.driver.delete_endpoint(record.options, record.plan, host.stack))


def _remove_dropping_routes(endpoint: LockedEndpoint, gathered: ErrorList) -> None:
    from cni_cnm.cnm.interface import interface_routes

    lease, stack = endpoint.record.lease, _open_sandbox(endpoint, gathered)
    if lease is not None and stack is not None:
        with stack:
            interface_routes.remove_dropping(stack, lease.routes)


def _leave(endpoint: LockedEndpoint, gathered: ErrorList) -> None:
    """Tell a driver that has to know; move its link back. If the namespace is gone, so is all that was in it."""
    driver, record, host = endpoint.driver, endpoint.record, endpoint.host
    if not driver.needs_leave:
        return
    if driver.external_connectivity and (record.ports or record.id in gateways_of(host, record.container_id).values()):
        gathered.attempt(lambda: driver.revoke(record.options, record.plan))
    if record.docker_network:  # Docker has moved the link back to where it was made
        place = Place(host.stack, record.ifname)
        gathered.attempt(lambda: driver.leave(record.options, record.plan, place))
        return
    stack = _open_sandbox(endpoint, gathered)
    try:
        there = Place(stack, record.ifname, record.netns) if stack is not None else None
        if not gathered.unanswered:
            gathered.attempt(lambda: driver.leave(record.options, record.plan, there))
        if stack is not None and endpoint.role.moved and not gathered.unanswered:
            found = stack
            gathered.attempt(lambda: move_back(endpoint, found))
    finally:
        if stack is not None:
            stack.close()


def _open_sandbox(endpoint: LockedEndpoint, gathered: ErrorList) -> Stack | None:
    """The namespace that the endpoint joined; None if it is gone or another one has its path."""
    record = endpoint.record
    if not record.netns:
        return None
    try:
        stack = endpoint.host.namespaces.open(record.netns)
    except NamespaceGone:
        return None
    except CnmError as error:
        gathered.errors.append(error)
        return None
    if namespace_identity.joined(endpoint.host, record, stack):
        return stack
    stack.close()
    return None


def _read_ports(endpoint: LockedEndpoint) -> None:
    """Read the ports again: until this endpoint left, another one of the sandbox may have handed over a port to it."""
    record = endpoint.record
    if record.requested_ports and (found := load_endpoint(endpoint.host.store, record.id)) is not None:
        endpoint.record = record._replace(ports=found.ports, requested_ports=found.requested_ports)


def _record_leaving(endpoint: LockedEndpoint) -> None:
    """The record is pending from here on. So after a kill no element is restored for an address that another has."""
    try:
        endpoint.write(state=PENDING)
    except IoFailed:
        pass  # a full disk does not stop a DEL
