"""Default address pools: the subnet of a network that names none, as `docker network create` chooses it."""

from __future__ import annotations

from ipaddress import ip_network

from cni_cnm.errors import AddressesExhausted
from cni_cnm.model import digest
from cni_cnm.settings import AddressPool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cni_cnm.model import IPNetwork

_IPV4 = (
    ("172.18.0.0/16", 16),
    ("172.19.0.0/16", 16),
    ("172.20.0.0/14", 16),
    ("172.24.0.0/14", 16),
    ("172.28.0.0/14", 16),
    ("192.168.0.0/16", 20),
)
"""Docker's predefined local pools, without that of its own default bridge (172.17.0.0/16)."""

_CONVENTIONAL = tuple(
    ip_network(text)
    for text in (
        "10.4.0.0/24",  # nerdctl's default network
        "10.42.0.0/16",  # k3s pods
        "10.43.0.0/16",  # k3s services
        "10.88.0.0/16",  # podman's default network
        "10.96.0.0/12",  # kubeadm services
        "10.244.0.0/16",  # kubeadm and flannel pods
        "172.17.0.0/16",  # Docker's default bridge
        "192.168.122.0/24",  # libvirt's default network
    )
)
"""Subnets that other programs take without asking. The predefined pools leave them out, whether or not they are in use
now: the program that takes them may start later. Pools from the settings are used as the administrator wrote them."""

_HOST_ID_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id", "/proc/sys/kernel/hostname")


def predefined(host_id: str) -> tuple[AddressPool, ...]:
    """Docker's pools, and for IPv6 a unique local /48 (RFC 4193) that is derived from the host's id, cut into /64."""
    global_id = int(digest("pool", host_id)[:10], 16)
    ula = f"fd{global_id >> 32:02x}:{global_id >> 16 & 0xFFFF:x}:{global_id & 0xFFFF:x}::/48"
    return (*(AddressPool(ip_network(base), size) for base, size in _IPV4), AddressPool(ip_network(ula), 64))


def host_id() -> str:
    """A text that differs between hosts and stays the same over reboots."""
    for path in _HOST_ID_FILES:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                found = file.read().strip()
        except OSError:
            continue
        if found:
            return found
    return ""


def choose(
    family: int,
    pools: Sequence[AddressPool],
    used: Iterable[IPNetwork],
    routed: Iterable[IPNetwork] = (),
    prefixlen: int = 0,
) -> IPNetwork:
    """The first subnet of the pools that overlaps nothing used.

    Args:
        family: IP version, 4 or 6.
        pools: where to look, in this order; empty: the predefined pools, without `_CONVENTIONAL` subnets.
        used: subnets of other networks. All of them count.
        routed: destinations of the host's routes. One that is wider than a pool does not count for that pool: a
            default route, its two halves (0.0.0.0/1 and 128.0.0.0/1, as VPNs set them) or a company's 172.16.0.0/12
            lead somewhere by default, and a more specific route beside them works.
        prefixlen: of the subnet; 0: as the pool says.

    Raises:
        AddressesExhausted: no subnet is left.
    """
    from netaddr import IPNetwork as Block
    from netaddr import IPSet

    candidates = [pool for pool in pools or predefined(host_id()) if pool.base.version == family]
    taken = [*used, *(() if pools else _CONVENTIONAL)]
    claimed = IPSet(Block(str(network)) for network in taken if network.version == family and network.prefixlen)
    routes = [route for route in routed if route.version == family]
    for base, size_of_pool in candidates:
        size = prefixlen or size_of_pool
        narrow = IPSet(Block(str(route)) for route in routes if route.prefixlen >= base.prefixlen)
        # netaddr keeps the largest aligned blocks, so the first one that is large enough begins with a free subnet.
        for block in (IPSet([Block(str(base))]) - claimed - narrow).iter_cidrs():
            if block.prefixlen <= size:
                return ip_network(f"{block.network}/{size}")
    raise AddressesExhausted(
        f"no subnet is left in the IPv{family} pools {', '.join(str(base) for base, _ in candidates)}",
        hint="name a subnet, remove unused networks, or set default_address_pools in the settings",
    )
