"""check: an endpoint's record against the kernel. Writes nothing."""

from __future__ import annotations

from cni_cnm.cnm.endpoint import check_endpoint
from cni_cnm.cnm.network import subnet_conflicts
from cni_cnm.cnm.records import load_endpoint, load_network
from cni_cnm.drivers import OVERLAY
from cni_cnm.errors import CheckFailed
from cni_cnm.model import EndpointKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.model import Attachment, EndpointSpec, NetworkSpec


def check(host: Host, network: NetworkSpec, spec: EndpointSpec, previous: Attachment | None) -> Sequence[str]:
    """CheckFailed naming the first difference; else warnings."""
    record = load_endpoint(host.store, EndpointKey(network.name, spec.container_id, spec.ifname).id)
    if record is None or record.epoch != host.epoch:
        raise CheckFailed(
            f"nothing is recorded for {spec.ifname} of container {spec.container_id} on the network {network.name}",
            hint="was it made before a reboot, or by another plugin? DEL and ADD it again",
        )
    with host.namespaces.open(spec.netns) as stack:
        warnings = check_endpoint.check(host, record, stack, previous, spec.environ)
    made = load_network(host.store, network.name)
    if made is not None and made.driver == OVERLAY:
        from cni_cnm.cnm.requests import cluster_readiness

        warnings = [*warnings, *cluster_readiness.lost_addresses(made, record)]
    return [*warnings, *(subnet_conflicts.warnings(host, made) if made and not network.allow_overlap else ())]
