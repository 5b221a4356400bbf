"""The only code that touches the kernel: netlink, nftables, sysctls, namespaces.

Everything above gets a `Stack` handed in: one network namespace, with verbs. `stack.py` is the real one (pyroute2's
message classes over one blocking socket); tests/memory_kernel keeps the same promises in dicts, for tests without root;
both pass tests/contract. Only `wiring.py` chooses. Verbs raise `KernelError` with the kernel's errno and a
sentence naming the object; nothing above ever sees a netlink message or enters a namespace.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from cni_cnm.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from contextlib import AbstractContextManager

    from cni_cnm.model import IPAddress, IPInterface, IPNetwork, Json

    Stream = tuple[int, range]
    """Protocol number (17, 6) and ports of the host."""


class Link(NamedTuple):
    """A network device as the kernel shows it. Indexes are of the namespace the Stack stands for; 0 means none."""

    ifindex: int
    name: str
    kind: str = ""
    """`bridge`, `veth`, `macvlan`, …; "" for devices without rtnetlink kind (lo, hardware)."""
    mac: str = ""
    mtu: int = 0
    up: bool = False
    master: int = 0
    peer: int = 0
    """IFLA_LINK: index, in its own namespace, of a veth's other end, or of what a macvlan, ipvlan or VLAN is on."""
    promisc: bool = False
    allmulti: bool = False
    txqlen: int = 0
    group: int = 0
    alias: str = ""
    vlan_filtering: bool = False
    """Bridges only."""
    mode: str = ""
    """Of a macvlan `bridge`, `private`, `vepa` or `passthru`, of an ipvlan `l2`, `l3` or `l3s`."""
    flag: str = ""
    """Of an ipvlan: `bridge`, `private` or `vepa`."""


class RouteEntry(NamedTuple):
    """A unicast route. `dst` is always given (0.0.0.0/0, ::/0 for default); `link` 0: none (pure nexthop)."""

    dst: IPNetwork
    gw: IPAddress | None = None
    link: int = 0
    mtu: int | None = None
    advmss: int | None = None
    priority: int | None = None
    table: int | None = None
    scope: int | None = None
    """rtnetlink scope: 0 universe, 253 link. None: universe with a gateway, link without."""
    src: IPAddress | None = None


class Port(NamedTuple):
    """Flags of a bridge port."""

    hairpin: bool = False
    isolated: bool = False


class Vlan(NamedTuple):
    vid: int
    pvid: bool = False
    untagged: bool = False


class Rate(NamedTuple):
    """A token bucket: bits a second, and how many bits may pass at once after a pause."""

    rate: int
    burst: int


class Element(NamedTuple):
    """One element of an nftables set or map of ours. `key` and `value` are nft syntax: `10.0.0.2`, `goto net_1`."""

    table: str
    """Family and name: `inet cni_cnm`."""
    set: str
    key: str
    value: str = ""
    comment: str = ""
    """Who put it there: its owner (12 digits of an id), a space, a name (at most 128 bytes, no double quotes)."""

    @property
    def owner(self) -> str:
        """The comment's first word."""
        return self.comment.partition(" ")[0]


class Rule(NamedTuple):
    """A rule of an nftables table, ours or another program's."""

    table: str
    chain: str
    handle: int
    comment: str
    expressions: bytes = b""
    """As the kernel shows them."""


class Transaction(NamedTuple):
    """A change of our nftables tables, applied whole or not at all.

    `declare` is an idempotent nft script of what the elements need (tables, sets, chains and their rules). It is run
    only when it is needed: a put that fails because something is missing is tried again behind it, in one transaction.
    """

    declare: str = ""
    put: tuple[Element, ...] = ()
    """Added; one of the same key is replaced, whatever its value or comment."""
    remove: tuple[Element, ...] = ()
    """Deleted by key, before anything is put; missing (also the whole table) is done."""
    claim: tuple[Element, ...] = ()
    """Put, but never in place of another owner's: `ElementTaken` then, and nothing is changed."""
    release: tuple[Element, ...] = ()
    """Deleted by key, unless what is there is another owner's of another value; missing is done."""


