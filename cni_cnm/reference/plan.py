"""What to tell iptables and nft, so that an attachment has exactly the rules it should have. Pure.

Chains and rules that are not the attachment's own are added where they are missing, and never removed.
"""

from __future__ import annotations

from itertools import pairwise

from cni_cnm.named_tuple import NamedTuple
from cni_cnm.reference import compare, names
from cni_cnm.reference.nftables_form import DECLARED, SPOOF
from cni_cnm.reference.rule import XT_FAMILIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cni_cnm.reference.attachment import Attachment
    from cni_cnm.reference.host_rules import FoundRule, HostRules
    from cni_cnm.reference.rule import Rule

_BUILT_IN = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
_TARGETS = ("ACCEPT", "DROP", "RETURN", "MASQUERADE", "DNAT", "MARK")
_TABLES = ("nat", "filter")


class Plan(NamedTuple):
    scripts: tuple[tuple[str, str], ...] = ()
    """Program (`iptables`, `ip6tables`) and script for its `-restore --noflush`."""
    nft: tuple[str, ...] = ()
    """Commands of one transaction."""

    def __bool__(self) -> bool:
        return bool(self.scripts or self.nft)


def plan(attachment: Attachment, own: Sequence[Rule], shared: Sequence[Rule], seen: HostRules) -> Plan:
    """For `own` rules, and no others of the attachment; before them the `shared` ones that are missing."""
    found = compare.own_rules(attachment, seen)
    chains = compare.own_chains(attachment, seen)
    private = set(chains) | {(rule.table, rule.chain) for rule in own if rule.chain.startswith(_private(attachment))}
    scripts = []
    for program in XT_FAMILIES.values():
        lines: list[str] = []
        for table in _TABLES:
            changes = list(_xt(f"{program} {table}", attachment, own, shared, found, private, seen))
            lines += [f"*{table}", *changes, "COMMIT"] if changes else []
        if lines:
            scripts.append((program, "\n".join((*lines, ""))))
    return Plan(tuple(scripts), tuple(_nft(own, shared, found, chains, seen)))


def without(rules: Sequence[Rule], seen: HostRules) -> Plan:
    """To remove every copy of these rules of iptables."""
    scripts = []
    for program in XT_FAMILIES.values():
        lines: list[str] = []
        for table in _TABLES:
            found = [one.rule for rule in rules if rule.table == f"{program} {table}" for one in seen.copies(rule)]
            lines += [f"*{table}", *(f"-D {rule.chain} {rule.text}" for rule in found), "COMMIT"] if found else []
        if lines:
            scripts.append((program, "\n".join((*lines, ""))))
    return Plan(tuple(scripts))


def _xt(
    table: str,
    attachment: Attachment,
    own: Sequence[Rule],
    shared: Sequence[Rule],
    found: Sequence[FoundRule],
    private: set[tuple[str, str]],
    seen: HostRules,
) -> Iterator[str]:
    """Lines of one table: chains, rules, and at last the chains that are to go."""
    needed = [rule for rule in (*shared, *own) if rule.table == table]
    portmap = attachment.configuration.portmap
    foreign = portmap.mark_chain if portmap is not None else ""
    wanted_chains = dict.fromkeys(chain for rule in needed for chain in _chains(rule) if chain != foreign)
    yield from (f"-N {chain}" for chain in wanted_chains if (table, chain) not in seen.chains)
    for rule in shared:
        if rule.table == table and not seen.has(rule):
            yield _added(rule)
    gone = []
    for _, chain in sorted(place for place in private if place[0] == table):
        rules = [rule for rule in own if (rule.table, rule.chain) == (table, chain)]
        there = seen.chains.get((table, chain), ())
        if [rule.same() for rule in rules] != [one.rule.same() for one in there]:
            if there:
                yield f"-F {chain}"
            yield from map(_added, rules)
        if chain not in wanted_chains and (table, chain) in seen.chains:
            gone.append(chain)
    wanted = {rule.same() for rule in own}
    for one in found:
        if one.rule.table == table and (table, one.rule.chain) not in private and one.rule.same() not in wanted:
            yield f"-D {one.rule.chain} {one.rule.text}"
    for rule in own:
        if rule.table == table and (table, rule.chain) not in private and not seen.has(rule):
            yield _added(rule)
    yield from (f"-X {chain}" for chain in gone)


def _nft(
    own: Sequence[Rule],
    shared: Sequence[Rule],
    found: Sequence[FoundRule],
    chains: Sequence[tuple[str, str]],
    seen: HostRules,
) -> Iterator[str]:
    missing = [rule for rule in shared if not rule.is_xt() and not seen.has(rule)]
    needed = [rule for rule in (*shared, *own) if not rule.is_xt()]
    tables = dict.fromkeys(rule.table for rule in needed if rule.table not in seen.tables)
    for table in tables:
        comment = DECLARED.get((table, ""), "")
        yield f"add table {table}{f' {{ {comment} }}' if comment else ''}"
    places = dict.fromkeys((rule.table, chain) for rule in needed for chain in _nft_chains(rule))
    for table, chain in places:
        if (table, chain) not in seen.chains:
            declared = DECLARED.get((table, chain), "")
            yield f"add chain {table} {chain}{f' {{ {declared} }}' if declared else ''}"
    yield from (f"add rule {rule.table} {rule.chain} {rule.text}" for rule in missing)
    left = [rule.same() for rule in own if not rule.is_xt()]
    for one in found:
        if one.rule.is_xt():
            continue
        if one.rule.same() in left:
            left.remove(one.rule.same())
        else:
            yield f"delete rule {one.rule.table} {one.rule.chain} handle {one.handle}"
    for rule in own:
        if not rule.is_xt() and rule.same() in left:
            left.remove(rule.same())
            yield f"add rule {rule.table} {rule.chain} {rule.text}"
    used = {(rule.table, rule.chain) for rule in own}
    yield from (f"delete chain {' '.join(place)}" for place in chains if place[0] == SPOOF and place not in used)


def _private(attachment: Attachment) -> tuple[str, ...]:
    return names.masquerade_chain(attachment.key), names.ports_chain(attachment.key)


def _added(rule: Rule) -> str:
    return f"-I {rule.chain} 1 {rule.text}" if rule.first else f"-A {rule.chain} {rule.text}"


def _chains(rule: Rule) -> Iterable[str]:
    """The rule's own chain and the one that it jumps to, if the reference makes them."""
    target = rule.text.rpartition("-j ")[2].split(" ")[0]
    return (name for name in (rule.chain, target) if name not in _BUILT_IN and name not in _TARGETS)


def _nft_chains(rule: Rule) -> Iterator[str]:
    """A chain that is jumped to comes first."""
    words = rule.text.split(" ")
    for verb, target in pairwise(words):
        if verb in ("jump", "goto"):
            yield target
    yield rule.chain
