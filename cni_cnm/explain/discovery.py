"""Neighbour discovery of IPv6: its questions and answers are packets that rules see, unlike those of ARP.

Connection tracking leaves them out (nf_conntrack_icmpv6), and an answer goes by the neighbour table of the one who
answers.
"""

from __future__ import annotations

from cni_cnm.explain import hooks
from cni_cnm.explain.hooks import FORWARD, INPUT, OUTPUT, PREROUTING
from cni_cnm.explain.packet import ICMP6, UNTRACKED, Packet
from cni_cnm.explain.rules import DROP
from cni_cnm.model import ip_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.explain.space import Space
    from cni_cnm.kernel import Link
    from cni_cnm.model import IPAddress

_SOLICITATION, _ADVERTISEMENT = 135, 136


def solicitation(space: Space, link: Link, address: IPAddress, packet: Packet) -> Packet:
    """The question: from the packet's source if the link has it, else from its link-local address."""
    own = [one.ip for one in space.stack.addresses(link.ifindex) if one.version == 6]
    local = next((one for one in own if one.is_link_local), packet.src)
    solicited = ip_address(b"\xff\x02" + bytes(9) + b"\x01\xff" + address.packed[-3:])
    return Packet(
        packet.src if packet.src in own else local,
        solicited,
        ICMP6,
        mac_src=link.mac,
        mac_dst="33:33:ff:" + address.packed[-3:].hex(":"),
        state=UNTRACKED,
        broadcast=True,
        icmp_type=_SOLICITATION,
    )


def advertisement(question: Packet, end: Link | None, link: Link) -> Packet:
    """The answer, from `end` to the link that asked."""
    return question._replace(
        src=question.dst,
        dst=question.src,
        icmp_type=_ADVERTISEMENT,
        broadcast=False,
        mac_dst=link.mac,
        mac_src=end.mac if end is not None else "",
    )


def passes(
    space: Space,
    link: Link,
    address: IPAddress,
    question: Packet,
    there: Space | None = None,
    end: Link | None = None,
) -> bool:
    """Whether rules let the question out, in at `end` of `there`, and the answer back. `there` may not be known."""
    answer = advertisement(question, end, link)._replace(src=address)
    if _drops(space, question, OUTPUT, None, link):
        return False
    if there is not None and end is not None:
        known = there.stack.neighbour_state(end.ifindex, question.src)
        if known is not None and known.state == "permanent" and known.mac != link.mac:
            return False
        if _comes_in(there, question, end) or _drops(there, answer, OUTPUT, None, end):
            return False
    return not _comes_in(space, answer, link)


def passes_bridge(space: Space, bridge: Link, question: Packet) -> bool:
    """With br_netfilter."""
    return not (_drops(space, question, PREROUTING, bridge, None) or _drops(space, question, FORWARD, bridge, bridge))


def _comes_in(space: Space, packet: Packet, link: Link) -> bool:
    """Whether it is dropped before the namespace has it."""
    return _drops(space, packet, PREROUTING, link, None) or _drops(space, packet, INPUT, link, None)


def _drops(space: Space, packet: Packet, hook: int, incoming: Link | None, outgoing: Link | None) -> bool:
    return hooks.ip(space, packet, hook, incoming, outgoing).verdict == DROP
