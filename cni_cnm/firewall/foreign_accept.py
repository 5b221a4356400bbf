"""Accepts in iptables: packets of a network that a default rule there would drop are accepted, once per network.

An accept in a table of ours does not prevent another table's drop. So it must be in that table, directly before the
default drops the packet. A default is an unconditional DROP or REJECT in `FORWARD`, or in a chain that it always
enters (`DOCKER-USER`, ufw's). The end of `FORWARD` is one if its policy is DROP, as Docker sets it. What others
decide on purpose before (network policies, Docker's own isolation, an administrator) stays in effect. A rule that
is not understood does not count as a default.

Pure: a `FilterTable` as the kernel has it in, edits of it out. The rules of a network are found by their comment,
`cni-cnm:` and 12 digits of its id:

    -i br-1 -j CNI-ADMIN, -o br-1 -j CNI-ADMIN        the administrator's chain, while there is one: first in FORWARD
    -i br-1 -j ACCEPT                                 out, and within the bridge under br_netfilter
    -o br-1 --ctstate RELATED,ESTABLISHED,DNAT        answers, and published ports
    -o br-1 -j ACCEPT                                 instead, where traffic that is no answer is let in
"""

from __future__ import annotations

from cni_cnm.errors import InvalidConfig
from cni_cnm.kernel.contract import filter_rules as rules
from cni_cnm.kernel.contract.filter_rules import Condition, Edit, FilterRule
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.firewall import Accepted
    from cni_cnm.kernel.contract.filter_rules import FilterTable

_FORWARD = "FORWARD"
CHAIN_NAME_MAX = 28
"""Bytes of a chain's name that iptables takes."""
_ANSWERS = Condition(rules.STATE, ("RELATED", "ESTABLISHED", "DNAT"))


class Place(NamedTuple):
    """Where a chain drops all that is left: before that rule, None: at its end, by policy."""

    chain: str
    before: FilterRule | None
    shared: bool = False
    """No accept can stand there: `before` leads to a chain that decides more than that, and not of this alone."""


def parse_chain(name: object) -> str:
    """`iptablesAdminChainName`; "" for none."""
    if name is None or name == "":
        return ""
    if (
        not isinstance(name, str)
        or len(name.encode()) > CHAIN_NAME_MAX
        or name[0] in "-!"
        or not name.isprintable()
        or any(character in " \"'\\" for character in name)
    ):
        raise InvalidConfig(f"iptablesAdminChainName {name!r} is not the name of an iptables chain")
    return name


def edits(table: FilterTable, networks: Sequence[Accepted]) -> list[Edit]:
    """What makes the table as it should be for these networks, and for no other: rules of any other of ours go."""
    drops = _usable(table)
    marks = {_mark(network.key) for network in networks}
    inserts: list[Edit] = []
    removes = [Edit(chain, remove=rule) for chain, rule in table.ours if rule.comment not in marks]
    for network in networks:
        if lacks(table, network):
            present = [(chain, rule) for chain, rule in table.ours if rule.comment == _mark(network.key)]
            jumps, accepts = _jumps(table, network), _accepts(table, network)
            head = next((rule for rule in table.chains.get(_FORWARD, ()) if not _is_jump(rule)), None)
            inserts += [Edit(_FORWARD, insert=rule, before=head) for rule in jumps]
            inserts += [Edit(place.chain, insert=rule, before=place.before) for place in drops for rule in accepts]
            removes += [Edit(chain, remove=rule) for chain, rule in present]
    return inserts + removes  # in this order each rule that another one goes before is there


def withdraw(table: FilterTable, network_id: str) -> list[Edit]:
    """Removes what `edits` put there for one network, wherever it stands now."""
    return [Edit(chain, remove=rule) for chain, rule in table.ours if rule.comment == _mark(network_id)]


def lacks(table: FilterTable, network: Accepted) -> bool:
    """Whether `edits` would do anything for this network."""
    present = [(chain, rule) for chain, rule in table.ours if rule.comment == _mark(network.key)]
    return not _stand(table, present, _jumps(table, network), _accepts(table, network), _usable(table))


def entered(table: FilterTable) -> list[str]:
    """FORWARD and the chains it always enters: only a change there can make a new default, or take our rules away."""
    found = [_FORWARD] if _FORWARD in table.chains else []
    for chain in found:
        targets = (rule.target for rule in table.chains[chain] if not rule.conditions)
        found += dict.fromkeys(target for target in targets if target in table.chains and target not in found)
    return found


def unsure(table: FilterTable) -> list[tuple[str, FilterRule]]:
    """Rules, and their chains, that may drop what is accepted behind them, or what cannot be accepted.

    There is nothing to say where none drops by default.
    """
    places = default_drops(table)
    shared = [(place.chain, place.before) for place in places if place.shared and place.before]
    not_understood = [
        (chain, rule)
        for chain in (entered(table) if places else ())
        for rule in table.chains[chain]
        if rule.verdict == rules.UNKNOWN and not rule.conditions
    ]
    return shared + not_understood


