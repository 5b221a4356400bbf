"""Source-based routing: what an interface's addresses send leaves by it, with the keys of the reference `sbr` plugin.

    ip rule      from 10.1.0.5 lookup 100
    table 100    default via 10.1.0.1 dev net1, 10.1.0.0/24 dev net1

Each address has a rule and a table. The interface's routes are moved there from the main table, so that a container
with several interfaces answers by the one that was asked. Routes to link-local addresses stay in the main table, too.
With a `table` of the configuration, the rules alone are added: its routes are of another program.
"""

from __future__ import annotations

import errno
from itertools import count

from cni_cnm.cnm.interface.default_routes import is_default_route
from cni_cnm.cnm.interface.interface_routes import entries
from cni_cnm.errors import CheckFailed, DriverFailed, InvalidConfig, KernelError
from cni_cnm.fields import Fields
from cni_cnm.kernel import RouteEntry, RoutingRule
from cni_cnm.kernel.contract.route import completed
from cni_cnm.model import SourceRouting, ip_network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cni_cnm.kernel import Stack
    from cni_cnm.model import Address, Json, Route

FIRST_TABLE = 100
"""Tables are chosen from here on, as by the reference."""
_TABLE_MAX = 0xFFFFFFFF
_DEFAULT = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}


def parse(block: Mapping[str, Json] | None, prefix: str = "sbr.") -> SourceRouting | None:
    """What `block` asks for; None without one. InvalidConfig for a table that cannot be."""
    if block is None:
        return None
    return SourceRouting(Fields(block, prefix, words=True).whole("table", 0, 0, _TABLE_MAX))


def choose_tables(stack: Stack, ifname: str, addresses: Sequence[Address], wanted: SourceRouting) -> SourceRouting:
    """With a table for each address, which no rule leads to and no route is in. Changes nothing.

    InvalidConfig for an interface without addresses.
    """
    if not addresses:
        raise InvalidConfig(
            f"{ifname} has no addresses, so there is no source to route by", hint="give the network an ipam"
        )
    if wanted.table:
        return wanted._replace(tables=(wanted.table,) * len(addresses))
    taken = {rule.table for rule in stack.rules()}
    free = (table for table in count(FIRST_TABLE) if table not in taken and not stack.routes(table=table))
    return wanted._replace(tables=tuple(next(free) for _ in addresses))


def apply(
    stack: Stack, ifname: str, addresses: Sequence[Address], wanted: SourceRouting, routes: Sequence[Route]
) -> None:
    """Add the rules, and move the interface's routes. `routes`: those of its lease, of which the main table may lack
    the default ones. `remove` undoes it.
    """
    index = _index(stack, ifname)
    if not index:
        raise DriverFailed(f"the container's interface {ifname} vanished while it was being set up")
    present = stack.routes(link=index)
    defaults = entries([route for route in routes if is_default_route(route)], index, addresses)
    for address, table in zip(addresses, wanted.tables, strict=True):
        stack.add_rule(_rule(address, table))
        for route in _of_table(address, index, present, defaults) if not wanted.table else ():
            _unless(errno.EEXIST, stack.add_route, route._replace(table=table))
    for route in sorted(present, key=_through_gateway, reverse=True) if not wanted.table else ():
        if not route.dst.is_link_local:
            _unless(errno.ESRCH, stack.delete_route, route)


def remove(
    stack: Stack, ifname: str, addresses: Sequence[Address], wanted: SourceRouting, routes: Sequence[Route]
) -> None:
    """Delete the rules, and move the routes back if the interface is there. No error if absent."""
    pairs = list(zip(addresses, wanted.tables, strict=False))
    own = [_rule(address, table) for address, table in pairs]
    for rule in stack.rules():
        if rule in own:
            _unless(errno.ENOENT, stack.delete_rule, rule)
    index = _index(stack, ifname)
    if not index or wanted.table:
        return
    listed = {route.dst for route in routes}
    for address, table in pairs:
        present = stack.routes(link=index, table=table, versions=(address.interface.version,))
        for route in sorted(present, key=_through_gateway):
            if route.dst.prefixlen or route.dst in listed:
                _unless(errno.EEXIST, stack.add_route, route._replace(table=None))
        for route in sorted(present, key=_through_gateway, reverse=True):
            _unless(errno.ESRCH, stack.delete_route, route)


def check(stack: Stack, addresses: Sequence[Address], wanted: SourceRouting) -> None:
    """CheckFailed naming the first rule or default route that is missing."""
    present = stack.rules()
    for address, table in zip(addresses, wanted.tables, strict=False):
        ip = address.interface.ip
        if _rule(address, table) not in present:
            raise CheckFailed(f"the rule for packets from {ip} to use the table {table} is missing")
        if wanted.table or address.gateway is None:
            continue
        routes = stack.routes(table=table, versions=(ip.version,))
        if not any(route.dst.prefixlen == 0 for route in routes):
            raise CheckFailed(f"the table {table}, for packets from {ip}, has no default route")


def _of_table(
    address: Address, index: int, present: Sequence[RouteEntry], defaults: Sequence[RouteEntry]
) -> list[RouteEntry]:
    """The routes of an address's table, those to neighbours first. One of the main table replaces an equal one."""
    subnet = address.interface.network
    version = subnet.version
    found: dict[object, RouteEntry] = {}
    if address.gateway is not None:
        default = RouteEntry(_DEFAULT[version], address.gateway, index)
        found[_identity(default)] = default
    for route in (*defaults, *present):
        gateways = [gateway for gateway in (route.gw, *route.also_via) if gateway is not None]
        known = [one for one in (route.src, *gateways) if one is not None]
        if route.dst.version == version and (not known or any(one in subnet for one in known)):
            found[_identity(route)] = route
    return sorted(found.values(), key=_through_gateway)


def _identity(route: RouteEntry) -> tuple[object, ...]:
    return route.dst, completed(route).priority


def _through_gateway(route: RouteEntry) -> bool:
    return route.gw is not None


def _rule(address: Address, table: int) -> RoutingRule:
    source = ip_network(address.interface.ip)
    return RoutingRule(table, source, source.version)


def _index(stack: Stack, ifname: str) -> int:
    link = stack.link(ifname)
    return link.ifindex if link is not None else 0


def _unless(number: int, step: Callable[..., None], argument: RouteEntry | RoutingRule) -> None:
    try:
        step(argument)
    except KernelError as error:
        if error.errno != number:
            raise
