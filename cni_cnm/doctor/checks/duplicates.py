"""Addresses that two have: two endpoints of one network, or an endpoint and the host; and MACs on one bridge."""

from __future__ import annotations

from cni_cnm.doctor.commands import command, make_again
from cni_cnm.doctor.finding import Finding
from cni_cnm.ipam.leases import Leases

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.doctor.picture import Picture

_WHY = "Neighbours send to one of the two, and it changes."


def look(picture: Picture) -> Iterator[Finding]:
    addresses: dict[tuple[str, int, int], EndpointRecord] = {}
    macs: dict[tuple[str, str], EndpointRecord] = {}
    of_host = {(address.version, int(address)): index for index, address in picture.stack.all_addresses()}
    for record in picture.endpoints:
        side = picture.policy(record).bridge or record.network_id
        for address in record.addresses:
            version, number = address.interface.version, int(address.interface)
            first = addresses.setdefault((side, version, number), record)
            if first is not record and picture.still(first) and picture.still(record):
                ip = address.interface.ip
                second = first if _has_lease(picture, record, str(ip)) else record
                yield Finding(
                    f"the endpoints {picture.shown(first)} and {picture.shown(record)} both have the address {ip}",
                    _WHY,
                    make_again(picture.named(second), joined=True),
                    about=second.label,
                )
            if (version, number) in of_host and record.driver not in ("host", "null") and picture.still(record):
                ip, index = address.interface.ip, of_host[version, number]
                link = picture.stack.link_at(index)
                name = link.name if link is not None else ""
                yield Finding(
                    f"the host has the address {ip} of the endpoint {picture.shown(record)}, on {name}",
                    "Packets to the container end at the host. One of the two needs another address.",
                    (command("ip", "address", "show", "dev", name, "to", str(ip)),),
                    about=record.label,
                )
        if record.mac and picture.policy(record).bridge:
            first = macs.setdefault((side, record.mac), record)
            if first is not record and picture.still(first) and picture.still(record):
                yield Finding(
                    f"the endpoints {picture.shown(first)} and {picture.shown(record)} both have the MAC {record.mac}",
                    "The bridge sends frames for one of them to the other.",
                    make_again(picture.named(record), joined=True),
                    about=record.label,
                )


def _has_lease(picture: Picture, record: EndpointRecord, address: str) -> bool:
    folder = record.ipam.get("folder")
    return isinstance(folder, str) and Leases(record.network, folder, picture.host).is_of(address, record.key)
