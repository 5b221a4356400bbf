"""Published ports of Docker's endpoints: which of a sandbox's endpoints publishes by IPv4, and which by IPv6.

Docker 28 and later choose a sandbox's default gateway for each IP version. The endpoint that is the gateway of a
version publishes the sandbox's ports by that version. Docker tells this in two ways, and again when a gateway changes:

    ProgramExternalConnectivity with no_proxy_6to4     the endpoint is the gateway of IPv4, another one that of IPv6
    ProgramExternalConnectivity without it             the gateway of IPv6, of IPv4, or of both

So in the first case the endpoint takes over IPv4. In the second one it takes over IPv6, and IPv4 only if no other
endpoint of the sandbox publishes by it and the sandbox's IPv4 default route is not another network's.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager

from cni_cnm.cnm.docker import lost_endpoints
from cni_cnm.cnm.endpoint import locked_endpoint
from cni_cnm.cnm.endpoint.locked_endpoint import LockedEndpoint
from cni_cnm.cnm.packet_filter import endpoint_elements, firewall_state, port_allocator
from cni_cnm.cnm.packet_filter.enforce import enforce_endpoint
from cni_cnm.cnm.records import READY, load_endpoint, publishing_endpoints
from cni_cnm.cnm.rollback import Rollback
from cni_cnm.errors import CnmError, Forbidden, InvalidConfig, NoSuchEndpoint, PortTaken
from cni_cnm.firewall import portmap
from cni_cnm.kernel import local_address
from cni_cnm.model import ANY_ADDRESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.model import PortMapping


def publish(
    host: Host, record: EndpointRecord, requested: tuple[PortMapping, ...], *, ipv6_elsewhere: bool
) -> tuple[PortMapping, ...]:
    """Publish ports in place of those that the endpoint published before.

    Args:
        host: this host.
        record: the endpoint.
        requested: the ports, each with the range that a host port is chosen from.
        ipv6_elsewhere: another endpoint of the sandbox is its IPv6 default gateway.

    Returns:
        tuple[PortMapping, ...]: the mappings with the host ports that were chosen.

    Raises:
        InvalidConfig: a port cannot be published on this network or at this address; the message says why.
        PortTaken: another endpoint or a process of the host has a port.
        Forbidden: the endpoint is not joined to a sandbox.
    """
    while True:
        try:
            return _publish(host, record, requested, ipv6_elsewhere=ipv6_elsewhere)
        except PortTaken as taken:
            if not lost_endpoints.remove_holder(host, taken.holder):
                raise


def unpublish(endpoint: LockedEndpoint) -> None:
    """No error if nothing is published."""
    host = endpoint.host
    with firewall_state.lock(host, shared=True):
        endpoint_elements.unpublish(lambda: host.nft, endpoint.record)
        endpoint.write(ports=())
    keep_held(host, endpoint.record.id, ())


def keep_held(host: Host, endpoint_id: str, ports: Sequence[PortMapping]) -> None:
    """Of the ports that are held for the endpoint hold these only."""
    if host.held_ports is not None:
        host.held_ports.keep(endpoint_id, ports)


def _claim(host: Host, endpoint_id: str) -> Callable[[PortMapping], bool] | None:
    held = host.held_ports
    return (lambda port: held.hold(endpoint_id, port)) if held is not None else None


def _publish(
    host: Host, record: EndpointRecord, requested: tuple[PortMapping, ...], *, ipv6_elsewhere: bool
) -> tuple[PortMapping, ...]:
    with _locked_sandbox(host, record) as (endpoint, others), host.store.lock("ports"), Rollback() as undo:
        before = endpoint.record
        if before.state != READY or before.device is None:
            raise Forbidden(f"the endpoint {before.shown} is not joined to a sandbox")
        for mapping in requested:
            _refuse(host, before, mapping, elsewhere={6} if ipv6_elsewhere else {4} if others else set())
        versions = _versions_to_publish(host, before, [other.record for other in others], ipv6_elsewhere=ipv6_elsewhere)
        kept = [port for one in (endpoint, *others) for _, port in _by_version(one.record)]
        owners = [one.record.id[:12] for one in (endpoint, *others)]
        undo.push(lambda: keep_held(host, before.id, before.ports))
        ports = port_allocator.choose(
            requested, [*before.ports, *kept], versions, host.nft, host.stack, owners, _claim(host, before.id)
        )
        for other in others if requested else ():
            _hand_over(other, versions, undo)
        removed = tuple(port for port in before.ports if port not in ports)
        with firewall_state.lock(host, shared=True):
            endpoint_elements.unpublish(lambda: host.nft, before._replace(ports=removed))
            endpoint.write(ports=tuple(port for port in before.ports if port in ports), requested_ports=requested)
        undo.push(lambda: _put(endpoint, before))
        undo.push(lambda: _take_out(endpoint, ports))
        endpoint.write(ports=ports)
        if ports and before.device.host:
            host.stack.set_sysctls(portmap.sysctls(before.device.host[0].name, before.portmap))
        enforce_endpoint(host, endpoint.record, endpoint.policy)
        keep_held(host, before.id, ports)
    return ports


@contextmanager
def _locked_sandbox(host: Host, record: EndpointRecord) -> Iterator[tuple[LockedEndpoint, list[LockedEndpoint]]]:
    """The endpoint, and the other endpoints of its sandbox that publish ports. The locks are taken in order of ids."""
    there = publishing_endpoints(host.store, record.netns) if record.netns else ()
    ids = sorted({record.id, *(one.id for one in there)})
    with ExitStack() as locks:
        for endpoint_id in ids:
            locks.enter_context(locked_endpoint.lock(host, endpoint_id))
        current = [one for endpoint_id in ids if (one := load_endpoint(host.store, endpoint_id)) is not None]
        found = [LockedEndpoint(host, one) for one in current if one.id == record.id]
        if not found:
            raise NoSuchEndpoint(f"the endpoint {record.shown} does not exist any more")
        others = (one for one in current if one.id != record.id and one.docker_network)
        yield found[0], [LockedEndpoint(host, one) for one in others if one.netns == record.netns and one.ports]


def _refuse(host: Host, record: EndpointRecord, mapping: PortMapping, *, elsewhere: set[int]) -> None:
    """InvalidConfig for a port that would be published nowhere. `elsewhere`: IP versions of other endpoints."""
    if record.role.internal:
        raise InvalidConfig(
            f"the network {record.network} is internal, so {mapping} cannot be published on it",
            hint="publish on a network without --internal",
        )
    address = mapping.host_ip
    if address is None:
        return
    if address.version == 6 and address.is_loopback:
        raise InvalidConfig(
            f"{mapping} cannot be published at [::1], because the kernel routes no packets from that address",
            hint="publish at 127.0.0.1, or at another address of the host",
        )
    if not address.is_unspecified and not local_address.is_local(address):
        raise InvalidConfig(
            f"the host has no address {address}, so {mapping} cannot be published there",
            hint="`ip address` shows the addresses of the host",
        )
    served = address.version in _versions(record) | elsewhere
    if not served and not (address.version == 4 and _is_routed_elsewhere(host, record)):
        raise InvalidConfig(
            f"the network {record.network} has no IPv{address.version} addresses, so {mapping} cannot be published",
            hint="create the network with --ipv6" if address.version == 6 else "publish at an IPv6 address",
        )


def _versions_to_publish(
    host: Host, record: EndpointRecord, others: Sequence[EndpointRecord], *, ipv6_elsewhere: bool
) -> list[int]:
    own = _versions(record)
    if ipv6_elsewhere:
        return [4] if 4 in own else []
    of_others = {version for one in others for version, _ in _by_version(one)}
    ipv4 = 4 in own and 4 not in of_others and not _is_routed_elsewhere(host, record)
    return [*([4] if ipv4 else ()), *([6] if 6 in own else ())]


def _is_routed_elsewhere(host: Host, record: EndpointRecord) -> bool:
    """Whether the IPv4 default route of the sandbox is another network's, which may be one of another driver."""
    gateways = {address.gateway for address in record.addresses}
    try:
        with host.namespaces.open(record.netns) as stack:
            routes = [route for route in stack.routes() if route.dst.version == 4 and not route.dst.prefixlen]
    except CnmError:
        return False  # there is no sandbox yet
    return bool(routes) and not any(route.gw in gateways for route in routes)


