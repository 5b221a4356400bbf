"""The routes of a container's interface, in a namespace where another plugin may have routes already.

What another plugin made stays, and stays in use: ours is behind it. Several gateways of one destination are the next
hops of one route. A default route is only added where there is none.
"""

from __future__ import annotations

import errno

from cni_cnm.errors import CheckFailed, KernelError
from cni_cnm.kernel import RouteEntry
from cni_cnm.model import ON_LINK, ip_network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cni_cnm.drivers import Role
    from cni_cnm.kernel import Stack
    from cni_cnm.model import Address, IPNetwork, Route

_IP6_PRIORITY = 1024
"""The metric of an IPv6 route that is added without one (IP6_RT_PRIO_USER)."""
_PRIORITIES = 100
"""How many metrics are tried for an IPv6 route behind others."""


def entries(routes: Sequence[Route], index: int, addresses: Sequence[Address]) -> list[RouteEntry]:
    """The kernel's routes by the link `index`: equal ones are one, several gateways are next hops of one."""
    found: dict[object, RouteEntry] = {}
    for route in routes:
        one = _entry(route, index, addresses)
        key = one.dst, one.priority or 0, one.table or 0, one.gw is None, one.kind
        other = found.setdefault(key, one)
        if one.gw is not None and one.gw not in (other.gw, *other.also_via):
            found[key] = other._replace(also_via=(*other.also_via, one.gw))
    return list(found.values())


def to_gateways(addresses: Sequence[Address], role: Role, index: int) -> list[RouteEntry]:
    """Where the gateway is a router: the way to it, and through it to each address's subnet."""
    found: dict[IPNetwork, RouteEntry] = {}
    for interface, gateway in addresses if role.gateway == "router" else ():
        if gateway is not None:
            alone = ip_network(gateway)
            found.setdefault(alone, RouteEntry(alone, link=index, scope=ON_LINK, src=interface.ip))
            found.setdefault(interface.network, RouteEntry(interface.network, gateway, index, src=interface.ip))
    return list(found.values())


def add_behind(stack: Stack, wanted: Sequence[RouteEntry]) -> None:
    """Add routes of which some exist: those behind the ones of other plugins. No error for an equal one."""
    for route in wanted:
        present = stack.routes(link=route.link, table=route.table)
        if not any((one.dst, one.gw, one.also_via) == (route.dst, route.gw, route.also_via) for one in present):
            _add_behind(stack, route)


def add_default(stack: Stack, routes: Sequence[Route], index: int, addresses: Sequence[Address]) -> bool:
    """Add an interface's default routes of one IP version. False if there is one already, which stays."""
    try:
        for one in entries(routes, index, addresses):
            stack.add_route(one)
    except KernelError as error:
        if error.errno != errno.EEXIST:
            raise
        return False
    return True


def remove_default(stack: Stack, routes: Sequence[Route], index: int, addresses: Sequence[Address]) -> None:
    """No error if absent: the kernel removes them with the link, or when it goes down."""
    for one in entries(routes, index, addresses):
        try:
            stack.delete_route(one)
        except KernelError as error:
            if error.errno != errno.ESRCH:
                raise


def remove_dropping(stack: Stack, routes: Sequence[Route]) -> None:
    """Remove those that drop packets: they have no link to go with. No error if absent."""
    for route in routes:
        if route.kind:
            entry = _entry(route, 0, ())
            if entry.dst.version == 6:  # without a metric the kernel deletes any route to there, of whatever type
                entry = entry._replace(priority=entry.priority or _IP6_PRIORITY)
            try:
                stack.delete_route(entry)
            except KernelError as error:
                if error.errno != errno.ESRCH:
                    raise


def default_versions(stack: Stack, versions: Collection[int], excluding: Sequence[int]) -> set[int]:
    """Those of `versions` that have a default route, whatever its metric, by a link that is not `excluding`."""
    there = stack.routes(versions=versions)
    return {one.dst.version for one in there if one.dst.prefixlen == 0 and one.link not in excluding}


def check(stack: Stack, wanted: Sequence[RouteEntry]) -> None:
    """CheckFailed naming the first route that is missing. One that was added behind another has another metric."""
    for route in wanted:
        table = stack.routes(table=route.table, kind=route.kind)
        for gateway in (route.gw, *route.also_via):
            one = route._replace(gw=gateway, also_via=())
            if not any(there.dst == one.dst and _leads(there, one) and _ranks(there, one) for there in table):
                raise CheckFailed(f"the route to {one.dst}{f' via {gateway}' if gateway else ''} is missing")


def check_anywhere(stack: Stack, routes: Sequence[Route]) -> None:
    """CheckFailed naming the first route that is missing, by whatever interface it leads."""
    for route in routes:
        table = stack.routes(table=route.table)
        if not any(one.dst == route.dst and route.gw in (None, one.gw, *one.also_via) for one in table):
            raise CheckFailed(f"the route to {route.dst}{f' via {route.gw}' if route.gw else ''} is missing")


def _entry(route: Route, index: int, addresses: Sequence[Address]) -> RouteEntry:
    """A route without gateway goes via the first gateway of its family (CNI convention), else on the link."""
    if route.kind:
        return RouteEntry(route.dst, priority=route.priority, table=route.table, kind=route.kind)
    version = route.dst.version
    via = route.gw
    if via is None and route.scope != ON_LINK:
        via = next((a.gateway for a in addresses if a.gateway and a.gateway.version == version), None)
    return RouteEntry(
        dst=route.dst,
        gw=via,
        link=index,
        mtu=route.mtu,
        advmss=route.advmss,
        priority=route.priority,
        table=route.table,
        scope=route.scope,
    )


def _add_behind(stack: Stack, route: RouteEntry) -> None:
    if route.dst.version == 4:
        stack.add_route(route, append=True)
        return
    # IPv6 would make a next hop of it, and share the load with the other plugin's.
    first = route.priority or _IP6_PRIORITY
    for priority in range(first, first + _PRIORITIES):
        try:
            stack.add_route(route._replace(priority=priority))
            return
        except KernelError as error:
            if error.errno != errno.EEXIST or priority == first + _PRIORITIES - 1:
                raise


def _leads(there: RouteEntry, wanted: RouteEntry) -> bool:
    if wanted.gw is None:
        return there.gw is None and there.link == wanted.link
    return wanted.gw in (there.gw, *there.also_via)


def _ranks(there: RouteEntry, wanted: RouteEntry) -> bool:
    if wanted.priority is None and wanted.dst.version == 6:
        return True
    found, first = there.priority or 0, wanted.priority or _IP6_PRIORITY
    return found == (wanted.priority or 0) or (wanted.dst.version == 6 and first <= found < first + _PRIORITIES)
