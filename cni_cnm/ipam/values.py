"""Values several IPAMs share: addresses, routes, DNS. Keys are lower-cased; InvalidConfig names the key."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_interface

from cni_cnm.errors import InvalidConfig
from cni_cnm.model import Dns, Route

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.model import IPAddress, IPInterface, IPNetwork, Json

ROUTE_NUMBERS = ("mtu", "advmss", "priority", "table", "scope")


def address(raw: Json, what: str) -> IPAddress:
    """An IP address; an IPv4 one written as `::ffff:a.b.c.d` is that IPv4 address, as everywhere in CNI."""
    try:
        found = ip_address(text(raw, what))
    except ValueError:
        raise InvalidConfig(f"{what} is {raw!r}, which is no IP address") from None
    return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found


def interface(raw: Json, what: str) -> IPInterface:
    """An address with its prefix length, `10.1.2.3/24`: the prefix is required."""
    found = _cidr(raw, what)
    if found is None:
        raise InvalidConfig(f"{what} is {raw!r}, it must be an address with a prefix length, as 10.1.2.3/24")
    return found


def network(raw: Json, what: str) -> IPNetwork:
    """A network in CIDR notation, without host bits."""
    found = _cidr(raw, what)
    if found is None:
        raise InvalidConfig(f"{what} is {raw!r}, which is no network in CIDR notation")
    if found.ip != found.network.network_address:
        raise InvalidConfig(f"{what} is {raw!r}, which has host bits set", hint=f"did you mean {found.network}?")
    return found.network


def _cidr(raw: Json, what: str) -> IPInterface | None:
    prefix = text(raw, what).partition("/")[2]
    try:
        # Python would take a netmask or a missing prefix as well; CNI does not.
        return ip_interface(raw) if prefix.isascii() and prefix.isdigit() else None
    except ValueError:
        return None


def text(raw: Json, what: str) -> str:
    if not isinstance(raw, str):
        raise InvalidConfig(f"{what} is {raw!r}, it must be a string")
    return raw


def items(raw: Json, what: str) -> list[Json]:
    """A list; absent and null count as empty."""
    if raw is None:
        return []
    if not isinstance(raw, list | tuple):
        raise InvalidConfig(f"{what} is {raw!r}, it must be a list")
    return list(raw)


def mapping(raw: Json, what: str) -> Mapping[str, Json]:
    if not isinstance(raw, dict):
        raise InvalidConfig(f"{what} is {raw!r}, it must be an object")
    return raw


def routes(raw: Json, what: str = "ipam.routes") -> tuple[Route, ...]:
    return tuple(_route(mapping(item, f"{what}[{n}]"), f"{what}[{n}]") for n, item in enumerate(items(raw, what)))


def _route(raw: Mapping[str, Json], what: str) -> Route:
    dst = network(raw.get("dst"), f"{what}.dst")
    gw = address(raw["gw"], f"{what}.gw") if raw.get("gw") else None
    if gw is not None and gw.version != dst.version:
        raise InvalidConfig(f"{what} leads to {dst} by {gw}, which is of the other IP version")
    numbers = {}
    for key in ROUTE_NUMBERS:
        value = raw.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32:
            raise InvalidConfig(f"{what}.{key} is {value!r}, it must be a whole number")
        numbers[key] = value
    return Route(dst, gw, **numbers)


def dns(raw: Json, what: str = "ipam.dns") -> Dns:
    if raw is None:
        return Dns()
    given = mapping(raw, what)

    def texts(key: str) -> tuple[str, ...]:
        return tuple(text(item, f"{what}.{key}") for item in items(given.get(key), f"{what}.{key}"))

    domain = given.get("domain")
    return Dns(
        texts("nameservers"),
        text(domain, f"{what}.domain") if domain else "",
        texts("search"),
        texts("options"),
    )


def resolv_conf(path: str) -> Dns:
    """resolv.conf(5), as host-local reads it: several `search` lines add up. InvalidConfig if unreadable."""
    fields: dict[str, list[str]] = {"nameserver": [], "domain": [], "search": [], "options": []}
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                words = line.split()
                if len(words) < 2 or words[0][0] in "#;" or words[0] not in fields:
                    continue
                fields[words[0]] += words[1:2] if words[0] in ("nameserver", "domain") else words[1:]
    except OSError as error:
        raise InvalidConfig(f"ipam.resolvConf {path} cannot be read: {error.strerror}") from error
    return Dns(
        tuple(fields["nameserver"]),
        "".join(fields["domain"][-1:]),
        tuple(fields["search"]),
        tuple(fields["options"]),
    )
