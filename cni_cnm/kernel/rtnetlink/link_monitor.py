"""Tells which links are gone: the kernel's notifications of a namespace.

    unlisted, off its bridge, peer and addresses gone   1 ms    RTM_DELLINK is sent
    freed, after a grace period of RCU                 15-20 ms  the request to delete it is acknowledged

From the first on its name and index are free and nothing passes it any more; what follows is the kernel's own affair.
"""

from __future__ import annotations

import socket
from errno import ENOBUFS
from struct import Struct

from cni_cnm.kernel.netlink.messages import RTM_DELLINK

_RTMGRP_LINK = 1
_SO_RCVBUFFORCE = 33
_BUFFER = 1024 * 1024
_BYTES = 64 * 1024
_HEAD = Struct("=IH10xB3xi")
"""Of struct nlmsghdr length and type, of struct ifinfomsg family and index."""


class LinkMonitor:
    """Of the namespace of the thread that makes it, from then on."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.setblocking(False)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        except PermissionError:
            pass  # not the init user namespace's root: what does not fit is not told
        self._socket.bind((0, _RTMGRP_LINK))

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> set[int]:
        """Indexes of links that went since. When many came at once some may be missing."""
        found: set[int] = set()
        while True:
            try:
                data = self._socket.recv(_BYTES)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != ENOBUFS:
                    raise
                continue
            offset = 0
            while offset + _HEAD.size <= len(data):
                length, kind, family, index = _HEAD.unpack_from(data, offset)
                if kind == RTM_DELLINK and family == socket.AF_UNSPEC:  # a bridge says it of a port that leaves, too
                    found.add(index)
                offset += max(length + 3 & ~3, _HEAD.size)
