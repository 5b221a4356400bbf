"""The plan of a host, kept up to date with a directory: changes in, the entries that differ by them out.

Each entry follows from one network or one host. Only what changed is derived again. Where two hosts claim the same
entry (two records with one address), the one whose name sorts first has it. So the entries do not depend on the order
in which changes came.
"""

from __future__ import annotations

from typing import TypeVar

from cni_cnm.cluster import underlay
from cni_cnm.cluster.values import Block, ClusterHost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cni_cnm.cluster.underlay import Delta, Entry, Here, Key, Member
    from cni_cnm.cluster.values import BlockKey, Change

    _Claim = tuple[str, Entry]

Value = TypeVar("Value")


class Plan:
    """Of this host with its networks. If any of these changes, another plan is made."""

    def __init__(
        self, here: Here, members: Iterable[Member], hosts: Mapping[str, ClusterHost], blocks: Iterable[Block]
    ) -> None:
        self._here = here
        self._joined = {member.network.name: underlay.join(here, member) for member in members}
        self._hosts = dict(hosts)
        self._holders: dict[BlockKey, str] = {}
        self._blocks: dict[str, dict[BlockKey, Block]] = {}
        """By name of the host."""
        for block in blocks:
            self._holders[block.key] = block.host
            self._blocks.setdefault(block.host, {})[block.key] = block
        self._entries: dict[str, tuple[Entry, ...]] = {}
        """By name of the host that they follow from."""
        self._problems: dict[str, tuple[str, ...]] = {}
        self._claims: dict[Key, tuple[_Claim, ...]] = {}
        """By key, each with the name of the host."""
        own = [entry for one in self._joined.values() for entry in one.entries]
        self._own = list({underlay.key_of(entry): entry for entry in own}.values())
        for name in self._hosts:
            self._renew(name, None)

    @property
    def broken(self) -> Mapping[str, str]:
        """By network, why it has no data path; "" if it has one."""
        return {name: one.problem for name, one in self._joined.items()}

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences: which hosts are not reached, and why."""
        return tuple(sentence for name in sorted(self._problems) for sentence in self._problems[name])

    def wanted(self) -> list[Entry]:
        """All entries. No two have one key."""
        return [*self._own, *[_first(claims) for claims in self._claims.values()]]

    def change(self, changes: Iterable[Change]) -> Delta:
        """Take over which hosts and blocks have changed. Returns the entries that differ by it."""
        hosts: dict[str, None] = {}
        for one in changes:
            if isinstance(one.key, tuple):
                hosts.update(dict.fromkeys(self._move(one.key, one.new if isinstance(one.new, Block) else None)))
            elif one.kind == "host":
                self._hosts.pop(one.key, None)
                if isinstance(one.new, ClusterHost):
                    self._hosts[one.key] = one.new
                hosts[one.key] = None
        before: dict[Key, Entry | None] = {}
        for name in hosts:
            self._renew(name, before)
        after = {key: self._winner(key) for key in before}
        return {key: (entry, after[key]) for key, entry in before.items() if entry != after[key]}

    def _move(self, key: BlockKey, new: Block | None) -> list[str]:
        """The block has this holder from now on. Gives the hosts that this concerns."""
        concerned = []
        holder = self._holders.pop(key, None)
        if holder is not None:
            del self._blocks[holder][key]
            concerned.append(holder)
        if new is not None:
            self._holders[key] = new.host
            self._blocks.setdefault(new.host, {})[key] = new
            concerned.append(new.host)
        return concerned

    def _renew(self, name: str, touched: dict[Key, Entry | None] | None) -> None:
        """Derive what follows from a host again. `touched` gets each key that it has or had, with the entry before."""
        host = self._hosts.get(name)
        entries: tuple[Entry, ...] = ()
        problems: tuple[str, ...] = ()
        if host is not None and name != self._here.name:
            blocks = self._blocks.get(name, {}).values()
            entries, problems = underlay.of_host(self._here, self._joined, host, blocks)
        _put(self._problems, name, problems)
        old = self._entries.get(name, ())
        _put(self._entries, name, entries)
        for entry in old:
            key = underlay.key_of(entry)
            if touched is not None:
                touched.setdefault(key, self._winner(key))
            claims = list(self._claims.pop(key))
            claims.remove((name, entry))
            if claims:
                self._claims[key] = tuple(claims)
        for entry in entries:
            key = underlay.key_of(entry)
            if touched is not None:
                touched.setdefault(key, self._winner(key))
            claim = ((name, entry),)
            if self._claims.setdefault(key, claim) is not claim:
                self._claims[key] += claim

    def _winner(self, key: Key) -> Entry | None:
        claims = self._claims.get(key)
        return _first(claims) if claims else None


def _first(claims: tuple[_Claim, ...]) -> Entry:
    return claims[0][1] if len(claims) == 1 else min(claims, key=lambda one: (one[0], repr(one[1])))[1]


def _put(values: dict[str, tuple[Value, ...]], name: str, new: tuple[Value, ...]) -> None:
    if new:
        values[name] = new
    else:
        values.pop(name, None)
