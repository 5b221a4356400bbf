"""Where other programs' chains drop by default what a bridge forwards: nothing of ours is put there, so it is told.

A chain is followed for two packets: a new one from the bridge, and an answer to it. A rule matches, does not match, or
that cannot be said (it is about an address, or is not understood). So the default at the end is reached for certain,
perhaps, or not at all. What a rule drops by its conditions is decided on purpose, and is not told.
"""

from __future__ import annotations

from cni_cnm.kernel.contract import filter_rules as rules
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cni_cnm.kernel import ForeignFirewalls
    from cni_cnm.kernel.contract.filter_rules import BaseChain, Condition, FilterRule

_PREROUTING, _INPUT, _FORWARD, _OUTPUT, _POSTROUTING, _INGRESS = range(6)
"""Hooks of the families inet, ip, ip6 and bridge; INGRESS of inet alone."""
_OWN_TRAFFIC = (_INPUT, _OUTPUT)
_ROUTED = ("inet", "ip", "ip6")
_DEFAULT, _DECIDED, _BACK = "default", "decided", "back"
"""How a packet leaves a chain: dropped by default; accepted, or dropped on purpose; back to where it came from."""


class Obstacle(NamedTuple):
    family: str
    """`ip` or `ip6` where it concerns that family alone, else ""."""
    certain: bool
    """False: it may be that a rule which is not understood accepts."""
    sentence: str


class _Packet(NamedTuple):
    """What is known of a packet, by field of a condition; what is missing is not known."""

    fields: Mapping[str, str]
    elsewhere: tuple[str, str] = ("", "")
    """A field, and the one link that it is not."""

    def meets(self, condition: Condition) -> bool | None:
        value = self.fields.get(condition.field)
        if value is None:
            return condition.negated if (condition.field, *condition.values) == self.elsewhere else None
        found = any(value == one or (one.endswith("+") and value.startswith(one[:-1])) for one in condition.values)
        return found is not condition.negated

    def matches(self, rule: FilterRule) -> bool | None:
        met = [self.meets(condition) for condition in rule.conditions]
        return False if False in met else None if None in met else True


def obstacles(
    bridge: str, chains: Sequence[BaseChain], rules_of: Callable[[BaseChain, str], Sequence[FilterRule]]
) -> list[Obstacle]:
    """Of the base chains given. `rules_of` reads a chain, by name, of the table that a base chain is in."""
    found = []
    for chain in chains:
        if chain.family in _ROUTED and chain.hook in _OWN_TRAFFIC:
            continue
        ends = [_follow(chain, chain.name, packet, rules_of, ()) for packet in _packets(bridge, chain)]
        ends = [end - {_BACK} | ({_DEFAULT if chain.drops else _DECIDED} if _BACK in end else set()) for end in ends]
        reached = [end for end in ends if _DEFAULT in end]
        if reached:
            of_a_device = chain.family == "netdev" or (chain.family == "inet" and chain.hook == _INGRESS)
            certain = not of_a_device and any(end == {_DEFAULT} for end in reached)  # which may be another's
            family = chain.family if chain.family in ("ip", "ip6") else ""
            found.append(Obstacle(family, certain, _sentence(bridge, chain, certain=certain)))
    return found


def reader(firewalls: ForeignFirewalls) -> Callable[[BaseChain, str], Sequence[FilterRule]]:
    """Reads the chains of a base chain's table by name, each once."""
    known: dict[tuple[str, str, str], Sequence[FilterRule]] = {}

    def read(base: BaseChain, name: str) -> Sequence[FilterRule]:
        place = (base.family, base.table, name)
        if place not in known:
            known[place] = firewalls.rules(*place)
        return known[place]

    return read


def of_input(
    chains: Sequence[BaseChain],
    rules_of: Callable[[BaseChain, str], Sequence[FilterRule]],
    known: Mapping[str, str] | None = None,
) -> list[tuple[BaseChain, bool]]:
    """The chains that drop by default what comes to this host itself.

    Each with whether a new packet is dropped for certain. `known`: what is known of it, by field of a condition;
    without a link it is any but `lo`. What a rule accepts by a field that is not known cannot be told.
    """
    found = []
    for chain in chains:
        if chain.family not in _ROUTED or chain.hook != _INPUT:
            continue
        packet = _Packet({rules.STATE: "NEW", **(known or {})}, (rules.INPUT, "lo"))
        ends = _follow(chain, chain.name, packet, rules_of, ())
        ends = ends - {_BACK} | ({_DEFAULT if chain.drops else _DECIDED} if _BACK in ends else set())
        if _DEFAULT in ends:
            found.append((chain, ends == {_DEFAULT}))
    return found


def _packets(bridge: str, chain: BaseChain) -> list[_Packet]:
    if chain.family not in _ROUTED or chain.hook == _INGRESS:
        return [_Packet({})]  # ports and devices are seen there, not the bridge
    out, back = {rules.STATE: "NEW"}, {rules.STATE: "ESTABLISHED"}
    if chain.family != "inet":
        out[rules.FAMILY] = back[rules.FAMILY] = chain.family
    if chain.hook != _POSTROUTING:
        out[rules.INPUT] = bridge
    if chain.hook != _PREROUTING:
        back[rules.OUTPUT] = bridge
    return [_Packet(out, (rules.OUTPUT, bridge)), _Packet(back, (rules.INPUT, bridge))]


def _follow(
    base: BaseChain,
    name: str,
    packet: _Packet,
    rules_of: Callable[[BaseChain, str], Sequence[FilterRule]],
    entered: tuple[str, ...],
) -> set[str]:
    """The ways in which the packet may leave a chain."""
    ends: set[str] = set()
    for rule in rules_of(base, name):
        matches = packet.matches(rule)
        if matches is False or rule.verdict == rules.NONE:
            continue
        here = _leaves(base, rule, packet, rules_of, (*entered, name))
        if rule.verdict == rules.JUMP:
            ends |= here - {_BACK}
            if _BACK in here or matches is None:
                continue
            return ends
        ends |= here
        if matches:
            return ends
    return ends | {_BACK}


def _leaves(
    base: BaseChain,
    rule: FilterRule,
    packet: _Packet,
    rules_of: Callable[[BaseChain, str], Sequence[FilterRule]],
    entered: tuple[str, ...],
) -> set[str]:
    if rule.verdict in (rules.JUMP, rules.GOTO):
        ends = {_BACK} if rule.target in entered else _follow(base, rule.target, packet, rules_of, entered)
        return {_DECIDED if rule.conditions and end == _DEFAULT else end for end in ends}
    if rule.verdict == rules.RETURN:
        return {_BACK}
    if rule.verdict == rules.UNKNOWN:
        return {_DECIDED, _BACK}
    return {_DEFAULT} if rule.verdict == rules.DROP and not rule.conditions else {_DECIDED}


def _sentence(bridge: str, chain: BaseChain, *, certain: bool) -> str:
    place = f"the chain {chain.name} of the nftables table {chain.family} {chain.table}"
    if certain:
        return f"{place} drops by default what {bridge} forwards, and cni-cnm does not change that table"
    return (
        f"{place} drops by default what its rules do not accept, and cni-cnm, which does not change that table, "
        f"cannot tell whether they accept what {bridge} forwards"
    )
