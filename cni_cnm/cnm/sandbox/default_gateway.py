"""The default gateway of a sandbox: electing it, moving its default routes, telling drivers that publish ports.

`elected` maps an IP version (4, 6) to an endpoint id; a sandbox's record has the versions as strings.
"""

from __future__ import annotations

from cni_cnm.cnm.interface import interface_routes
from cni_cnm.cnm.sandbox import gateway_election
from cni_cnm.drivers import drivers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.kernel import Stack
    from cni_cnm.model import Route

LOOSE_REVERSE_PATH = "2"
"""rp_filter: accept a packet if any link leads back. With two networks an answer may leave by the other one."""
ONLY_LINK = 2
"""Index of the first link that a namespace gets behind lo: with it, there has never been another one."""


def elect(
    members: Sequence[EndpointRecord], before: Mapping[str, str], stack: Stack, newcomer: str = "", index: int = 0
) -> dict[int, str]:
    """Elect the default gateways, and move the default routes. `before`: as recorded. Returns who has them then.

    An endpoint whose interface is missing, down or without address is not elected. A default route that is of none of
    the members is another plugin's: it stays, and no member is elected for its IP version. `newcomer`: the member whose
    interface was configured just now, and `index` its link's.
    """
    by_id = {member.id: member for member in members}
    indexes = {member.id: _index(member, stack) for member in members if member.id != newcomer}
    if newcomer:
        indexes[newcomer] = index or (_index(by_id[newcomer], stack) if by_id[newcomer].default_routes else 0)
    able = {key: _versions(by_id[key], stack, indexes[key], trusted=key == newcomer) for key in by_id}
    elected = gateway_election.elect([_candidate(member, able[member.id]) for member in members])
    changed = [version for version in (4, 6) if before.get(str(version)) != elected.get(version)]
    for version in changed:
        old = before.get(str(version))
        if old in by_id and indexes[old]:
            loser = by_id[old]
            interface_routes.remove_default(stack, _offers(loser, version), indexes[old], loser.addresses)
    gaining = {version for version in changed if version in elected}
    foreign: set[int] = set()
    if gaining and list(indexes.values()) != [ONLY_LINK]:
        foreign = interface_routes.default_versions(stack, gaining, list(indexes.values()))
    for version in sorted(gaining):
        key = elected[version]
        winner, link = by_id[key], indexes[key]
        if version in foreign or not interface_routes.add_default(
            stack, _offers(winner, version), link, winner.addresses
        ):
            del elected[version]
    return elected


def loosen_reverse_path(members: Sequence[EndpointRecord], stack: Stack) -> None:
    """Strict reverse path filtering becomes loose on every interface of the sandbox."""
    keys = [f"net/ipv4/conf/{member.ifname}/rp_filter" for member in members if member.ifname]
    stack.set_sysctls([(key, LOOSE_REVERSE_PATH) for key in keys if stack.sysctl(key) == "1"], tolerate=True)


def program_external_connectivity(
    members: Sequence[EndpointRecord], before: Mapping[str, str], after: Mapping[str, str], newcomer: str = ""
) -> None:
    """Tell drivers that publish ports themselves which endpoint is the default gateway now.

    An endpoint that is no longer elected is told first. `newcomer`: an endpoint that is told in any case.
    """
    for member in sorted(members, key=lambda member: member.id in after.values()):
        driver = drivers.get(member.driver)
        was, now = _part(member.id, before), _part(member.id, after)
        if not driver.external_connectivity or (was == now and member.id != newcomer):
            continue
        if member.ports or any(now[:2]):
            driver.program(member.options, member.plan, ipv6_elsewhere=now[2])
        elif any(was[:2]):
            driver.revoke(member.options, member.plan)


def _candidate(endpoint: EndpointRecord, versions: frozenset[int]) -> gateway_election.Candidate:
    internal = endpoint.role.internal
    return gateway_election.Candidate(endpoint.id, endpoint.network, versions, endpoint.priority, internal)


def _versions(endpoint: EndpointRecord, stack: Stack, index: int, *, trusted: bool) -> frozenset[int]:
    """IP versions that the endpoint offers a default route for, and has an address of."""
    offered = frozenset(route.dst.version for route in endpoint.default_routes)
    if trusted or not offered:
        return offered
    there = stack.addresses(index) if index else ()
    own = {address.interface for address in endpoint.addresses}
    return offered & {address.version for address in there if address in own}


def _index(endpoint: EndpointRecord, stack: Stack) -> int:
    """Of the endpoint's link if that is there and up, else 0."""
    link = stack.link(endpoint.ifname)
    return link.ifindex if link is not None and link.up else 0


def _offers(endpoint: EndpointRecord, version: int) -> list[Route]:
    return [route for route in endpoint.default_routes if route.dst.version == version]


def _part(endpoint: str, gateways: Mapping[str, str]) -> tuple[bool, bool, bool]:
    """Is it the gateway of IPv4, of IPv6, and is IPv6's gateway another endpoint?"""
    ipv6 = gateways.get("6")
    return gateways.get("4") == endpoint, ipv6 == endpoint, ipv6 not in (None, endpoint)
