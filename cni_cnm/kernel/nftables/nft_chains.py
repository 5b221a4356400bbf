"""Other programs' tables, base chains and rules of nf_tables, read over netlink and changed as iptables would.

A change is made only of what was read: the batch names the generation of the ruleset that it is based on, and the
kernel refuses it if there was another change since.
"""

from __future__ import annotations

from collections.abc import Mapping
from errno import ENOENT, ERESTART

from cni_cnm.kernel.contract import filter_rules
from cni_cnm.kernel.contract.filter_rules import BaseChain, FilterRule, FilterTable
from cni_cnm.kernel.netlink.nlattr import number, pack, places, text
from cni_cnm.kernel.nftables import nfnetlink, nft_expressions, nft_handles, xt_expressions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cni_cnm.kernel.contract.filter_rules import Edit
    from cni_cnm.kernel.nftables.nfnetlink import Questions

_GET_CHAIN, _NEW_RULE, _GET_RULE, _DELETE_RULE = 4, 6, 7, 8
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _HOOK_NUMBER = 1, 3, 4, 5, 1
_RULE_TABLE, _RULE_CHAIN, _RULE_HANDLE, _RULE_EXPRESSIONS, _RULE_POSITION = 1, 2, 3, 4, 6
_DROP = 0
_CREATE, _APPEND = 0x400, 0x800
_TRIES = 20


def base_chains(questions: Questions) -> list[BaseChain]:
    """Of all tables that are not dormant."""
    awake, found = nft_handles.tables(questions), []
    for data, begin, end in questions.dump(_GET_CHAIN, "unspec", b""):
        fields = places(data, begin, end)
        hook = fields.get(_CHAIN_HOOK)
        family, table = nfnetlink.family(data, begin), text(data, fields.get(_CHAIN_TABLE))
        if hook is not None and f"{family} {table}" in awake:
            drops = _CHAIN_POLICY in fields and number(data, fields[_CHAIN_POLICY], "big") == _DROP
            number_of_hook = number(data, places(data, *hook).get(_HOOK_NUMBER), "big")
            name = text(data, fields.get(_CHAIN_NAME))
            found.append(BaseChain(family, table, name, number_of_hook, drops))
    return found


def rules(questions: Questions, family: str, table: str, chain: str) -> list[FilterRule]:
    body = nfnetlink.text(_RULE_TABLE, table) + nfnetlink.text(_RULE_CHAIN, chain)
    return [nft_expressions.read(*answer) for answer in questions.dump(_GET_RULE, family, body)]


def filter_table(questions: Questions, family: str) -> FilterTable | None:
    """iptables' table `filter` of a family; None without one, or without a chain FORWARD."""
    names, drops = [], None
    for data, begin, end in questions.dump(_GET_CHAIN, family, b""):
        fields = places(data, begin, end)
        if text(data, fields.get(_CHAIN_TABLE)) == "filter":
            names.append(text(data, fields.get(_CHAIN_NAME)))
            if names[-1] == "FORWARD" and _CHAIN_HOOK in fields:
                drops = number(data, fields.get(_CHAIN_POLICY), "big") == _DROP
    if drops is None:
        return None
    chains = _Chains(questions, family, names)
    return FilterTable(family, False, chains, chains.ours(), drops)


class _Chains(Mapping[str, "Sequence[FilterRule]"]):
    """By name. Of thousands of rules (network policies) only those of chains that are looked at are decoded."""

    def __init__(self, questions: Questions, family: str, names: Sequence[str]) -> None:
        self._questions, self._family = questions, family
        self._decoded: dict[str, Sequence[FilterRule] | None] = dict.fromkeys(names)

    def __getitem__(self, name: str) -> Sequence[FilterRule]:
        found = self._decoded[name]
        if found is None:
            found = self._decoded[name] = rules(self._questions, self._family, "filter", name)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._decoded

    def __iter__(self) -> Iterator[str]:
        return iter(self._decoded)

    def __len__(self) -> int:
        return len(self._decoded)

    def ours(self) -> tuple[tuple[str, FilterRule], ...]:
        """Wherever they stand."""
        mark = filter_rules.COMMENT.encode()
        all_rules = self._questions.dump(_GET_RULE, self._family, nfnetlink.text(_RULE_TABLE, "filter"))
        holders = {
            text(data, places(data, begin, end).get(_RULE_CHAIN))
            for data, begin, end in all_rules
            if data.find(mark, begin, end) >= 0
        }
        return tuple((name, rule) for name in self if name in holders for rule in self[name] if rule.ours)


def edit(questions: Questions, family: str, change: Callable[[FilterTable], Sequence[Edit]]) -> None:
    """Let `change` say what to do with the table, and do that at once and whole. OSError if the kernel refuses."""
    for attempt in range(_TRIES):
        generation = questions.generation()
        table = filter_table(questions, family)
        edits = change(table) if table is not None else ()
        if not edits:
            return
        try:
            # A ruleset that changes all the time is changed at last all the same: a place is a rule's handle.
            questions.commit([_message(family, one) for one in edits], generation if attempt < _TRIES // 2 else 0)
        except OSError as error:
            if error.errno not in (ERESTART, ENOENT) or attempt == _TRIES - 1:
                raise
            continue
        return


def _message(family: str, edit: Edit) -> tuple[int, str, int, bytes]:
    """Kind, family, flags and attributes."""
    body = nfnetlink.text(_RULE_TABLE, "filter") + nfnetlink.text(_RULE_CHAIN, edit.chain)
    if edit.remove is not None:
        return _DELETE_RULE, family, 0, body + pack(_RULE_HANDLE, edit.remove.handle.to_bytes(8, "big"))
    assert edit.insert is not None
    body += pack(nfnetlink.NESTED | _RULE_EXPRESSIONS, xt_expressions.encode(edit.insert))
    if edit.before is None:
        return _NEW_RULE, family, _CREATE | _APPEND, body
    return _NEW_RULE, family, _CREATE, body + pack(_RULE_POSITION, edit.before.handle.to_bytes(8, "big"))
