"""Follows a packet through namespaces until it is delivered, leaves this host, or goes no further.

send       a process sends it: output, route, postrouting
receive    a link has received it: the bridge, or prerouting, route, and input or forward
transmit   it leaves by a link: the next hop's MAC, then what is at the other end
"""

from __future__ import annotations

from errno import EHOSTUNREACH, EINVAL, EXDEV

from cni_cnm.explain import neighbours, switch
from cni_cnm.explain.hooks import FORWARD, INPUT, OUTPUT, POSTROUTING, PREROUTING
from cni_cnm.explain.packet import DST_NAT, ESTABLISHED, SRC_NAT
from cni_cnm.explain.space import Translation
from cni_cnm.explain.verdict import DELIVERED, ENDS, LEAVES, NOT_KNOWN, UNKNOWN, Ended, Verdict, dropped, unknown
from cni_cnm.explain.way import Way
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.explain.packet import Packet
    from cni_cnm.explain.space import Space
    from cni_cnm.explain.verdict import Step
    from cni_cnm.explain.world import World
    from cni_cnm.kernel import Link
    from cni_cnm.kernel.contract.probe_stack import RouteAnswer
    from cni_cnm.model import IPAddress

_HOPS_MAX = 8


class Trip(NamedTuple):
    """One packet's way."""

    packet: Packet
    """As it was at the end."""
    steps: tuple[Step, ...]
    verdict: Verdict
    space: Space | None = None
    """Where it was delivered."""


