"""Which host ports a Docker endpoint gets: one of the range that each port binding requests, 0 for any port.

A port is free if no endpoint has published it and no process of the host listens on it. Docker runs no proxy for
networks of plugins, so no socket is bound here either: the nftables element reserves the port.
"""

from __future__ import annotations

from cni_cnm.cnm.packet_filter import port_listeners
from cni_cnm.errors import PortTaken
from cni_cnm.firewall import INET
from cni_cnm.firewall.portmap_options import PROTOCOLS
from cni_cnm.model import ANY_ADDRESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.kernel import Nft, Stack
    from cni_cnm.model import PortMapping

EPHEMERAL = "net/ipv4/ip_local_port_range"


def choose(
    requested: Sequence[PortMapping], kept: Sequence[PortMapping], families: Sequence[int], nft: Nft, host_stack: Stack
) -> tuple[PortMapping, ...]:
    """One mapping for each requested one, for these IP versions. A mapping of `kept` is used again where it fits.

    PortTaken if no port is free. A fixed port of another endpoint is refused later, when its element is put in.
    """
    chosen: list[PortMapping] = []
    for mapping in [single for one in requested for single in _of_families(one, families)]:
        present = next((port for port in kept if _serves(port, mapping)), None)
        chosen.append(present or _free(mapping, [*chosen, *kept], nft, host_stack))
    return tuple(chosen)


def _of_families(mapping: PortMapping, families: Sequence[int]) -> Iterator[PortMapping]:
    """A mapping without address stays one mapping for both IP versions, unless only one of them is published."""
    if mapping.host_ip is not None:
        if mapping.host_ip.version in families:
            yield mapping
    elif len(families) == 2:
        yield mapping
    else:
        yield from (mapping._replace(host_ip=ANY_ADDRESS[version]) for version in families)


def _serves(port: PortMapping, mapping: PortMapping) -> bool:
    kind, wanted = ((one.protocol, one.container_port, one.host_ip) for one in (port, mapping))
    return kind == wanted and (
        not mapping.host_port or mapping.host_port <= port.host_port < mapping.host_port + mapping.size
    )


def _free(mapping: PortMapping, ours: Sequence[PortMapping], nft: Nft, host_stack: Stack) -> PortMapping:
    fixed = mapping.host_port != 0 and mapping.size == 1
    taken = set() if fixed else _published(mapping.protocol, nft)
    taken |= {port.host_port for port in ours if port.protocol == mapping.protocol and not fixed}
    for number in _candidates(mapping, host_stack):
        if number not in taken and not port_listeners.warnings((mapping._replace(host_port=number, size=1),)):
            return mapping._replace(host_port=number, size=1)
    last = f"-{mapping.host_port + mapping.size - 1}" if mapping.size > 1 else ""
    raise PortTaken(
        f"the host port {mapping.host_port}{last}/{mapping.protocol} is in use by a process of the host"
        if fixed
        else f"no host port of {f'{mapping.host_port}{last}' if mapping.host_port else 'the ephemeral range'} is free",
        hint="`ss -lntup` shows who listens; choose another host port",
    )


def _candidates(mapping: PortMapping, host_stack: Stack) -> Iterator[int]:
    if mapping.host_port:
        yield from range(mapping.host_port, mapping.host_port + mapping.size)
        return
    from random import randrange

    first, last = (int(word) for word in (host_stack.sysctl(EPHEMERAL) or "32768 60999").split())
    start = randrange(first, last + 1)  # noqa: S311 - two requests at once should not try the same one first
    yield from range(start, last + 1)
    yield from range(first, start)


def _published(protocol: str, nft: Nft) -> set[int]:
    """Host ports that endpoints have published, on any address."""
    found: set[int] = set()
    for element in nft.elements(INET):
        if element.set.startswith(("ports", "ranges")):
            *_, number, ports = element.key.split(" . ")
            first, _, last = ports.partition("-")
            if number in (str(PROTOCOLS[protocol]), protocol):
                found.update(range(int(first), int(last or first) + 1))
    return found
