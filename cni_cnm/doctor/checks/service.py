"""The resident service: whether it answers, and whether it is of this program's version."""

from __future__ import annotations

import os
import socket
from array import array

from cni_cnm import __version__
from cni_cnm.doctor.commands import command
from cni_cnm.doctor.finding import Finding, Unchecked
from cni_cnm.service.protocol import Refused, Request, decode_reply, encode_request
from cni_cnm.settings import SERVICE_SOCKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.doctor.picture import Picture

_TIMEOUT_S = 3.0
_SLOWER = "Calls work without it, and take ten times as long."


def look(picture: Picture) -> Iterator[Finding | Unchecked]:
    if not os.path.exists(SERVICE_SOCKET):
        return  # every call works without a service
    path = SERVICE_SOCKET
    try:
        answer = _ask(path)
    except (ConnectionRefusedError, FileNotFoundError):
        yield Finding(f"no process listens on {path}", _SLOWER, (_restart("rm", path),), about=path)
    except TimeoutError:
        yield Finding(
            f"the service on {path} does not answer within {_TIMEOUT_S:g} s",
            "A call waits for it, and may fail with code 11.",
            (_restart("ss", "-xlp"),),
            about=path,
        )
    else:
        if not answer:
            yield Finding(
                f"the service on {path} declines calls of this program, which is of version {__version__}: it is of "
                "another version, or in another network namespace",
                _SLOWER,
                (_restart("ss", "-xlp"),),
                about=path,
            )


def _ask(path: str) -> bool:
    """Whether the service answers a call of this version."""
    namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(_TIMEOUT_S)
            connection.connect(path)
            request = encode_request(Request({"CNI_COMMAND": "VERSION"}, ["cni-cnm"], b""), 1)
            connection.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [namespace]))])
            answer = b""
            while part := connection.recv(1 << 16):
                answer += part
        decode_reply(answer)
    except (Refused, ConnectionResetError, BrokenPipeError):
        return False
    finally:
        os.close(namespace)
    return True


def _restart(*without_systemd: str) -> str:
    """A socket on which a process listens is not removed: the process is shown."""
    if os.path.isdir("/run/systemd/system"):
        return command("systemctl", "restart", "cni-cnm.socket", "cni-cnm.service")
    return command(*without_systemd)
