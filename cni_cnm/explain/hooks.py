"""All chains of one hook, in the kernel's order, with the translation of addresses (NAT).

Chains of the type nat are called together, at the priority of destination or source NAT, for the first packet of a
connection alone. Of an answer the addresses are put back there (nf_nat_core).
"""

from __future__ import annotations

from cni_cnm.explain import rules
from cni_cnm.explain.at import At
from cni_cnm.explain.packet import DST_NAT, SRC_NAT, UNTRACKED
from cni_cnm.explain.rules import ACCEPT, BACK, DROP, End
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_cnm.explain.packet import Packet
    from cni_cnm.explain.rules import Hit
    from cni_cnm.explain.space import Space
    from cni_cnm.kernel import Link
    from cni_cnm.kernel.contract.ruleset import HookChain
    from cni_cnm.model import IPAddress

PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING, INGRESS = range(6)
NAMES = ("prerouting", "input", "forward", "output", "postrouting", "ingress")
_CONNTRACK, _DST_NAT, _SRC_NAT = -200, -100, 100
"""NF_IP_PRI_…: a chain before conntrack sees no connection."""


class Passed(NamedTuple):
    verdict: str
    """ACCEPT, DROP or `unknown`."""
    packet: Packet
    hits: tuple[Hit, ...] = ()
    reason: str = ""
    """Of a drop or of what is not known."""
    chains: int = 0
    place: str = ""
    """FAMILY TABLE CHAIN of the chain that decided, where one did."""


def ip(space: Space, packet: Packet, hook: int, incoming: Link | None, outgoing: Link | None) -> Passed:
    """A hook of IPv4 or IPv6: tables of the families inet and ip, or ip6."""
    chains = [
        chain
        for chain in space.ruleset.base_chains()
        if chain.family in ("inet", packet.family) and chain.hook == hook and hook != INGRESS
    ]
    filters = [chain for chain in chains if chain.kind != "nat"]
    nat = [chain for chain in chains if chain.kind == "nat"]
    at_destination = hook in (PREROUTING, OUTPUT)
    priority = _DST_NAT if at_destination else _SRC_NAT
    passed = _all(space, [c for c in filters if c.priority <= priority], packet, hook, incoming, outgoing, "")
    if passed.verdict == ACCEPT and hook != FORWARD and packet.state != UNTRACKED:
        passed = _joined(passed, _nat(space, nat, passed.packet, hook, incoming, outgoing))
    if passed.verdict == ACCEPT:
        rest = [c for c in filters if c.priority > priority]
        passed = _joined(passed, _all(space, rest, passed.packet, hook, incoming, outgoing, ""))
    return passed


def bridge(space: Space, packet: Packet, hook: int, incoming: Link | None, outgoing: Link | None, name: str) -> Passed:
    chains = [c for c in space.ruleset.base_chains() if c.family == "bridge" and c.hook == hook]
    return _all(space, chains, packet, hook, incoming, outgoing, name)


def ingress(space: Space, packet: Packet, link: Link) -> Passed:
    """What a link has received, before anything else looks at it."""
    chains = [
        chain
        for chain in space.ruleset.base_chains()
        if link.name in chain.devices
        and ((chain.family == "netdev" and chain.hook == 0) or (chain.family == "inet" and chain.hook == INGRESS))
    ]
    return _all(space, chains, packet, INGRESS, link, None, "")


def _joined(first: Passed, then: Passed) -> Passed:
    return then._replace(hits=(*first.hits, *then.hits), chains=first.chains + then.chains)


def _all(
    space: Space,
    chains: Sequence[HookChain],
    packet: Packet,
    hook: int,
    incoming: Link | None,
    outgoing: Link | None,
    bridge_name: str,
) -> Passed:
    hits: tuple[Hit, ...] = ()
    for chain in chains:
        one = _base_chain(space, chain, packet, hook, incoming, outgoing, bridge_name)
        hits += one.hits
        if one.verdict != ACCEPT:
            return one._replace(hits=hits, chains=len(chains))
        packet = one.packet
    return Passed(ACCEPT, packet, hits, chains=len(chains))


def _base_chain(
    space: Space,
    chain: HookChain,
    packet: Packet,
    hook: int,
    incoming: Link | None,
    outgoing: Link | None,
    bridge_name: str,
) -> Passed:
    def fib(asked: Packet, result: int, flags: int) -> bytes | None:
        return space.fib_value(asked, incoming, result, flags)

    tracked = chain.priority > _CONNTRACK and chain.family not in ("netdev", "bridge") and hook != INGRESS
    at = At(chain.family, hook, incoming, outgoing, tracked, bridge_name, fib)
    table = f"{chain.family} {chain.table}"
    ends = rules.run(space.ruleset, at, table, chain.name, packet)
    return _decided(chain, [_completed(space, chain, end, incoming, outgoing) for end in ends])


