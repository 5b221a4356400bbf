"""Chains and rules of other programs, as far as they are understood: values that nf_tables and iptables-legacy share.

A rule is a verdict and its conditions. What a reader does not know is kept as a condition or a verdict of its own, and
never left out: a rule without conditions is one that is known to take every packet.
"""

from __future__ import annotations

from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ACCEPT, DROP, RETURN, JUMP, GOTO = "accept", "drop", "return", "jump", "goto"
NONE = ""
"""The rule decides nothing: it counts, logs or marks."""
UNKNOWN = "unknown"
"""A verdict or a condition that is not understood: it may drop, it may match."""
OTHER = "other"
"""A condition on something that is not looked at here: an address, a set, a rate."""
INPUT, OUTPUT, STATE, FAMILY = "iif", "oif", "state", "family"
"""Conditions that are understood. INPUT and OUTPUT are link names, `br+` for all that begin with `br`."""
PROTOCOL, PORT = "protocol", "port"
"""Likewise, in native rules of nf_tables: the number of the transport protocol, and the destination's port."""
STATES = ("INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED", "SNAT", "DNAT")
"""Of connection tracking, as iptables spells and sorts them."""
COMMENT = "cni-cnm:"
"""A rule of ours in another program's chain has this and 12 digits of an id as its comment."""


class Condition(NamedTuple):
    """That a packet's `field` is one of `values`, or none of them if `negated`."""

    field: str
    values: tuple[str, ...] = ()
    negated: bool = False


class FilterRule(NamedTuple):
    verdict: str
    conditions: tuple[Condition, ...] = ()
    target: str = ""
    """The chain that a jump or goto leads to."""
    comment: str = ""
    handle: int = 0
    """What it is told by in its chain: nf_tables' handle, or its number in a legacy table; 0: it is not there yet."""

    @property
    def ours(self) -> bool:
        return self.comment.startswith(COMMENT)

    @property
    def plain(self) -> FilterRule:
        """The rule wherever it stands."""
        return self._replace(handle=0)


class FilterTable(NamedTuple):
    """The iptables table `filter` of one family: its chains' rules in order, and whether FORWARD drops by policy."""

    family: str
    """`ip` or `ip6`."""
    legacy: bool
    chains: Mapping[str, Sequence[FilterRule]]
    ours: Sequence[tuple[str, FilterRule]]
    """Rules of ours and the chains they stand in."""
    drops: bool


class BaseChain(NamedTuple):
    """A chain of nf_tables that a hook calls."""

    family: str
    table: str
    name: str
    hook: int
    """The kernel's number, by family; of inet, ip, ip6 and bridge: 0 prerouting, 2 forward, 4 postrouting."""
    drops: bool
    """By policy."""

    @property
    def place(self) -> str:
        """For people, and what `Nft.handles` takes."""
        return f"{self.family} {self.table} {self.name}"


class Edit(NamedTuple):
    """A change of a filter table: `remove` is there, `insert` goes before `before` (None: to the end of the chain).

    Edits are applied in order; of several before the same rule the first one stands first.
    """

    chain: str
    remove: FilterRule | None = None
    insert: FilterRule | None = None
    before: FilterRule | None = None
