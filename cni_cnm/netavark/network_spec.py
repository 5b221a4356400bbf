"""A podman network as a network of the engine. podman allocates its addresses (IPAM type `given`)."""

from __future__ import annotations

from cni_cnm.drivers import DEFAULT
from cni_cnm.ipam.ranges import NO_GATEWAY
from cni_cnm.model import IpamSpec, NameService, NetworkSpec
from cni_cnm.netavark import OWNER
from cni_cnm.netavark.network_options import driver_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.model import Json
    from cni_cnm.netavark.messages import PodmanNetwork, PodmanSubnet


def network_spec(network: PodmanNetwork) -> NetworkSpec:
    """InvalidConfig or UnsupportedField for an option that cannot be served."""
    return NetworkSpec(
        network.name,
        DEFAULT,
        driver_options(network),
        _ipam(network),
        network.internal,
        labels=network.labels,
        owner=OWNER,
        names=_names(network) if network.dns and network.subnets else None,
    )


def _names(network: PodmanNetwork) -> NameService:
    """podman has name servers of a network for aardvark-dns: other questions go there, but not from an internal one."""
    from cni_cnm.names.labels import domain_of

    servers = () if network.internal else tuple(map(str, network.dns_servers))
    return NameService(domain_of(network.name), servers)


def _ipam(network: PodmanNetwork) -> IpamSpec:
    if not network.subnets:
        return IpamSpec("none")
    ranges = [[_range(subnet)] for subnet in network.subnets]
    return IpamSpec("given", {"ranges": ranges, **({"routes": list(network.routes)} if network.routes else {})})


def _range(subnet: PodmanSubnet) -> Json:
    gateway: dict[str, Json] = {NO_GATEWAY: True} if subnet.gateway is None else {"gateway": str(subnet.gateway)}
    return {"subnet": str(subnet.pool), **gateway}