def _completed(space: Space, chain: HookChain, end: End, incoming: Link | None, outgoing: Link | None) -> End:
    """With the policy where no rule decided, and the address that the kernel chooses where a rule names none."""
    if end.verdict == BACK:
        return end._replace(verdict=DROP if chain.drops else ACCEPT)
    if end.verdict == "masquerade":
        source = _source(space, end.packet, outgoing)
        return end._replace(verdict=ACCEPT, packet=end.packet._replace(src=source or end.packet.src))
    if end.verdict == "redirect":
        target = _redirected(space, end.packet, incoming)
        return end._replace(verdict=ACCEPT, packet=end.packet._replace(dst=target or end.packet.dst))
    return end


def _decided(chain: HookChain, ends: Sequence[End]) -> Passed:
    """One end, or several that do not differ. Else it is not known."""
    place = f"{chain.family} {chain.table}, chain {chain.name}"
    verdicts = {end.verdict for end in ends}
    first = ends[0]
    if verdicts == {DROP}:
        by_policy = not first.hits or first.hits[-1].verdict not in (DROP, "reject")
        reason = f"{place}: {'the policy is drop' if by_policy else f'the rule `{first.hits[-1].text}`'}"
        return Passed(DROP, first.packet, first.hits, reason, place=f"{chain.family} {chain.table} {chain.name}")
    if verdicts == {ACCEPT} and len({end.packet for end in ends}) == 1:
        return Passed(ACCEPT, first.packet, first.hits)
    doubts = list(dict.fromkeys(doubt for end in ends for doubt in end.doubts))
    odd = next((end.verdict for end in ends if end.verdict not in (ACCEPT, DROP)), "")
    why = f"whether {', '.join(doubts[:3])} matches" if doubts else f"what {odd} does with the packet"
    return Passed("unknown", first.packet, first.hits, f"{place}: it is not known {why}")


def _nat(
    space: Space,
    chains: Sequence[HookChain],
    packet: Packet,
    hook: int,
    incoming: Link | None,
    outgoing: Link | None,
) -> Passed:
    if packet.reply:
        return Passed(ACCEPT, _put_back(space, packet, at_destination=hook in (PREROUTING, OUTPUT)))
    manip = DST_NAT if hook in (PREROUTING, OUTPUT) else SRC_NAT
    if packet.translated & manip or not chains:
        return Passed(ACCEPT, packet)
    packet = packet._replace(translated=packet.translated | manip)
    hits: tuple[Hit, ...] = ()
    for chain in chains:
        one = _base_chain(space, chain, packet, hook, incoming, outgoing, "")
        hits += one.hits
        if one.verdict != ACCEPT:
            return one._replace(hits=hits, chains=len(chains))
        # marks stay; the first chain that translates is the last one that is called
        translated = one.packet.status != packet.status
        packet = one.packet
        if translated:
            break
    return Passed(ACCEPT, packet, hits, chains=len(chains))


def _put_back(space: Space, packet: Packet, *, at_destination: bool) -> Packet:
    known = space.translation
    if known is None:
        return packet
    before, after = known
    if at_destination and packet.dst == after.src:
        return packet._replace(dst=before.src)
    if not at_destination and (packet.src, packet.sport) == (after.dst, after.dport):
        return packet._replace(src=before.dst, sport=before.dport)
    return packet


def _source(space: Space, packet: Packet, outgoing: Link | None) -> IPAddress | None:
    """What masquerade chooses: the address of the link that the packet leaves by."""
    answer = space.stack.ask_route(packet.dst)
    if outgoing is not None and answer.link == outgoing.ifindex and answer.source is not None:
        return answer.source
    if outgoing is None:
        return None
    usable = [one.ip for one in space.stack.addresses(outgoing.ifindex) if one.version == packet.version]
    return next((address for address in usable if not address.is_link_local), usable[0] if usable else None)


def _redirected(space: Space, packet: Packet, incoming: Link | None) -> IPAddress | None:
    from cni_cnm.model import ip_address

    if incoming is None or incoming.name == "lo":
        return ip_address("127.0.0.1" if packet.version == 4 else "::1")
    usable = [one.ip for one in space.stack.addresses(incoming.ifindex) if one.version == packet.version]
    return next((address for address in usable if not address.is_link_local), None)
