"""Tells what somebody else changes in nftables: the kernel's notifications, transaction by transaction.

    NEWRULE, DELSETELEM, …     what was changed; elements with their comments
    NEWGEN                     the end of a transaction, and the name of the program

A transaction of ours is passed over, as is every element that is added: those come and go with every pod.
"""

from __future__ import annotations

import socket
from errno import ENOBUFS
from typing import NamedTuple

from cni_cnm.kernel.netlink import nlattr
from cni_cnm.kernel.nftables import nfnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

_NETLINK_NETFILTER, _SOL_NETLINK, _ADD_MEMBERSHIP, _NFNLGRP_NFTABLES = 12, 270, 1, 7
_SUBSYSTEM = 0xA00
_TABLE_CHAIN_RULE = frozenset((0, 2, 3, 5, 6, 8))
"""NFT_MSG_NEWTABLE, DELTABLE, NEWCHAIN, DELCHAIN, NEWRULE, DELRULE."""
_REMOVED = frozenset((5, 8, 11))
"""NFT_MSG_DELCHAIN, DELRULE, DELSET."""
_ELEMENT_REMOVED, _END = 14, 15
"""NFT_MSG_DELSETELEM, NFT_MSG_NEWGEN."""
_TABLE, _ELEMENTS, _ELEMENT, _USERDATA, _PROGRAM = 1, 3, 1, 6, 3
_BYTES = 65536


class Change(NamedTuple):
    """By other programs."""

    rules: bool = False
    """A table, chain or rule came or went, anybody's."""
    broken: bool = False
    """A chain, rule or set is gone from a table of ours."""
    owners: frozenset[str] = frozenset()
    """Elements are gone from a table of ours: their owners (`Element.owner`)."""

    def __or__(self, other: Change) -> Change:
        return Change(self.rules or other.rules, self.broken or other.broken, self.owners | other.owners)


NOTHING = Change()
ANYTHING = Change(rules=True, broken=True)


class NftMonitor:
    """Of the namespace of the thread that makes it. OSError where the kernel has no nftables.

    `tables` are ours, as `FAMILY TABLE`; programs whose names (comm, of the thread) begin with `ourselves` are us.
    """

    def __init__(self, tables: Collection[str], ourselves: str) -> None:
        self._tables = {(nfnetlink.FAMILIES[table.split(" ")[0]], table.split(" ")[1]) for table in tables}
        self._ourselves = ourselves.encode()
        self._open, self._gone = NOTHING, set[str]()
        """Of a transaction whose end has not come yet; owners apart, as a set that is flushed may have thousands."""
        flags = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._wire = socket.socket(socket.AF_NETLINK, flags, _NETLINK_NETFILTER)
        try:
            self._wire.bind((0, 0))  # a socket without a port of its own counts as the sender of what is told to all
            self._wire.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFNLGRP_NFTABLES)
        except BaseException:
            self._wire.close()
            raise

    def fileno(self) -> int:
        """Readable when there is something to `take`."""
        return self._wire.fileno()

    def close(self) -> None:
        self._wire.close()

    def take(self) -> Change:
        """Read all there is. So many at once that some are lost: anything may have changed."""
        found = NOTHING
        while True:
            try:
                data = self._wire.recv(_BYTES)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != ENOBUFS:
                    raise
                found = ANYTHING
                self._forget()
                continue
            found |= self._read(data)

    def _read(self, data: bytes) -> Change:
        found = NOTHING
        for kind, _, _, family, begin, end in nfnetlink.messages(data):
            kind -= _SUBSYSTEM
            if kind == _END:
                program = nlattr.raw(data, nlattr.places(data, begin, end).get(_PROGRAM))
                if not program.startswith(self._ourselves):
                    found |= self._open | Change(owners=frozenset(self._gone))
                self._forget()
            elif kind in _TABLE_CHAIN_RULE:
                broken = kind in _REMOVED and self._is_ours(family, data, begin, end)
                self._open |= Change(rules=True, broken=broken)
            elif kind in _REMOVED and self._is_ours(family, data, begin, end):
                self._open |= Change(broken=True)
            elif kind == _ELEMENT_REMOVED and self._is_ours(family, data, begin, end):
                self._gone.add(_owner(data, begin, end))
        return found

    def _forget(self) -> None:
        self._open, self._gone = NOTHING, set()

    def _is_ours(self, family: int, data: bytes, begin: int, end: int) -> bool:
        return (family, nlattr.text(data, nlattr.places(data, begin, end).get(_TABLE))) in self._tables


def _owner(data: bytes, begin: int, end: int) -> str:
    """Of the one element that a message is about."""
    for kind in (_ELEMENTS, _ELEMENT):
        begin, end = nlattr.places(data, begin, end).get(kind, (end, end))
    userdata = nlattr.places(data, begin, end).get(_USERDATA)
    return nfnetlink.comment(nlattr.raw(data, userdata)).partition(" ")[0]
