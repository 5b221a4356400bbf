"""Real etcd servers on loopback: Debian's 3.4, or 3.6 where `scripts/reference etcd` has built it.

server = EtcdServer(tmp_path / "etcd")          one member, ready when the constructor returns
servers = cluster(tmp_path, 3)                  three members
server.url                                      for the settings' `endpoints`
server.stop() · kill() · start()                its data stays
server.pause() · go_on()                        it answers nothing meanwhile
server.gateway("kv/put", {…})                   a request without cni-cnm
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from tests.program import ROOT
from tests.waiting import until


@cache
def program(release: str = "3.4") -> str:
    """The path of etcd; "" if it is missing. etcdutl of 3.6 is beside it."""
    if release == "3.4":
        return shutil.which("etcd") or ""
    done = subprocess.run([ROOT / "scripts/reference", "--built", "etcd"], capture_output=True, text=True, check=False)
    return f"{done.stdout.strip()}/etcd" if done.returncode == 0 else ""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class EtcdServer:
    """One member. `more` are further options of etcd."""

    def __init__(
        self,
        folder: Path,
        *more: str,
        release: str = "3.4",
        name: str = "one",
        peers: str = "",
        peer_port: int = 0,
        tls: Sequence[str] = (),
        wait: bool = True,
    ) -> None:
        """`tls`: options of the client URL, which is https then. `peers`: etcd's --initial-cluster."""
        self.folder = folder
        self.port = free_port()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        peer = f"http://127.0.0.1:{peer_port or free_port()}"
        self._argv = [
            program(release), "--name", name, "--data-dir", str(folder / "data"),
            "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", peers or f"{name}={peer}", *tls, *more,
        ]  # fmt: skip
        if release != "3.4":
            self._argv.append("--unsafe-no-fsync")
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.start(wait=wait)

    def start(self, *, wait: bool = True) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._argv, stdout=log, stderr=log, env={"PATH": os.environ["PATH"]})
        if wait:
            self.wait()

    def wait(self) -> None:
        """Until it takes connections, and, without TLS, has a leader."""
        until(self._ready, "etcd is ready", 30, lambda: (self.folder / "log").read_text(errors="replace")[-2000:])

    def _ready(self) -> bool:
        if self.url.startswith("http:"):
            try:
                return self.gateway("kv/range", {"key": b64("x")})[0] == 200
            except OSError:
                return False
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def stop(self, sig: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(sig)
            self._process.wait(30)
            self._process = None

    def secure(self, options: Sequence[str]) -> None:
        """Start again with these options of TLS, and the same data."""
        before, self.url = self.url, self.url.replace("http:", "https:")
        self._argv = [each.replace(before, self.url) for each in self._argv] + list(options)
        self.start()

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self._process.pid}/task")
        until(
            lambda: all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T" for task in tasks.iterdir()),
            "each thread of etcd is stopped",
        )

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def gateway(self, call: str, request: object, token: str = "") -> tuple[int, Any]:
        """Status and decoded answer of one call of the JSON gateway."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": token} if token else {})
        asked = urllib.request.Request(f"{self.url}/v3/{call}", json.dumps(request).encode(), headers)
        try:
            with urllib.request.urlopen(asked, timeout=5) as answer:
                return answer.status, json.loads(answer.readline())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def put(self, key: str, value: bytes) -> None:
        status, answer = self.gateway("kv/put", {"key": b64(key), "value": b64(value)})
        assert status == 200, answer


def cluster(folder: Path, size: int, *more: str, release: str = "3.4") -> list[EtcdServer]:
    ports = [free_port() for _ in range(size)]
    names = [f"m{number}" for number in range(size)]
    peers = ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in zip(names, ports, strict=True))
    servers = [
        EtcdServer(folder / name, *more, release=release, name=name, peers=peers, peer_port=port, wait=False)
        for name, port in zip(names, ports, strict=True)
    ]
    for server in servers:
        server.wait()
    return servers


def b64(text: str | bytes) -> str:
    return b64encode(text.encode() if isinstance(text, str) else text).decode()
