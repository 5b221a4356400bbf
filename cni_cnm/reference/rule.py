"""One rule of the packet filter as text, in iptables' words or in nft's, and what makes two texts the same rule."""

from __future__ import annotations

import re

from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

XT_FAMILIES = {4: "iptables", 6: "ip6tables"}
"""Programs, by IP version; also the first word of a rule's `table`."""
_WORD = re.compile(r' *("(?:[^"\\]|\\.)*"|[^ ]+)')
_ESCAPED = re.compile(r"\\(.)")
_SPELLED = {"--destination-ports": "--dports", "--destination-port": "--dport"}
_ADDRESSES = ("-s", "-d")


class Rule(NamedTuple):
    table: str
    """`iptables nat`, `ip6tables filter`: of iptables, whichever backend the program has. `inet NAME`: of nftables."""
    chain: str
    text: str
    """As iptables-save prints it behind `-A CHAIN`, or as nft lists it."""
    first: bool = False
    """The reference puts it before the rules that are there, where it is missing."""

    def is_xt(self) -> bool:
        return is_xt(self.table)

    def same(self) -> tuple[str, str, object]:
        """Equal for two texts of the same rule of one chain."""
        return self.table, self.chain, canonical(self.text) if self.is_xt() else self.text


def is_xt(table: str) -> bool:
    return table.partition(" ")[0] in XT_FAMILIES.values()


def canonical(text: str) -> tuple[tuple[str, ...], ...]:
    """The matches of an iptables rule in alphabetical order, then its target with its options in their order."""
    matches: list[tuple[str, ...]] = []
    target: tuple[str, ...] = ()
    group: list[str] = []

    def end() -> None:
        nonlocal target
        if group and group[0] in ("-j", "-g"):
            target = tuple(group)
        elif group and group[0] != "-m":
            matches.append(_group(group))
        group.clear()

    for word in words(text):
        ends_group = word.startswith("-") or word == "!"
        in_target = bool(group) and group[0] in ("-j", "-g")
        takes_any = bool(group) and group[-1] == "--comment"
        if ends_group and not takes_any and group != ["!"] and not (in_target and word.startswith("--")):
            end()
        group.append(word)
    end()
    return (*sorted(matches), target)


def words(text: str) -> Iterator[str]:
    """As iptables-save writes them: in double quotes where it is needed."""
    for match in _WORD.finditer(text):
        word = match[1]
        yield _ESCAPED.sub(r"\1", word[1:-1]) if word[0] == '"' else word


def quoted(word: str) -> str:
    """For iptables-restore."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _group(group: list[str]) -> tuple[str, ...]:
    spelled = [_SPELLED.get(word, word) for word in group]
    if len(spelled) > 1 and spelled[-2] in _ADDRESSES and "/" not in spelled[-1]:
        spelled[-1] += "/128" if ":" in spelled[-1] else "/32"
    return tuple(spelled)
