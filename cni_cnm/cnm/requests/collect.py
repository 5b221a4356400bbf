"""collect: take down an owner's endpoints of a network that the runtime does not list any more (CNI's GC)."""

from __future__ import annotations

from cni_cnm import ipam
from cni_cnm.cnm.endpoint import locked_endpoint
from cni_cnm.cnm.endpoint.take_down_endpoint import take_down
from cni_cnm.cnm.network.configured_network import addressing_of
from cni_cnm.cnm.records import endpoint_records, load_endpoint
from cni_cnm.cnm.rollback import ErrorList
from cni_cnm.errors import raise_gathered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.model import EndpointKey, NetworkSpec


def collect(
    host: Host, network: NetworkSpec, owner: str, valid: Sequence[EndpointKey], environ: Mapping[str, str]
) -> Sequence[str]:
    """Keeps `valid` and what other owners have. Returns sentences about other owners' endpoints."""
    keep = {key.id for key in valid}
    gathered = ErrorList()
    notes = []
    for record in endpoint_records(host.store):
        if record.network != network.name or record.id in keep:
            continue
        if record.owner != owner:
            notes.append(f"{record.shown} belongs to {record.owner}, not to {owner}: it is kept")
            continue
        with locked_endpoint.lock(host, record.id):
            current = load_endpoint(host.store, record.id)
            if current is not None:
                taken = take_down(locked_endpoint.LockedEndpoint(host, current), environ)
                gathered.errors += taken.errors
                notes += taken.notes
    addressing = addressing_of(network)
    if not (addressing.from_pools or addressing.from_blocks):
        gathered.attempt(lambda: ipam.configure(network.name, network.ipam, None, host).collect(valid, environ))
    raise_gathered(gathered.errors)
    return notes
