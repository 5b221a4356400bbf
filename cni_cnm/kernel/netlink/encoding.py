"""Messages of pyroute2's classes: as the bytes that a netlink socket sends, and from those that it receives.

pyroute2 creates an object for each attribute and takes 30 to 60 µs for it. So only messages with many nested attributes
that few pods need are described by its classes. Those of every pod are packed by kernel/rtnetlink/, with nlattr.py.
"""

from __future__ import annotations

from errno import EINVAL
from struct import error as StructError  # noqa: N812 - a class
from typing import Any

from cni_cnm.errors import KernelError
from cni_cnm.kernel.netlink.header import HEADER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_cnm.kernel.netlink.messages import Message


def body(message: Message) -> bytes:
    """What follows the header of the message. KernelError with EINVAL for a value that cannot be encoded."""
    try:
        message.encode()
    except (ValueError, StructError, OSError) as error:
        raise KernelError(f"a value cannot be encoded ({error})", EINVAL) from error
    return bytes(message.data[HEADER.size :])


def reader(cls: Any) -> Callable[[bytes, int], Message]:
    """A function that decodes the message at an offset of a datagram."""

    def read(data: bytes, offset: int) -> Message:
        message = cls(data, offset=offset)
        message.decode()
        return message

    return read
