"""The packet filter of the host, as far as the reference plugins use it: read once, asked many times.

iptables' programs are the host's, as the reference uses them; which backend they have does not matter. Tables of the
other backend are read, too: a pod with rules there was made before the host's programs were exchanged.
"""

from __future__ import annotations

import os
import re

from cni_cnm.errors import KernelFeatureMissing
from cni_cnm.kernel import iptables, nft_text
from cni_cnm.named_tuple import NamedTuple
from cni_cnm.reference import nftables_form
from cni_cnm.reference.rule import XT_FAMILIES, Rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_TABLES = ("nat", "filter")
_LEGACY_NAMES = {"iptables": "ip_tables_names", "ip6tables": "ip6_tables_names"}
_NF_TABLES = "nf_tables"
"""In the first line that iptables-save prints where it is not legacy."""
_TABLE = re.compile(r"^table (\S+ \S+) \{")
_CHAIN = re.compile(r"^\tchain (\S+) \{")
_RULE = re.compile(r"^\t\t(.*) # handle (\d+)$")


class FoundRule(NamedTuple):
    rule: Rule
    handle: int = 0
    """Of nftables."""


class HostRules(NamedTuple):
    chains: Mapping[tuple[str, str], tuple[FoundRule, ...]] = {}
    """The rules of each chain, by table and chain as `Rule` names them."""
    tables: frozenset[str] = frozenset()
    """Of nftables."""
    elsewhere: frozenset[str] = frozenset()
    """Names of chains in the tables of iptables' other backend."""

    def has(self, rule: Rule) -> bool:
        same = rule.same()
        return any(found.rule.same() == same for found in self.chains.get((rule.table, rule.chain), ()))

    def copies(self, rule: Rule) -> list[FoundRule]:
        """Each copy of the rule that the host has."""
        same = rule.same()
        return [found for found in self.chains.get((rule.table, rule.chain), ()) if found.rule.same() == same]

    def all_of(self, tables: Iterable[str]) -> Iterator[FoundRule]:
        wanted = set(tables)
        for (table, _), rules in self.chains.items():
            if table in wanted:
                yield from rules


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
