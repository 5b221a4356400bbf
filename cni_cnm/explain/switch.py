"""The way of a frame through a bridge (net/bridge/br_input.c, br_forward.c), with br_netfilter."""

from __future__ import annotations

from cni_cnm.explain import neighbours
from cni_cnm.explain.hooks import FORWARD, INPUT, OUTPUT, POSTROUTING, PREROUTING
from cni_cnm.explain.neighbours import ABROAD
from cni_cnm.explain.verdict import LEAVES, Ended, Verdict, dropped, unknown
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.explain.packet import Packet
    from cni_cnm.explain.space import Space
    from cni_cnm.explain.way import Way
    from cni_cnm.kernel import Link


class Onward(NamedTuple):
    """Where a frame goes next: up to the bridge's own namespace, or out of a port."""

    packet: Packet
    port: Link | None = None
    """None: up."""
    seen: bool = False
    """The rules of IP have seen it in prerouting."""


def enter(way: Way, space: Space, bridge: Link, port: Link, packet: Packet) -> Onward:
    """A frame that a port received."""
    _require_forwarding(space, bridge, port)
    packet = way.bridge(space, packet, PREROUTING, port, None, bridge)
    filtered = space.filters_bridged(packet.version)
    if filtered:
        before = packet.dst
        packet = way.ip(space, packet, PREROUTING, bridge, None)
        if packet.dst != before and _stays(space, bridge, packet):
            mac = neighbours.resolve(way, space, bridge, packet.dst, packet)
            packet = packet._replace(mac_dst=mac)
        elif packet.dst != before:
            way.step(space, "bridge", f"{bridge.name} takes it in, because its destination was changed")
            return Onward(packet, seen=True)
    entry = space.stack.bridge_entry(bridge.ifindex, packet.mac_dst)
    if packet.mac_dst == bridge.mac or (entry is not None and entry.local):
        packet = way.bridge(space, packet, INPUT, port, None, bridge)
        way.step(space, "bridge", f"{bridge.name} takes it in: {packet.mac_dst} is its own")
        return Onward(packet, seen=filtered)
    out = _port_of(way, space, bridge, port, packet)
    ports = space.stack.port(port.ifindex), space.stack.port(out.ifindex)
    if out == port and not ports[0].hairpin:
        raise dropped(space, f"{bridge.name} sends nothing back to the port it came by ({port.name}, hairpin is off)")
    if ports[0].isolated and ports[1].isolated:
        raise dropped(space, f"{port.name} and {out.name} are isolated ports of {bridge.name}")
    _require_forwarding(space, bridge, out)
    packet = way.bridge(space, packet, FORWARD, port, out, bridge)
    if filtered:
        packet = way.ip(space, packet, FORWARD, bridge, bridge)
    packet = way.bridge(space, packet, POSTROUTING, None, out, bridge)
    if filtered:
        packet = way.ip(space, packet, POSTROUTING, None, bridge)
    way.step(space, "bridge", f"{bridge.name} sends it from port {port.name} to port {out.name}")
    return Onward(packet, out)


def _stays(space: Space, bridge: Link, packet: Packet) -> bool:
    """br_netfilter switches a frame whose new destination is on the same bridge (br_nf_pre_routing_finish)."""
    route = space.stack.ask_route(packet.dst, src=packet.src, from_link=bridge.ifindex, mark=packet.mark)
    return route.kind == "unicast" and route.link == bridge.ifindex


def send(way: Way, space: Space, bridge: Link, packet: Packet) -> Onward:
    """A frame that the bridge's own namespace sends."""
    out = _port_of(way, space, bridge, None, packet)
    _require_forwarding(space, bridge, out)
    packet = way.bridge(space, packet, OUTPUT, None, out, bridge)
    packet = way.bridge(space, packet, POSTROUTING, None, out, bridge)
    way.step(space, "bridge", f"{bridge.name} sends it to port {out.name}")
    return Onward(packet, out)


def _port_of(way: Way, space: Space, bridge: Link, came_by: Link | None, packet: Packet) -> Link:
    """The port of the MAC: by the bridge's table, else the one behind which it is, as the frame goes to all."""
    entry = space.stack.bridge_entry(bridge.ifindex, packet.mac_dst) if packet.mac_dst else None
    if entry is not None and entry.port in space.links:
        return space.link(entry.port)
    strange = []
    for port in way.world.likely_first(space.ports(bridge), mac=packet.mac_dst):
        other = way.world.other_end(space, port)
        if other is None:
            strange.append(port)
        elif other[1].mac == packet.mac_dst and port != came_by:
            return port
    outward = [port for port in strange if port != came_by]
    if len(outward) == 1 and (packet.mac_dst != ABROAD or len(space.ports(bridge)) == 1):
        return outward[0]
    if outward:
        if packet.mac_dst == ABROAD:
            names = ", ".join(port.name for port in outward[:5])
            raise Ended(Verdict(LEAVES, str(space), f"it leaves by {bridge.name}, whose port is not known: {names}"))
        raise unknown(space, f"{bridge.name} has no entry for {packet.mac_dst} and sends it to all ports")
    look = f"bridge fdb show br {bridge.name}"
    raise dropped(space, f"no port of {bridge.name} leads to the MAC {packet.mac_dst}", look)


def _require_forwarding(space: Space, bridge: Link, port: Link) -> None:
    state = space.stack.port_state(port.name)
    if state != "forwarding":
        raise dropped(
            space, f"the port {port.name} of {bridge.name} is {state or 'absent'}", f"ip -d link show {port.name}"
        )
