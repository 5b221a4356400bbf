"""The result object of every version, from an Attachment and back (conversions as libcni's).

    0.1.0 0.2.0         ip4 and ip6, the first address of a family each, with the routes of that family
    0.3.0 0.3.1 0.4.0   interfaces, ips with version, routes, dns even when empty
    1.0.0 1.1.0         the same without version, dns only if there is any; 1.1.0 also says an interface's mtu

Printed in one line: Python indents JSON in Python, which is four times the work.
"""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.cni.versions import PER_FAMILY, SUPPORTED, UNSTATED, VERSIONED, shape
from cni_cnm.errors import InvalidConfig, shown
from cni_cnm.fields import Fields
from cni_cnm.json_text import encoder
from cni_cnm.model import Address, Attachment, Dns, Interface, Route

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeVar

    from cni_cnm.model import Json

    T = TypeVar("T")

# Keys are in alphabetical order, as they have always been: scripts compare and search this text.
_encode_sorted = encoder(sort_keys=True)

_ROUTE_EXTRAS = ("mtu", "advmss", "priority", "table", "scope")


def dump(document: Mapping[str, Json]) -> bytes:
    return _encode_sorted(document).encode()


def refuse_unsupported(version: str, families: Sequence[int]) -> None:
    """InvalidConfig if a result of `version` cannot have addresses of these IP versions. Called before any effect."""
    if shape(version) != PER_FAMILY:
        return
    hint = "set cniVersion to 0.3.0 or later"
    if not families:
        raise InvalidConfig(f"cannot convert: no valid IP addresses, which CNI version {version} requires", hint=hint)
    if len(set(families)) < len(families):
        raise InvalidConfig(f"CNI version {version} does not support more than 1 address per family", hint=hint)


def encode(attachment: Attachment, version: str) -> dict[str, Json]:
    """The result as JSON. InvalidConfig for 0.1.0 and 0.2.0 without addresses."""
    if shape(version) == PER_FAMILY:
        return {"cniVersion": version, "dns": _dns(attachment.dns), **_per_family(attachment, version)}
    sections: dict[str, Json] = {
        "interfaces": [_interface(link, version) for link in attachment.interfaces],
        "ips": [_ip(address, attachment.container_index, version) for address in attachment.addresses],
        "routes": [_route(route) for route in attachment.routes if not route.kind],
        "dns": _dns(attachment.dns),
    }
    kept = {key: value for key, value in sections.items() if value or (key == "dns" and shape(version) == VERSIONED)}
    return {"cniVersion": version, **kept}


def _per_family(attachment: Attachment, version: str) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for address in attachment.addresses:
        key = f"ip{address.interface.version}"
        if key not in found:
            found[key] = {"ip": address.interface.with_prefixlen, **_gateway(address)}
    if not found:
        refuse_unsupported(version, ())
    for route in attachment.routes:
        family = found.get(f"ip{route.dst.version}")
        if family is not None:
            family.setdefault("routes", []).append(_route(Route(route.dst, route.gw)))
    return found


def _interface(link: Interface, version: str) -> dict[str, Json]:
    mtu = link.mtu if version == SUPPORTED[-1] else 0
    optional = {"mac": link.mac, "mtu": mtu, "sandbox": link.sandbox}
    return {"name": link.name, **{key: value for key, value in optional.items() if value}}


def _ip(address: Address, index: int | None, version: str) -> dict[str, Json]:
    return {
        "address": address.interface.with_prefixlen,
        **_gateway(address),
        **({} if index is None else {"interface": index}),
        **({"version": str(address.interface.version)} if shape(version) == VERSIONED else {}),
    }


def _gateway(address: Address) -> dict[str, Json]:
    return {} if address.gateway is None else {"gateway": str(address.gateway)}


def _route(route: Route) -> dict[str, Json]:
    extras = {key: getattr(route, key) for key in _ROUTE_EXTRAS if getattr(route, key) is not None}
    return {"dst": str(route.dst), **({} if route.gw is None else {"gw": str(route.gw)}), **extras}


def _dns(dns: Dns) -> dict[str, Json]:
    return {key: list(value) if key != "domain" else value for key, value in dns._asdict().items() if value}


