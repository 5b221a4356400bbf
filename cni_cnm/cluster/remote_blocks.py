"""Puts the blocks of other hosts into the packet filter (firewall/remote_blocks.py), and removes them.

Only for the network whose subnets are not known as a whole.
"""

from __future__ import annotations

from cni_cnm.cluster.underlay import Route
from cni_cnm.errors import KernelError
from cni_cnm.firewall import INET, remote_blocks
from cni_cnm.kernel import Transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cni_cnm.cluster.underlay import Delta, Entry
    from cni_cnm.firewall.remote_blocks import Length, OwnSide
    from cni_cnm.kernel import Element, Nft
    from cni_cnm.model import IPNetwork


class RemoteBlocks:
    """Of one host, as one process keeps them.

    A process writes the rules once, because those that are there may be another release's. From then on it looks at
    their number: another program may flush them.
    """

    def __init__(self, nft: Nft) -> None:
        self._nft = nft
        self._declared: str | None = None
        """What this process has written."""
        self._lengths: frozenset[Length] = frozenset()

    def whole(self, wanted: Iterable[Entry], problems: list[str], *, keep: bool = False) -> int:
        """Make it what is wanted. Gives the number of blocks that were added or removed.

        With `keep` none is removed. A sentence in `problems` if it is not possible.
        """
        blocks = _blocks(wanted)
        counts = self._nft.rules(INET)
        if not blocks and (keep or not any(counts.get(chain) for chain in remote_blocks.CHAINS)):
            return 0
        present = {one.place: one for one in self._nft.elements(INET) if one.set.startswith(remote_blocks.PREFIX)}
        elements = {one.place: one for one in _elements(blocks)}
        put = [one for place, one in elements.items() if present.get(place) != one]
        gone = [one for place, one in present.items() if place not in elements and not keep]
        lengths = frozenset(remote_blocks.length_of(block) for _, block in blocks)
        lengths |= self._lengths if keep else frozenset()
        text = remote_blocks.declaration(blocks[0][0], lengths) if blocks else remote_blocks.EMPTY
        rules = {chain: counts.get(chain, 0) for chain in remote_blocks.CHAINS}
        write = text != self._declared or rules != remote_blocks.rule_counts(text)
        return self._commit(text if write else "", put, gone, lengths, problems)

    def change(self, delta: Delta, problems: list[str]) -> int:
        """Only what differs."""
        new = _blocks(entry for _, entry in delta.values())
        old = _blocks(entry for entry, _ in delta.values())
        if not new and not old:
            return 0
        put = _elements(new)
        kept = {one.place for one in put}
        gone = [one for one in _elements(old) if one.place not in kept]
        lengths = self._lengths | {remote_blocks.length_of(block) for _, block in new}
        text = remote_blocks.declaration(new[0][0], lengths) if new and lengths != self._lengths else ""
        return self._commit(text, put, gone, lengths, problems)

    def _commit(
        self,
        text: str,
        put: Sequence[Element],
        gone: Sequence[Element],
        lengths: frozenset[Length],
        problems: list[str],
    ) -> int:
        """`text`: the rules, if they are to be written."""
        try:
            self._nft.commit(Transaction(text or self._declared or "", tuple(put), tuple(gone)), declare=bool(text))
        except KernelError as error:
            self._declared = None
            problems.append(f"packets to blocks of other hosts are not filtered as they should be: {error}")
            return 0
        if text:
            self._declared, self._lengths = text, lengths
        return len(put) + len(gone)


def _blocks(entries: Iterable[Entry | None]) -> list[tuple[OwnSide, IPNetwork]]:
    """Those that are reached, each with the network on this host."""
    return [(entry.own, entry.dst) for entry in entries if isinstance(entry, Route) and entry.own is not None]


def _elements(blocks: Iterable[tuple[OwnSide, IPNetwork]]) -> list[Element]:
    return [remote_blocks.element(own, block) for own, block in blocks]
