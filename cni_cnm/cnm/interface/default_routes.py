"""An endpoint's routes from its lease: its gateways, and the default routes that it offers its sandbox."""

from __future__ import annotations

from cni_cnm.model import ON_LINK, Lease, Route, ip_network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.drivers import Role
    from cni_cnm.model import Address, IPAddress


def default_routes(lease: Lease, role: Role) -> tuple[tuple[Route, ...], tuple[Route, ...]]:
    """All routes of an endpoint, and those of them that it offers as its sandbox's default route.

    A configured default route without a gateway gets the network's gateway. (The reference adds a second default route
    and fails with "file exists".) Those by several gateways are all offered. One with a metric, or in another table, is
    not: several endpoints of a sandbox can have such a route.
    """
    routes: list[Route] = []
    offers: dict[int, list[Route]] = {4: [], 6: []}
    for route in lease.routes:
        if is_default_route(route):
            offered = offers[route.dst.version]
            if route.scope != ON_LINK:
                route = route._replace(gw=route.gw or _gateway(lease, route.dst.version))
            if route in offered:
                continue
            offered.append(route)
        routes.append(route)
    for version, default in ((4, "0.0.0.0/0"), (6, "::/0")):
        gateway = _gateway(lease, version)
        reached = gateway is not None
        if role.gateway == "none":
            reached = any(a.interface.version == version for a in lease.addresses)
        if role.default_route and reached and not offers[version]:
            if role.metric:
                routes.append(Route(ip_network(default), gateway, priority=role.metric))
                continue
            offers[version].append(Route(ip_network(default), gateway))
            routes += offers[version]
    return tuple(routes), (*offers[4], *offers[6])


def combine(lease: Lease, more: Lease) -> Lease:
    """A lease with what the driver gives in addition. The driver's default route replaces the lease's."""
    replaced = {route.dst for route in more.routes if is_default_route(route)}
    kept = (route for route in lease.routes if not (is_default_route(route) and route.dst in replaced))
    return Lease((*lease.addresses, *more.addresses), (*more.routes, *kept), lease.dns)


def is_default_route(route: Route) -> bool:
    """A default route without metric in the main table: only one endpoint of a sandbox can have it."""
    return route.dst.prefixlen == 0 and not route.priority and not route.kind and route.table in (None, 0, 254)


def _gateway(lease: Lease, version: int) -> IPAddress | None:
    return next((a.gateway for a in lease.addresses if a.gateway and a.gateway.version == version), None)


def with_gateway(address: Address, role: Role) -> Address:
    """The reference's rule: if the driver has the gateway and the IPAM names none, it is the subnet's first address."""
    if role.gateway == "none":
        return address._replace(gateway=None)
    if role.gateway not in ("driver", "router") or address.gateway is not None:
        return address
    return address._replace(gateway=address.interface.network.network_address + 1)