def merge(*transactions: Transaction) -> Transaction:
    """All of them as one; of an element that several put (networks on one bridge) the last one."""
    return Transaction(
        declare="".join(dict.fromkeys(one.declare for one in transactions)),
        put=tuple({element[:3]: element for one in transactions for element in one.put}.values()),
        remove=tuple(element for one in transactions for element in one.remove),
        claim=tuple(element for one in transactions for element in one.claim),
        release=tuple(element for one in transactions for element in one.release),
    )


class ElementTaken(KernelError):
    """A claim met elements of other owners: `holders`, as they are there."""

    def __init__(self, holders: Sequence[Element]) -> None:
        from errno import EEXIST

        first = holders[0]
        super().__init__(
            f"{first.key} in {first.table} {first.set} belongs to {first.comment or 'nobody known'}", EEXIST
        )
        self.holders = tuple(holders)


class Stack(Protocol):
    """One network namespace and its verbs.

    Used by one thread at a time. Inside `batch()` writing verbs are queued and go out together when the block ends
    or a reading verb is called; the first failure is raised there, after the kernel has tried all of them.
    """

    path: str
    """How the namespace was named: its path, or "" for the process's own."""

    def close(self) -> None: ...
    def batch(self) -> AbstractContextManager[None]: ...
    def inode(self) -> int:
        """Identity of the namespace: inode number in nsfs."""

    # links -----------------------------------------------------------------
    def link(self, name: str) -> Link | None:
        """The link of that name, None if there is none."""

    def link_at(self, index: int) -> Link | None: ...
    def links(self, *, master: int = 0) -> Sequence[Link]:
        """All links, or the ports of bridge `master`."""

    def add_bridge(self, name: str, *, mac: str, mtu: int = 0, vlan_filtering: bool = False) -> None:
        """A bridge, down. A MAC is always given: a bridge without one changes its address with its ports."""

    def add_veth(
        self,
        name: str,
        *,
        peer: str,
        peer_stack: Stack,
        mtu: int = 0,
        mac: str = "",
        peer_mac: str = "",
        master: int = 0,
    ) -> Link | None:
        """A veth pair born in its two places in one request: `name` here, `peer` in `peer_stack`; both down.

        `mac` is of the end here, `peer_mac` of the peer; `master` enslaves the end here. EEXIST if a name is taken.
        Gives the end here as `link` would, or None: in a batch, and where the kernel does not tell (before 6.2).
        """

    def add_macvlan(
        self, name: str, parent: int, *, mode: str, to: Stack, mac: str = "", mtu: int = 0, bc_queue: int = 0
    ) -> None:
        """A macvlan on a link of this namespace, born down in another one under its final name (or here: `to` itself).

        Without `mtu` it has the parent's; `passthru` has the parent's MAC, whatever is given. `bc_queue`: packets of
        broadcast that may wait, 0 for the kernel's default. EINVAL on lo, beside a passthru or for a second link in
        that mode, and for an MTU above the parent's; EBUSY on a bridge's port; EEXIST if the name is taken.
        """

    def add_ipvlan(self, name: str, parent: int, *, mode: str, flag: str = "bridge", to: Stack, mtu: int = 0) -> None:
        """The same as an ipvlan, which has the parent's MAC. All ipvlans of a parent get the mode and flag of the last.

        KernelFeatureMissing where the kernel has no ipvlan.
        """

    def add_vlan_link(self, name: str, parent: int, vid: int, *, mtu: int = 0) -> None:
        """An 802.1Q sub-interface of a link, down. EEXIST if the name or the parent's VLAN is taken.

        KernelFeatureMissing where the kernel has no 802.1Q.
        """

    def set_link(
        self,
        index: int,
        *,
        up: bool | None = None,
        name: str | None = None,
        mac: str | None = None,
        mtu: int | None = None,
        master: int | None = None,
        promisc: bool | None = None,
        allmulti: bool | None = None,
        txqlen: int | None = None,
        group: int | None = None,
        alias: str | None = None,
    ) -> None:
        """Change what is given, in one request. `master` 0 releases."""

    def move_link(self, index: int, to: Stack, *, name: str = "") -> None:
        """Move a link to another namespace (14 ms in the kernel: drivers make links where they live instead)."""

    def delete_link(self, index: int) -> None:
        """Returns when it is gone, which takes 15 to 20 ms of waiting in the kernel. Gone already is done.

        Not queued in a batch, but sent at once behind what is.
        """

    def deleting(self) -> AbstractContextManager[None]:
        """Links deleted inside the block go at its end, all of them in one wait; the first failure is raised there."""

    def set_port(self, index: int, port: Port) -> None: ...
    def port(self, index: int) -> Port: ...
    def vlans(self, index: int) -> Sequence[Vlan]: ...
    def add_vlan(self, index: int, vlan: Vlan) -> None:
        """KernelFeatureMissing where the kernel has no bridge VLAN filtering."""

    def delete_vlan(self, index: int, vid: int) -> None: ...

    # traffic control: not queued, but sent at once behind what is --------------
    def add_ifb(self, name: str, *, mtu: int = 0) -> Link | None:
        """A link that takes what another one redirects to it, up. EEXIST if the name is taken. (Queued in a batch.)

        Gives the link as `add_veth` does.
        """

    def set_rate(self, index: int, rate: Rate | None, *, mtu: int = 0) -> None:
        """Limit what leaves by a link, in place of a limit it has. None: no more; ENOENT if it has none.

        `mtu` is the link's, from whoever knows it already. The burst is raised to what reaches the rate and cut to what
        the kernel keeps (kernel/token_bucket.py): `rate` tells.
        """

    def rate(self, index: int) -> Rate | None:
        """What `set_rate` set, as the kernel keeps it; None if nothing limits the link."""

    def redirect_ingress(self, index: int, to: int) -> None:
        """Send all that comes in by a link out of another one; EEXIST if it is redirected. 0: no more, or ENOENT."""

    def redirected(self, index: int) -> int:
        """Index of the link that what comes in is redirected to; 0 if it is not, or that link is gone."""

    # addresses and routes --------------------------------------------------
    def addresses(self, index: int) -> Sequence[IPInterface]: ...
    def tentative(self, index: int) -> bool:
        """True while duplicate address detection runs on any IPv6 address of the link."""

    def add_address(self, index: int, address: IPInterface, *, dad: bool = False) -> None:
        """EEXIST if the link has it. Without `dad` an IPv6 address is usable at once (IFA_F_NODAD)."""

    def delete_address(self, index: int, address: IPInterface) -> None: ...
    def routes(self, *, link: int = 0, table: int | None = None) -> Sequence[RouteEntry]:
        """Unicast routes of the main (or given) table, both families; of one link if given."""

    def add_route(self, route: RouteEntry) -> None:
        """EEXIST if an equal one (same dst, priority, table) exists."""

    def delete_route(self, route: RouteEntry) -> None: ...

    # /proc/sys/net ---------------------------------------------------------
    def sysctl(self, key: str) -> str | None:
        """Value of `net/…` (slashes: `net/ipv4/ip_forward`) in this namespace, stripped; None if there is none."""

    def set_sysctls(self, values: Sequence[tuple[str, str]], *, tolerate: bool = False) -> None:
        """Write those that differ, in order, in one visit to the namespace. Raises KernelError naming the key.

        A missing key is ENOENT, an unwritable one EROFS/EACCES; one that already has the value is never written.
        With `tolerate` such keys are passed over: hygiene that a kernel without the feature does not need.
        """


