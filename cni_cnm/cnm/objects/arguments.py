"""What a program gives the library, as values of the model: text and dicts where a value has an obvious form as such.

Everything else is InvalidConfig, before anything is touched. Limits and rules are those of a CNI configuration.
"""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from cni_cnm import spelling, validate
from cni_cnm.cnm.interface import shaping
from cni_cnm.cnm.interface import tuning as tunings
from cni_cnm.drivers import drivers
from cni_cnm.errors import InvalidConfig, shown
from cni_cnm.fields import lowered
from cni_cnm.firewall.portmap_options import parse_mappings
from cni_cnm.model import Bandwidth, NameService, PortMapping, Tuning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.model import IPAddress, IPInterface, Json

NAME_MAX = 255
_ADDRESSES = IPv4Address, IPv6Address
_WITH_TEXT = *_ADDRESSES, IPv4Network, IPv6Network
"""Interfaces are addresses, too."""
OTHER_OPTIONS = frozenset(("profile", "labels", "ingresspolicy", "firewalldzone", "iptablesadminchainname"))
"""What is read of every driver's options."""
_PORT = re.compile(
    r"(?:(?P<ip>\[[^\]]*\]|[^:]*):)?(?P<host>\d{1,5})(?:-(?P<host_last>\d{1,5}))?"
    r":(?P<container>\d{1,5})(?:-(?P<container_last>\d{1,5}))?(?:/(?P<protocol>\w+))?",
    re.ASCII,
)
_PORT_FORM = "HOST:CONTAINER with an address before and /udp behind where wanted, such as '8080:80' or '[::]:53:53/udp'"
_ROUTE = re.compile(r"(?P<dst>\S+)(?: via (?P<gw>\S+))?")


def require_printable(given: object, what: str, *, barred: str = "") -> str:
    """A name that people and a line of a file can have: 1 to 255 printable characters."""
    found = validate.require(str, given, what)
    if not found or len(found) > NAME_MAX or not found.isprintable() or any(one in barred for one in found):
        without = f" and no {barred!r}" if barred else ""
        raise InvalidConfig(f"{what} is {shown(found)}, it must have 1 to {NAME_MAX} printable characters{without}")
    return found


def flag(given: object, what: str) -> bool:
    if not isinstance(given, bool):
        raise InvalidConfig(f"{what} is {shown(given)}, it must be True or False")
    return given


def path(given: object, what: str) -> str:
    """A string, or an object that stands for a path (os.PathLike)."""
    found = os.fspath(given) if isinstance(given, os.PathLike) else given
    if not isinstance(found, str) or not found or not found.isprintable():
        raise InvalidConfig(f"{what} is {shown(given)}, it must be a path, such as '/run/netns/red'")
    return found


def mac(given: object) -> str:
    """As lower-case pairs with colons; "" for none."""
    return given if given == "" and isinstance(given, str) else validate.require(validate.mac, given, "mac")


def addresses(given: object) -> tuple[IPAddress | IPInterface, ...]:
    return tuple(
        one if isinstance(one, _ADDRESSES) else validate.require(validate.address_or_interface, one, f"addresses[{at}]")
        for at, one in enumerate(_items(given, "addresses"))
    )


def ports(given: object) -> tuple[PortMapping, ...]:
    return parse_mappings([_port(one, f"ports[{at}]") for at, one in enumerate(_items(given, "ports"))])


def aliases(given: object) -> tuple[str, ...]:
    from cni_cnm.names import labels

    found = tuple(require_printable(one, f"aliases[{at}]") for at, one in enumerate(_items(given, "aliases")))
    for at, alias in enumerate(found):
        if not labels.is_name(alias.lower()):
            raise InvalidConfig(f"aliases[{at}] is {shown(alias)}, it must be labels of letters, digits, '-' and '_'")
    return found


def names(network: str, enabled: object, servers: object) -> NameService | None:
    """The domain is the network's own."""
    from cni_cnm.names import labels

    found = [
        validate.require(validate.address, one, f"dns_servers[{at}]")
        for at, one in enumerate(_items(servers, "dns_servers"))
    ]
    if not flag(enabled, "dns"):
        if found:
            raise InvalidConfig("dns_servers is given, and dns is not", hint="set dns to True")
        return None
    return NameService(labels.domain_of(network), tuple(map(str, found)))


def bandwidth(given: object) -> Bandwidth | None:
    """Keys as in CNI (`ingressRate`) or as in the value (`ingress_rate`)."""
    if given is None:
        return None
    return shaping.parse(_known(_mapping(given, Bandwidth, "bandwidth"), Bandwidth._fields, "bandwidth"), None)


def tuning(given: object) -> Tuning | None:
    """Keys as in CNI, where `sysctl` is an object, or as in the value, where `sysctls` is one or pairs."""
    if given is None:
        return None
    found = _known(_mapping(given, Tuning, "tuning"), (*Tuning._fields, "sysctl"), "tuning")
    pairs = found.pop("sysctls", None)
    if pairs is not None:
        try:
            found["sysctl"] = {**dict(pairs), **found.get("sysctl", {})}
        except (TypeError, ValueError):
            raise InvalidConfig(
                f"tuning.sysctls is {shown(pairs)}, it must be a dict or pairs of a key and a value"
            ) from None
    return tunings.parse(_plain(found, "tuning"), None, "IFNAME")


