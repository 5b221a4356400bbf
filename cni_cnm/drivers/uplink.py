"""The host's way out: the link of its preferred default route."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.kernel import Link, Stack


def uplink(stack: Stack) -> Link | None:
    """The link of the default route of the lowest metric, IPv4 before IPv6; None where there is no default route."""
    ways = [route for route in stack.routes() if route.dst.prefixlen == 0 and route.link]
    if not ways:
        return None
    return stack.link_at(min(ways, key=lambda route: (route.dst.version, route.priority or 0)).link)
