"""Which MAC an address on a link has: by the kernel's table, or by who would answer the question (ARP, NDP)."""

from __future__ import annotations

from cni_cnm.explain import discovery, hooks
from cni_cnm.explain.hooks import FORWARD, OUTPUT, PREROUTING
from cni_cnm.explain.packet import Packet
from cni_cnm.explain.rules import DROP
from cni_cnm.explain.verdict import NOTE, dropped
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.explain.space import Space
    from cni_cnm.explain.way import Way
    from cni_cnm.kernel import Link
    from cni_cnm.model import IPAddress

_ALL = "ff:ff:ff:ff:ff:ff"
ABROAD = ""
"""In the place of a MAC: on a link that leads out of this host, the question was not asked yet."""


def resolve(way: Way, space: Space, link: Link, address: IPAddress, packet: Packet) -> str:
    """The MAC of a next hop. Ended if no link has it."""
    known = space.stack.neighbour_state(link.ifindex, address)
    if known is not None and known.usable:
        way.step(space, "neighbour", f"{address} on {link.name} is {known.mac} ({known.state})")
        return known.mac
    learned = space.learned.get((link.ifindex, address))
    if learned is not None:
        way.step(space, "neighbour", f"{address} on {link.name} is {learned}, as it has asked before")
        return learned
    found = _holder(way, space, link, address, packet)
    if found is not None:
        shown = f"{found.link.name} of {found.space}"
        way.step(space, "neighbour", f"{address} on {link.name} is not known yet; {shown} answers the question")
        return found.link.mac
    if _leads_out(way, space, link):
        if known is not None and known.state == "failed":
            raise dropped(
                space, f"{address} on {link.name} did not answer the last question for its MAC",
                f"ip neigh show {address}",
            )  # fmt: skip
        if address.version == 6 and not discovery.passes(
            space, link, address, discovery.solicitation(space, link, address, packet)
        ):
            raise dropped(space, f"rules of {space} drop the question for {address} on {link.name}, or its answer")
        way.step(space, "neighbour", f"{address} on {link.name} is not known yet, it is asked for", NOTE)
        return ABROAD
    reason = _silent(way, space, link, address) or f"no neighbour {address} answers on {link.name}"
    raise dropped(space, reason, f"ip neigh show {address}")


def _silent(way: Way, space: Space, link: Link, address: IPAddress) -> str:
    """Why the link that has the address does not answer; "" if none has it."""
    for member in segment(way, space, link, address):
        if any(one.ip == address for one in member.space.stack.addresses(member.link.ifindex)):
            named = f"{member.link.name} of {member.space} has {address}"
            if not member.link.up:
                return f"{named}, and is down"
            return f"{named}, and its answer to {link.name} of {space} does not arrive"
    return ""


def _leads_out(way: Way, space: Space, link: Link) -> bool:
    """Whether something that is not known here is on the link's segment."""
    if link.kind == "bridge":
        return any(way.world.other_end(space, port) is None for port in space.ports(link))
    other = way.world.other_end(space, link)
    if other is None:
        return link.kind not in ("dummy", "ifb")
    bridge = other[0].bridge_of(other[1])
    return bridge is not None and _leads_out(way, other[0], bridge)


class _Member(NamedTuple):
    """A link on the same segment, and the bridge between, if there is one."""

    space: Space
    link: Link
    switch: tuple[Space, Link] | None = None
    entered: Link | None = None
    """The bridge's port by which a frame comes; None: it is the host's own."""
    left: Link | None = None
    """The port by which it leaves; None: it is for the bridge itself."""


def segment(way: Way, space: Space, link: Link, address: IPAddress) -> Iterator[_Member]:
    """All other links on it, those first that have the address on record."""
    if link.kind == "bridge":
        for port in way.world.likely_first(space.ports(link), address=address):
            other = way.world.other_end(space, port)
            if other is not None:
                yield _Member(*other, (space, link), None, port)
        return
    other = way.world.other_end(space, link)
    if other is None:
        return
    there, end = other
    bridge = there.bridge_of(end)
    if bridge is None:
        yield _Member(there, end)
        return
    yield _Member(there, bridge, (there, bridge), end)
    for port in way.world.likely_first(there.ports(bridge), address=address):
        beyond = way.world.other_end(there, port)
        if port != end and beyond is not None:
            yield _Member(*beyond, (there, bridge), end, port)


