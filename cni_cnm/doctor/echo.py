"""ICMP echo of a given size that is not fragmented: whether another host is reached with an MTU."""

from __future__ import annotations

import os
import socket
import struct
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.model import IPAddress

TIMEOUT_S, SEARCH_S = 1.0, 0.2
"""How long an answer is waited for; and while the largest size is looked for, of a host that has answered."""
TRIES = 2
_MTU_DISCOVER, _MTU_DISCOVER_6, _PROBE = 10, 23, 3
"""IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, IP_PMTUDISC_PROBE: not fragmented, and no known path MTU is used."""
_REQUEST, _REPLY, _REQUEST_6, _REPLY_6 = 8, 0, 128, 129
_HEADERS = {4: 28, 6: 48}
"""Bytes of the IP and the ICMP header."""


def reaches(address: IPAddress, size: int) -> bool:
    """Whether an echo of `size` bytes, with its IP header, is answered. OSError without the right to send it."""
    return _tried(address, size, TIMEOUT_S)


def largest(address: IPAddress, size: int) -> int:
    """The largest size below `size` that is answered; 0 if none is."""
    low, high = (1280 if address.version == 6 else 576), size
    if not reaches(address, low):
        return 0
    while high - low > 1:
        middle = (low + high) // 2
        if _tried(address, middle, SEARCH_S):
            low = middle
        else:
            high = middle
    return low


def _tried(address: IPAddress, size: int, limit_s: float) -> bool:
    """One packet may be lost by chance."""
    return any(_once(address, size, number, limit_s) for number in range(1, TRIES + 1))


def _once(address: IPAddress, size: int, number: int, limit_s: float) -> bool:
    six = address.version == 6
    family, protocol = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if six else (socket.AF_INET, socket.IPPROTO_ICMP)
    with socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as sender:
        if six:
            sender.setsockopt(socket.IPPROTO_IPV6, _MTU_DISCOVER_6, _PROBE)
        else:
            sender.setsockopt(socket.IPPROTO_IP, _MTU_DISCOVER, _PROBE)
        identity = os.getpid() & 0xFFFF
        payload = bytes(max(size - _HEADERS[address.version], 0))
        kind, answer = (_REQUEST_6, _REPLY_6) if six else (_REQUEST, _REPLY)
        head = struct.pack(">BBHHH", kind, 0, 0, identity, number)
        packet = struct.pack(">BBHHH", kind, 0, _checksum(head + payload), identity, number) + payload
        try:
            sender.sendto(packet, (str(address), 0))
        except OSError:
            return False  # larger than the own link's MTU, or no route
        return _answered(sender, (answer, identity, number), limit_s, six=six)


def _answered(sender: socket.socket, expected: tuple[int, int, int], limit_s: float, *, six: bool) -> bool:
    """`expected`: type, identifier and sequence number of the reply."""
    end = monotonic() + limit_s
    while (left := end - monotonic()) > 0:
        sender.settimeout(left)
        try:
            data = sender.recv(1 << 16)
        except TimeoutError:
            return False
        begin = 0 if six else (data[0] & 0xF) * 4
        kind, _, _, theirs, count = struct.unpack_from(">BBHHH", data, begin)
        if (kind, theirs, count) == expected:
            return True
    return False


def _checksum(data: bytes) -> int:
    """RFC 1071. The kernel replaces that of ICMPv6."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
