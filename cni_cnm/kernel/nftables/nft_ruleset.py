"""The real `Ruleset`: tables, chains, rules and sets of one namespace, read over netlink.

Of thousands of rules only those of chains that are looked at are decoded.
"""

from __future__ import annotations

from functools import cached_property

from cni_cnm.bases import TypeVar
from cni_cnm.kernel.contract.ruleset import ChainRule, Found, HookChain, Verdict
from cni_cnm.kernel.netlink.nlattr import each, number, pack, places, raw, text
from cni_cnm.kernel.nftables import nfnetlink
from cni_cnm.kernel.nftables.nft_elements import inside, listed, names, nested_value
from cni_cnm.kernel.nftables.nft_operations import decode, verdict_of
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cni_cnm.kernel.nftables.nfnetlink import Answer

_GET_TABLE, _GET_CHAIN, _GET_RULE, _GET_SET, _GET_ELEMENT = 1, 4, 7, 10, 13
_TABLE_NAME, _TABLE_FLAGS, _TABLE_HANDLE, _DORMANT = 1, 2, 4, 1
_CHAIN_TABLE, _CHAIN_HANDLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE = 1, 2, 3, 4, 5, 7
_HOOK_NUMBER, _HOOK_PRIORITY, _HOOK_DEVICE, _HOOK_DEVICES = 1, 2, 3, 4
_RULE_TABLE, _RULE_CHAIN, _RULE_HANDLE, _RULE_EXPRESSIONS, _RULE_USERDATA = 1, 2, 3, 4, 7
_SET_FLAGS, _SET_KEY_BYTES, _INTERVAL, _CONCATENATED = 3, 5, 0x4, 0x80
_ELEMENTS, _KEY, _DATA, _FLAGS, _USERDATA, _KEY_END = 3, 1, 2, 3, 6, 10
_VALUE, _VERDICT = 1, 2
_INTERVAL_END, _CATCHALL = 1, 2
_NESTED = nfnetlink.NESTED

T = TypeVar("T")


class _Set(NamedTuple):
    flags: int
    key_bytes: int


class KernelRuleset:
    """`netns`: descriptor of the namespace; None: the calling thread's."""

    def __init__(self, netns: int | None = None) -> None:
        self._netns = netns
        self._questions = nfnetlink.Questions()
        self._handles: dict[str, int] = {}
        self._decoded: dict[tuple[str, str, str], Sequence[ChainRule]] = {}
        self._sets: dict[tuple[str, str, str], _Set | None] = {}
        self._intervals: dict[tuple[str, str, str], Sequence[tuple[bytes, bytes, Found]]] = {}

    def tables(self) -> Mapping[str, bool]:
        return self._tables

    def base_chains(self) -> Sequence[HookChain]:
        return self._base_chains

    def rules(self, family: str, table: str, chain: str) -> Sequence[ChainRule]:
        place = family, table, chain
        if place not in self._decoded:
            self._decoded[place] = [_rule(*answer) for answer in self._rules.get(place, ())]
        return self._decoded[place]

    def length(self, family: str, table: str, name: str) -> int:
        return self._set(family, table, name).key_bytes

    def find(self, family: str, table: str, name: str, key: bytes) -> Found | None:
        kind = self._set(family, table, name)
        if kind.flags & _INTERVAL and not kind.flags & _CONCATENATED:
            return next((one for low, high, one in self._interval(family, table, name) if low <= key < high), None)
        _, named = names(f"{family} {table}", name)
        body = named + pack(_NESTED | _ELEMENTS, pack(_NESTED | 1, nested_value(_KEY, key)))
        (answer,) = self._asked(lambda: self._questions.ask([(_GET_ELEMENT, family, body)]))
        if answer is None:
            return None
        data = answer[0]
        return _found(data, inside(data, inside(data, places(*answer).get(_ELEMENTS)).get(1)))

    def may_have(self, family: str, table: str, name: str, key: Sequence[int | None]) -> bool:
        """Compares words of four bytes: fields of a key begin at multiples of them."""
        kind = self._set(family, table, name)
        if kind.flags & _INTERVAL and not kind.flags & _CONCATENATED:
            return True
        words = [bytes(one) if None not in (one := key[at : at + 4]) else None for at in range(0, len(key), 4)]  # type: ignore[arg-type]
        body = names(f"{family} {table}", name)[1]
        for message in self._asked(lambda: self._questions.dump(_GET_ELEMENT, family, body)):
            data = message[0]
            for begin, end in listed(*message):
                fields = places(data, begin, end)
                low = raw(data, inside(data, fields.get(_KEY)).get(_VALUE))
                high = raw(data, inside(data, fields[_KEY_END]).get(_VALUE)) if _KEY_END in fields else low
                if number(data, fields.get(_FLAGS), "big") & _CATCHALL or _may_be(words, low, high):
                    return True
        return False

    @cached_property
    def _tables(self) -> Mapping[str, bool]:
        found, self._handles = {}, {}
        for data, begin, end in self._dump(_GET_TABLE):
            fields = places(data, begin, end)
            name = f"{nfnetlink.family(data, begin)} {text(data, fields.get(_TABLE_NAME))}"
            self._handles[name] = number(data, fields.get(_TABLE_HANDLE), "big")
            found[name] = bool(number(data, fields.get(_TABLE_FLAGS), "big") & _DORMANT)
        return found

    @cached_property
    def _base_chains(self) -> Sequence[HookChain]:
        """Of the same priority the last one that was added comes first (nf_hook_entries_grow). Handles tell it."""
        found: list[tuple[tuple[int, int, int], HookChain]] = []
        for data, begin, end in self._dump(_GET_CHAIN):
            fields = places(data, begin, end)
            family, table = nfnetlink.family(data, begin), text(data, fields.get(_CHAIN_TABLE))
            if _CHAIN_HOOK in fields and not self._tables.get(f"{family} {table}", True):
                chain = _base_chain(data, family, table, fields)
                handle = number(data, fields.get(_CHAIN_HANDLE), "big")
                found.append(((chain.priority, -self._handles[f"{family} {table}"], -handle), chain))
        return [chain for _, chain in sorted(found)]

    @cached_property
    def _rules(self) -> Mapping[tuple[str, str, str], Sequence[Answer]]:
        found: dict[tuple[str, str, str], list[Answer]] = {}
        for answer in self._dump(_GET_RULE):
            data, begin, _ = answer
            fields = places(*answer)
            table, chain = (text(data, fields.get(kind)) for kind in (_RULE_TABLE, _RULE_CHAIN))
            found.setdefault((nfnetlink.family(data, begin), table, chain), []).append(answer)
        return found

    def _set(self, family: str, table: str, name: str) -> _Set:
        """LookupError if it is absent."""
        place = family, table, name
        if place not in self._sets:
            (answer,) = self._asked(
                lambda: self._questions.ask([(_GET_SET, family, names(f"{family} {table}", name)[1])])
            )
            self._sets[place] = _set(*answer) if answer else None
        found = self._sets[place]
        if found is None:
            raise LookupError(f"the set {name} of {family} {table} is absent")
        return found

    def _interval(self, family: str, table: str, name: str) -> Sequence[tuple[bytes, bytes, Found]]:
        """Begin, end (which is not in it) and element of each interval of a set that is no concatenation."""
        place = family, table, name
        if place not in self._intervals:
            ends: list[tuple[bytes, bool, Found]] = []
            body = names(f"{family} {table}", name)[1]
            for message in self._asked(lambda: self._questions.dump(_GET_ELEMENT, family, body)):
                data = message[0]
                for begin, end in listed(*message):
                    fields = places(data, begin, end)
                    flags = number(data, fields.get(_FLAGS), "big")
                    if flags & _CATCHALL:
                        raise LookupError(f"the set {name} has an element for all other keys")
                    key = raw(data, inside(data, fields.get(_KEY)).get(_VALUE))
                    ends.append((key, bool(flags & _INTERVAL_END), _found(data, fields)))
            ends.sort(key=lambda one: (one[0], not one[1]))
            beyond = b"\xff" * 64
            self._intervals[place] = [
                (key, next((later for later, _, _ in ends[at + 1 :] if later > key), beyond), found)
                for at, (key, is_end, found) in enumerate(ends)
                if not is_end
            ]
        return self._intervals[place]

    def _dump(self, kind: int) -> list[Answer]:
        return self._asked(lambda: self._questions.dump(kind, "unspec", b""))

    def _asked(self, question: Callable[[], T]) -> T:
        if self._netns is None:
            return question()
        from cni_cnm.kernel.setns import entered

        return entered(self._netns, question)


