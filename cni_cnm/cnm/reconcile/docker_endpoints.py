"""Docker's endpoints whose sandbox is gone: Docker removed them while the service was away, and says it once.

The kernel reports no links of containers. So this is compared when everything is, as when the service starts.
"""

from __future__ import annotations

from cni_cnm.cnm.docker import lost_endpoints
from cni_cnm.cnm.reconcile.difference import Difference
from cni_cnm.cnm.records import endpoint_records, load_endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.reconcile.changed import Changed


def compare(host: Host, changed: Changed) -> Iterator[Difference]:
    for record in endpoint_records(host.store) if changed.everything else ():
        if why := lost_endpoints.why_lost(host, record):
            yield Difference(f"the endpoint {record.shown}", why, record.id)


def repair(host: Host, difference: Difference) -> str:
    record = load_endpoint(host.store, difference.key)
    removed = record is not None and lost_endpoints.remove_if_lost(host, record)
    return "Docker has removed its container, so it was taken down" if removed else ""
