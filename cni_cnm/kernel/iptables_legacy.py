"""The legacy tables `filter`, read and changed by the host's own programs. For nf_tables: nftables/nft_chains.py."""

from __future__ import annotations

import re

from cni_cnm.errors import IoFailed
from cni_cnm.kernel import iptables
from cni_cnm.kernel.contract import filter_rules as rules
from cni_cnm.kernel.contract.filter_rules import Condition, FilterRule, FilterTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_cnm.kernel.contract.filter_rules import Edit

_PROGRAMS = {"ip": ("iptables-legacy", "iptables"), "ip6": ("ip6tables-legacy", "ip6tables")}
_OF_NF_TABLES = "nf_tables"
"""In the first line that iptables-save prints of tables that are not legacy."""
_VERDICTS = {"ACCEPT": rules.ACCEPT, "DROP": rules.DROP, "REJECT": rules.DROP, "RETURN": rules.RETURN} | dict.fromkeys(
    (
        "LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS", "CT", "TRACE", "CLASSIFY", "DSCP", "TOS", "TTL", "HL", "SET",
        "CHECKSUM", "AUDIT", "TEE", "NOTRACK", "SECMARK", "CONNSECMARK", "IDLETIMER", "LED", "RATEEST", "HMARK",
    ),
    rules.NONE,
)  # fmt: skip
"""Of targets; a chain's name is a jump, anything else may drop."""
_WORD, _LINK = re.compile(r' *("(?:[^"\\]|\\.)*"(?= |$)|[^ ]+)'), re.compile(r" *([^ ]+)")
_ESCAPE = re.compile(r"\\(.)")
_WAYS = {"-i": rules.INPUT, "-o": rules.OUTPUT}


def read(family: str) -> FilterTable:
    """The table of a family (`ip`, `ip6`). IoFailed where its programs are missing or cannot read it."""
    for program in _PROGRAMS[family]:
        saved = iptables.save(program, "filter")
        if saved and _OF_NF_TABLES not in saved.partition("\n")[0]:
            return parse(family, saved)
    raise IoFailed(
        f"{_PROGRAMS[family][0]}-save is not installed, so the rules of the legacy table filter cannot be read",
        hint="install the iptables programs that made the table",
    )


def edit(table: FilterTable, edits: Sequence[Edit]) -> None:
    """Make the edits of what was read, all at once. IoFailed with iptables' words."""
    script = _script(table, edits)
    program, other = _PROGRAMS[table.family]
    if not iptables.restore(program, script):
        iptables.restore(other, script)


def parse(family: str, saved: str) -> FilterTable:
    """The table of an `iptables-legacy-save -t filter`."""
    chains: dict[str, list[FilterRule]] = {}
    drops = False
    lines = saved.split("\n")
    for line in lines:
        if line.startswith(":"):
            name, policy = line[1:].split(" ")[:2]
            chains[name] = []
            drops |= (name, policy) == ("FORWARD", "DROP")
    for line in lines:
        if line.startswith("-A "):
            name = line.split(" ", 2)[1]
            chains[name].append(_rule(line, chains, len(chains[name]) + 1))
    ours = tuple((name, rule) for name, found in chains.items() for rule in found if rule.ours)
    return FilterTable(family, True, chains, ours, drops)


def _rule(line: str, chains: dict[str, list[FilterRule]], number: int) -> FilterRule:
    """`-A CHAIN [matches] [-j TARGET [options]]`: whatever of the matches is not known is a condition."""
    words = _words_of(line.partition(" ")[2].partition(" ")[2])
    conditions: list[Condition] = []
    verdict, target, comment, negated = rules.NONE, "", "", False
    for word in words:
        if word in ("-j", "-g"):
            name = next(words, "")
            verdict = _VERDICTS.get(name, rules.UNKNOWN)
            if name in chains:
                verdict, target = rules.JUMP if word == "-j" else rules.GOTO, name
            break  # what follows are the target's options
        if word == "!":
            negated = True
            continue
        if word in _WAYS:
            conditions.append(Condition(_WAYS[word], (next(words, ""),), negated))
        elif word == "--comment":
            comment = next(words, "")
        elif word in ("--ctstate", "--state"):
            conditions.append(Condition(rules.STATE, _states(next(words, "")), negated))
        elif word == "-m":
            if next(words, "") not in ("comment", "conntrack", "state"):
                conditions.append(Condition(rules.OTHER))
        else:
            conditions.append(Condition(rules.OTHER))
        negated = False
    return FilterRule(verdict, tuple(conditions), target, comment, number)


def _words_of(text: str) -> Iterator[str]:
    """As iptables-save writes them: in double quotes where it is needed, but a link's name never is."""
    word, place = "", 0
    while found := (_LINK if word in _WAYS else _WORD).match(text, place):
        quoted = word not in _WAYS and len(found[1]) > 1 and found[1][0] == found[1][-1] == '"'
        word, place = _ESCAPE.sub(r"\1", found[1][1:-1]) if quoted else found[1], found.end()
        yield word


def _states(listed: str) -> tuple[str, ...]:
    names = listed.split(",")
    return tuple(name for name in rules.STATES if name in names)


def _script(table: FilterTable, edits: Sequence[Edit]) -> str:
    """For `iptables-restore --noflush`: what others put in meanwhile shifts the numbers that this counts by."""
    numbers = {name: [rule.handle for rule in found] for name, found in table.chains.items()}
    return "\n".join(("*filter", *(_line(one, numbers[one.chain]) for one in edits), "COMMIT", ""))


def _line(edit: Edit, there: list[int]) -> str:
    """`there`: how the rules of the chain were numbered when they were read, in the order they stand in now."""
    if edit.remove is not None:
        place = there.index(edit.remove.handle)
        del there[place]
        return f"-D {edit.chain} {place + 1}"
    assert edit.insert is not None
    place = there.index(edit.before.handle) if edit.before else len(there)
    there.insert(place, 0)
    return f"-I {edit.chain} {place + 1} {' '.join(_words(edit.insert))}"


def _words(rule: FilterRule) -> Iterator[str]:
    for condition in rule.conditions:
        if condition.field == rules.STATE:
            yield f"-m conntrack --ctstate {','.join(condition.values)}"
        else:
            yield f"{'-i' if condition.field == rules.INPUT else '-o'} {condition.values[0]}"
    yield f"-m comment --comment {rule.comment}"
    yield f"-j {rule.target or 'ACCEPT'}"
