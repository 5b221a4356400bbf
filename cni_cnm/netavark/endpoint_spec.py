"""A container as an endpoint. netavark hands every port to each network of the container: some cannot serve it."""

from __future__ import annotations

from cni_cnm.model import EndpointSpec, Pod
from cni_cnm.netavark import OWNER
from cni_cnm.netavark.network_options import is_managed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.model import PortMapping
    from cni_cnm.netavark.messages import PodmanContainer


def endpoint_spec(container: PodmanContainer, netns: str, request_id: str) -> EndpointSpec:
    return EndpointSpec(
        container_id=container.container_id,
        ifname=container.ifname,
        netns=netns,
        owner=OWNER,
        mac=container.mac,
        addresses=container.addresses,
        request_id=request_id,
        pod=Pod(container.name),
        aliases=tuple(dict.fromkeys(name for name in (container.name, *container.aliases) if name)),
        ports=tuple(port for port in container.ports if not _obstacle(container, port)),
        host_ifname=container.host_ifname,
    )


def unpublished(container: PodmanContainer) -> Sequence[str]:
    """A sentence for each port that this network does not publish. Another network of the container may."""
    found = ((port, _obstacle(container, port)) for port in container.ports)
    return [f"{port} is not published on the network {container.network.name}: {why}" for port, why in found if why]


def _obstacle(container: PodmanContainer, port: PortMapping) -> str:
    if container.network.internal:
        return "it is internal"
    if not is_managed(container.network):
        return "it is unmanaged"
    versions = {address.version for address in container.addresses}
    if not versions:
        return "the container has no address there"
    if port.host_ip is not None and port.host_ip.version not in versions:
        return f"the container has no IPv{port.host_ip.version} address there"
    return ""
