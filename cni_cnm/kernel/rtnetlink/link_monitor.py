"""Reports deleted links, by the kernel's notifications.

    unlisted, off its bridge, peer and addresses gone   1 ms    RTM_DELLINK is sent
    freed, after a grace period of RCU                 15-20 ms  the request to delete it is acknowledged

From the first moment on, the link's name and index are free and no packet passes it.
"""

from __future__ import annotations

from _socket import AF_UNSPEC, NETLINK_ROUTE
from struct import Struct

from cni_cnm.kernel.netlink.header import HEADER, RTM_DELLINK, messages
from cni_cnm.kernel.netlink.notifications import Notifications

_RTNLGRP_LINK = 1
_FAMILY_INDEX = Struct("=B3xi")
"""Of struct ifinfomsg."""


class LinkMonitor(Notifications):
    """Of the network namespace of the thread that creates it, from then on."""

    def __init__(self) -> None:
        super().__init__(NETLINK_ROUTE, _RTNLGRP_LINK)

    def read(self) -> set[int]:
        """Indexes of the links deleted since the last call. When many are deleted at once, some may be missing."""
        found: set[int] = set()
        for data in self.datagrams():
            for offset, _, kind, _, _ in messages(data or b""):
                if kind == RTM_DELLINK:
                    family, index = _FAMILY_INDEX.unpack_from(data or b"", offset + HEADER.size)
                    if family == AF_UNSPEC:  # AF_BRIDGE: a port has left its bridge
                        found.add(index)
        return found