def decode(raw: Fields, version: str, ifname: str = "") -> Attachment:
    """A `prevResult` of any version: its own, else `version`. InvalidConfig names the key that is wrong.

    `container_index` is the link `ifname` in a sandbox, and the addresses are that link's. Without such a link it is
    the first link that has an address, with all addresses.
    """
    version = raw.text("cniVersion") or version or UNSTATED
    if version not in SUPPORTED:
        raise InvalidConfig(f"{raw.name('cniVersion')} is {shown(version)}, which is no version this plugin knows")
    dns = raw.object("dns")
    names = Dns(dns.texts("nameservers"), dns.text("domain"), dns.texts("search"), dns.texts("options"))
    if shape(version) == PER_FAMILY:
        families = [raw.object(key) for key in ("ip4", "ip6") if key in raw]
        return Attachment(
            interfaces=(),
            addresses=tuple(_read_address(family, "ip") for family in families),
            routes=tuple(_read_route(route) for family in families for route in family.objects("routes")),
            dns=names,
            container_index=None,
        )
    links = tuple(_read_interface(link) for link in raw.objects("interfaces"))
    addresses = [(_read_index(ip, len(links)), _read_address(ip, "address")) for ip in raw.objects("ips")]
    mine = next((i for i, link in enumerate(links) if ifname and link.name == ifname and link.sandbox), None)
    return Attachment(
        interfaces=links,
        addresses=tuple(address for index, address in addresses if mine is None or index in (None, mine)),
        routes=tuple(_read_route(route) for route in raw.objects("routes")),
        dns=names,
        container_index=mine if mine is not None else next((i for i, _ in addresses if i is not None), None),
    )


def amended(raw: Mapping[str, Json], made: Attachment) -> dict[str, Json]:
    """An earlier plugin's result with what this program changed: the MAC and MTU of the container's interface, and the
    links that were added."""
    index = made.container_index or 0
    own = made.interfaces[index]
    links = []
    for entry in Fields(raw).items("interfaces"):
        fields = Fields(entry)
        if fields.text("name") == own.name and fields.text("sandbox"):
            kept = {key: value for key, value in entry.items() if key.lower() not in ("mac", "mtu")}
            entry = {**kept, "mac": own.mac, **({"mtu": own.mtu} if "mtu" in fields else {})}
        links.append(entry)
    links += [{"name": link.name, "mac": link.mac} for link in made.interfaces[index + 1 :]]
    others = {key: value for key, value in raw.items() if key.lower() != "interfaces"}
    return {**others, "interfaces": links} if links else others


def require_listed(previous: Attachment, ifname: str) -> None:
    """InvalidConfig unless an earlier plugin's result lists the interface, in a sandbox."""
    index = previous.container_index
    if index is None or previous.interfaces[index].name != ifname:
        raise InvalidConfig(f"prevResult does not list {ifname} in a sandbox")


def refuse_another(previous: Attachment, ifname: str) -> None:
    """InvalidConfig if an earlier plugin's result lists interfaces in sandboxes, and this one is not among them.

    One of a version before 0.3.0 lists none. Calico's lists only the link on the host.
    """
    inside = [link.name for link in previous.interfaces if link.sandbox]
    if inside and ifname not in inside:
        raise InvalidConfig(f"prevResult does not list {ifname} in a sandbox")


def passed_on(raw: Mapping[str, Json], made: Attachment | None, version: str, ifname: str) -> bytes:
    """An earlier plugin's result with what was changed, if anything was, in the configuration's version."""
    document = raw if made is None else amended(raw, made)
    given = Fields(document, "prevResult")
    if shape(given.text("cniVersion") or version) != shape(version):
        return dump(encode(decode(given, version, ifname), version))
    return dump({**document, "cniVersion": version})


def _read_interface(raw: Fields) -> Interface:
    return Interface(raw.text("name"), raw.text("mac"), raw.whole("mtu"), raw.text("sandbox"))


def _read_index(raw: Fields, links: int) -> int | None:
    if "interface" not in raw:
        return None
    index = raw.whole("interface")
    if not 0 <= index < links:
        raise InvalidConfig(f"{raw.name('interface')} is {index}, there are {links} interfaces")
    return index


def _read_address(raw: Fields, key: str) -> Address:
    return Address(raw.required(key, validate.interface), raw.address("gateway"))


def _read_route(raw: Fields) -> Route:
    extras: dict[str, Json] = {key: raw.whole(key) for key in _ROUTE_EXTRAS if key in raw}
    return Route(raw.required("dst", validate.network_of), raw.address("gw"), **extras)
