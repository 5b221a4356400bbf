"""Which ports of the host a Docker endpoint gets: one of those each binding asks for, 0 being any.

A port is free if no endpoint has published it and no process of the host listens there. Docker's own proxy holds none
for networks of plugins, so nothing is bound here either: the packet filter's element is the claim.
"""

from __future__ import annotations

from ipaddress import ip_address

from cni_cnm.cnm.packet_filter import endpoint_elements
from cni_cnm.errors import PortTaken
from cni_cnm.firewall import INET
from cni_cnm.firewall.portmap_options import PROTOCOLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Final

    from cni_cnm.kernel import Nft, Stack
    from cni_cnm.model import PortMapping

EPHEMERAL = "net/ipv4/ip_local_port_range"
ANY: Final = {4: ip_address("0.0.0.0"), 6: ip_address("::")}  # noqa: S104 - what a mapping says, nothing listens


def choose(
    wanted: Sequence[PortMapping], kept: Sequence[PortMapping], families: Sequence[int], nft: Nft, host: Stack
) -> tuple[PortMapping, ...]:
    """One mapping for each that is wanted, on the families given; those of `kept` again where they will do.

    PortTaken for one that cannot be had; of what others have published, what the elements' own claim refuses.
    """
    chosen: list[PortMapping] = []
    for wish in [single for one in wanted for single in _of_families(one, families)]:
        there = next((port for port in kept if _serves(port, wish)), None)
        chosen.append(there or _free(wish, [*chosen, *kept], nft, host))
    return tuple(chosen)


def _of_families(wish: PortMapping, families: Sequence[int]) -> Iterator[PortMapping]:
    """A mapping for both families is one, unless only one of them is to be published."""
    if wish.host_ip is not None:
        if wish.host_ip.version in families:
            yield wish
    elif len(families) == 2:
        yield wish
    else:
        yield from (wish._replace(host_ip=ANY[version]) for version in families)


def _serves(port: PortMapping, wish: PortMapping) -> bool:
    same = (port.protocol, port.container_port, port.host_ip) == (wish.protocol, wish.container_port, wish.host_ip)
    return same and (not wish.host_port or wish.host_port <= port.host_port < wish.host_port + wish.size)


def _free(wish: PortMapping, ours: Sequence[PortMapping], nft: Nft, host: Stack) -> PortMapping:
    fixed = wish.host_port != 0 and wish.size == 1
    taken = set() if fixed else _published(wish.protocol, nft)
    taken |= {port.host_port for port in ours if port.protocol == wish.protocol and not fixed}
    for number in _candidates(wish, host):
        if number not in taken and not endpoint_elements.held((wish._replace(host_port=number, size=1),)):
            return wish._replace(host_port=number, size=1)
    last = f"-{wish.host_port + wish.size - 1}" if wish.size > 1 else ""
    raise PortTaken(
        f"the host port {wish.host_port}{last}/{wish.protocol} is in use by a process of the host"
        if fixed
        else f"no host port of {f'{wish.host_port}{last}' if wish.host_port else 'the ephemeral range'} is free",
        hint="`ss -lntup` shows who listens; choose another host port",
    )


def _candidates(wish: PortMapping, host: Stack) -> Iterator[int]:
    if wish.host_port:
        yield from range(wish.host_port, wish.host_port + wish.size)
        return
    from random import randrange

    first, last = (int(word) for word in (host.sysctl(EPHEMERAL) or "32768 60999").split())
    start = randrange(first, last + 1)  # noqa: S311 - two requests at once should not try the same one first
    yield from range(start, last + 1)
    yield from range(first, start)


def _published(protocol: str, nft: Nft) -> set[int]:
    """Ports of the host that any endpoint has, whatever the address."""
    found: set[int] = set()
    for element in nft.elements(INET):
        if element.set.startswith(("ports", "ranges")):
            *_, number, ports = element.key.split(" . ")
            first, _, last = ports.partition("-")
            if number in (str(PROTOCOLS[protocol]), protocol):
                found.update(range(int(first), int(last or first) + 1))
    return found
