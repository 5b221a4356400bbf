"""Routes, what the kernel fills in where a field is not given, and the rules that lead to tables of routes."""

from __future__ import annotations

from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.model import IPAddress, IPNetwork

MAIN = 254
"""The table that None stands for (RT_TABLE_MAIN)."""
UNIVERSE, LINK = 0, 253
"""RT_SCOPE_UNIVERSE, RT_SCOPE_LINK."""
IP6_PRIORITY = 1024
"""Of an IPv6 route without one (IP6_RT_PRIO_USER)."""


BOOT, ADVERTISED = 3, 9
"""RTPROT_BOOT, which None stands for: of `ip route add` and of most programs. RTPROT_RA."""
CLUSTER = 67
"""Our protocol number: of routes and neighbours that lead to other hosts. No other program is known to use it."""


DROPPING = {"blackhole": 6, "unreachable": 7, "prohibit": 8}
"""Types of routes that lead nowhere, with their numbers (RTN_BLACKHOLE …)."""


class RouteEntry(NamedTuple):
    """A route. `dst` is always given (0.0.0.0/0 and ::/0 for default); `link` 0: only a gateway is given."""

    dst: IPNetwork
    gw: IPAddress | None = None
    link: int = 0
    mtu: int | None = None
    advmss: int | None = None
    priority: int | None = None
    table: int | None = None
    scope: int | None = None
    """rtnetlink scope: 0 universe, 253 link. None: universe with a gateway, link without."""
    src: IPAddress | None = None
    also_via: tuple[IPAddress, ...] = ()
    """Further gateways on the same link: next hops that the kernel shares the load between, `gw` being the first."""
    protocol: int | None = None
    """Who made it (rtnetlink protocol): 2 the kernel, 9 a router advertisement. None: `BOOT`."""
    onlink: bool = False
    """The gateway is on the link, though no route says so."""
    kind: str = ""
    """One of `DROPPING`; "": unicast. Such a route drops packets, and has neither link nor gateway."""

    @property
    def advertised(self) -> bool:
        """Whether the host learned it from a router advertisement."""
        return self.protocol == ADVERTISED


class RoutingRule(NamedTuple):
    """Packets from `source` are routed by `table` (ip-rule(8)). Other conditions of a rule are not shown."""

    table: int
    """0: the rule leads to no table."""
    source: IPNetwork | None = None
    """None: from anywhere."""
    version: int = 4
    """IP version, also of a rule without a source."""


def implied_scope(route: RouteEntry) -> int:
    """What scope None stands for. IPv6 has no scope but the universe."""
    return UNIVERSE if route.gw is not None or route.kind or route.dst.version == 6 else LINK


def completed(route: RouteEntry) -> RouteEntry:
    """The route as it reads back: with what the kernel fills in, and None for what is the default."""
    six = route.dst.version == 6
    return route._replace(
        priority=route.priority or (IP6_PRIORITY if six else None),
        table=None if route.table in (None, 0, MAIN) else route.table,
        scope=None if six or route.scope == implied_scope(route) else route.scope,
        mtu=route.mtu or None,
        advmss=route.advmss or None,
        protocol=None if route.protocol in (None, BOOT) else route.protocol,
    )
