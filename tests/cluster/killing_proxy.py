"""A TCP proxy that kills connections at random, to a port on loopback.

with KillingProxy(port) as proxy:       proxy.url, proxy.killed
"""

from __future__ import annotations

import random
import select
import socket
import threading
from contextlib import suppress
from typing import Self

_EVERY = 4
"""About one in so many transfers is the last one of its connection."""


class KillingProxy:
    def __init__(self, port: int, seed: int = 14) -> None:
        self._port = port
        self._random = random.Random(seed)
        self.killed = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                thread = threading.Thread(target=self._carry, args=(near,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _carry(self, near: socket.socket) -> None:
        """Carry until one side ends, or until chance ends both: before or after a transfer, or within it."""
        with near, socket.create_connection(("127.0.0.1", self._port)) as far, suppress(OSError):
            while True:
                for source in select.select([near, far], [], [], 30)[0]:
                    target = far if source is near else near
                    data = source.recv(1 << 16)
                    if not data:
                        return
                    fate = self._random.randrange(_EVERY * 3)
                    if fate == 0:
                        self.killed += 1
                        return
                    target.sendall(data[: len(data) // 2] if fate == 1 else data)
                    if fate in (1, 2):
                        self.killed += 1
                        return
