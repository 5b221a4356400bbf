"""What the kernel makes of the fields of a route that are not given."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.kernel import RouteEntry
    from cni_cnm.model import IPAddress, IPNetwork

MAIN = 254
"""The table that None stands for."""
UNIVERSE, LINK = 0, 253
IP6_PRIORITY = 1024
"""Of an IPv6 route without one (IP6_RT_PRIO_USER)."""


def implied_scope(dst: IPNetwork, gw: IPAddress | None) -> int:
    """What scope None stands for. IPv6 knows only the universe."""
    return UNIVERSE if gw is not None or dst.version == 6 else LINK


def completed(route: RouteEntry) -> RouteEntry:
    """A route as it reads back: what the kernel fills in is there, what is the default is None."""
    six = route.dst.version == 6
    return route._replace(
        priority=route.priority or (IP6_PRIORITY if six else None),
        table=None if route.table in (None, 0, MAIN) else route.table,
        scope=None if six or route.scope == implied_scope(route.dst, route.gw) else route.scope,
        mtu=route.mtu or None,
        advmss=route.advmss or None,
    )
