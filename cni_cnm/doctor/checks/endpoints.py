"""The host's ends of endpoints: there, on their bridge, up, with their addresses, routes and MTU."""

from __future__ import annotations

import os

from cni_cnm.cnm.reconcile import endpoints as part
from cni_cnm.cnm.reconcile import gone_namespaces
from cni_cnm.cnm.reconcile.difference import Difference
from cni_cnm.doctor.commands import command, make_again
from cni_cnm.doctor.finding import REPAIR, Finding
from cni_cnm.drivers import drivers
from cni_cnm.errors import NamespaceGone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.doctor.picture import Picture
    from cni_cnm.kernel import Link

_UNREACHED = "The container is not reached, and reaches nothing."


def look(picture: Picture) -> Iterator[Finding]:
    for record in picture.endpoints:
        if (found := list(_of(picture, record))) and picture.still(record):
            yield from found


def _of(picture: Picture, record: EndpointRecord) -> Iterator[Finding]:
    end = picture.stack.link(record.host_ifname)
    if end is None:
        yield from _missing(picture, record)
        return
    found = drivers.get(record.driver).compare_endpoint(record.options, record.plan, picture.stack)
    if found:
        yield Finding(
            f"the endpoint {picture.shown(record)}: {', '.join(found)}",
            _UNREACHED,
            (REPAIR,),
            about=record.label,
            safe=True,
            key=record.id,
        )
    if picture.policy(record).bridge and not picture.policy(record).alone:
        yield from _elsewhere(picture, record)
    if end.kind == "veth" and record.device and 0 < end.mtu < record.device.container.mtu:
        yield from _smaller(picture, record, end)


def fix(host: Host, finding: Finding) -> str:
    return part.repair(host, Difference("", "", finding.key))


def _missing(picture: Picture, record: EndpointRecord) -> Iterator[Finding]:
    """One whose namespace is gone is found by the check of records."""
    if record.driver not in ("bridge", "overlay", "ptp") or not _lives(picture, record):
        return
    yield Finding(
        f"the endpoint {picture.shown(record)}: its link {record.host_ifname} on the host is gone, "
        "the container is there",
        _UNREACHED,
        make_again(picture.named(record)),
        about=record.label,
    )


def _lives(picture: Picture, record: EndpointRecord) -> bool:
    """Docker's containers are found by the check of records, without their namespace.

    A path alone is no evidence: of a namespace that was unmounted, its file may be left.
    """
    there = not record.docker_network and os.path.exists(record.netns)
    return there and not gone_namespaces.is_gone(picture.host, record)


def _smaller(picture: Picture, record: EndpointRecord, end: Link) -> Iterator[Finding]:
    """The container's interface may have been changed since the record was written: only the kernel knows its MTU."""
    try:
        with picture.host.namespaces.open(record.netns) as stack:
            link = stack.link(record.ifname)
    except NamespaceGone:
        return
    if link is not None and end.mtu < link.mtu:
        yield Finding(
            f"the endpoint {picture.shown(record)}: its host's end {end.name} has the MTU {end.mtu}, "
            f"the container's interface has {link.mtu}",
            "Packets that are larger than the smaller one are lost without an error.",
            (command("ip", "link", "set", "dev", end.name, "mtu", str(link.mtu)),),
            about=record.label,
        )


def _elsewhere(picture: Picture, record: EndpointRecord) -> Iterator[Finding]:
    bridge, end = picture.stack.link(picture.policy(record).bridge), picture.stack.link(record.host_ifname)
    if bridge is None or end is None or end.master in (0, bridge.ifindex):
        return
    other = picture.stack.link_at(end.master)
    yield Finding(
        f"the endpoint {picture.shown(record)}: its link {end.name} is on {other.name if other else 'another link'}, "
        f"not on {bridge.name}",
        _UNREACHED,
        (command("ip", "link", "set", "dev", end.name, "master", bridge.name),),
        about=record.label,
    )
