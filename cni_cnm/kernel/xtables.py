"""iptables-legacy's filter tables, compared without a process: has a rule or a policy changed?

Only tables that exist are asked for, as asking makes them. The rules come as the kernel's own `struct ipt_entry`, of
which nothing is understood but where the counters are.
"""

from __future__ import annotations

import ctypes
import os
import struct
from _socket import AF_INET, AF_INET6, IPPROTO_IPV6, SOL_IP

from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_GET_INFO, _GET_ENTRIES = 64, 65
"""IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES; the same numbers for IPv6."""
_TABLE = b"filter"
_NAMES_BYTES = 4096
_INFO = struct.Struct("=32s13I")
"""struct ipt_getinfo: name, valid_hooks, hook_entry, underflow, num_entries, size."""
_HEAD = struct.Struct("=32sI4x")


class _Family(NamedTuple):
    names: str
    family: int
    level: int
    next_offset: int
    counters: int
    """Where in an entry its length and its counters are (struct ipt_entry, struct ip6t_entry)."""


_FAMILIES = (
    _Family("ip_tables_names", AF_INET, SOL_IP, 90, 96),
    _Family("ip6_tables_names", AF_INET6, IPPROTO_IPV6, 142, 152),
)


def stamps() -> list[int]:
    """A checksum of each family's filter table in the calling thread's namespace, without counters; 0: no table."""
    return [_stamp(family) if _exists(family) else 0 for family in _FAMILIES]


def _exists(family: _Family) -> bool:
    try:
        descriptor = os.open(f"/proc/thread-self/net/{family.names}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _TABLE in os.read(descriptor, _NAMES_BYTES).split()
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _stamp(family: _Family) -> int:
    import socket
    from binascii import crc32

    try:
        with socket.socket(family.family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW) as raw:
            info = _INFO.unpack(_ask(raw.fileno(), family.level, _GET_INFO, _INFO.pack(_TABLE, *[0] * 13)))
            size = info[-1]
            request = _HEAD.pack(_TABLE, size) + bytes(size)
            entries = bytearray(_ask(raw.fileno(), family.level, _GET_ENTRIES, request)[_HEAD.size :])
    except OSError:
        return 1  # changed while it was read, most likely: what differs is looked at
    offset = 0
    while offset + family.counters + 16 <= len(entries):
        entries[offset + family.counters : offset + family.counters + 16] = bytes(16)
        length = struct.unpack_from("=H", entries, offset + family.next_offset)[0]
        if not length:
            break
        offset += length
    return crc32(_words(info[1:]) + bytes(entries)) or 1


def _words(numbers: Sequence[int]) -> bytes:
    return struct.pack(f"={len(numbers)}I", *numbers)


def _ask(fd: int, level: int, option: int, request: bytes) -> bytes:
    """getsockopt(2) with a question in its buffer, which Python's own does not do."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(request, len(request))
    length = ctypes.c_uint32(len(request))
    if libc.getsockopt(fd, level, option, buffer, ctypes.byref(length)):
        number = ctypes.get_errno()
        raise OSError(number, "getsockopt")
    return buffer.raw
