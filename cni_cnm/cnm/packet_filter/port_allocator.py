"""Which host ports a Docker endpoint gets: one of the range that each port binding requests, 0 for any port.

A port is free if no endpoint has published it at an address of the host that both would have, and no process of the
host listens on it. The caller holds the lock `ports` until the elements are put in, so two requests never choose the
same one.
"""

from __future__ import annotations

from cni_cnm.cnm.packet_filter import port_listeners
from cni_cnm.errors import PortTaken
from cni_cnm.firewall import INET
from cni_cnm.firewall.port_conflicts import address_and_ports
from cni_cnm.firewall.portmap_options import PROTOCOLS
from cni_cnm.model import ANY_ADDRESS, PortMapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from cni_cnm.kernel import Nft, Stack
    from cni_cnm.model import IPAddress

EPHEMERAL = "net/ipv4/ip_local_port_range"
RESERVED = "net/ipv4/ip_local_reserved_ports"
"""Ports that the kernel chooses for no connection. Like Docker, we choose none of them for host port 0."""


def choose(
    requested: Sequence[PortMapping],
    kept: Sequence[PortMapping],
    families: Sequence[int],
    nft: Nft,
    host_stack: Stack,
    owners: Collection[str] = (),
    claim: Callable[[PortMapping], bool] | None = None,
) -> tuple[PortMapping, ...]:
    """One mapping for each requested one, for these IP versions.

    Args:
        requested: mappings, with the range to choose from.
        kept: mappings that are published now. Their host ports are used again where they fit.
        families: IP versions to publish.
        nft: the host's packet filter.
        host_stack: the host's network namespace.
        owners: beginnings of ids of the endpoints that have the `kept` ones, whose elements are replaced.
        claim: takes a port from the processes of the host, and tells whether it was free. None: only looks.

    Raises:
        PortTaken: no port is free, or two mappings request the same one. A fixed port of another endpoint is refused
            later, when its element is put in.
    """
    published = [one for one, owner in _published(nft) if owner not in owners]
    free = claim or _is_free
    chosen: list[PortMapping] = []
    for mapping in [single for one in requested for single in _of_families(one, families)]:
        chosen.append(_choose(mapping, kept, chosen, published, host_stack, free))
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


def _is_free(port: PortMapping) -> bool:
    return not port_listeners.warnings((port,))


def _choose(
    mapping: PortMapping,
    kept: Sequence[PortMapping],
    chosen: Sequence[PortMapping],
    published: Sequence[PortMapping],
    host_stack: Stack,
    free: Callable[[PortMapping], bool],
) -> PortMapping:
    fixed = mapping.host_port != 0 and mapping.size == 1
    before = [port for port in kept if _serves(port, mapping)]
    for number in (*(port.host_port for port in before), *_candidates(mapping, host_stack)):
        one = mapping._replace(host_port=number, size=1)
        if any(_clash(one, other) for other in chosen):
            if fixed:
                raise PortTaken(
                    f"the host port {number}/{mapping.protocol} is requested twice",
                    hint="choose another host port for one of them",
                )
            continue
        if one in before:
            free(one)  # held again, if it was not
            return one
        if not fixed and any(_clash(one, other) for other in published):
            continue
        if free(one):
            return one
    last = f"-{mapping.host_port + mapping.size - 1}" if mapping.size > 1 else ""
    raise PortTaken(
        f"the host port {mapping.host_port}{last}/{mapping.protocol} is in use by a process of the host"
        if fixed
        else f"no host port of {f'{mapping.host_port}{last}' if mapping.host_port else 'the ephemeral range'} is free",
        hint="`ss -lntup` shows who listens; choose another host port",
    )


def _serves(port: PortMapping, mapping: PortMapping) -> bool:
    """Whether a mapping that is published can be the answer to a request, as far as ports and addresses go."""
    if (port.protocol, port.container_port) != (mapping.protocol, mapping.container_port):
        return False
    if port.host_ip != mapping.host_ip and not (_is_any(port.host_ip) and _is_any(mapping.host_ip)):
        return False
    return not mapping.host_port or mapping.host_port <= port.host_port < mapping.host_port + mapping.size


def _is_any(address: IPAddress | None) -> bool:
    return address is None or address.is_unspecified


def _clash(one: PortMapping, other: PortMapping) -> bool:
    """Whether a packet can be for both mappings. `one` has a single port."""
    if one.protocol != other.protocol or not other.host_port <= one.host_port < other.host_port + other.size:
        return False
    if one.host_ip is None or other.host_ip is None:
        return True
    return one.host_ip.version == other.host_ip.version and (
        one.host_ip == other.host_ip or one.host_ip.is_unspecified or other.host_ip.is_unspecified
    )


def _candidates(mapping: PortMapping, host_stack: Stack) -> Iterator[int]:
    if mapping.host_port:
        yield from range(mapping.host_port, mapping.host_port + mapping.size)
        return
    from random import randrange

    first, last = (int(word) for word in (host_stack.sysctl(EPHEMERAL) or "32768 60999").split())
    reserved = _reserved(host_stack)
    start = randrange(first, last + 1)  # noqa: S311 - two requests at once should not try the same one first
    yield from (number for number in (*range(start, last + 1), *range(first, start)) if number not in reserved)


def _reserved(host_stack: Stack) -> set[int]:
    found: set[int] = set()
    for part in (host_stack.sysctl(RESERVED) or "").split(","):
        first, _, last = part.strip().partition("-")
        if first:
            found.update(range(int(first), int(last or first) + 1))
    return found


def _published(nft: Nft) -> Iterator[tuple[PortMapping, str]]:
    """What endpoints have published, a mapping each, and the beginning of the endpoint's id."""
    names = {str(number): name for name, number in PROTOCOLS.items()}
    for element in nft.elements(INET):
        if element.set.startswith(("ports", "ranges")):
            address, number, first, last = address_and_ports(element)
            yield PortMapping(names.get(number, number), first, first, address, last - first + 1), element.owner
