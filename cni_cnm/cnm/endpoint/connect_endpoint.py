"""An endpoint gets its addresses, its device in the sandbox, and its part of the packet filter.

    reserve ── addresses ──► connect ── device, addresses and routes, default gateway, packet filter ──► ready

Each step pushes what undoes it. take_down_endpoint.py is the reverse.
"""

from __future__ import annotations

from cni_cnm.cnm.endpoint import results
from cni_cnm.cnm.interface import configure_interface, default_routes
from cni_cnm.cnm.packet_filter import endpoint_elements, foreign_accepts
from cni_cnm.cnm.packet_filter.enforce import enforce_endpoint
from cni_cnm.cnm.records import READY
from cni_cnm.cnm.sandbox.sandbox_endpoints import join_sandbox, leave_sandbox
from cni_cnm.drivers import Place
from cni_cnm.errors import Conflict, InvalidConfig, PortTaken
from cni_cnm.firewall import portmap
from cni_cnm.model import Lease, stable_mac

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cni_cnm.cnm.endpoint.locked_endpoint import LockedEndpoint
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.cnm.rollback import Rollback
    from cni_cnm.ipam.contract import Ipam
    from cni_cnm.kernel import Stack
    from cni_cnm.model import Attachment, Device, Dns, EndpointSpec, NameService, Route

_HOLDS_PORTS = ("netavark", "cni/podman", "cni/conmon")
"""Owners whose runtime, podman, listens on the ports that it publishes: it would not start beside another process."""


def reserve(
    endpoint: LockedEndpoint,
    pool: Ipam,
    spec: EndpointSpec,
    dns: Dns | None,
    undo: Rollback,
    names: NameService | None = None,
) -> None:
    """Reserve addresses; the lease gets the routes and DNS that the container will have.

    `names`: of a network that answers names. Its gateways are the name servers, if the runtime names no others.
    """
    role = endpoint.role
    if spec.previous is not None:
        previous = spec.previous
        endpoint.write(lease=Lease(previous.addresses, previous.routes, previous.dns))
        return
    if pool.wants_mac:
        endpoint.write(mac=endpoint.record.mac or stable_mac(endpoint.record.id))
        spec = spec._replace(mac=endpoint.record.mac)
    leased = pool.acquire(endpoint.record.key, spec)  # all or nothing
    undo.push_record_removal(lambda: _release(endpoint, spec.environ))
    addresses = tuple(default_routes.with_gateway(address, role) for address in leased.addresses)
    routes, offers = default_routes.default_routes(leased._replace(addresses=addresses), role)
    given = dns or leased.dns
    if names is not None:
        from cni_cnm.cnm.endpoint import endpoint_names

        given = endpoint_names.resolver(names, addresses, given)
    endpoint.write(
        ipam=pool.record(),
        lease=Lease(addresses, routes, spec.dns or given),
        default_routes=_offered(endpoint.record, offers),
    )


def connect(
    endpoint: LockedEndpoint,
    stack: Stack,
    undo: Rollback,
    restore_gateways: Callable[[Host, str], bool],
    reserve_now: Callable[[], None] | None = None,
) -> Attachment:
    """Make the device in the sandbox that the record names. `stack` is the sandbox's namespace.

    `restore_gateways` puts the gateways of the network of that name back, False if none is missing. `reserve_now`
    reserves the addresses, where that takes the device (`Ipam.needs_interface`).
    """
    host, record, driver = endpoint.host, endpoint.record, endpoint.driver
    role, policy = endpoint.role, endpoint.policy
    moved = role.moved
    _require_ipv6_mtu(record)
    place = Place(stack, record.ifname, record.netns)
    try:
        device = driver.create_endpoint(record.options, record.plan, host.stack, place)
    except Conflict:  # with another gateway of the network, perhaps: an ADD made the bridge again and put on its own
        if not restore_gateways(host, record.network):
            raise
        device = driver.create_endpoint(record.options, record.plan, host.stack, place)
    undo.push(lambda: driver.delete_endpoint(record.options, endpoint.record.plan, host.stack))
    if device.remade:
        from cni_cnm.cnm.endpoint.reattach import reattach_endpoints

        reattach_endpoints(host, record)
        restore_gateways(host, record.network)
    if moved:
        undo.push(lambda: _move_back(endpoint, stack))
    if driver.needs_leave:
        undo.push(lambda: driver.leave(record.options, endpoint.record.plan, place))
    if moved:
        device = _move_in(endpoint, device, stack)
    mac = endpoint.record.mac or ("" if moved else device.container.mac)
    endpoint.record = endpoint.record._replace(device=device, mac=mac)
    if reserve_now is not None:
        reserve_now()
        _require_ipv6_mtu(endpoint.record)
        extra = driver.add_gateways(record.options, endpoint.record.plan, host.stack)
        device = device._replace(extra=(*device.extra, *extra))
        endpoint.record = endpoint.record._replace(device=device)
    lease = endpoint.record.lease
    if lease is not None and any(route.kind for route in lease.routes):
        from cni_cnm.cnm.interface import interface_routes

        undo.push(lambda: interface_routes.remove_dropping(stack, lease.routes))
    index = _configure(endpoint, device, stack)
    if record.tuning or record.bandwidth:
        from cni_cnm.cnm.endpoint import interface_tuning

        device = interface_tuning.apply(endpoint, device, stack, undo)
        endpoint.record = endpoint.record._replace(device=device)
    if record.source_routing is not None:
        from cni_cnm.cnm.endpoint import endpoint_source_routing

        endpoint_source_routing.apply(endpoint, stack, undo)
    undo.push(lambda: leave_sandbox(host, endpoint.record, delete_empty=True))
    elected = join_sandbox(host, endpoint.record, stack, index)
    if endpoint.record.ports and endpoint.record.priority:  # not the container's first network
        from cni_cnm.cnm.endpoint import shared_ports

        shared_ports.share(endpoint)
    joined = endpoint.record
    if joined.ports and policy.publishes:
        _require_published(joined)
    undo.push(lambda: endpoint_elements.withdraw(lambda: host.nft, joined, policy, None))
    undo.push(lambda: foreign_accepts.withdraw_endpoint(host, joined, policy))
    if joined.ports and device.host:
        host.stack.set_sysctls(portmap.sysctls(device.host[0].name, joined.portmap))
    try:
        warnings = enforce_endpoint(host, joined, policy)
    except PortTaken as taken:
        from cni_cnm.cnm.endpoint import leaving_holder, shared_ports

        if shared_ports.is_held(host, joined, taken.holder):
            shared_ports.share(endpoint)
            joined = endpoint.record
            warnings = enforce_endpoint(host, joined, policy)
        else:
            warnings = leaving_holder.wait(host, joined, taken, lambda: enforce_endpoint(host, joined, policy))
    if joined.names:
        from cni_cnm.cnm.endpoint import endpoint_names

        undo.push(lambda: endpoint_names.withdraw(host, joined))
        endpoint_names.publish(host, joined)
    endpoint.write(state=READY)
    attachment = results.attachment(endpoint.record, elected)
    if joined.ports and role.outside != "plugin" and joined.owner not in _HOLDS_PORTS:
        from cni_cnm.cnm.packet_filter import port_listeners

        warnings = (*warnings, *port_listeners.warnings(joined.ports))
    return attachment._replace(warnings=warnings) if warnings else attachment


