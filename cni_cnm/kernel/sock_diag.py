"""Ports that processes of the host hold: sock_diag(7), asked for sockets that wait for somebody.

The request and its answers are fixed structures (linux/inet_diag.h) without attributes: the struct module says it
all. Only waiting sockets are asked for, which the kernel keeps apart from TCP's connections, however many those are.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from struct import Struct, error
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.model import IPAddress

_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_REQUEST_DUMP, _ERROR, _DONE = 0x301, 2, 3
_LISTEN, _CLOSE = 10, 7
"""TCP_LISTEN; a UDP socket that is bound and has no peer is in TCP_CLOSE."""
_WAITING = {"tcp": (6, 1 << _LISTEN), "udp": (17, 1 << _CLOSE), "sctp": (132, 1 << _LISTEN)}
_HEADER = Struct("=IHHII")
_REQUEST = Struct("=BBBBI48x")
_ANSWER = Struct("!BBBBHH16s")
_LIMIT_S = 2.0


class Listener(NamedTuple):
    address: IPAddress
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


def listeners(protocol: str) -> Iterator[Listener]:
    """Sockets of the calling thread's namespace that wait on a port; none where the kernel cannot tell."""
    number, states = _WAITING[protocol]
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            yield from _dump(family, number, states)
        except (OSError, error):
            continue


def _dump(family: int, protocol: int, states: int) -> Iterator[Listener]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as diag:
        diag.settimeout(_LIMIT_S)
        body = _REQUEST.pack(family, protocol, 0, 0, states)
        diag.send(_HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + body)
        while data := diag.recv(65536):
            at = 0
            while at < len(data):
                length, kind, *_ = _HEADER.unpack_from(data, at)
                if kind in (_ERROR, _DONE) or length < _HEADER.size:
                    return
                of, _, _, _, port, _, source = _ANSWER.unpack_from(data, at + _HEADER.size)
                yield Listener(ip_address(source[:4] if of == socket.AF_INET else source), port)
                at += (length + 3) & ~3
