"""Tells when nftables' tables, chains or rules change, whoever changes them: the kernel's notifications.

Only the kinds of the messages are looked at. Elements come and go with every pod, and are no reason to look further.
"""

from __future__ import annotations

import socket
import struct
from errno import ENOBUFS

_NETLINK_NETFILTER, _SOL_NETLINK, _ADD_MEMBERSHIP, _NFNLGRP_NFTABLES = 12, 270, 1, 7
_HEADER = struct.Struct("=IHHII")
_SUBSYSTEM = 0xA00
_TABLE_CHAIN_RULE = frozenset((0, 2, 3, 5, 6, 8))
"""NFT_MSG_NEWTABLE, DELTABLE, NEWCHAIN, DELCHAIN, NEWRULE, DELRULE."""
_BYTES = 65536


class Changes:
    """Of the namespace of the thread that makes it. OSError where the kernel has no nftables."""

    def __init__(self) -> None:
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

    def take(self) -> bool:
        """Read all there is; True if a table, chain or rule changed. So many at once that some are lost: True."""
        changed = False
        while True:
            try:
                data = self._wire.recv(_BYTES)
            except BlockingIOError:
                return changed
            except OSError as error:
                if error.errno != ENOBUFS:
                    raise
                changed = True
                continue
            changed = changed or any(kind in _TABLE_CHAIN_RULE for kind in _kinds(data))


def _kinds(data: bytes) -> list[int]:
    kinds, offset = [], 0
    while offset + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
        kinds.append(kind - _SUBSYSTEM)
        offset += max(_HEADER.size, (length + 3) & ~3)
    return kinds
