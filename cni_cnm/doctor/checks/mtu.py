"""Packets that are too large for the way: containers' interfaces against the uplink."""

from __future__ import annotations

from cni_cnm.doctor.commands import command, inside
from cni_cnm.doctor.finding import Finding
from cni_cnm.drivers import OVERLAY, host_routing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.records import EndpointRecord
    from cni_cnm.doctor.picture import Picture

_SHOWN = 20
"""Commands of one finding: one for each container."""


def look(picture: Picture) -> Iterator[Finding]:
    """The interface in the container has the MTU on record: containers are not entered."""
    for network in picture.used_networks:
        if not network.role.default_route and network.driver != OVERLAY:
            continue
        outside = network.policy.outside
        limit = host_routing.outside_mtu(outside, picture.stack)
        large = [one for one in picture.living if one.network_id == network.id and _mtu(picture, one) > limit]
        if not limit or not large:
            continue
        by = outside or (picture.uplink.name if picture.uplink else "the uplink")
        yield Finding(
            f"the network {network.name}: the MTU of {len(large)} container{'s' * (len(large) > 1)} "
            f"({_mtu(picture, large[0])}) is larger than that of {by} ({limit})",
            "Large packets get through only where routers on the way send ICMP errors and nothing drops these. "
            f"Containers that are made later need the MTU {limit} in the configuration.",
            tuple(_repair(one, limit) for one in large[:_SHOWN] if one.netns),
            about=network.name,
        )


def _mtu(picture: Picture, record: EndpointRecord) -> int:
    """The host's end has the MTU of the container's: they are made together, and changed together by `_repair`."""
    end = picture.stack.link(record.host_ifname)
    return end.mtu if end is not None and end.kind == "veth" else 0


def _repair(record: EndpointRecord, limit: int) -> str:
    host_end = command("ip", "link", "set", "dev", record.host_ifname, "mtu", str(limit))
    own = inside(record.netns, "ip", "link", "set", "dev", record.ifname, "mtu", str(limit))
    return f"{own} && {host_end}"
