"""Hosts and networks for tests."""

from __future__ import annotations

from cni_cnm.cluster.values import ClusterHost, Direct, OverlayNetwork
from cni_cnm.model import digest, ip_address, ip_network, stable_mac


def host(name: str, instance: str = "", *addresses: str) -> ClusterHost:
    """A host whose instance follows from its name, unless it is given."""
    instance = digest("instance", instance or name)[:32]
    octet = int(instance[:2], 16)
    found = addresses or (f"192.0.2.{octet}",)
    return ClusterHost(name, instance, tuple(map(ip_address, found)), stable_mac("vtep", instance))


def network(
    name: str, *subnets: str, sizes: tuple[int, ...] = (), vni: int = 0, direct: Direct = "auto", port: int = 4799
) -> OverlayNetwork:
    """IPv4 blocks of /24 and IPv6 blocks of /64 unless `sizes` are given; 10.32.0.0/16 without subnets."""
    parsed = tuple(map(ip_network, subnets or ("10.32.0.0/16",)))
    given = sizes or tuple(24 if subnet.version == 4 else 64 for subnet in parsed)
    return OverlayNetwork(name, digest("network", name)[:32], parsed, given, vni, port, direct)
