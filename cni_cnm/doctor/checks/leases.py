"""Lease files: of each address on record one, and none without an owner."""

from __future__ import annotations

import os
import re
import time

from cni_cnm.cnm.reconcile import leases as part
from cni_cnm.cnm.reconcile.difference import Difference
from cni_cnm.doctor.commands import command
from cni_cnm.doctor.finding import REPAIR, Finding, Unchecked
from cni_cnm.fields import Fields
from cni_cnm.ipam import host_local
from cni_cnm.ipam.lease_index import SEPARATOR
from cni_cnm.ipam.leases import DOCKER, HOST_LOCAL, OF_STORE, Leases
from cni_cnm.model import EndpointKey
from cni_cnm.state import epoch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.doctor.picture import Picture

_STARTS_S = 120.0
"""A container of another program has its lease before it has its link: within this time it may still start."""
_ADDRESS = re.compile(r"[0-9a-f]+[.:][0-9a-f.:]*")


def look(picture: Picture) -> Iterator[Finding | Unchecked]:
    folders = {
        network.name: host_local.folder_of(network.name, Fields(network.ipam, "ipam."), picture.host)
        for network in picture.networks
        if network.ipam_type == HOST_LOCAL
    }
    there = {folder: _names(folder) for folder in folders.values()}
    yield from _lost(picture, folders, there)
    recorded = {
        name
        for record in picture.every_endpoint
        if record.epoch == picture.host.epoch
        for name in record.ipam.get("addresses") or ()
    }
    for network in picture.networks:
        if network.name in folders:
            yield from _without_owner(picture, network, folders[network.name], there[folders[network.name]] - recorded)


def fix(host: Host, finding: Finding) -> str:
    return part.repair(host, Difference("", "", finding.key))


def _names(folder: str) -> set[str]:
    try:
        return {name for name in os.listdir(folder) if _ADDRESS.fullmatch(name)}
    except FileNotFoundError:
        return set()


def _lost(picture: Picture, folders: dict[str, str], there: dict[str, set[str]]) -> Iterator[Finding]:
    lost: dict[tuple[str, str], list[str]] = {}
    for record in picture.endpoints:
        folder = record.ipam.get("folder") or folders.get(record.network)
        if not folder or record.ipam_type not in OF_STORE:
            continue
        if folder not in there:
            there[folder] = _names(folder)
        names = [name for name in record.ipam.get("addresses") or () if name not in there[folder]]
        if names and picture.still(record):
            lost.setdefault((record.network, folder), []).extend(names)
    for (network, folder), names in lost.items():
        yield Finding(
            f"the network {network}: no lease in {folder} for {', '.join(names[:5])}",
            "The next container gets an address that another one has.",
            (REPAIR,),
            about=network,
            safe=True,
            key=f"{network} {folder}",
        )


def _without_owner(
    picture: Picture, network: NetworkRecord, folder: str, names: set[str]
) -> Iterator[Finding | Unchecked]:
    """`names`: leases that no record names. Those of this epoch count: older ones are void, and are replaced."""
    if not names:
        return
    leases, started, now = Leases(network.name, folder, picture.host), epoch.started(), set(picture.endpoint_ids())
    left = []
    for name in sorted(names):
        owner = leases.owner(name)
        written = _written(f"{folder}/{name}")
        if not owner or owner.startswith(DOCKER) or not started <= written < time.time() - _STARTS_S:
            continue
        container, _, ifname = owner.partition(SEPARATOR)
        if EndpointKey(network.name, container, ifname.strip()).id not in now:
            left.append((name, container))
    if not left:
        return
    addresses = f"{', '.join(name for name, _ in left[:3])}{f' and {len(left) - 3} more' * (len(left) > 3)}"
    if picture.stack.link(network.policy.bridge) is None:
        yield Unchecked(
            f"the network {network.name}: {len(left)} leases in {folder} whose owner has no endpoint here",
            f"no bridge shows whether another program's container has {addresses}",
        )
        return
    if strangers := _strangers(picture, network, now):
        yield Unchecked(
            f"the network {network.name}: {len(left)} leases in {folder} whose owner has no endpoint here",
            f"{', '.join(strangers[:3])} on {network.policy.bridge} have no record, and may have {addresses}",
        )
        return
    for name, owner in left:
        yield Finding(
            f"the network {network.name}: the lease of {name} belongs to {owner[:12]}, which has no endpoint here",
            "The address is not given to any container.",
            (command("rm", f"{folder}/{name}"),),
            about=network.name,
        )


def _written(path: str) -> float:
    """When, in seconds since 1970; 0 if it has been released since."""
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return 0.0


def _strangers(picture: Picture, network: NetworkRecord, now: Collection[str]) -> list[str]:
    """Ports of the network's bridge that are of no endpoint on record. `now`: ids of all records of endpoints."""
    bridge = picture.stack.link(network.policy.bridge)
    ours = {record.host_ifname for record in picture.every_endpoint} | {f"veth{name[:8]}" for name in now}
    ports = picture.stack.links(master=bridge.ifindex) if bridge is not None else ()
    return [port.name for port in ports if port.name not in ours]
