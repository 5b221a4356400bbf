"""Host ports that several endpoints of one container request: runtimes send them to every network.

The first endpoint publishes a port. The others have it in `requested_ports`, and when the first one leaves, the next
publishes it. Who has a port is decided under the lock of the sandbox.
"""

from __future__ import annotations

from cni_cnm.cnm.packet_filter.enforce import enforce_endpoint
from cni_cnm.cnm.records import load_owner
from cni_cnm.cnm.sandbox import sandbox_endpoints
from cni_cnm.errors import PortTaken
from cni_cnm.firewall import portmap
from cni_cnm.model import ANY_ADDRESS
from cni_cnm.state.store import ENDPOINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.cnm.endpoint.locked_endpoint import LockedEndpoint
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.model import PortMapping


def share(endpoint: LockedEndpoint) -> None:
    """Of the ports that the endpoint requests, those stay its own that no other endpoint of its sandbox publishes."""
    host, record = endpoint.host, endpoint.record
    with sandbox_endpoints.lock(host, sandbox_endpoints.sandbox_id(record.container_id)):
        others = [member for member in _members(host, record) if member.ports]
        if others:
            ports, waiting = _divide(record, others)
            endpoint.write(ports=ports, requested_ports=waiting)


def is_held(host: Host, record: EndpointRecord, holder: str) -> bool:
    """Whether a port is taken by another endpoint of the container. `holder`: the beginning of its id.

    Two networks that a runtime calls side by side join in any order.
    """
    other = load_owner(host.store, holder)
    return other is not None and other.id != record.id and other.container_id == record.container_id


def hand_over(host: Host, left: EndpointRecord) -> None:
    """The ports of an endpoint that publishes them no more: published by the next one that waits for them."""
    if not (left.ports and left.container_id):
        return
    with sandbox_endpoints.lock(host, sandbox_endpoints.sandbox_id(left.container_id)):
        members = _members(host, left)
        for member in members:
            if not member.requested_ports or member.docker_network:
                continue
            others = [other for other in members if other.id != member.id and other.ports]
            ports, waiting = _divide(member, others)
            taking = member._replace(ports=ports, requested_ports=waiting)
            try:
                if taking.device and taking.device.host:
                    host.stack.set_sysctls(portmap.sysctls(taking.device.host[0].name, taking.portmap))
                enforce_endpoint(host, taking, taking.policy)
            except PortTaken:
                continue  # another container was faster
            host.store.put(ENDPOINTS, taking.id, taking.to_json())
            members = [taking if one.id == taking.id else one for one in members]


def _members(host: Host, record: EndpointRecord) -> list[EndpointRecord]:
    """The other endpoints of the record's sandbox."""
    sandbox = sandbox_endpoints.sandbox_of(host, record.container_id)
    return [one for one in sandbox_endpoints.members_of(host, sandbox) if one.id != record.id] if sandbox else []


def _divide(
    record: EndpointRecord, others: Sequence[EndpointRecord]
) -> tuple[tuple[PortMapping, ...], tuple[PortMapping, ...]]:
    """The ports of the record that it publishes now, and those that it waits for."""
    families = {address.interface.version for address in record.addresses}
    taken = [(mapping, version) for other in others for mapping, version in _singles(other)]
    ports: list[PortMapping] = []
    waiting: list[PortMapping] = []
    for mapping in dict.fromkeys((*record.ports, *record.requested_ports)):
        versions = families if mapping.host_ip is None else {mapping.host_ip.version}
        free = [v for v in sorted(versions) if not any(_meet(mapping, v, other, w) for other, w in taken)]
        for version in sorted(versions):
            narrowed = mapping._replace(host_ip=mapping.host_ip or ANY_ADDRESS[version])
            if len(free) == len(versions):
                narrowed = mapping
            (ports if version in free else waiting).append(narrowed)
    return tuple(dict.fromkeys(ports)), tuple(dict.fromkeys(waiting))


def _singles(record: EndpointRecord) -> Iterator[tuple[PortMapping, int]]:
    """The record's published mappings, each with an IP version that it serves."""
    families = {address.interface.version for address in record.addresses}
    for mapping in record.ports:
        for version in families if mapping.host_ip is None else {mapping.host_ip.version}:
            yield mapping, version


def _meet(one: PortMapping, version: int, other: PortMapping, other_version: int) -> bool:
    """Whether both are for one port of one address: every address and a single one are served beside each other."""
    if (one.protocol, version) != (other.protocol, other_version):
        return False
    addresses = {mapping.host_ip or ANY_ADDRESS[version] for mapping in (one, other)}
    overlap = one.host_port < other.host_port + other.size and other.host_port < one.host_port + one.size
    return len(addresses) == 1 and overlap
