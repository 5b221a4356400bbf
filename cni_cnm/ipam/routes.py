"""The routes of an ipam object or of a CNI result."""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.errors import InvalidConfig
from cni_cnm.model import Route

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.fields import Fields

_NUMBERS = ("mtu", "advmss", "priority", "table", "scope")
_NUMBER_MAX = 2**32 - 1
_TYPES = ("", "unicast", "blackhole", "unreachable", "prohibit")


def read(fields: Fields) -> tuple[Route, ...]:
    """`routes`: [{dst, gw, mtu, advmss, priority, table, scope, type}]. InvalidConfig names the key that is wrong.

    `type` is one of netavark's: `unicast`, `blackhole`, `unreachable` or `prohibit`.

    Host bits of `dst` are dropped: the kernel drops an IPv6 route's, and configurations in the field have them.
    """
    return tuple(map(_route, fields.objects("routes")))


def _route(fields: Fields) -> Route:
    dst, gateway = fields.required("dst", validate.network_of), fields.address("gw")
    if gateway is not None and gateway.version != dst.version:
        raise fields.wrong("gw", f"an IPv{dst.version} address, as dst is {dst}")
    numbers = {key: fields.whole(key, 0, 0, _NUMBER_MAX) for key in _NUMBERS if key in fields}
    kind = fields.text("type")
    if kind not in _TYPES:
        raise fields.wrong("type", f"one of {', '.join(filter(None, _TYPES))}")
    if kind in _TYPES[2:] and gateway is not None:
        raise InvalidConfig(f"{fields.name('gw')} is {gateway}, and a route of the type {kind} has no gateway")
    return Route(dst, gateway, **numbers, kind=kind if kind in _TYPES[2:] else None)
