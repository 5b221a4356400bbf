"""The packet filter of the host, as far as the reference plugins use it: read once, asked many times.

iptables' programs are the host's, as the reference uses them; which backend they have does not matter. Tables of the
other backend are read, too: a pod with rules there was made before the host's programs were exchanged.
"""

from __future__ import annotations

import os
import re
from itertools import pairwise

from cni_cnm.errors import KernelFeatureMissing
from cni_cnm.kernel import iptables, nft_text
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.reference import nftables_form
from cni_cnm.reference.iptables_form import FORWARD
from cni_cnm.reference.rule import XT_FAMILIES, Rule, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_TABLES = ("nat", "filter")
_LEGACY_NAMES = {"iptables": "ip_tables_names", "ip6tables": "ip6_tables_names"}
_NF_TABLES = "nf_tables"
"""In the first line that iptables-save prints where it is not legacy."""
_TABLE = re.compile(r"^table (\S+ \S+) \{")
_CHAIN = re.compile(r"^\tchain (\S+) \{")
_COMMENT = re.compile(r' comment "([^"]*)"$')
_RULE = re.compile(r"^\t\t(.*) # handle (\d+)$")


class FoundRule(NamedTuple):
    rule: Rule
    handle: int = 0
    """Of nftables."""


class HostRules:
    """`chains`: the rules of each chain, by table and chain as `Rule` names them. `tables`: of nftables.

    `elsewhere`: names of chains in the tables of iptables' other backend. What is asked for is looked up, so that a
    question costs the same with a thousand pods.
    """

    def __init__(
        self,
        chains: Mapping[tuple[str, str], tuple[FoundRule, ...]],
        tables: frozenset[str] = frozenset(),
        elsewhere: frozenset[str] = frozenset(),
    ) -> None:
        self.chains, self.tables, self.elsewhere = chains, tables, elsewhere
        self._copies: dict[tuple[str, str], dict[object, list[FoundRule]]] = {}
        self._named: dict[str, list[FoundRule]] = {}
        for rules in chains.values():
            for found in rules:
                for name in _names_in(found.rule):
                    self._named.setdefault(name, []).append(found)

    def has(self, rule: Rule) -> bool:
        return bool(self.copies(rule))

    def copies(self, rule: Rule) -> Sequence[FoundRule]:
        """Each copy of the rule that the host has."""
        place = (rule.table, rule.chain)
        if place not in self._copies:
            known: dict[object, list[FoundRule]] = {}
            for found in self.chains.get(place, ()):
                known.setdefault(found.rule.same(), []).append(found)
            self._copies[place] = known
        return self._copies[place].get(rule.same(), ())

    def named(self, name: str) -> Sequence[FoundRule]:
        """Rules with this comment (nftables), that jump to this chain (iptables), of this address in CNI-FORWARD.

        An address has its prefix length: `10.0.0.2/32`.
        """
        return self._named.get(name, ())


def read() -> HostRules:
    """Of the calling thread's network namespace. IoFailed, KernelError with the programs' own words."""
    chains: dict[tuple[str, str], tuple[FoundRule, ...]] = {}
    elsewhere: set[str] = set()
    for program in XT_FAMILIES.values():
        saved = iptables.save(program)
        chains |= parse_saved(program, saved)
        for other in _other_backend(program, saved):
            elsewhere |= {name for _, name in parse_saved(program, iptables.save(other))}
    try:
        listed = nft_text.listing(nftables_form.TABLES)
    except KernelFeatureMissing:
        listed = ""
    found, tables = parse_listing(listed)
    return HostRules(chains | found, tables, frozenset(elsewhere))


def parse_saved(program: str, saved: str) -> dict[tuple[str, str], tuple[FoundRule, ...]]:
    """Of what PROGRAM-save prints: chains of the tables nat and filter."""
    found: dict[tuple[str, str], list[FoundRule]] = {}
    table = ""
    for line in saved.split("\n"):
        if line.startswith("*"):
            table = line[1:]
        elif table not in _TABLES:
            continue
        elif line.startswith(":"):
            found.setdefault((f"{program} {table}", line[1:].partition(" ")[0]), [])
        elif line.startswith("-A "):
            _, chain, text = line.split(" ", 2) if line.count(" ") > 1 else (*line.split(" "), "")
            place = f"{program} {table}", chain
            found.setdefault(place, []).append(FoundRule(Rule(*place, text)))
    return {place: tuple(rules) for place, rules in found.items()}


def parse_listing(listed: str) -> tuple[dict[tuple[str, str], tuple[FoundRule, ...]], frozenset[str]]:
    """Of what nft lists with handles: chains, and the names of the tables."""
    found: dict[tuple[str, str], list[FoundRule]] = {}
    tables: set[str] = set()
    table = chain = ""
    for line in listed.split("\n"):
        if match := _TABLE.match(line):
            table = match[1]
            tables.add(table)
        elif match := _CHAIN.match(line):
            chain = match[1]
            found[table, chain] = []
        elif (match := _RULE.match(line)) and (table, chain) in found:
            found[table, chain].append(FoundRule(Rule(table, chain, match[1]), int(match[2])))
    return {place: tuple(rules) for place, rules in found.items()}, frozenset(tables)


def _names_in(rule: Rule) -> Iterator[str]:
    if not rule.is_xt():
        comment = _COMMENT.search(rule.text)
        if comment:
            yield comment[1]
        return
    target = rule.text.rpartition("-j ")[2]
    if target.startswith("CNI-"):
        yield target
    if rule.chain == FORWARD:
        yield from {value for flag, value in pairwise(words(rule.text)) if flag in ("-s", "-d")}


def _other_backend(program: str, saved: str) -> Iterator[str]:
    """The program that shows the tables of the other backend, if there may be any. Asking legacy makes its tables."""
    if _NF_TABLES not in saved.partition("\n")[0] and saved:
        yield f"{program}-nft"
    elif _has_legacy(program):
        yield f"{program}-legacy"


def _has_legacy(program: str) -> bool:
    try:
        descriptor = os.open(f"/proc/thread-self/net/{_LEGACY_NAMES[program]}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return bool(os.read(descriptor, 4096))
    except OSError:
        return False
    finally:
        os.close(descriptor)
