"""Puts the elements of other hosts' blocks into the packet filter (firewall/remote_blocks.py), and removes them.

Only for networks whose subnets are not known as a whole.
"""

from __future__ import annotations

from cni_cnm.cluster.underlay import RemoteBlock
from cni_cnm.errors import KernelError
from cni_cnm.firewall import INET, remote_blocks
from cni_cnm.kernel import Transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cni_cnm.cluster.underlay import Delta, Entry
    from cni_cnm.kernel import Element, Nft


class RemoteBlocks:
    """Of one host."""

    def __init__(self, nft: Nft) -> None:
        self._nft = nft

    def whole(self, wanted: Iterable[Entry], problems: list[str], *, keep: bool = False) -> int:
        """Compare all elements with those that are wanted. Gives the number of those that changed.

        With `keep` none is removed. A sentence in `problems` for each block whose elements cannot be put in.
        """
        blocks = [entry for entry in wanted if isinstance(entry, RemoteBlock)]
        there = {element.place: element for name in remote_blocks.SETS for element in self._nft.elements(INET, name)}
        put = [one for one in map(_of, blocks) if any(there.get(element.place) != element for element in one)]
        kept = {element.place for block in blocks for element in _of(block)}
        gone = [one for place, one in there.items() if remote_blocks.is_block(one) and place not in kept]
        return self._commit(put, [] if keep else gone, problems)

    def change(self, delta: Delta, problems: list[str]) -> int:
        """Only what differs."""
        put = [_of(new) for _, new in delta.values() if isinstance(new, RemoteBlock)]
        kept = {element.place for one in put for element in one}
        old = [_of(old) for old, _ in delta.values() if isinstance(old, RemoteBlock)]
        return self._commit(put, [element for one in old for element in one if element.place not in kept], problems)

    def _commit(self, put: Sequence[tuple[Element, ...]], gone: Sequence[Element], problems: list[str]) -> int:
        """`put`: the elements of each block."""
        if not put and not gone:
            return 0
        elements = tuple(element for one in put for element in one)
        try:
            self._nft.commit(Transaction(remote_blocks.DECLARATION, elements, tuple(gone)))
        except KernelError as error:
            if len(put) > 1 or (put and gone):  # one that fails stops no other
                return self._commit((), gone, problems) + sum(self._commit((one,), (), problems) for one in put)
            problems.append(f"packets to blocks of other hosts are not filtered as they should be: {error}")
            return 0
        return len(elements) + len(gone)


def _of(entry: RemoteBlock) -> tuple[Element, ...]:
    return tuple(remote_blocks.elements(entry.own, entry.subnet))
