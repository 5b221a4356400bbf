"""The plan of a host, kept up to date with a directory: changes in, the entries that differ by them out.

Each entry follows from one network or one host. Only what changed is derived again. Where two hosts claim the same
entry (two records with one address), the one whose name sorts first has it. So the entries do not depend on the order
in which changes came.
"""

from __future__ import annotations

from cni_cnm.cluster import underlay
from cni_cnm.cluster.values import Block, ClusterHost
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cni_cnm.cluster.underlay import Delta, Entry, Here, Key, Member
    from cni_cnm.cluster.values import BlockKey, Change
    from cni_cnm.model import IPNetwork

    _Names = str | tuple[str, ...]


class _Known(NamedTuple):
    """Of one host."""

    host: ClusterHost | None
    blocks: tuple[Block, ...]
    entries: tuple[Entry, ...]


_NOTHING = _Known(None, (), ())


class Plan:
    """Of this host with its networks. If any of these changes, another plan is made."""

    def __init__(
        self, here: Here, members: Iterable[Member], hosts: Mapping[str, ClusterHost], blocks: Iterable[Block]
    ) -> None:
        self._here = here
        self._joined = {member.network.name: underlay.join(here, member) for member in members}
        self._holders: dict[str, dict[IPNetwork, str]] = {}
        """By network and first subnet of a block: the name of the host that has it."""
        self._hosts = {name: _Known(host, (), ()) for name, host in hosts.items()}
        for block in blocks:
            self._hold(block)
        self._problems: dict[str, tuple[str, ...]] = {}
        self._claims: dict[object, dict[object, _Names]] = {}
        """By type of the entry, and what is unique of it: the hosts that claim it. Mostly it is one."""
        own = [entry for one in self._joined.values() for entry in one.entries]
        self._own = list({underlay.key_of(entry): entry for entry in own}.values())
        for name in tuple(self._hosts):
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
        found = list(self._own)
        for name, known in self._hosts.items():
            keys = [underlay.key_of(entry) for entry in known.entries]
            apart = len(set(keys)) == len(keys)
            for entry, key in zip(known.entries, keys, strict=True):
                if (apart and self._claimants(key) == (name,)) or self._winner(key) is entry:
                    found.append(entry)
        return found

    def change(self, changes: Iterable[Change]) -> Delta:
        """Take over which hosts and blocks have changed. Returns the entries that differ by it."""
        hosts: dict[str, None] = {}
        for one in changes:
            if isinstance(one.key, tuple):
                hosts.update(dict.fromkeys(self._move(one.key, one.new if isinstance(one.new, Block) else None)))
            elif one.kind == "host":
                host = one.new if isinstance(one.new, ClusterHost) else None
                self._put(one.key, self._hosts.get(one.key, _NOTHING)._replace(host=host))
                hosts[one.key] = None
        before: dict[Key, Entry | None] = {}
        for name in hosts:
            self._renew(name, before)
        after = {key: self._winner(key) for key in before}
        return {key: (entry, after[key]) for key, entry in before.items() if entry != after[key]}

    def _move(self, key: BlockKey, new: Block | None) -> list[str]:
        """The block has this holder from now on. Gives the hosts that this concerns."""
        concerned = []
        holder = self._holders.get(key[0], {}).pop(key[1], None)
        if holder is not None:
            known = self._hosts[holder]
            self._put(holder, known._replace(blocks=tuple(block for block in known.blocks if block.key != key)))
            concerned.append(holder)
        if new is not None:
            self._hold(new)
            concerned.append(new.host)
        return concerned

    def _hold(self, block: Block) -> None:
        self._holders.setdefault(block.network, {})[block.subnets[0]] = block.host
        known = self._hosts.get(block.host, _NOTHING)
        self._put(block.host, known._replace(blocks=(*known.blocks, block)))

    def _renew(self, name: str, touched: dict[Key, Entry | None] | None) -> None:
        """Derive what follows from a host again. `touched` gets each key that it has or had, with the entry before."""
        known = self._hosts.get(name, _NOTHING)
        entries: tuple[Entry, ...] = ()
        problems: tuple[str, ...] = ()
        if known.host is not None and name != self._here.name:
            entries, problems = underlay.of_host(self._here, self._joined, known.host, known.blocks)
        self._problems.pop(name, None)
        if problems:
            self._problems[name] = problems
        old = {underlay.key_of(entry) for entry in known.entries}
        new = {underlay.key_of(entry) for entry in entries}
        if touched is not None:
            for key in old | new:
                touched.setdefault(key, self._winner(key))
        self._put(name, known._replace(entries=entries))
        for key in old - new:
            self._claim(key, tuple(other for other in self._claimants(key) if other != name))
        for key in new - old:
            self._claim(key, (*self._claimants(key), name))

    def _put(self, name: str, known: _Known) -> None:
        if known == _NOTHING:
            self._hosts.pop(name, None)
        else:
            self._hosts[name] = known

    def _claimants(self, key: Key) -> tuple[str, ...]:
        """The hosts that claim what has this key, each once."""
        names = self._claims.get(key[0], {}).get(_place(key), ())
        return (names,) if isinstance(names, str) else names

    def _claim(self, key: Key, names: tuple[str, ...]) -> None:
        of_type = self._claims.setdefault(key[0], {})
        if names:
            of_type[_place(key)] = names[0] if len(names) == 1 else names
        else:
            of_type.pop(_place(key), None)

    def _winner(self, key: Key) -> Entry | None:
        name = min(self._claimants(key), default=None)
        if name is None:
            return None
        return min((entry for entry in self._hosts[name].entries if underlay.key_of(entry) == key), key=repr)


def _place(key: Key) -> object:
    """A key without its type: most are one thing, and no tuple is kept of it."""
    return key[1] if len(key) == 2 else key[1:]
