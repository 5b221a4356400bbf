"""struct nlmsghdr (netlink(7)): the header of a message, and the messages of a datagram."""

from __future__ import annotations

from errno import EINVAL
from struct import Struct

from cni_cnm.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = Struct("=IHHII")
"""Length, type, flags, sequence number, port."""
REQUEST, ACK, ECHO, DUMP = 0x1, 0x4, 0x8, 0x300
"""NLM_F_REQUEST, NLM_F_ACK, NLM_F_ECHO, NLM_F_DUMP."""
APPEND, CREATE_NEW, CREATE_OR_REPLACE = 0xC00, 0x600, 0x500
"""NLM_F_CREATE with NLM_F_APPEND, with NLM_F_EXCL, and with NLM_F_REPLACE."""
INTERRUPTED = 0x10
"""NLM_F_DUMP_INTR: what is dumped changed meanwhile."""
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
"""Types of rtnetlink(7)."""
ERROR, DONE = 2, 3
"""NLMSG_ERROR (an acknowledgement, too), NLMSG_DONE."""
NETLINK_SOCK_DIAG, NETLINK_NETFILTER = 4, 12
RECEIVE_BYTES = 64 * 1024
"""The kernel fills the datagrams of a dump up to 32 KiB."""


def messages(data: bytes) -> Iterator[tuple[int, int, int, int, int]]:
    """Of each message of a datagram: offset, end, type, flags and sequence number.

    KernelError with EINVAL for a message that is cut off.
    """
    offset, size = 0, len(data)
    while offset + HEADER.size <= size:
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, offset)
        if not HEADER.size <= length <= size - offset:
            raise KernelError(f"a netlink message of {length} bytes is cut off after {size - offset}", EINVAL)
        yield offset, offset + length, kind, flags, sequence
        offset += (length + 3) & ~3
