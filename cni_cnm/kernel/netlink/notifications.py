"""Reads what the kernel reports to multicast groups: changes that any program makes."""

from __future__ import annotations

import socket
from errno import ENOBUFS

from cni_cnm.kernel.netlink.header import RECEIVE_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_SO_RCVBUFFORCE = 33
_BUFFER_BYTES = 1024 * 1024


class Notifications:
    """Of some groups, in the network namespace of the thread that creates it, from then on.

    OSError where the kernel has no such protocol or group.
    """

    def __init__(self, protocol: int, *groups: int) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, protocol)
        try:
            # nf_tables takes a socket without a port for the sender of its own notifications.
            self._socket.bind((0, 0))
            for group in groups:
                self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
            self._enlarge_buffer()
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Readable when there are `datagrams`."""
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def datagrams(self) -> Iterator[bytes | None]:
        """All that have arrived. None: the kernel has dropped some, because too many came at once."""
        while True:
            try:
                yield self._socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != ENOBUFS:
                    raise
                yield None

    def _enlarge_buffer(self) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        except PermissionError:
            pass  # not root of the init user namespace: the kernel drops more
