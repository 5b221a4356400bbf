"""Lease files of addresses that are on record: without one, the address is given to a second container.

The kernel reports nothing of files. So this is compared when everything is.
"""

from __future__ import annotations

import os

from cni_cnm.cnm.reconcile.difference import Difference
from cni_cnm.cnm.records import endpoint_records
from cni_cnm.ipam.leases import OF_STORE, Leases

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.reconcile.changed import Changed


def compare(host: Host, changed: Changed) -> Iterator[Difference]:
    if not changed.everything:
        return
    lost: dict[tuple[str, str], list[str]] = {}
    for record in endpoint_records(host.store):
        if record.epoch == host.epoch and record.ipam_type in OF_STORE:
            folder = record.ipam.get("folder") or f"{host.settings.leases_dir}/{record.network}"
            names = [name for name in record.ipam.get("addresses") or () if not os.path.lexists(f"{folder}/{name}")]
            if names:
                lost.setdefault((record.network, folder), []).extend(names)
    for (network, folder), names in lost.items():
        yield Difference(
            f"the network {network}", f"{', '.join(names)} have no lease in {folder}", f"{network} {folder}"
        )


def repair(host: Host, difference: Difference) -> str:
    network, _, folder = difference.key.partition(" ")
    leases = Leases(network, folder, host)
    with leases:
        written = leases.restore_recorded()
    return f"leased again: {', '.join(written)}" if written else ""