class Namespaces(Protocol):
    """Opens Stacks. The real one is kernel/netns.py."""

    def host(self) -> Stack:
        """The namespace the program itself was called in."""

    def open(self, path: str) -> Stack:
        """The namespace at a path. `NamespaceGone` when the path is empty, missing or a plain file.

        Never creates anything; the program's own namespace is untouched before, during and after.
        """


class Seen(NamedTuple):
    """Of a table: its handle. Of a chain: its handle, how often it is used (its rules, jumps to it), its policy."""

    handle: int
    use: int = 0
    policy: int = -1
    """0 drops, 1 accepts; -1 for a table, and for a chain without hook."""


class ForeignFirewalls(Protocol):
    """What other programs keep in the packet filters of the host: iptables of both kinds, and firewalld."""

    def stamp(self, chains: Sequence[str]) -> Json:
        """What changes with FORWARD and these chains (`ip CHAIN`, `ip6 CHAIN`), a legacy rule, a start of firewalld.

        A list of JSON; `[]` where no other firewall is, so that nothing has to be accepted anywhere. 0.1 ms.
        """

    def rewrite(self, change: Callable[[str, str], str]) -> None:
        """Let `change(family, saved)` write a script for each filter table there is, from its `iptables-save`.

        `family` is ip or ip6, "" for a legacy table; without a script nothing is run. IoFailed with iptables' words.
        """

    def firewalld(self) -> bool:
        """Whether firewalld filters here, by nftables."""

    def trust(self, link: str, zone: str) -> None:
        """Put a link into a zone of firewalld, "" for trusted; nothing where none runs."""

    def trusts(self, link: str, zone: str) -> bool | None:
        """Whether it is there; None where no firewalld runs."""

    def forget(self, link: str, zone: str) -> None:
        """Take it out; missing is done."""


