"""A podman network as a network of the engine. podman allocates its addresses (IPAM type `given`).

What no container could be attached with is refused here: `create` and `setup` say the same.
"""

from __future__ import annotations

from cni_cnm.cnm.interface.configure_interface import require_ipv6_mtu
from cni_cnm.drivers import DEFAULT
from cni_cnm.errors import InvalidConfig
from cni_cnm.ipam.ranges import NO_GATEWAY
from cni_cnm.model import IpamSpec, NameService, NetworkSpec, ip_address
from cni_cnm.netavark import OWNER
from cni_cnm.netavark.network_options import driver_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.model import IPAddress, IPNetwork, Json
    from cni_cnm.netavark.messages import PodmanNetwork, PodmanSubnet


def network_spec(network: PodmanNetwork) -> NetworkSpec:
    """InvalidConfig or UnsupportedField for an option or a route that cannot be served."""
    options = driver_options(network)
    require_ipv6_mtu(
        f"the network {network.name}", options.get("mtu", 0), {one.pool.version for one in network.subnets}
    )
    _refuse_routes(network)
    return NetworkSpec(
        network.name,
        DEFAULT,
        options,
        _ipam(network),
        network.internal,
        labels=network.labels,
        owner=OWNER,
        names=_names(network) if network.dns and network.subnets else None,
    )


def _refuse_routes(network: PodmanNetwork) -> None:
    """InvalidConfig for a route that the kernel would refuse in every container."""
    pools = [one.pool for one in network.subnets]
    shown = ", ".join(map(str, pools))
    if network.routes and not pools:
        raise InvalidConfig("routes are given, and the network has no subnets", hint="leave out one of the two")
    by_target: dict[tuple[str, int], str] = {
        (str(pool), 0): "the network's own subnet" for pool in pools if pool.version == 4
    }
    for route in network.routes:
        target, kind = (route["dst"], route.get("priority", 0)), route["type"]
        known = by_target.setdefault(target, kind)
        if known != kind:
            raise InvalidConfig(
                f"two routes to {target[0]} have the metric {target[1]}: {known} and {kind}",
                hint="leave out one of them, or give it another metric",
            )
        if kind == "unicast" and not _is_next_hop(ip_address(route["gw"]), pools):
            raise InvalidConfig(
                f"the gateway {route['gw']} of the route to {target[0]} is no host in the network's subnets, {shown}",
                hint="give an address of one of them",
            )


def _is_next_hop(gateway: IPAddress, pools: Sequence[IPNetwork]) -> bool:
    if gateway.version == 6 and gateway.is_link_local:
        return True
    own = next((pool for pool in pools if pool.version == gateway.version and gateway in pool), None)
    if own is None:
        return False
    return own.version == 6 or own.prefixlen > 30 or gateway != own.broadcast_address


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
