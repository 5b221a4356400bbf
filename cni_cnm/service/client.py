"""Asks the resident service as a relay does (build/relay.c), for a caller in Python. Nothing else answers instead."""

from __future__ import annotations

import errno
import os
import socket

from cni_cnm.errors import TryAgain
from cni_cnm.kernel.setns import own_fd
from cni_cnm.service.protocol import Refused, decode_reply, encode_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.service.protocol import Request

_CHUNK_BYTES = 64 << 10
_HINTS = {
    errno.ENOENT: "no service runs: `cni-cnm serve` starts one",
    errno.ECONNREFUSED: "no service runs: `cni-cnm serve` starts one",
    errno.EACCES: "run it as root",
}


def ask(path: str, request: Request, timeout_s: float) -> tuple[int, bytes, bytes]:
    """Exit code, stdout and stderr, from the service at a socket. TryAgain if it does not answer.

    `timeout_s` is for each step: connecting, sending, and each part of the answer.
    """
    message = encode_request(request, descriptors=1)
    namespace = own_fd()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(timeout_s)
            connection.connect(path)
            sent = socket.send_fds(connection, [message], [namespace])
            if sent < len(message):  # the service closes its end when it has answered: even sending nothing fails then
                connection.sendall(message[sent:])
            received = bytearray()
            while chunk := connection.recv(_CHUNK_BYTES):
                received += chunk
        return decode_reply(bytes(received))
    except (OSError, Refused) as error:
        why = getattr(error, "strerror", None) or str(error)
        hint = _HINTS.get(getattr(error, "errno", 0) or 0, "its log says why")
        raise TryAgain(f"the service at {path} does not answer: {why}", hint=hint) from error
    finally:
        os.close(namespace)