def default_drops(table: FilterTable) -> list[Place]:
    """Every place where all that is left is dropped: of a chain that may return before, the next one counts, too."""
    if _FORWARD not in table.chains:
        return []
    places, _ = _walk(table, _FORWARD, last=table.drops)
    return list(dict.fromkeys(places))


def _walk(
    table: FilterTable, chain: str, entered_by: frozenset[str] = frozenset(), *, last: bool
) -> tuple[list[Place], bool]:
    """The places of a chain and of those it always enters; and whether no packet comes back from it.

    `last`: what would come back from this chain is dropped by policy. Where a condition sends it back, that is decided.
    """
    places: list[Place] = []
    may_return = False
    for rule in table.chains[chain]:
        if rule.ours:
            continue
        if rule.conditions:
            may_return |= rule.verdict in (rules.RETURN, rules.GOTO, rules.UNKNOWN)
        elif rule.verdict == rules.DROP or (rule.verdict == rules.RETURN and last):
            return [*places, Place(chain, rule)], not may_return
        elif rule.verdict == rules.ACCEPT:
            return places, not may_return
        elif rule.verdict == rules.RETURN:
            return places, False
        elif rule.target in table.chains and rule.target not in entered_by | {chain}:
            goto = rule.verdict == rules.GOTO
            inner, ended = _walk(table, rule.target, entered_by | {chain}, last=last and goto)
            places += [Place(chain, rule, _decides(table, rule.target))] if inner and _is_shared(table, rule) else inner
            if ended or goto:
                return places, ended and not may_return
    return ([*places, Place(chain, None)], True) if last else (places, False)


def _is_shared(table: FilterTable, jump: FilterRule) -> bool:
    """Whether other rules lead there, too, as to one that logs and drops: an accept inside would lift their drop."""
    leading = (rule for rules_of in table.chains.values() for rule in rules_of if rule.target == jump.target)
    return sum(not rule.ours for rule in leading) > 1


def _decides(table: FilterTable, chain: str) -> bool:
    """Whether it does anything before it drops, that an accept before it would pass over."""
    others = (rule for rule in table.chains[chain] if not rule.ours)
    first = next((rule for rule in others if rule.verdict != rules.NONE), None)
    return first is None or bool(first.conditions) or first.verdict != rules.DROP


def _usable(table: FilterTable) -> list[Place]:
    return [place for place in default_drops(table) if not place.shared]


def _jumps(table: FilterTable, network: Accepted) -> list[FilterRule]:
    if network.admin_chain not in table.chains or _FORWARD not in table.chains:
        return []
    ways = (Condition(field, (network.bridge,)) for field in (rules.INPUT, rules.OUTPUT))
    return [FilterRule(rules.JUMP, (way,), network.admin_chain, _mark(network.key)) for way in ways]


def _accepts(table: FilterTable, network: Accepted) -> list[FilterRule]:
    mark = _mark(network.key)
    out, back = (Condition(field, (network.bridge,)) for field in (rules.INPUT, rules.OUTPUT))
    if network.internal:
        return [FilterRule(rules.ACCEPT, (out, back), "", mark)]
    answers_only = () if table.family in network.inbound else (_ANSWERS,)
    return [FilterRule(rules.ACCEPT, (out,), "", mark), FilterRule(rules.ACCEPT, (back, *answers_only), "", mark)]


def _stand(
    table: FilterTable,
    present: Sequence[tuple[str, FilterRule]],
    jumps: Sequence[FilterRule],
    accepts: Sequence[FilterRule],
    drops: Sequence[Place],
) -> bool:
    """Whether the rules that are `present` are those that should be, where they count."""
    if len(present) != len(jumps) + len(accepts) * len(drops):
        return False
    ahead = [rule.plain for rule in _ahead(table)] if jumps else []
    if not _in_order(jumps, ahead):
        return False
    return all(_in_order(accepts, [rule.plain for rule in _right_before(table, place)]) for place in drops)


def _in_order(wanted: Sequence[FilterRule], there: Sequence[FilterRule]) -> bool:
    rest = iter(there)
    return all(rule in rest for rule in wanted)


def _ahead(table: FilterTable) -> Iterator[FilterRule]:
    """The rules of FORWARD before the first that decides of everything, or accepts for a network of ours."""
    for rule in table.chains[_FORWARD]:
        if rule.ours and rule.verdict == rules.ACCEPT:
            return
        if not rule.conditions and rule.verdict not in (rules.NONE, rules.JUMP):
            return
        if not rule.conditions and rule.target in table.chains and _walk(table, rule.target, last=False)[1]:
            return
        yield rule


def _right_before(table: FilterTable, place: Place) -> list[FilterRule]:
    """Our rules between the place and the rule of others before it."""
    found: list[FilterRule] = []
    for rule in table.chains[place.chain]:
        if rule == place.before:
            break
        found = [*found, rule] if rule.ours else []
    return found


def _is_jump(rule: FilterRule) -> bool:
    return rule.ours and rule.verdict == rules.JUMP


def _mark(network_id: str) -> str:
    return f"{rules.COMMENT}{network_id[:12]}"
