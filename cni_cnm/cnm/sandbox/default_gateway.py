"""The default gateway of a sandbox: electing it, moving its default routes, telling drivers that publish ports.

`elected` maps an IP version (4, 6) to an endpoint id; a sandbox's record has the versions as strings.
"""

from __future__ import annotations

from cni_cnm.cnm.interface import configure_interface
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
NO_INDEX: Mapping[str, int] = {}


def elect(members: Sequence[EndpointRecord]) -> dict[int, str]:
    return gateway_election.elect([_candidate(member) for member in members])


def move_default_routes(
    members: Sequence[EndpointRecord],
    before: Mapping[str, str],
    elected: Mapping[int, str],
    stack: Stack,
    indexes: Mapping[str, int] = NO_INDEX,
) -> None:
    """Replace the default routes of the sandbox where the election changed. `before`: as recorded.

    `indexes`: the link index of an endpoint, where the caller knows it.
    """
    by_id = {member.id: member for member in members}
    for version in (4, 6):
        old, new = before.get(str(version)), elected.get(version)
        if old == new:
            continue
        if old is not None and old in by_id:
            loser = by_id[old]
            configure_interface.remove_default(stack, loser.ifname, _default(loser, version), loser.addresses)
        if new is not None:
            winner = by_id[new]
            route = _default(winner, version)
            configure_interface.add_default(stack, winner.ifname, route, winner.addresses, indexes.get(new, 0))


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


def _candidate(endpoint: EndpointRecord) -> gateway_election.Candidate:
    families = frozenset(route.dst.version for route in endpoint.default_routes)
    internal = endpoint.role.internal
    return gateway_election.Candidate(endpoint.id, endpoint.network, families, endpoint.priority, internal)


def _default(endpoint: EndpointRecord, version: int) -> Route:
    return next(route for route in endpoint.default_routes if route.dst.version == version)


def _part(endpoint: str, gateways: Mapping[str, str]) -> tuple[bool, bool, bool]:
    """Is it the gateway of IPv4, of IPv6, and is IPv6's gateway another endpoint?"""
    ipv6 = gateways.get("6")
    return gateways.get("4") == endpoint, ipv6 == endpoint, ipv6 not in (None, endpoint)
