"""The result of an endpoint, from its record: what the caller is told, and whether an earlier result agrees with it."""

from __future__ import annotations

from cni_cnm.errors import CheckFailed, DriverFailed
from cni_cnm.model import Attachment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.cnm.records import EndpointRecord


def elected_versions(record: EndpointRecord, gateways: Mapping[int, str]) -> frozenset[int]:
    """IP versions for which the endpoint is its sandbox's default gateway."""
    return frozenset(version for version, endpoint in gateways.items() if endpoint == record.id)


def attachment(record: EndpointRecord, elected: frozenset[int]) -> Attachment:
    """What the container got. `elected`: IP versions for which the endpoint is the default gateway."""
    if record.device is None or record.lease is None:
        raise DriverFailed(f"the record of the endpoint {record.label} is incomplete", hint="DEL and ADD it again")
    device, lease = record.device, record.full_lease
    routes = tuple(
        route for route in lease.routes if route not in record.default_routes or route.dst.version in elected
    )
    own = (device.container,) if device.container.name else ()
    return Attachment(
        interfaces=(*device.host, *own, *device.extra),
        addresses=lease.addresses,
        routes=routes if own else (),
        dns=lease.dns,
        container_index=len(device.host) if own else None,
    )


def compare(record: EndpointRecord, previous: Attachment) -> None:
    """CheckFailed if the caller's earlier result has another interface or address than the record."""
    name = record.device.container.name if record.device else record.ifname
    mine = [i for i, link in enumerate(previous.interfaces) if link.name == name and link.sandbox]
    if previous.interfaces and not mine:
        raise CheckFailed(f"prevResult does not list the interface {name}", hint="is it of another attachment?")
    if previous.container_index is not None and previous.container_index not in mine:
        return
    known = {address.interface for address in record.addresses}
    for address in previous.addresses:
        if address.interface not in known:
            given = ", ".join(str(interface) for interface in known) or "none"
            raise CheckFailed(f"prevResult has the address {address.interface}, {record.ifname} was given {given}")
