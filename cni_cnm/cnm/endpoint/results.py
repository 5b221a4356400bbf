"""The result of an endpoint, from its record: what the caller is told, and whether an earlier result agrees with it."""

from __future__ import annotations

from cni_cnm.errors import CheckFailed, DriverFailed
from cni_cnm.model import Attachment, Interface
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.model import Address, Route


def elected_versions(record: EndpointRecord, gateways: Mapping[int, str]) -> frozenset[int]:
    """IP versions for which the endpoint is its sandbox's default gateway."""
    return frozenset(version for version, endpoint in gateways.items() if endpoint == record.id)


def attachment(record: EndpointRecord, elected: frozenset[int]) -> Attachment:
    """What the container got. `elected`: IP versions for which the endpoint is the default gateway."""
    if record.device is None or record.lease is None:
        raise DriverFailed(f"the record of the endpoint {record.shown} is incomplete", hint="DEL and ADD it again")
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


class Expected(NamedTuple):
    """What a container must have now, as the last plugin of its list left it."""

    mac: str
    addresses: Sequence[Address]
    routes: Sequence[Route]
    """Of our own, those that are still listed."""
    added_routes: Sequence[Route] = ()
    """Of later plugins, by whatever interface."""


def expected(record: EndpointRecord, elected: frozenset[int], previous: Attachment | None) -> Expected:
    """`previous` is the result of the whole list: later plugins may have replaced the MAC, and added or removed
    addresses and routes. Without it, the record counts. CheckFailed if it does not list the interface.
    """
    own = attachment(record, elected)
    container = own.interfaces[own.container_index] if own.container_index is not None else Interface(record.ifname)
    if previous is None:
        return Expected(container.mac, own.addresses, own.routes)
    mine = [i for i, link in enumerate(previous.interfaces) if link.name == container.name and link.sandbox]
    if previous.interfaces and not mine:
        raise CheckFailed(
            f"prevResult does not list the interface {container.name}", hint="is it of another attachment?"
        )
    if previous.container_index is not None and previous.container_index not in mine:
        return Expected(container.mac, own.addresses, own.routes)
    known = {(route.dst, route.gw) for route in own.routes}
    listed = {(route.dst, route.gw) for route in previous.routes}
    return Expected(
        (previous.interfaces[mine[0]].mac if mine else "") or container.mac,
        previous.addresses,
        [route for route in own.routes if (route.dst, route.gw) in listed],
        [route for route in previous.routes if (route.dst, route.gw) not in known],
    )