def labels(given: object) -> dict[str, str]:
    found = _mapping({} if given is None else given, None, "labels")
    return {
        validate.require(str, key, "a label"): validate.require(str, value, f"the label {key}")
        for key, value in found.items()
    }


def driver_options(driver: str, given: object) -> dict[str, Json]:
    """The keys that the driver reads, in lower case. InvalidConfig for another one, which would do nothing."""
    found = _document(given, "options")
    for label, value in _mapping(found.get("labels", {}), None, "options.labels").items():
        if not isinstance(value, str | bool | int):
            raise InvalidConfig(f"options.labels.{label} is {shown(value)}, it must be text, a number, true or false")
    known = drivers.get(driver).configuration.keys
    unknown = set() if known is None else found.keys() - known - OTHER_OPTIONS
    if unknown:
        raise InvalidConfig(
            f"options has {', '.join(map(shown, sorted(unknown)))}, which the driver {driver} does not read",
            hint=f"known: {', '.join(sorted((known or frozenset()) | OTHER_OPTIONS))}",
        )
    return found


def ipam_config(given: object) -> dict[str, Json]:
    """A route may be text, such as '10.9.0.0/16 via 172.30.0.9'."""
    found = _document(given, "ipam_config")
    if "ranges" in found:
        # ipam/ranges.py has keys of its own, with capitals, that no caller may give.
        found["ranges"] = lowered(found["ranges"], "ipam_config.ranges")
    routes = found.get("routes")
    if isinstance(routes, list):
        found["routes"] = [_route(one) if isinstance(one, str) else one for one in routes]
    return found


def _document(given: object, what: str) -> dict[str, Json]:
    """An object as JSON has it, with its own keys in lower case. Addresses, networks and paths may be values."""
    found = _plain({} if given is None else given, what)
    if not isinstance(found, dict):
        raise InvalidConfig(f"{what} is {shown(given)}, it must be a dict")
    return {key.lower(): value for key, value in found.items()}


def _route(given: str) -> dict[str, Json]:
    match = _ROUTE.fullmatch(given.strip())
    if match is None:
        raise InvalidConfig(f"a route is {shown(given)}, it must be such as '10.9.0.0/16 via 172.30.0.9'")
    return {key: value for key, value in match.groupdict().items() if value is not None}


def _port(given: object, what: str) -> dict[str, Json]:
    if isinstance(given, PortMapping):
        where = str(given.host_ip) if given.host_ip is not None else ""
        return {
            "protocol": given.protocol, "hostport": given.host_port, "containerport": given.container_port,
            "hostip": where, "range": given.size,
        }  # fmt: skip
    if isinstance(given, dict):
        return dict(_plain(given, what))
    match = _PORT.fullmatch(given) if isinstance(given, str) else None
    if match is None:
        raise InvalidConfig(f"{what} is {shown(given)}, it must be {_PORT_FORM}")
    host, container = int(match["host"]), int(match["container"])
    size = int(match["host_last"] or host) - host + 1
    if size != int(match["container_last"] or container) - container + 1:
        raise InvalidConfig(f"{what} is {shown(given)}, its two ranges must have as many ports")
    return {
        "protocol": match["protocol"], "hostport": host, "containerport": container,
        "hostip": (match["ip"] or "").strip("[]"), "range": size,
    }  # fmt: skip


def _items(given: object, what: str) -> Sequence[object]:
    """A list, a tuple or another collection; not text, and not a value that happens to be a tuple."""
    if isinstance(given, list | tuple | set | frozenset) and not hasattr(given, "_fields"):
        return tuple(given)
    raise InvalidConfig(f"{what} is {shown(given)}, it must be a list")


def _mapping(given: object, kind: type[Bandwidth | Tuning] | None, what: str) -> Mapping[Json, Json]:
    if kind is not None and isinstance(given, kind):
        return given._asdict()
    if not isinstance(given, dict):
        name = f"a dict or a {kind.__name__}" if kind is not None else "a dict"
        raise InvalidConfig(f"{what} is {shown(given)}, it must be {name}")
    return given


def _known(given: Mapping[Json, Json], fields: Sequence[str], what: str) -> dict[str, Json]:
    """Without underscores, as the parsers of CNI's keys have them. An unknown key is refused: it would do nothing."""
    known = {field.replace("_", "") for field in fields}
    found = {}
    for key, value in given.items():
        plain = key.replace("_", "").lower() if isinstance(key, str) else ""
        if plain not in known:
            raise InvalidConfig(f"{what} has the unknown key {shown(key)}", hint=spelling.hint(str(key), fields))
        found[plain] = value
    return found


def _plain(given: object, what: str) -> Json:
    """JSON's own kinds of values; what stands for text (an address, a network, a path) becomes that."""
    if given is None or isinstance(given, str | bool | int):
        return given
    if isinstance(given, _WITH_TEXT):
        return str(given)
    if isinstance(given, os.PathLike):
        return os.fspath(given)
    if isinstance(given, list | tuple):
        return [_plain(one, f"{what}[{at}]") for at, one in enumerate(given)]
    if isinstance(given, dict):
        for key in given:
            if not isinstance(key, str):
                raise InvalidConfig(f"{what} has the key {shown(key)}, it must be a string")
        return {key: _plain(value, f"{what}.{key}") for key, value in given.items()}
    raise InvalidConfig(f"{what} is {shown(given)}, which JSON has no form for")