class Walk:
    """The way of one packet. `begin` is a call of `send` or `receive`."""

    def __init__(self, world: World) -> None:
        self.way = Way(world)
        self.packet: Packet | None = None
        self.space: Space | None = None
        self._hops = 0
        self._entered: dict[Space, Packet] = {}

    def run(self, space: Space, packet: Packet, link: Link | None = None) -> Trip:
        """`link`: the packet comes from outside by it. None: a process of the namespace sends it."""
        self.packet = packet = space.entered(packet)
        try:
            if link is None:
                self.send(space, packet)
            else:
                self.receive(space, link, packet)
        except Ended as end:
            verdict = end.verdict
        else:
            verdict = Verdict(DELIVERED, str(self.space), f"it arrives at {self.space}")
        if verdict.outcome not in (DELIVERED, LEAVES):
            mark = NOT_KNOWN if verdict.outcome == UNKNOWN else ENDS
            self.way.step(verdict.where, "verdict", "it goes no further" if mark == ENDS else "not known", mark)
        return Trip(self.packet, tuple(self.way.steps), verdict, self.space)

    # sending ------------------------------------------------------------------
    def send(self, space: Space, packet: Packet) -> None:
        given = packet.src if not packet.src.is_unspecified else None
        route = self._route(space, packet.dst, given, packet.mark)
        if given is None:
            if route.source is None:
                raise dropped(space, f"{space} has no source address for {packet.dst}")
            packet = packet._replace(src=route.source)
            route = space.stack.ask_route(packet.dst, src=packet.src, mark=packet.mark)  # as connect(2) does
            if route.kind not in ("unicast", "local"):
                raise dropped(space, *self._no_route(space, packet.dst, packet.src, route, None))
        self._came(space, packet)
        packet = self.way.ip(space, packet, OUTPUT, None, space.link(route.link))
        if (packet.dst, packet.mark) != (self._entered[space].dst, self._entered[space].mark):
            route = self._route(space, packet.dst, packet.src, packet.mark)
        out = space.link(route.link)
        packet = self.way.ip(space, packet, POSTROUTING, None, out)
        self._went(space, packet)
        if route.kind == "local":
            self._deliver(space, self.way.ip(space, packet, PREROUTING, out, None), out)
            return
        self.transmit(space, out, route.gateway or packet.dst, packet)

    def transmit(self, space: Space, link: Link, next_hop: IPAddress, packet: Packet) -> None:
        self._hops += 1
        if self._hops > _HOPS_MAX:
            raise dropped(space, "it goes in a circle, until its hop limit ends it")
        self.packet = packet
        if not link.up:
            raise dropped(space, f"{link.name} is down", f"ip link show {link.name}")
        if link.kind in ("macvlan", "ipvlan"):
            self._by_parent(space, link, next_hop, packet)
            return
        if link.kind == "vxlan":
            self._by_vxlan(space, link, next_hop)
            return
        other = self.way.world.other_end(space, link) if link.kind != "bridge" else None
        if other is not None and not other[1].up:
            raise dropped(other[0], f"{other[1].name}, the other end of {link.name}, is down")
        mac = neighbours.resolve(self.way, space, link, next_hop, packet)
        packet = packet._replace(mac_src=link.mac, mac_dst=mac)
        if link.kind == "bridge":
            self._out_of_port(space, switch.send(self.way, space, link, packet))
            return
        if other is None:
            raise Ended(Verdict(LEAVES, str(space), f"it leaves {space} by {link.name}, to {next_hop}"))
        self.way.step(space, "interface", f"{link.name} sends it to {other[1].name} of {other[0]}")
        self.receive(*other, other[0].entered(packet))

    def _out_of_port(self, space: Space, onward: switch.Onward) -> None:
        port = onward.port
        if port is None:
            raise TypeError("a frame that goes up has no port")
        other = self.way.world.other_end(space, port)
        self.packet = onward.packet
        self._went(space, onward.packet)
        if other is None:
            raise Ended(Verdict(LEAVES, str(space), f"it leaves {space} by {port.name}, to {onward.packet.dst}"))
        self.receive(*other, other[0].entered(onward.packet))

    def _by_parent(self, space: Space, link: Link, next_hop: IPAddress, packet: Packet) -> None:
        """A macvlan or ipvlan sends by its parent. It reaches its neighbours there, and never its own host."""
        host = self.way.world.host
        parent = host.links.get(link.peer)
        if parent is None:
            raise unknown(space, f"the parent of {link.name} is not known")
        if not parent.up:
            raise dropped(host, f"{parent.name}, the parent of {link.name}, is down", f"ip link show {parent.name}")
        sibling = self._sibling(space, link, next_hop)
        if sibling is not None:
            if link.mode == "private":
                raise dropped(space, f"the mode private of {link.name} keeps {link.kind} links of one parent apart")
            self.receive(*sibling, sibling[0].entered(packet._replace(mac_src=link.mac, mac_dst=sibling[1].mac)))
            return
        if host.is_local(next_hop):
            raise dropped(space, f"{next_hop} is an address of this host, which a {link.kind} does not reach")
        raise Ended(Verdict(LEAVES, str(space), f"it leaves {host} by {parent.name}, to {next_hop}"))

    def _sibling(self, space: Space, link: Link, address: IPAddress) -> tuple[Space, Link] | None:
        """Another link of the same parent that has the address."""
        for there in self.way.world.sandboxes():
            for end in there.links.values() if there is not space else ():
                same = end.kind == link.kind and end.peer == link.peer
                if same and any(one.ip == address for one in there.stack.addresses(end.ifindex)):
                    return there, end
        return None

    def _by_vxlan(self, space: Space, link: Link, next_hop: IPAddress) -> None:
        """To another host of the cluster."""
        known = space.stack.neighbour_state(link.ifindex, next_hop)
        if known is None or not known.usable:
            raise dropped(space, f"{link.name} has no entry for {next_hop}: no host of the cluster is known to have it")
        entry = next((one for one in space.stack.fdb(link.ifindex) if one.mac == known.mac and one.to), None)
        if entry is None or entry.to is None:
            look = f"bridge fdb show dev {link.name}"
            raise dropped(space, f"{link.name} has no forwarding entry for {known.mac}", look)
        device = space.stack.vxlan(link.ifindex)
        port = f", VNI {device.vni}, UDP port {device.port}" if device else ""
        self.way.step(space, "overlay", f"{link.name} sends it to host {entry.to}{port}")
        route = self._route(space, entry.to, device.local if device else None, 0)
        by = space.link(route.link).name
        raise Ended(Verdict(LEAVES, str(space), f"it leaves {space} in VXLAN by {by}, to host {entry.to}"))

    # receiving ----------------------------------------------------------------
    def receive(self, space: Space, link: Link, packet: Packet) -> None:
        if not link.up:
            raise dropped(space, f"{link.name} is down", f"ip link show {link.name}")
        packet = self.way.ingress(space, packet, link)
        bridge = space.bridge_of(link)
        if bridge is not None:
            if not bridge.up:
                raise dropped(space, f"{bridge.name} is down", f"ip link set {bridge.name} up")
            self._came(space, packet)
            onward = switch.enter(self.way, space, bridge, link, packet)
            if onward.port is None:
                self._up(space, bridge, onward.packet, seen=onward.seen)
            else:
                self._out_of_port(space, onward)
            return
        if link.master:
            raise unknown(space, f"{link.name} belongs to {space.link(link.master).name}, which is no bridge")
        if packet.mac_dst and packet.mac_dst != link.mac:
            raise dropped(space, f"the frame is addressed to {packet.mac_dst}, and {link.name} has {link.mac}")
        self._up(space, link, packet)

    def _up(self, space: Space, link: Link, packet: Packet, *, seen: bool = False) -> None:
        self._came(space, packet)
        if not seen:
            packet = self.way.ip(space, packet, PREROUTING, link, None)
        route = self._route(space, packet.dst, packet.src, packet.mark, link)
        if route.kind == "local":
            self._deliver(space, packet, link)
            return
        if packet.version == 6 and not space.forwards(link, 6):
            raise dropped(space, f"{space} does not forward IPv6", "sysctl net.ipv6.conf.all.forwarding")
        out = space.link(route.link)
        packet = self.way.ip(space, packet, FORWARD, link, out)
        packet = self.way.ip(space, packet, POSTROUTING, None, out)
        self._went(space, packet)
        self.transmit(space, out, route.gateway or packet.dst, packet)

    def _deliver(self, space: Space, packet: Packet, link: Link) -> None:
        packet = self.way.ip(space, packet, INPUT, link, None)
        self._went(space, packet)
        self.packet, self.space = packet, space
        self.way.step(space, "delivered", f"{packet.dst} is an address of {space}")

    def _came(self, space: Space, packet: Packet) -> None:
        self._entered.setdefault(space, packet)

    def _went(self, space: Space, packet: Packet) -> None:
        """What connection tracking has done is put back for the answer."""
        before = self._entered.get(space)
        if packet.reply or before is None:
            return
        space.status, space.connection_mark = packet.status, packet.connection_mark
        if packet.status & (SRC_NAT | DST_NAT):
            space.translation = Translation(before, packet)

    def _route(
        self, space: Space, dst: IPAddress, src: IPAddress | None, mark: int, came_by: Link | None = None
    ) -> RouteAnswer:
        from_link = came_by.ifindex if came_by is not None else 0
        route = space.stack.ask_route(dst, src=src, from_link=from_link, mark=mark)
        by = f", from {src} by {came_by.name}" if came_by is not None else ""
        if route.kind == "local":
            self.way.step(space, "route", f"{dst} is local{by}")
            return route
        if route.kind == "unicast" and route.link in space.links:
            via = f" via {route.gateway}" if route.gateway else " directly"
            self.way.step(space, "route", f"{dst}{via} by {space.link(route.link).name}{by}")
            return route
        raise dropped(space, *self._no_route(space, dst, src, route, came_by))

    @staticmethod
    def _no_route(
        space: Space, dst: IPAddress, src: IPAddress | None, route: RouteAnswer, came_by: Link | None
    ) -> tuple[str, str]:
        look = f"ip route get {dst}" + (f" from {src} iif {came_by.name}" if came_by is not None else "")
        if route.errno == EXDEV and came_by is not None:
            return (
                f"rp_filter of {came_by.name} drops it: the way back to {src} is by another link",
                f"sysctl net.ipv4.conf.{came_by.name}.rp_filter net.ipv4.conf.all.rp_filter",
            )
        if route.errno == EINVAL and came_by is not None:
            return f"the source {src} or the destination {dst} cannot be on {came_by.name}", look
        if came_by is not None and not space.forwards(came_by, dst.version):
            key = "net.ipv6.conf.all.forwarding" if dst.version == 6 else f"net.ipv4.conf.{came_by.name}.forwarding"
            return f"{space} does not forward what comes by {came_by.name} ({key} is 0)", f"sysctl {key}"
        kinds = {"blackhole": "a blackhole route", "prohibit": "a route of the type prohibit"}
        if route.kind in kinds:
            return f"{kinds[route.kind]} drops what goes to {dst}", look
        if route.kind == "unreachable" and route.errno in (0, EHOSTUNREACH):
            return f"{space} has no route to {dst}, or one of the type unreachable", look
        return f"{space} has no route to {dst}", look


def answer_of(arrived: Packet) -> Packet:
    """The answer to a packet, as the one who got it sends it."""
    return arrived._replace(
        src=arrived.dst,
        dst=arrived.src,
        sport=arrived.dport,
        dport=arrived.sport,
        reply=True,
        state=ESTABLISHED,
        mark=0,
        mac_src="",
        mac_dst="",
        status=arrived.status,
    )
