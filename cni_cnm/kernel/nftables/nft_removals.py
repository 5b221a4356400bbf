"""Waits until elements are removed from nftables, by whatever program: the kernel's notifications (nft_monitor.py)."""

from __future__ import annotations

import select
from time import monotonic

from cni_cnm.kernel.nftables.nft_monitor import NftMonitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class NftRemovals:
    """From `tables` (`FAMILY TABLE`), in the network namespace of the thread that creates it."""

    def __init__(self, tables: Sequence[str]) -> None:
        self._monitor = NftMonitor(tables, None)

    def __enter__(self) -> NftRemovals:
        return self

    def __exit__(self, *_: object) -> None:
        self._monitor.close()

    def wait(self, owner: str, timeout_s: float) -> None:
        """Until an element of this owner, or a whole set, is removed. At most `timeout_s` seconds."""
        deadline = monotonic() + timeout_s
        poll = select.poll()
        poll.register(self._monitor, select.POLLIN)
        while (left := deadline - monotonic()) > 0:
            if poll.poll(left * 1000):
                change = self._monitor.take()
                if change.broken or owner in change.owners:
                    return
