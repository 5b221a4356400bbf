"""Runs a runtime's own program to ask for its containers, and tells whether the processes of these are seen here."""

from __future__ import annotations

import os
import socket
import struct
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired

from cni_cnm.child_output import OutputTooLong, communicate
from cni_cnm.errors import TryAgain

LIMIT_S = 20.0
OUTPUT_MAX = 16 << 20
_ELSEWHERE = ("CONTAINER_HOST", "CONTAINER_CONNECTION")
"""With one of these in its environment, podman lists the containers of another machine."""


class RuntimeSilent(TryAgain):
    """A runtime did not say which containers it has."""


def words(*command: str) -> list[str]:
    """The words that a program prints.

    Raises:
        RuntimeSilent: it is not installed, does not end in time, fails, or prints too much.
    """
    shown = " ".join(command)
    environ = {key: value for key, value in os.environ.items() if key not in _ELSEWHERE}
    try:
        with Popen(command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env={**environ, "LC_ALL": "C"}) as child:
            try:
                out, err = communicate(child, b"", LIMIT_S, OUTPUT_MAX)
            finally:
                child.kill()  # no error if it has ended
    except OSError as error:
        hint = f"install {command[0]}, then try again"
        raise RuntimeSilent(f"{command[0]} cannot be run: {error.strerror}", hint=hint) from error
    except TimeoutExpired as error:
        raise RuntimeSilent(f"`{shown}` has not ended within {LIMIT_S:.0f} s") from error
    except OutputTooLong as error:
        raise RuntimeSilent(f"`{shown}` printed {error}") from error
    if child.returncode:
        said = err.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise RuntimeSilent(f"`{shown}` failed with {child.returncode}: {said[-1]}")
    return out.decode(errors="replace").split()


def require_seen(name: str, path: str) -> None:
    """RuntimeSilent if the runtime behind a socket has a PID namespace in which this process does not see it.

    Its containers' processes are in its PID namespace, or in one below: who sees the runtime sees them, too.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(LIMIT_S)
            connection.connect(path)
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except OSError as error:
        raise RuntimeSilent(f"{name} does not answer at {path}: {error.strerror or error}") from error
    if not struct.unpack("3i", credentials)[0]:
        raise RuntimeSilent(
            f"{name} runs in another PID namespace, so processes of its containers are not seen here",
            hint="run this command on the host, not in a container",
        )
