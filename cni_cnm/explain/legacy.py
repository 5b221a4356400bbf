"""Rules of iptables-legacy, which nf_tables does not show: the table filter, as far as its rules are understood.

Links and states of connection tracking are understood. A rule about anything else may match, or not.
"""

from __future__ import annotations

from cni_cnm.errors import CnmError
from cni_cnm.explain.hooks import FORWARD, INPUT, OUTPUT
from cni_cnm.explain.packet import DST_NAT, SRC_NAT
from cni_cnm.explain.rules import ACCEPT, BACK, DROP
from cni_cnm.explain.verdict import dropped, unknown
from cni_cnm.kernel.contract import filter_rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.explain.packet import Packet
    from cni_cnm.explain.space import Space
    from cni_cnm.kernel import Link
    from cni_cnm.kernel.contract.filter_rules import Condition, FilterRule, FilterTable

_CHAINS = {INPUT: "INPUT", FORWARD: "FORWARD", OUTPUT: "OUTPUT"}
_STATES = {1: "INVALID", 2: "ESTABLISHED", 4: "RELATED", 8: "NEW", 64: "UNTRACKED"}
_DEPTH_MAX = 16
_MAYBE = "may match"


def require_passage(space: Space, packet: Packet, hook: int, incoming: Link | None, outgoing: Link | None) -> None:
    """Ended if a rule or the policy drops the packet, or if that is not known."""
    name = _CHAINS.get(hook, "")
    if not name or not space.has_legacy(packet.version):
        return
    command = "iptables-legacy" if packet.version == 4 else "ip6tables-legacy"
    look = f"{command} -S {name}"
    try:
        table = space.legacy_filter(packet.family)
    except CnmError as error:
        raise unknown(space, f"rules of {command} are not read: {error}", look) from error
    ends = _follow(table, name, packet, incoming, outgoing, 0)
    if BACK in ends:
        ends = ends - {BACK} | {_policy(table, name)}
    if ends == {ACCEPT}:
        return
    if ends == {DROP}:
        raise dropped(space, f"{name.lower()}: the chain {name} of {command} drops it", look)
    raise unknown(space, f"{name.lower()}: a rule or the policy of {command}, chain {name}, is not understood", look)


def _policy(table: FilterTable, name: str) -> str:
    """Known of FORWARD alone. A chain without rules is taken to accept: most hosts have no other."""
    if name == "FORWARD":
        return DROP if table.drops else ACCEPT
    return _MAYBE if table.chains.get(name) else ACCEPT


def _follow(
    table: FilterTable, name: str, packet: Packet, incoming: Link | None, outgoing: Link | None, depth: int
) -> set[str]:
    """The ways in which a packet may leave a chain."""
    ends: set[str] = set()
    for rule in table.chains.get(name, ()) if depth < _DEPTH_MAX else ():
        matches = _matches(rule, packet, incoming, outgoing)
        if matches is False or rule.verdict == filter_rules.NONE:
            continue
        if rule.verdict in (filter_rules.JUMP, filter_rules.GOTO):
            inner = _follow(table, rule.target, packet, incoming, outgoing, depth + 1)
            ends |= inner - {BACK}
            going_on = (BACK in inner and rule.verdict == filter_rules.JUMP) or matches is None
            ends |= {BACK} if BACK in inner and rule.verdict == filter_rules.GOTO else set()
        else:
            verdict = {filter_rules.ACCEPT: ACCEPT, filter_rules.DROP: DROP, filter_rules.RETURN: BACK}
            ends.add(verdict.get(rule.verdict, _MAYBE))
            going_on = matches is None
        if not going_on:
            return ends
    return ends | {BACK}


def _matches(rule: FilterRule, packet: Packet, incoming: Link | None, outgoing: Link | None) -> bool | None:
    met = [_meets(condition, packet, incoming, outgoing) for condition in rule.conditions]
    return False if False in met else None if None in met else True


def _meets(condition: Condition, packet: Packet, incoming: Link | None, outgoing: Link | None) -> bool | None:
    if condition.field == filter_rules.STATE:
        there = {_STATES.get(packet.state, "")}
        there |= {"SNAT"} if packet.status & SRC_NAT else set()
        there |= {"DNAT"} if packet.status & DST_NAT else set()
        return bool(there.intersection(condition.values)) is not condition.negated
    if condition.field in (filter_rules.INPUT, filter_rules.OUTPUT):
        link = incoming if condition.field == filter_rules.INPUT else outgoing
        name = link.name if link is not None else ""
        found = any(name == one or (one.endswith("+") and name.startswith(one[:-1])) for one in condition.values)
        return found is not condition.negated
    return None
