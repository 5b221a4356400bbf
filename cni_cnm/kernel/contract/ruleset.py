"""The rules of every table of nf_tables in one namespace, as the kernel runs them: expressions over registers.

Values in registers are bytes as the kernel has them there. Each expression that is not understood is an `Unknown`, and
is never left out.
"""

from __future__ import annotations

from typing import Protocol

from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias


class Load(NamedTuple):
    """Puts a value into a register. `source` is `meta`, `ct`, `fib` or `payload`; `key` is the kernel's number.

    Of `payload` the key is the header (0 Ethernet, 1 IP, 2 transport), of `fib` the result. Other sources are loads
    whose value is not known here.
    """

    to: int
    source: str
    key: int = 0
    offset: int = 0
    length: int = 0
    flags: int = 0


class Constant(NamedTuple):
    to: int
    value: bytes


class Mask(NamedTuple):
    """`to` = (`register` & `mask`) ^ `flip`."""

    register: int
    to: int
    mask: bytes
    flip: bytes


class Swap(NamedTuple):
    """Turns the order of the bytes of each number of `size` bytes, where the host's is not the network's."""

    register: int
    to: int
    length: int
    size: int


class Compare(NamedTuple):
    """Bytes in order. `operator` is ==, !=, <, <=, > or >=."""

    register: int
    operator: str
    value: bytes


class Between(NamedTuple):
    register: int
    low: bytes
    high: bytes
    negated: bool


class Lookup(NamedTuple):
    """In a set. `to` -1: a set; 0: a map to verdicts; else the register that gets the element's data."""

    register: int
    set: str
    negated: bool
    to: int


class Verdict(NamedTuple):
    """`code` is accept, drop, return, jump, goto or continue."""

    code: str
    chain: str = ""


class Store(NamedTuple):
    """Sets a property of the packet (`meta`) or of its connection (`ct`) from a register."""

    register: int
    target: str
    key: int


class Nat(NamedTuple):
    """`kind` is dnat, snat, masquerade or redirect. Registers are -1 where nothing is given."""

    kind: str
    family: int
    address: int = -1
    port: int = -1


class Match(NamedTuple):
    """Of iptables: its name, revision and struct."""

    name: str
    revision: int
    info: bytes


class Target(NamedTuple):
    """Of iptables."""

    name: str
    revision: int
    info: bytes


class Limit(NamedTuple):
    """A rate. `over`: it matches what is above."""

    over: bool


class Statement(NamedTuple):
    """Changes nothing that is looked at here: a counter, a log."""

    name: str
    object: str = ""
    """The named counter, or another object that it uses."""


class Unknown(NamedTuple):
    name: str


Expression: TypeAlias = (
    "Load | Constant | Mask | Swap | Compare | Between | Lookup | Verdict | Store | Nat | Match | Target | Limit"
    " | Statement | Unknown"
)


class ChainRule(NamedTuple):
    handle: int
    comment: str
    expressions: Sequence[Expression]


class HookChain(NamedTuple):
    """A chain that a hook calls."""

    family: str
    table: str
    name: str
    hook: int
    """The kernel's number: of inet, ip, ip6 and bridge 0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting, 5
    ingress; of netdev 0 ingress, 1 egress."""
    priority: int
    kind: str
    """`filter`, `nat` or `route`."""
    drops: bool
    """By policy."""
    devices: tuple[str, ...] = ()
    """Of a hook at links: their names."""


class Found(NamedTuple):
    """An element that a key was found in."""

    comment: str
    data: bytes
    verdict: Verdict | None


class Ruleset(Protocol):
    """Read when it is made or first asked, and then always the same."""

    def base_chains(self) -> Sequence[HookChain]:
        """Of all tables that are not dormant, in the order of their priorities."""

    def rules(self, family: str, table: str, chain: str) -> Sequence[ChainRule]: ...

    def find(self, family: str, table: str, name: str, key: bytes) -> Found | None:
        """The element of a set that the key is in; None if there is none. LookupError for a set that is not read."""

    def may_have(self, family: str, table: str, name: str, key: Sequence[int | None]) -> bool:
        """Whether a key of which some bytes are not known (None) may be in the set."""

    def length(self, family: str, table: str, name: str) -> int:
        """Bytes of a key of the set, with the fields' padding."""

    def tables(self) -> Mapping[str, bool]:
        """`FAMILY TABLE` of all tables, and whether it is dormant."""