def _holder(way: Way, space: Space, link: Link, address: IPAddress, packet: Packet) -> _Member | None:
    """The link on the segment that answers for the address. It learns the MAC of the one who asks."""
    question = _question(space, link, address, packet)
    for member in segment(way, space, link, address):
        if (
            member.link.up
            and _answers(member.space, member.link, address, question.src)
            and _arrives(member, question)
            and _comes_back(member, question, link)
            and (address.version == 4 or discovery.passes(space, link, address, question, member.space, member.link))
        ):
            member.space.learned[member.link.ifindex, question.src] = link.mac
            return member
    return None


def _question(space: Space, link: Link, address: IPAddress, packet: Packet) -> Packet:
    if address.version == 4:
        own = [one.ip for one in space.stack.addresses(link.ifindex) if one.version == 4]
        asker = packet.src if space.is_local(packet.src) or not own else own[0]
        return packet._replace(src=asker, dst=address, mac_src=link.mac, mac_dst=_ALL, arp=True, broadcast=True)
    return discovery.solicitation(space, link, address, packet)


def _answers(there: Space, end: Link, address: IPAddress, asker: IPAddress) -> bool:
    if address.version == 6:
        return any(one.ip == address for one in there.stack.addresses(end.ifindex))
    # the kernel looks for a route from the one who asks, so rp_filter counts here, too (arp_process)
    answer = there.stack.ask_route(address, src=asker, from_link=end.ifindex)
    if answer.kind == "local":
        return there.sysctl(f"net/ipv4/conf/{end.name}/arp_ignore") in ("0", "") or any(
            one.ip == address for one in there.stack.addresses(end.ifindex)
        )
    proxy = there.sysctl(f"net/ipv4/conf/{end.name}/proxy_arp") == "1"
    return proxy and answer.kind == "unicast" and answer.link != end.ifindex


def _arrives(member: _Member, question: Packet) -> bool:
    """Whether the question passes the bridge between the two."""
    if member.switch is None:
        return True
    space, bridge = member.switch
    entered, left = member.entered, member.left
    if any(port is not None and space.stack.port_state(port.name) != "forwarding" for port in (entered, left)):
        return False
    if entered is not None and _drops(space, bridge, question, PREROUTING, entered, None):
        return False
    if left is None:
        return True
    if entered is not None:
        if space.stack.port(entered.ifindex).isolated and space.stack.port(left.ifindex).isolated:
            return False
        if question.version == 6 and space.filters_bridged(6) and not discovery.passes_bridge(space, bridge, question):
            return False
        return not _drops(space, bridge, question, FORWARD, entered, left)
    return not _drops(space, bridge, question, OUTPUT, None, left)


def _comes_back(member: _Member, question: Packet, link: Link) -> bool:
    """Whether the answer passes the bridge: from the port that the question left by, to the one that it came by."""
    if member.switch is None:
        return True
    space, bridge = member.switch
    answer = question._replace(mac_src=member.link.mac, mac_dst=link.mac, broadcast=False, reply=True)
    if question.version == 6:
        answer = discovery.advertisement(question, member.link, link)
    if member.left is None:
        return not _drops(space, bridge, answer, OUTPUT, None, member.entered)
    if _drops(space, bridge, answer, PREROUTING, member.left, None):
        return False
    return member.entered is None or not _drops(space, bridge, answer, FORWARD, member.left, member.entered)


def _drops(
    space: Space, bridge: Link, question: Packet, hook: int, incoming: Link | None, outgoing: Link | None
) -> bool:
    return hooks.bridge(space, question, hook, incoming, outgoing, bridge.name).verdict == DROP
