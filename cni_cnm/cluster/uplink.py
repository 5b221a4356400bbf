"""By which addresses and links this host reaches the other hosts of its cluster: the underlay.

address = "192.0.2.11"      these addresses, each on one of the host's links
address = "eth1"            that link's first address of each IP version
without                     the links of the default routes
"""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.errors import NotReady
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.kernel import Stack
    from cni_cnm.kernel.contract.link import Link
    from cni_cnm.model import IPAddress, IPInterface, IPNetwork

VERSIONS = (4, 6)
_SETTING = "the setting cluster.address"


class Uplink(NamedTuple):
    """One address of this host on the underlay, and its link."""

    address: IPAddress
    link: int
    """Index."""
    name: str
    mtu: int
    subnets: tuple[IPNetwork, ...]
    """Of the link's addresses of this version: hosts in them are on the same link."""


def uplinks(stack: Stack, wanted: Sequence[str]) -> tuple[Uplink, ...]:
    """At most one of each IP version, IPv4 first; as the setting orders them, where it names addresses.

    NotReady with the reason if there is none.
    """
    links = {link.ifindex: link for link in stack.links()}
    addresses: dict[int, list[IPInterface]] = {}
    for index, interface in stack.all_addresses():
        if not interface.ip.is_link_local and not interface.ip.is_loopback:
            addresses.setdefault(index, []).append(interface)
    if not wanted:
        return _by_default_routes(stack, links, addresses)
    parsed = [validate.address(text) for text in wanted if validate.accepts(validate.address, text)]
    if len(parsed) == len(wanted):
        return tuple(_by_address(address, links, addresses) for address in parsed)
    return _by_name(wanted[0], links, addresses)


def _by_address(address: IPAddress, links: dict[int, Link], addresses: dict[int, list[IPInterface]]) -> Uplink:
    for index, interfaces in addresses.items():
        if index in links and any(interface.ip == address for interface in interfaces):
            return _uplink(links[index], address, interfaces)
    raise NotReady(f"{_SETTING} is {address}, which is on no link of this host")


def _by_name(name: str, links: dict[int, Link], addresses: dict[int, list[IPInterface]]) -> tuple[Uplink, ...]:
    link = next((link for link in links.values() if link.name == name), None)
    if link is None:
        raise NotReady(f"{_SETTING} is {name}, and this host has no such link")
    found = tuple(_first_of_each(link, addresses.get(link.ifindex, [])))
    if not found:
        raise NotReady(f"{_SETTING} is {name}, and that link has no address")
    return found


def _by_default_routes(
    stack: Stack, links: dict[int, Link], addresses: dict[int, list[IPInterface]]
) -> tuple[Uplink, ...]:
    found: list[Uplink] = []
    for version in VERSIONS:
        routes = (route for route in stack.routes(versions=(version,)) if not route.dst.prefixlen)
        for route in sorted(routes, key=lambda route: route.priority or 0):
            interfaces = [one for one in addresses.get(route.link, ()) if one.version == version]
            if interfaces and route.link in links:
                found.append(_uplink(links[route.link], route.src or interfaces[0].ip, interfaces))
                break
    if not found:
        raise NotReady(
            "this host has no default route by a link with an address, so its underlay address is not known",
            hint=f"{_SETTING} names it",
        )
    return tuple(found)


def _first_of_each(link: Link, interfaces: Sequence[IPInterface]) -> Iterator[Uplink]:
    for version in VERSIONS:
        first = next((interface.ip for interface in interfaces if interface.version == version), None)
        if first is not None:
            yield _uplink(link, first, interfaces)


def _uplink(link: Link, address: IPAddress, interfaces: Sequence[IPInterface]) -> Uplink:
    subnets = {interface.network: None for interface in interfaces if interface.version == address.version}
    return Uplink(address, link.ifindex, link.name, link.mtu, tuple(subnets))
