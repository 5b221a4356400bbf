"""Sysctls of the host that our networks need: forwarding by link, IPv6, reverse paths, router advertisements.

Forwarding of the whole host is compared with the networks (networks.py).
"""

from __future__ import annotations

from cni_cnm.doctor.commands import sysctl
from cni_cnm.doctor.finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.host import Host
    from cni_cnm.doctor.picture import Picture

_STRICT = "1"


def look(picture: Picture) -> Iterator[Finding]:
    yield from _links(picture)
    yield from _ipv6_off(picture)
    yield from _reverse_path(picture)
    yield from _router_advertisements(picture)


def fix(host: Host, finding: Finding) -> str:
    """The finding's key is the sysctl, its wrong value, and the right one."""
    key, wrong, right = finding.key.split(" ")
    if host.stack.sysctl(key) != wrong:
        return ""
    host.stack.set_sysctls([(key, right)])
    return f"{key} is {right} now"


def _sysctl(key: str, wrong: str, right: str, what: str, why: str) -> Finding:
    return Finding(what, why, (sysctl(key, right),), about=key, safe=True, key=f"{key} {wrong} {right}")


def _links(picture: Picture) -> Iterator[Finding]:
    """A link forwards by its own value: one that was set to 0 after the host's stays 0."""
    gateways = {network.policy.bridge for network, _ in picture.bridges if network.role.default_route}
    uplink = picture.uplink
    if 4 not in picture.versions or picture.stack.sysctl("net/ipv4/ip_forward") != "1":
        return
    for name in sorted(gateways | ({uplink.name} if uplink and gateways else set())):
        key = f"net/ipv4/conf/{name}/forwarding"
        if picture.stack.sysctl(key) == "0":
            yield _sysctl(
                key, "0", "1", f"IPv4 forwarding is off on {name}", "What arrives there for others is dropped."
            )


def _ipv6_off(picture: Picture) -> Iterator[Finding]:
    versions = {(record.network_id, one.interface.version) for record in picture.endpoints for one in record.addresses}
    for network, bridge in picture.bridges:
        key = f"net/ipv6/conf/{bridge.name}/disable_ipv6"
        if (network.id, 6) in versions and picture.stack.sysctl(key) == "1":
            yield _sysctl(
                key,
                "1",
                "0",
                f"IPv6 is off on {bridge.name}, and the network {network.name} has an IPv6 subnet",
                "Containers have no IPv6 gateway.",
            )


def _reverse_path(picture: Picture) -> Iterator[Finding]:
    """Of a container in several networks an answer may come by another bridge than the one of its source address."""
    networks: dict[str, set[str]] = {}
    for record in picture.living:
        if picture.policy(record).bridge and record.container_id:
            networks.setdefault(record.container_id, set()).add(picture.policy(record).bridge)
    shared = {bridge for bridges in networks.values() if len(bridges) > 1 for bridge in bridges}
    for name in sorted(shared):
        values = {key: picture.stack.sysctl(f"net/ipv4/conf/{key}/rp_filter") or "0" for key in ("all", name)}
        if max(values.values()) == _STRICT:
            yield _sysctl(
                f"net/ipv4/conf/{name}/rp_filter",
                values[name],
                "2",
                f"the reverse path of packets from {name} is filtered strictly, and a container there is in several "
                "networks",
                "The host drops what such a container sends with the address of its other network.",
            )


def _router_advertisements(picture: Picture) -> Iterator[Finding]:
    stack = picture.stack
    if stack.sysctl("net/ipv6/conf/all/forwarding") != "1":
        return
    learned = {route.link for route in stack.routes(versions=(6,)) if route.advertised and route.dst.prefixlen == 0}
    for index in sorted(learned):
        link = stack.link_at(index)
        key = f"net/ipv6/conf/{link.name}/accept_ra" if link is not None else ""
        value = stack.sysctl(key) if key else None
        if link is not None and value in ("0", "1"):
            yield _sysctl(
                key,
                value,
                "2",
                f"{link.name} ignores router advertisements, because IPv6 is forwarded",
                "The host's IPv6 default route ends with its lifetime.",
            )
    for network, bridge in picture.bridges:
        key = f"net/ipv6/conf/{bridge.name}/accept_ra"
        if stack.sysctl(key) == "2":
            yield _sysctl(
                key,
                "2",
                "0",
                f"{bridge.name} of the network {network.name} accepts router advertisements",
                "A container can make itself the host's IPv6 default gateway.",
            )