def _may_be(words: Sequence[bytes | None], low: bytes, high: bytes) -> bool:
    """Whether a key of which some words are not known may lie between the two."""
    for at, word in enumerate(words):
        first, last = (end[at * 4 : at * 4 + 4].ljust(4, bytes(1)) for end in (low, high))
        if word is not None and first == last != word:
            return False
    return True


def _base_chain(data: bytes, family: str, table: str, fields: Mapping[int, tuple[int, int]]) -> HookChain:
    hook = places(data, *fields[_CHAIN_HOOK])
    devices = [text(data, hook[_HOOK_DEVICE])] if _HOOK_DEVICE in hook else []
    if _HOOK_DEVICES in hook:
        devices = [text(data, (begin, end)) for _, begin, end in each(data, *hook[_HOOK_DEVICES])]
    return HookChain(
        family,
        table,
        text(data, fields.get(_CHAIN_NAME)),
        number(data, hook.get(_HOOK_NUMBER), "big"),
        int.from_bytes(raw(data, hook.get(_HOOK_PRIORITY)), "big", signed=True),
        text(data, fields.get(_CHAIN_TYPE)),
        _CHAIN_POLICY in fields and number(data, fields[_CHAIN_POLICY], "big") == 0,
        tuple(devices),
    )


def _set(data: bytes, begin: int, end: int) -> _Set:
    fields = places(data, begin, end)
    return _Set(*(number(data, fields.get(kind), "big") for kind in (_SET_FLAGS, _SET_KEY_BYTES)))


def _rule(data: bytes, begin: int, end: int) -> ChainRule:
    fields = places(data, begin, end)
    return ChainRule(
        number(data, fields.get(_RULE_HANDLE), "big"),
        nfnetlink.comment(raw(data, fields.get(_RULE_USERDATA))),
        decode(data, *fields.get(_RULE_EXPRESSIONS, (0, 0))),
    )


def _found(data: bytes, fields: Mapping[int, tuple[int, int]]) -> Found:
    value = inside(data, fields.get(_DATA))
    verdict: Verdict | None = verdict_of(data, value[_VERDICT]) if _VERDICT in value else None
    return Found(nfnetlink.comment(raw(data, fields.get(_USERDATA))), raw(data, value.get(_VALUE)), verdict)
