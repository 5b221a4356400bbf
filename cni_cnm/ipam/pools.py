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
    ("172.17.0.0/16", 16),
    ("172.18.0.0/16", 16),
    ("172.19.0.0/16", 16),
    ("172.20.0.0/14", 16),
    ("172.24.0.0/14", 16),
    ("172.28.0.0/14", 16),
    ("192.168.0.0/16", 20),
)
"""Docker's predefined local address pools: 31 networks."""

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


def choose(family: int, pools: Sequence[AddressPool], used: Iterable[IPNetwork]) -> IPNetwork:
    """The first subnet in the pools of IP version `family` (4 or 6) that overlaps nothing in `used`.

    `used`: other networks' subnets, and the destinations of the host's routes; a default route counts for nothing.
    `pools` empty: the predefined ones. AddressesExhausted if no subnet is left.
    """
    from netaddr import IPNetwork as Block
    from netaddr import IPSet

    candidates = [pool for pool in pools or predefined(host_id()) if pool.base.version == family]
    claimed = IPSet(Block(str(network)) for network in used if network.version == family and network.prefixlen)
    for base, size in candidates:
        # netaddr keeps the largest aligned blocks, so the first one that is large enough begins with a free subnet.
        for block in (IPSet([Block(str(base))]) - claimed).iter_cidrs():
            if block.prefixlen <= size:
                return ip_network(f"{block.network}/{size}")
    raise AddressesExhausted(
        f"no subnet is left in the IPv{family} pools {', '.join(str(base) for base, _ in candidates)}",
        hint="name a subnet, remove unused networks, or set default_address_pools in the settings",
    )
