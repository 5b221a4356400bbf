"""Ports that processes of the host hold, by sock_diag(7).

Requests and answers are fixed structures (linux/inet_diag.h) without attributes. Only sockets that wait for packets are
asked for. The kernel keeps them apart from TCP's connections, so the number of those does not matter.
"""

from __future__ import annotations

import _socket
from ipaddress import ip_address
from struct import Struct, error, pack

from cni_cnm.errors import KernelError
from cni_cnm.kernel.netlink.header import (
    DONE,
    DUMP,
    ERROR,
    HEADER,
    NETLINK_SOCK_DIAG,
    RECEIVE_BYTES,
    REQUEST,
    messages,
)
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.model import IPAddress

_SOCK_DIAG_BY_FAMILY = 20
_LISTEN, _CLOSE = 10, 7
"""TCP_LISTEN; a UDP socket that is bound and has no peer is in TCP_CLOSE."""
_WAITING = {"tcp": (6, 1 << _LISTEN), "udp": (17, 1 << _CLOSE), "sctp": (132, 1 << _LISTEN)}
_REQUEST = Struct("=BBBBI48x")
_ANSWER = Struct("!BBBBHH16s")
_LIMIT_S = 2


class Listener(NamedTuple):
    address: IPAddress
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


def listeners(protocol: str) -> Iterator[Listener]:
    """Sockets of the calling thread's namespace that wait on a port. None where the kernel cannot tell."""
    number, states = _WAITING[protocol]
    try:
        diag = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG)
    except OSError:
        return
    try:
        diag.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, pack("ll", _LIMIT_S, 0))
        for family in (_socket.AF_INET, _socket.AF_INET6):
            try:
                yield from _dump(diag, family, number, states)
            except (OSError, KernelError, error):
                continue
    finally:
        diag.close()


def _dump(diag: _socket.socket, family: int, protocol: int, states: int) -> Iterator[Listener]:
    """The family is the sequence number, too: an answer that came too late for the first one is passed over."""
    body = _REQUEST.pack(family, protocol, 0, 0, states)
    diag.send(HEADER.pack(HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, REQUEST | DUMP, family, 0) + body)
    while data := diag.recv(RECEIVE_BYTES):
        for offset, _, kind, _, sequence in messages(data):
            if sequence != family:
                continue
            if kind in (ERROR, DONE):
                return
            of, _, _, _, port, _, source = _ANSWER.unpack_from(data, offset + HEADER.size)
            yield Listener(ip_address(source[:4] if of == _socket.AF_INET else source), port)
