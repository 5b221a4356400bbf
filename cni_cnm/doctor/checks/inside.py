"""Inside containers: the interface, its addresses and routes, as they are on record."""

from __future__ import annotations

from cni_cnm.cnm.endpoint import results
from cni_cnm.cnm.interface import interface_routes
from cni_cnm.cnm.sandbox.sandbox_endpoints import gateways_of
from cni_cnm.doctor.commands import inside, make_again
from cni_cnm.doctor.finding import Finding, Unchecked
from cni_cnm.doctor.picture import INSIDE_MAX
from cni_cnm.errors import CheckFailed, NamespaceGone
from cni_cnm.kernel import RouteEntry
from cni_cnm.model import ON_LINK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.doctor.picture import Picture
    from cni_cnm.kernel import Link, Stack


def look(picture: Picture) -> Iterator[Finding | Unchecked]:
    records = [one for one in picture.living if one.netns and one.device and one.device.container.name]
    if picture.only is None and len(records) > INSIDE_MAX:
        yield Unchecked(
            f"the inside of {len(records)} containers", f"more than {INSIDE_MAX}: `cni-cnm doctor CONTAINER` looks"
        )
        return
    for record in records:
        if (found := list(_of(picture, record))) and picture.still(record):
            yield from found


def _of(picture: Picture, record: EndpointRecord) -> Iterator[Finding | Unchecked]:
    try:
        with picture.host.namespaces.open(record.netns) as stack:
            yield from _interface(picture, record, stack)
    except NamespaceGone:
        yield Unchecked(f"the inside of {picture.shown(record)}", f"{record.netns} cannot be opened from here")


def _interface(picture: Picture, record: EndpointRecord, stack: Stack) -> Iterator[Finding]:
    link, name = _link(record, stack)
    if link is None:
        yield _finding(
            picture,
            record,
            f"the interface {name} is missing",
            "It has no network.",
            *make_again(picture.named(record), joined=True),
        )
        return
    if not record.role.configured:
        return
    if record.role.up and not link.up:
        repair = inside(record.netns, "ip", "link", "set", "dev", name, "up")
        yield _finding(picture, record, f"the interface {name} is down", "It reaches nothing.", repair)
        return  # its routes are gone with it, and its IPv6 addresses may be
    if record.device and link.mac.lower() != record.device.container.mac.lower():
        mac = record.device.container.mac
        yield _finding(
            picture,
            record,
            f"{name} has the MAC {link.mac}, it was given {mac}",
            "Where MACs are guarded, its packets are dropped.",
            inside(record.netns, "ip", "link", "set", "dev", name, "address", mac),
        )
    loopback = stack.link("lo")
    if loopback is not None and not loopback.up:
        repair = inside(record.netns, "ip", "link", "set", "dev", "lo", "up")
        yield _finding(picture, record, "lo is down", "It does not reach itself by 127.0.0.1.", repair)
    yield from _addresses(picture, record, stack, link)
    yield from _routes(picture, record, stack, link)


def _link(record: EndpointRecord, stack: Stack) -> tuple[Link | None, str]:
    """The interface, and its name. Docker gives it another name than the one on record, and keeps its MAC."""
    name = record.device.container.name if record.device else record.ifname
    if not record.docker_network:
        return stack.link(name), name
    link = next((one for one in stack.links() if one.mac and one.mac == record.mac), None)
    return link, link.name if link is not None else record.requested_ifname or "eth0"


def _addresses(picture: Picture, record: EndpointRecord, stack: Stack, link: Link) -> Iterator[Finding]:
    present = stack.addresses(link.ifindex)
    for address in record.addresses:
        if address.interface not in present:
            extra = ("nodad",) if address.interface.version == 6 else ()
            yield _finding(
                picture,
                record,
                f"{link.name} does not have the address {address.interface}",
                "Packets to it are not answered.",
                inside(record.netns, "ip", "address", "add", str(address.interface), "dev", link.name, *extra),
            )


def _routes(picture: Picture, record: EndpointRecord, stack: Stack, link: Link) -> Iterator[Finding]:
    elected = results.elected_versions(record, gateways_of(picture.host, record.container_id))
    expected = results.expected(record, elected, None)
    wanted = [
        *interface_routes.to_gateways(record.addresses, record.role, link.ifindex),
        *interface_routes.entries(expected.routes, link.ifindex, record.addresses),
    ]
    for route in wanted:
        try:
            interface_routes.check(stack, [route])
        except CheckFailed as error:
            why = "It does not reach this destination."
            if route.dst.prefixlen == 0:
                why = "It reaches nothing outside of its network."
            subnet = _way_to_gateway(record, stack, link, route)
            repair = [inside(record.netns, *_add(one, link.name)) for one in (*subnet, route)]
            yield _finding(picture, record, error.msg, why, *repair)


def _way_to_gateway(record: EndpointRecord, stack: Stack, link: Link, route: RouteEntry) -> list[RouteEntry]:
    """The route to the gateway's subnet, if it is missing, too: the kernel refuses a gateway without it."""
    if route.gw is None or route.onlink or any(route.gw in one.dst for one in _by(stack, link, route.dst.version)):
        return []
    own = (one.interface for one in record.addresses if route.gw in one.interface.network)
    return [RouteEntry(one.network, link=link.ifindex, scope=ON_LINK, src=one.ip) for one in own]


def _by(stack: Stack, link: Link, version: int) -> list[RouteEntry]:
    """Routes by the link without a gateway."""
    return [one for one in stack.routes(link=link.ifindex, versions=(version,)) if one.gw is None]


def _add(route: RouteEntry, name: str) -> list[str]:
    words = ["ip", f"-{route.dst.version}", "route", "replace", str(route.dst)]
    if route.gw is not None:
        words += ["via", str(route.gw)]
    words += ["dev", name]
    for key, value in (("metric", route.priority), ("table", route.table), ("src", route.src), ("mtu", route.mtu)):
        if value:
            words += [key, str(value)]
    return [*words, "onlink"] if route.onlink else words


def _finding(picture: Picture, record: EndpointRecord, what: str, why: str, *commands: str) -> Finding:
    return Finding(f"the endpoint {picture.shown(record)}: {what}", why, commands, about=record.label)
