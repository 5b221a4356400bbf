"""Keys of a configuration without effect: those that are not read, and sentences about valid ones that are not used.

They are warnings, in the log line of the call, because a misspelled key otherwise has no sign at all.
"""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.cni import conventions, request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TypeAlias

    from cni_cnm.fields import Fields
    from cni_cnm.model import Json

    Shape: TypeAlias = "Mapping[str, Shape] | list[Shape] | None"
    """Keys in lower case with the shape of each value; of a list the shape of its members; None: anything."""


def _keys(*names: str) -> dict[str, Shape]:
    return dict.fromkeys(names)


_RANGE: Shape = _keys("subnet", "rangestart", "rangeend", "gateway")
_ROUTES: Shape = [_keys("dst", "gw", "mtu", "advmss", "priority", "table", "scope")]
_DNS: Shape = _keys("nameservers", "domain", "search", "options")
_BANDWIDTH = _keys("ingressrate", "ingressburst", "egressrate", "egressburst", "shapedsubnets", "unshapedsubnets")
_MAPPING: Shape = _keys("hostport", "containerport", "protocol", "hostip", "range")
_SHAPES: Mapping[str, Shape] = {
    "dns": _DNS,
    "portmap": _keys(
        "backend", "snat", "masqall", "markmasqbit", "externalsetmarkchain", "conditionsv4", "conditionsv6"
    ),
    "firewall": _keys("backend", "ingresspolicy", "firewalldzone", "iptablesadminchainname"),
    "bandwidth": _BANDWIDTH,
    "tuning": _keys("sysctl", "mac", "promisc", "mtu", "allmulti", "txqlen", "datadir"),
    "sbr": _keys("table"),
    "runtimeconfig": {
        **_keys(*conventions.RUNTIME_KEYS),
        "ipranges": [[_RANGE]],
        "dns": _keys("servers", "searches", "options"),
        "portmappings": [_MAPPING],
        "bandwidth": _BANDWIDTH,
    },
}
_IPAMS: Mapping[str, Shape] = {
    "host-local": {
        **_keys("type", "subnet", "rangestart", "rangeend", "gateway", "datadir", "resolvconf"),
        "ranges": [[_RANGE]],
        "routes": _ROUTES,
    },
    "static": {"type": None, "addresses": [_keys("address", "gateway")], "routes": _ROUTES, "dns": _DNS},
    "none": _keys("type"),
}
"""Of another ipam, an executable or a plugin, only that itself knows which keys it reads."""


def unknown(document: Mapping[str, Json], config: Fields, ipam: str) -> Sequence[str]:
    """Keys that are not read, as they were written, each with where it stands. `ipam`: the type that is in effect."""
    read = request.driver_of(config).configuration.keys
    top = [key for key in document if read is not None and not request.is_ours(key.lower()) and key.lower() not in read]
    return [*top, *unknown_in(document, ipam)]


def unknown_in(document: Mapping[str, Json], ipam: str = "") -> Sequence[str]:
    """The same of the objects in a configuration, without its own keys."""
    found: list[str] = []
    for key, value in document.items():
        shape = _IPAMS.get(ipam) if key.lower() == "ipam" else _SHAPES.get(key.lower())
        found += _unknown(value, shape, key)
    return found


def known_at(path: str, config: Fields, ipam: str) -> Sequence[str]:
    """The keys, in lower case, that are read beside the unknown key `path`, such as `ipam.ranges[0][0].subnett`."""
    first, *inner = [part.partition("[")[0].lower() for part in path.split(".")]
    if not inner:
        read = request.driver_of(config).configuration.keys or ()
        return sorted((*read, *request.OWN_KEYS, *request.BLOCKS))
    shape = _IPAMS.get(ipam) if first == "ipam" else _SHAPES.get(first)
    for part in inner[:-1]:
        members = _of_members(shape)
        shape = members.get(part) if members else None
    return sorted(_of_members(shape) or ())


def _of_members(shape: Shape) -> Mapping[str, Shape] | None:
    """The keys of an object, or of the objects in a list, also in a list of lists."""
    while isinstance(shape, list):
        shape = shape[0]
    return shape


def notes(config: Fields, ipam: str) -> Sequence[str]:
    """Sentences about keys that are valid and not used, or not used as they stand. `ipam` as above."""
    unused = ["ipMasqBackend is not used: masquerade is kept in nftables"] if config.text("ipMasqBackend") else []
    profile = request.profile_of(config, request.driver_of(config))
    if config.raw("masqueradeExcept") and profile == request.REFERENCE and not config.flag("ipMasq"):
        unused.append("masqueradeExcept is not used: ipMasq is false")
    if config.object("firewall").text("backend") not in ("", "nftables"):
        unused.append("firewall.backend is not used: rules are kept in nftables")
    if config.object("tuning").text("dataDir"):
        unused.append("tuning.dataDir is not used: the values before are kept in the endpoint's record")
    if "portmap" in config and request.driver_of(config).external_connectivity:
        unused.append("portmap is not used: the driver's plugin publishes ports itself")
    for fields in config.object("ipam").objects("routes") if ipam in _IPAMS else ():
        dst = fields.text("dst")
        if validate.accepts(validate.network_of, dst) and not validate.accepts(validate.network, dst):
            unused.append(f"{fields.name('dst')} {dst} has host bits: {validate.network_of(dst)} is used")
    return unused


def _all_known(members: Sequence[Json], shape: Shape) -> bool:
    """Whether members with values of any kind have known keys only. A runtime may send thousands of port mappings."""
    if not isinstance(shape, dict) or any(inner is not None for inner in shape.values()):
        return False
    spelled = {key for member in members if isinstance(member, dict) for key in member}
    return all(key.lower() in shape for key in spelled)


def _unknown(value: Json, shape: Shape, path: str) -> Iterator[str]:
    if isinstance(shape, list):
        if isinstance(value, dict):  # a range where a set of ranges is due
            yield from _unknown(value, shape[0], path)
        members = value if isinstance(value, list) and not _all_known(value, shape[0]) else ()
        for index, item in enumerate(members):
            yield from _unknown(item, shape[0], f"{path}[{index}]")
    elif shape is not None and isinstance(value, dict):
        for key, item in value.items():
            if key.lower() not in shape:
                yield f"{path}.{key}"
            else:
                yield from _unknown(item, shape[key.lower()], f"{path}.{key}")
