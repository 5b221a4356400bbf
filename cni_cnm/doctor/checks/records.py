"""Records that cannot be read, endpoints that a killed call has left, and those whose container is gone."""

from __future__ import annotations

import os
import time

from cni_cnm.cnm.docker import lost_endpoints
from cni_cnm.cnm.reconcile import docker_endpoints, gone_namespaces
from cni_cnm.cnm.reconcile.difference import Difference
from cni_cnm.cnm.records import PENDING, READY
from cni_cnm.doctor.commands import command
from cni_cnm.doctor.finding import REPAIR, Finding
from cni_cnm.state.store import ENDPOINTS, NETWORKS, hint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.doctor.picture import Picture

PENDING_S = 15.0
"""A runtime repeats a call that was killed or has failed within seconds. `still` knows whether one is at work."""
_GONE, _LOST = "gone ", "lost "


def look(picture: Picture) -> Iterator[Finding]:
    endpoints = picture.every_endpoint
    _ = picture.networks
    for (kind, name), why in picture.damaged.items():
        place = picture.host.store.place(kind, name)
        yield Finding(
            why,
            f"What it names stays as it is, and calls leave it out. To repair it, {hint(kind)}.",
            (command("cat", place),),
            about=place,
        )
    yield from _without_network(picture)
    for record in endpoints:
        if record.epoch == picture.host.epoch and (found := list(_of(picture, record))) and picture.still(record):
            yield from found


def _without_network(picture: Picture) -> Iterator[Finding]:
    """A network's record is written before the first of its endpoints, and is removed after the last one."""
    endpoints: dict[str, list[EndpointRecord]] = {}
    for record in picture.every_endpoint:
        if record.state == READY and record.epoch == picture.host.epoch and not record.docker_network:
            endpoints.setdefault(record.network, []).append(record)
    for name, records in endpoints.items():
        if not picture.now.store.has(NETWORKS, name) and picture.still(records[0]):
            yield Finding(
                f"the network {name} has {len(records)} endpoint{'s' * (len(records) != 1)}, and no record",
                "What its containers lose in the packet filter is not put back. The next ADD records it.",
                (command("cni-cnm", "endpoint", "ls", "--network", name),),
                about=name,
            )


def _of(picture: Picture, record: EndpointRecord) -> Iterator[Finding]:
    if why := lost_endpoints.why_lost(picture.host, record):
        yield Finding(
            f"the endpoint {picture.shown(record)} was removed by Docker: {why}",
            "Its addresses and ports stay taken.",
            (REPAIR,),
            about=record.label,
            safe=True,
            key=f"{_LOST}{record.id}",
        )
    elif record.state == PENDING and _age_s(picture, record) > PENDING_S:
        yield Finding(
            f"the endpoint {picture.shown(record)} is unfinished: its last call was killed or has failed",
            "The container has no network by it. Its addresses stay taken until the runtime calls ADD or DEL again.",
            _remove(record),
            about=record.label,
        )
    elif _is_gone(picture, record):
        yield Finding(
            f"the container of the endpoint {picture.shown(record)} is gone: no namespace {record.netns}",
            "Its addresses, ports and elements stay taken, because the runtime has sent no DEL.",
            _remove(record),
            about=record.label,
            safe=True,
            key=f"{_GONE}{record.id}",
        )


def fix(host: Host, finding: Finding) -> str:
    kind, _, endpoint_id = finding.key.partition(" ")
    if kind == _LOST.strip():
        return docker_endpoints.repair(host, Difference("", "", endpoint_id))
    return "removed" if gone_namespaces.take_down_if_gone(host, endpoint_id) else ""


def _remove(record: EndpointRecord) -> tuple[str, ...]:
    return (command("cni-cnm", "endpoint", "rm", "--force", record.id[:12]),)


def _age_s(picture: Picture, record: EndpointRecord) -> float:
    try:
        return time.time() - os.stat(picture.host.store.place(ENDPOINTS, record.id)).st_mtime
    except OSError:
        return 0.0


def _is_gone(picture: Picture, record: EndpointRecord) -> bool:
    """Processes are looked at only where the host's end is gone, too: a namespace that ends takes it along."""
    there = picture.stack.link(record.host_ifname) is not None
    return not there and record.state == READY and gone_namespaces.is_gone(picture.host, record)
