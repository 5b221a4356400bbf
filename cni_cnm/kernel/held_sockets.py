"""Sockets that keep ports of the host from its processes: bound, and never read.

    TCP, SCTP    bound without listen: a connection that reaches the host itself is refused
    UDP          with a filter that drops every packet

Published ports are redirected before a packet reaches a socket, so these get nothing.
"""

from __future__ import annotations

import errno
import socket

from cni_cnm.kernel import socket_filter
from cni_cnm.kernel.sock_diag import listeners
from cni_cnm.model import ip_address
from cni_cnm.named_tuple import NamedTuple

_DROP_ALL = ((0x06, 0, 0, 0),)
"""One instruction: return 0 bytes."""
_TYPES = {
    "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP),
}


class Place(NamedTuple):
    """Where a socket is bound."""

    protocol: str
    address: str
    """Unspecified: every address of its IP version."""
    port: int


class HeldSockets:
    def __init__(self) -> None:
        self._sockets: dict[Place, socket.socket] = {}

    def hold(self, place: Place) -> bool:
        """False if another socket has the port. One that cannot be bound for another reason is left out."""
        if place in self._sockets:
            return True
        try:
            self._sockets[place] = _bound(place, reuse=False)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return True
            if _is_listened_on(place):
                return False
            try:  # what is left of ended connections holds a port for a minute
                self._sockets[place] = _bound(place, reuse=True)
            except OSError:
                return False
        return True

    def release(self, place: Place) -> None:
        """No error if it is not held."""
        held = self._sockets.pop(place, None)
        if held is not None:
            held.close()


def _bound(place: Place, *, reuse: bool) -> socket.socket:
    version = ip_address(place.address).version
    kind, number = _TYPES[place.protocol]
    made = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, kind | socket.SOCK_CLOEXEC, number)
    try:
        if version == 6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if reuse and place.protocol == "tcp":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if place.protocol == "udp":
            socket_filter.attach(made, _DROP_ALL)
        made.bind((place.address, place.port))
    except BaseException:
        made.close()
        raise
    return made


def _is_listened_on(place: Place) -> bool:
    wanted = ip_address(place.address)
    for one in listeners(place.protocol):
        same = one.address.version == wanted.version and (one.address.is_unspecified or wanted.is_unspecified)
        if one.port == place.port and (
            same or one.address == wanted or (one.address.version == 6 and one.address.is_unspecified)
        ):
            return True
    return False