def _require_published(record: EndpointRecord) -> None:
    """InvalidConfig for a port that no address of the endpoint can serve: a packet to it would be lost."""
    versions = {address.interface.version for address in record.addresses}
    for port in record.ports:
        lacking = "address" if not versions else ""
        if port.host_ip is not None and port.host_ip.version not in versions:
            lacking = f"IPv{port.host_ip.version} address"
        if lacking:
            raise InvalidConfig(
                f"{record.shown} has no {lacking} on the network {record.network}, so {port} cannot be published",
                hint="leave out the port, or publish it on a network with such an address",
            )


def _require_ipv6_mtu(record: EndpointRecord) -> None:
    if record.tuning and record.tuning.mtu:
        versions = {address.interface.version for address in record.addresses}
        configure_interface.require_ipv6_mtu(record.ifname, record.tuning.mtu, versions)


def _configure(endpoint: LockedEndpoint, device: Device, stack: Stack) -> int:
    """Addresses and all routes but the default ones, which are elected. Returns the link's index, 0 if not known."""
    record, role = endpoint.record, endpoint.role
    if not (role.configured and device.container.name):
        return 0
    lease = record.full_lease
    apart = record.default_routes
    if record.source_routing is not None:
        apart = tuple(filter(default_routes.is_default_route, lease.routes))
    routes = tuple(route for route in lease.routes if route not in apart)
    port = device.host[-1].name if device.host and role.interface == "made" else ""
    state = (lambda: endpoint.host.stack.port_state(port)) if port else None
    return configure_interface.configure(stack, device, lease.addresses, routes, role, state)


def _move_in(endpoint: LockedEndpoint, device: Device, stack: Stack) -> Device:
    """Move a link that a plugin made on the host into the sandbox. Its name on the host is recorded before that."""
    from cni_cnm.cnm.interface import move_link

    endpoint.record = endpoint.record._replace(device=device, ifname=device.container.name)
    record = endpoint.record
    offers = default_routes.default_routes(record.full_lease, endpoint.role)[1] if device.source else ()
    endpoint.write(host_ifname=device.source or record.host_ifname, default_routes=_offered(record, offers))
    if not device.source:
        return device
    container, index = move_link.into(stack, endpoint.host.stack, device.source, device.container)
    return device._replace(container=container, ifindex=index)


def _offered(record: EndpointRecord, routes: tuple[Route, ...]) -> tuple[Route, ...]:
    """The default routes that the endpoint offers its sandbox: none if they are in tables of its own."""
    wanted = record.source_routing
    return routes if wanted is None or wanted.table else ()


def _release(endpoint: LockedEndpoint, environ: Mapping[str, str]) -> None:
    """Imported here, as below: an attach that succeeds does not load what takes an endpoint down."""
    from cni_cnm.cnm.endpoint.take_down_endpoint import release

    release(endpoint, environ)


def _move_back(endpoint: LockedEndpoint, stack: Stack) -> None:
    from cni_cnm.cnm.endpoint.take_down_endpoint import move_back

    move_back(endpoint, stack)
