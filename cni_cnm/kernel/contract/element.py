"""Elements and rules of nftables, and a transaction that changes them."""

from __future__ import annotations

from errno import EEXIST

from cni_cnm.errors import KernelError
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Element(NamedTuple):
    """One element of an nftables set or map of ours. `key` and `value` are nft syntax: `10.0.0.2`, `goto net_1`."""

    table: str
    """Family and name: `inet cni_cnm`."""
    set: str
    key: str
    value: str = ""
    comment: str = ""
    """Its owner (12 digits of an id), a space, a name for people; at most 128 bytes, no double quotes."""

    @property
    def owner(self) -> str:
        """The comment's first word."""
        return self.comment.partition(" ")[0]

    @property
    def place(self) -> tuple[str, str, str]:
        """Table, set and key: what the kernel knows an element by."""
        return self.table, self.set, plain(self.key)


def plain(text: str) -> str:
    """A key or value with single spaces, as nft lists it. What else Unicode has for a space is a part of a name."""
    return " ".join(filter(None, text.replace("\n", " ").replace("\t", " ").split(" ")))


def link_key(name: str) -> str:
    """A link's name as the key of an element, or a part of one."""
    return f'"{name}"'


def link_name(key: str) -> str:
    """The reverse of `link_key`."""
    return key[1:-1]


def has_text(key: str) -> bool:
    """Whether an nft script can have the key.

    nft's strings have no escape for double quotes. Where it unescapes `*` at the end, it drops every backslash.
    """
    links = [link_name(part) for part in key.split(" . ") if part.startswith('"')]
    return not any('"' in name or name.endswith("*") for name in links)


class Rule(NamedTuple):
    """A rule of an nftables table, ours or another program's."""

    table: str
    chain: str
    handle: int
    comment: str
    expressions: bytes = b""
    """As the kernel shows them (NFTA_RULE_EXPRESSIONS)."""


class Handle(NamedTuple):
    """What identifies a table or chain, and what shows that it was changed.

    A table that was deleted and made again has another handle. A chain that was flushed has no uses.
    """

    handle: int
    use: int = 0
    """Of a chain: its rules and the jumps to it."""
    policy: int = -1
    """0 drops, 1 accepts; -1 for a table, and for a chain without hook."""


class Counter(NamedTuple):
    """A named counter of an nftables table, which several rules may share."""

    table: str
    """Family and name."""
    name: str
    packets: int
    bytes: int


class Transaction(NamedTuple):
    """A change of our nftables tables, applied whole or not at all.

    `declare` is an idempotent nft script of what the elements need: tables, sets, chains and their rules. It runs only
    when it is needed: if a put fails because something is missing, both are tried again in one transaction.
    """

    declare: str = ""
    put: tuple[Element, ...] = ()
    """Added. An element of the same key is replaced, whatever its value or comment."""
    remove: tuple[Element, ...] = ()
    """Deleted by key before anything is added. No error if the element or its table is absent."""
    claim: tuple[Element, ...] = ()
    """Added, but never in place of another owner's element: then `ElementTaken`, and nothing is changed."""
    release: tuple[Element, ...] = ()
    """Deleted by key, but not if the element there has another owner and another value. No error if absent."""


def merge(*transactions: Transaction) -> Transaction:
    """All of them as one. Where several put the same element (networks on one bridge), the last one counts."""
    return Transaction(
        declare="".join(dict.fromkeys(one.declare for one in transactions)),
        put=tuple({element[:3]: element for one in transactions for element in one.put}.values()),
        remove=tuple(element for one in transactions for element in one.remove),
        claim=tuple(element for one in transactions for element in one.claim),
        release=tuple(element for one in transactions for element in one.release),
    )


class ElementTaken(KernelError):
    """A claim found elements of other owners: `holders`, as they are in the kernel."""

    def __init__(self, holders: Sequence[Element]) -> None:
        first = holders[0]
        super().__init__(
            f"{first.key} in {first.table} {first.set} belongs to {first.comment or 'an unknown owner'}", EEXIST
        )
        self.holders = tuple(holders)
