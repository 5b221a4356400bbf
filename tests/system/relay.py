"""The relay under test, scripted services for it, and a full program that shows what it was given."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cni_cnm.service.protocol import Incoming, Request
from tests.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SANITIZED = (
    "-g",
    "-O1",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
)
PROGRAM = """#!/bin/sh
printf 'program id=%s cni=%s args=%s stdin=' "$CNI_CNM_REQUEST" "$CNI_COMMAND" "$*"
cat
exit 7
"""


class Ran(NamedTuple):
    code: int
    out: bytes
    err: bytes


def compile_relay(output: Path, *flags: str) -> Path:
    subprocess.run([ROOT / "build/relay.sh", output, *flags], check=True, timeout=120)
    return output


class Relay:
    """Runs the relay beside a stand-in for the full program."""

    def __init__(self, executable: Path, folder: Path) -> None:
        self.executable = executable
        self.program = folder / "program"
        self.program.write_text(PROGRAM)
        self.program.chmod(0o755)
        self.socket = folder / "service.sock"

    def environ(self, **changes: str) -> dict[str, str]:
        given = {
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": "c1",
            "CNI_IFNAME": "eth0",
            "CNI_NETNS": "/proc/self/ns/net",
            "CNI_CNM_SOCKET": str(self.socket),
            "CNI_CNM_PROGRAM": str(self.program),
            "PATH": "/usr/bin:/bin",
        }
        return {key: value for key, value in {**given, **changes}.items() if value}

    def run(
        self,
        stdin: bytes = b"{}",
        *,
        args: tuple[str, ...] = (),
        name: str = "cni-cnm",
        environ: Mapping[str, str] | None = None,
        timeout: float = 30,
        **changes: str,
    ) -> Ran:
        ran = subprocess.run(
            [name, *args],
            executable=self.executable,
            input=stdin,
            env=environ if environ is not None else self.environ(**changes),
            capture_output=True,
            timeout=timeout,
        )
        return Ran(ran.returncode, ran.stdout, ran.stderr)


class Service:
    """A scripted service: `script(connection)` is called for each connection, on one thread."""

    def __init__(self, path: Path, script: Callable[[socket.socket], object], *, backlog: int = 16) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(backlog)
        self._path = path
        self._script = script
        self.failed: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Service:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=10)
        self._path.unlink()
        if self.failed is not None:
            raise self.failed

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                try:
                    self._script(connection)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the relay had enough
                except BaseException as failed:
                    self.failed = failed


def read_request(connection: socket.socket) -> tuple[Request, tuple[os.stat_result, ...]]:
    """The request and what its descriptors stand for."""
    incoming = Incoming(connection)
    while True:
        connection.recv(1, socket.MSG_PEEK)
        request = incoming.receive()
        if request is not None:
            break
    stats = tuple(os.fstat(fd) for fd in incoming.descriptors)
    while incoming.descriptors:
        os.close(incoming.descriptors.pop())
    return request, stats
