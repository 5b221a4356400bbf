"""Published ports of two endpoints never overlap. Ports of an endpoint that no longer exists are removed.

The kernel refuses a second owner of the same key. Ranges and single ports are in different maps. So ranges are read to
find overlaps (0.1 ms: a host has few), and single ports only for a new range. A port of one address of the host and the
same port of every address are in different maps, too. CNI allows both beside each other; for Docker it is an overlap.
"""

from __future__ import annotations

from ipaddress import ip_address

from cni_cnm.errors import PortTaken
from cni_cnm.firewall import INET
from cni_cnm.kernel import ElementTaken
from cni_cnm.model import ANY_ADDRESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cni_cnm.kernel import Element, Nft, Transaction
    from cni_cnm.model import IPAddress

_TRIES = 4
"""Each further try removes the elements of at least one more endpoint that no longer exists."""


def commit(
    nft: Nft,
    transaction: Transaction,
    alive: Callable[[str], bool],
    *,
    declare: bool = False,
    one_owner_per_port: bool = False,
) -> tuple[Element, ...]:
    """Commit a transaction that publishes ports. PortTaken names the endpoint that has one of them already.

    `alive(owner)` tells whether an endpoint exists whose id begins with these 12 digits. All elements of one that does
    not are removed. `one_owner_per_port`: a port of one address also overlaps the same port of every address. Gives
    the removed elements.
    """
    overlapping = _overlapping_addresses if one_owner_per_port else _overlapping
    stale = _stale(nft, overlapping(nft, transaction.claim), alive)
    for _ in range(_TRIES):
        try:
            nft.commit(transaction._replace(remove=(*transaction.remove, *stale)), declare=declare)
            return stale
        except ElementTaken as taken:
            stale = (*stale, *_stale(nft, taken.holders, alive))
    nft.commit(transaction._replace(remove=(*transaction.remove, *stale)), declare=declare)
    return stale


def _stale(nft: Nft, holders: Iterable[Element], alive: Callable[[str], bool]) -> tuple[Element, ...]:
    dead = set()
    for holder in holders:
        if alive(holder.owner):
            name = holder.comment.partition(" ")[2] or f"endpoint {holder.owner}"
            raise PortTaken(
                f"the host port {_port_text(holder)} is already published by {name}",
                hint="choose another host port, or stop that container first",
                holder=holder.owner,
            )
        dead.add(holder.owner)
    return tuple(element for element in nft.elements(INET) if element.owner in dead) if dead else ()


def _overlapping(nft: Nft, claim: Sequence[Element]) -> Iterator[Element]:
    """Elements of other owners that overlap a claim with another key."""
    for name in dict.fromkeys(element.set for element in claim):
        ours = [element for element in claim if element.set == name]
        others = [name.replace("ports", "ranges", 1)]
        if others == [name]:
            others.append(name.replace("ranges", "ports", 1))
        for element in (element for other in others for element in nft.elements(INET, other)):
            if any(element.owner != one.owner and _overlap(element, one) for one in ours):
                yield element


def _overlapping_addresses(nft: Nft, claim: Sequence[Element]) -> Iterator[Element]:
    """Elements of other owners that a packet for one of the claims could meet, whatever map they are in."""
    ours = [(element, *address_and_ports(element)) for element in claim]
    for other in nft.elements(INET) if ours else ():
        if not other.set.startswith(("ports", "ranges")):
            continue
        there, protocol, first, last = address_and_ports(other)
        for element, here, number, low, high in ours:
            meets = protocol == number and first <= high and low <= last and here.version == there.version
            if (
                meets
                and other.owner != element.owner
                and (here == there or here.is_unspecified or there.is_unspecified)
            ):
                yield other


def address_and_ports(element: Element) -> tuple[IPAddress, str, int, int]:
    """Address of the host (unspecified: every one), number of the protocol, first and last port of a published port."""
    *address, protocol, ports = element.key.split(" . ")
    first, _, last = ports.partition("-")
    version = int(element.set.removeprefix("ports").removeprefix("ranges")[0])
    return ip_address(address[0]) if address else ANY_ADDRESS[version], protocol, int(first), int(last or first)


def _overlap(one: Element, other: Element) -> bool:
    (prefix, first, last), (other_prefix, other_first, other_last) = _ports(one), _ports(other)
    return prefix == other_prefix and first <= other_last and other_first <= last


def _ports(element: Element) -> tuple[str, int, int]:
    prefix, _, ports = element.key.rpartition(" . ")
    first, _, last = ports.partition("-")
    return prefix, int(first), int(last or first)


def _port_text(element: Element) -> str:
    from cni_cnm.firewall.portmap_options import PROTOCOLS

    *address, number, ports = element.key.split(" . ")
    protocol = next((name for name, value in PROTOCOLS.items() if str(value) == number), number)
    return " ".join([*address, f"{ports}/{protocol}"])
