"""Lease files of addresses that are on record: without one, the address is given to a second container.

The kernel reports nothing of files. So this is compared when everything is.
"""

from __future__ import annotations

import os

from cni_cnm.cnm.reconcile.difference import Difference
from cni_cnm.cnm.records import PENDING, endpoint_records, network_records
from cni_cnm.fields import Fields
from cni_cnm.ipam import host_local
from cni_cnm.ipam.leases import HOST_LOCAL, OF_STORE, Leases

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.reconcile.changed import Changed


def compare(host: Host, changed: Changed) -> Iterator[Difference]:
    if not changed.everything:
        return
    lost: dict[tuple[str, str], list[str]] = {}
    folders = {
        record.name: host_local.folder_of(record.name, Fields(record.ipam, "ipam."), host)
        for record in network_records(host.store)
        if record.ipam_type == HOST_LOCAL
    }
    for record in endpoint_records(host.store):
        # An endpoint of Docker does not say where its address is from: another IPAM driver keeps no lease here.
        folder = record.ipam.get("folder") or folders.get(record.network)
        if record.epoch != host.epoch or record.state == PENDING:  # a DEL may have released its addresses
            continue
        if folder and record.ipam_type in OF_STORE:
            names = [name for name in record.ipam.get("addresses") or () if not os.path.lexists(f"{folder}/{name}")]
            if names:
                lost.setdefault((record.network, folder), []).extend(names)
    for (network, folder), names in lost.items():
        yield Difference(
            f"the network {network}", f"no lease in {folder} for {', '.join(names)}", f"{network} {folder}"
        )


def repair(host: Host, difference: Difference) -> str:
    network, _, folder = difference.key.partition(" ")
    leases = Leases(network, folder, host)
    with leases:
        written = leases.restore_recorded()
    return f"leased again: {', '.join(written)}" if written else ""
