"""Reports what other programs change in nftables: the kernel's notifications, transaction by transaction.

    NEWRULE, DELSETELEM, …     what was changed; elements with their comments
    NEWGEN                     the end of a transaction, and the name of the program

Our own transactions are skipped.
"""

from __future__ import annotations

from cni_cnm.kernel.contract.changes import ANYTHING, NOTHING, FilterChange
from cni_cnm.kernel.netlink import nlattr
from cni_cnm.kernel.netlink.header import NETLINK_NETFILTER
from cni_cnm.kernel.netlink.notifications import Notifications
from cni_cnm.kernel.nftables import nfnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

_NFNLGRP_NFTABLES = 7
_TABLE_CHAIN_RULE = frozenset((0, 2, 3, 5, 6, 8))
"""NFT_MSG_NEWTABLE, DELTABLE, NEWCHAIN, DELCHAIN, NEWRULE, DELRULE."""
_REMOVED = frozenset((5, 8, 11))
"""NFT_MSG_DELCHAIN, DELRULE, DELSET."""
_NEW_CHAIN, _ELEMENT_ADDED, _ELEMENT_REMOVED, _END = 3, 12, 14, 15
"""NFT_MSG_NEWCHAIN, NEWSETELEM, DELSETELEM, NEWGEN."""
_TABLE, _ELEMENTS, _ELEMENT, _USERDATA, _PROGRAM = 1, 3, 1, 6, 3
_CHAIN_HOOK = 4


class NftMonitor(Notifications):
    """Of the network namespace of the thread that creates it. OSError where the kernel has no nftables.

    `tables` are ours, as `FAMILY TABLE`. A program is ours if its name (comm of the thread) begins with `ourselves`;
    None: no program is.
    """

    def __init__(self, tables: Collection[str], ourselves: str | None) -> None:
        self._tables = {(nfnetlink.FAMILIES[table.split(" ")[0]], table.split(" ")[1]) for table in tables}
        self._ourselves = None if ourselves is None else ourselves.encode()
        self._change = NOTHING
        """Of a transaction whose end has not come yet."""
        self._owners = set[str]()
        """The same, apart: a flushed set may have thousands of elements."""
        super().__init__(NETLINK_NETFILTER, _NFNLGRP_NFTABLES)

    def take(self) -> FilterChange:
        """What was changed since the last call. ANYTHING if the kernel has dropped notifications."""
        found = NOTHING
        for data in self.datagrams():
            if data is None:
                found = ANYTHING
                self._begin()
            else:
                found |= self._read(data)
        return found

    def _read(self, data: bytes) -> FilterChange:
        found = NOTHING
        for kind, family, begin, end in nfnetlink.nft_messages(data):
            if kind == _END:
                program = nlattr.raw(data, nlattr.places(data, begin, end).get(_PROGRAM))
                if self._ourselves is None or not program.startswith(self._ourselves):
                    found |= self._change | FilterChange(owners=frozenset(self._owners))
                self._begin()
            elif kind in _TABLE_CHAIN_RULE:
                broken = kind in _REMOVED and self._is_ours(family, data, begin, end)
                hooks = kind == _NEW_CHAIN and _CHAIN_HOOK in nlattr.places(data, begin, end)
                self._change |= FilterChange(rules=True, broken=broken, hooks=hooks)
            elif kind in _REMOVED and self._is_ours(family, data, begin, end):
                self._change |= FilterChange(broken=True)
            elif kind == _ELEMENT_REMOVED and self._is_ours(family, data, begin, end):
                self._owners.add(_owner(data, begin, end))
            elif kind == _ELEMENT_ADDED and not self._change.added and self._is_ours(family, data, begin, end):
                self._change |= FilterChange(added=True)
        return found

    def _begin(self) -> None:
        self._change, self._owners = NOTHING, set()

    def _is_ours(self, family: int, data: bytes, begin: int, end: int) -> bool:
        return (family, nlattr.text(data, nlattr.places(data, begin, end).get(_TABLE))) in self._tables


def _owner(data: bytes, begin: int, end: int) -> str:
    """Of the one element that a message is about."""
    for kind in (_ELEMENTS, _ELEMENT):
        begin, end = nlattr.places(data, begin, end).get(kind, (end, end))
    userdata = nlattr.places(data, begin, end).get(_USERDATA)
    return nfnetlink.comment(nlattr.raw(data, userdata)).partition(" ")[0]