class Nft(Protocol):
    """Our nftables tables in the host's namespace."""

    def commit(self, transaction: Transaction, *, declare: bool = False) -> None:
        """All of it or nothing. KernelError with nft's own message; KernelFeatureMissing without nf_tables.

        With `declare` the declaration is run in any case: rules that somebody flushed come back.
        """

    def find(self, elements: Sequence[Element]) -> Sequence[Element | None]:
        """Under the key of each what is there, with its own value and comment; None: nothing. 20 µs each.

        A range is there only with the same two ends. No set is listed: how much else there is costs nothing.
        """

    def elements(self, table: str, name: str = "") -> Sequence[Element]:
        """What a set or map holds, or all sets of the table; a missing one holds nothing. 5 ms per 1,000."""

    def delete_table(self, table: str) -> None:
        """Remove a whole table; missing is done."""

    def glance(self, names: Sequence[str]) -> Sequence[Seen | None]:
        """Of each `FAMILY TABLE` or `FAMILY TABLE CHAIN` what is there. 0.1 ms for ten."""

    def rules(self, table: str) -> dict[str, int]:
        """How many rules each chain of a table has; chains without any are left out."""

    def commented(self, tables: Sequence[str], words: Collection[str]) -> Sequence[Rule]:
        """Rules of these tables, other programs' too, that have one of the words in their comments.

        A table that is missing has none: four of those take 0.1 ms.
        """

    def remove_rules(self, rules: Sequence[Rule], chains: Sequence[str] = ()) -> None:
        """Remove them, then the chains (`FAMILY TABLE CHAIN`) that are empty then; what is gone is done."""

    def published(self, streams: Sequence[Stream], targets: Collection[IPAddress]) -> int:
        """Forget what connection tracking leads elsewhere from ports that are published to `targets` now: UDP.

        How many streams that were; 0.1 ms, 20 ms a family with more than 500 connections.
        """

    def unpublished(self, streams: Sequence[Stream], targets: Collection[IPAddress]) -> int:
        """Forget what connection tracking leads from these ports to `targets`, where they are published no more."""
