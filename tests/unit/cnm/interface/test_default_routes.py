"""Routes of an endpoint: what IPAM gives, what a plugin gives beside it, and which of them can be the default route."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network

from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.cnm.interface import default_routes
from cni_cnm.cnm.interface.interface_routes import entries
from cni_cnm.drivers import Role
from cni_cnm.model import ON_LINK, Address, Lease, Route

DEFAULTS = [ip_network("0.0.0.0/0"), ip_network("::/0")]
WAYS = {4: ip_address("10.0.0.1"), 6: ip_address("fd00::1")}


@st.composite
def routes(draw: st.DrawFn) -> Route:
    dst = draw(st.sampled_from([*DEFAULTS, ip_network("10.9.0.0/16"), ip_network("fd09::/16")]))
    gateways = st.ip_addresses(v=dst.version)
    return Route(
        dst, draw(st.none() | gateways), priority=draw(st.none() | st.integers(0, 3)),
        table=draw(st.sampled_from([None, 0, 254, 100])), scope=draw(st.sampled_from([None, ON_LINK])),
    )  # fmt: skip


addresses = st.lists(
    st.sampled_from(
        [Address(ip_interface("10.0.0.5/24"), WAYS[4]), Address(ip_interface("fd00::5/64"), WAYS[6]),
         Address(ip_interface("10.0.1.5/24"))]
    ),
    max_size=3,
)  # fmt: skip
leases = st.builds(Lease, addresses.map(tuple), st.lists(routes(), max_size=4).map(tuple))
roles = st.builds(Role, default_route=st.booleans(), gateway=st.sampled_from(["ipam", "none"]))


@given(leases, leases, roles)
def test_what_a_driver_gives_beside_the_lease(own: Lease, more: Lease, role: Role) -> None:
    """All routes of both, except for default routes of the lease that the driver replaces."""
    found = default_routes.combine(own, more)
    assert found.addresses == own.addresses + more.addresses
    ways = {route.dst for route in more.routes if default_routes.is_default_route(route)}
    kept = tuple(route for route in own.routes if not (default_routes.is_default_route(route) and route.dst in ways))
    assert found.routes == more.routes + kept
    _, offers = default_routes.default_routes(found, role)
    for offer in offers:
        if offer.dst in ways:
            assert offer.dst in {route.dst for route in more.routes}


@given(leases, roles)
def test_offers(lease: Lease, role: Role) -> None:
    """Each among the routes, and once; asked again, the same; none for a metric or a table of its own."""
    found, offers = default_routes.default_routes(lease, role)
    assert len(set(offers)) == len(offers)
    assert set(offers) <= set(found)
    assert all(default_routes.is_default_route(offer) for offer in offers)
    assert default_routes.default_routes(lease._replace(routes=found), role) == (found, offers)


@given(leases)
def test_a_route_on_the_link_has_no_gateway(lease: Lease) -> None:
    """Whatever gateways the addresses have; any other one has its own or that of its family."""
    for route in lease.routes:
        (found,) = entries([route, route], 7, lease.addresses)
        via = found.gw
        known = [a.gateway for a in lease.addresses if a.gateway and a.gateway.version == route.dst.version]
        assert via == (route.gw or (known[0] if known and route.scope != ON_LINK else None))