def _hand_over(other: LockedEndpoint, versions: Sequence[int], undo: Rollback) -> None:
    """Take the ports of these IP versions from another endpoint of the sandbox."""
    before, split = other.record, _by_version(other.record)
    removed = [port for version, port in split if version in versions]
    if removed:
        undo.push(lambda: _put(other, before))
        _take_out(other, removed, [port for version, port in split if version not in versions])


def _take_out(endpoint: LockedEndpoint, ports: Sequence[PortMapping], left: Sequence[PortMapping] = ()) -> None:
    host = endpoint.host
    with firewall_state.lock(host, shared=True):
        endpoint_elements.unpublish(lambda: host.nft, endpoint.record._replace(ports=tuple(ports)))
        endpoint.write(ports=tuple(left))
    keep_held(host, endpoint.record.id, left)


def _put(endpoint: LockedEndpoint, record: EndpointRecord) -> None:
    if (claim := _claim(endpoint.host, record.id)) is not None:
        for port in record.ports:
            claim(port)
    endpoint.write(ports=record.ports, requested_ports=record.requested_ports)
    enforce_endpoint(endpoint.host, endpoint.record, endpoint.policy)


def _versions(record: EndpointRecord) -> set[int]:
    return {address.interface.version for address in record.addresses}


def _by_version(record: EndpointRecord) -> list[tuple[int, PortMapping]]:
    """The published ports by IP version. All have an address."""
    own = sorted(_versions(record))
    found = [
        (port, [port.host_ip] if port.host_ip is not None else [ANY_ADDRESS[v] for v in own]) for port in record.ports
    ]
    return [(address.version, port._replace(host_ip=address)) for port, addresses in found for address in addresses]
