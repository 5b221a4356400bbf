"""A TCP connection to a container that is to stay open: a message every 20 ms, and its echo.

connection = OpenConnection(node, "/run/netns/c1", "10.88.0.2")     from the host, or from the namespace `client`
connection.lives()                                                  AssertionError unless messages still go through
connection.close()
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from tests.system.daemon import Daemon
from tests.waiting import until

if TYPE_CHECKING:
    from tests.system.node import Node

PORT = 7777
SERVER = """
import socket, sys
connection, _ = socket.create_server(("", int(sys.argv[1]))).accept()
while part := connection.recv(4096):
    connection.sendall(part)
"""
CLIENT = """
import socket, sys, time
for _ in range(200):
    try:
        connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
        break
    except OSError:
        time.sleep(0.05)
connection.settimeout(20)
number = 0
while True:
    number += 1
    sent = number.to_bytes(8, "big")
    connection.sendall(sent)
    got = b""
    while len(got) < 8:
        got += connection.recv(8 - len(got)) or sys.exit("the connection has ended")
    assert got == sent
    print(number, flush=True)
    time.sleep(0.02)
"""


class OpenConnection:
    def __init__(self, node: Node, server: str, address: str, *, client: str = "", port: int = PORT) -> None:
        self._server = Daemon(node, "nsenter", f"--net={server}", sys.executable, "-c", SERVER, str(port))
        place = ["nsenter", f"--net={client}"] if client else []
        log = f"/run/connection-{port}.log"
        self._client = Daemon(node, *place, sys.executable, "-c", CLIENT, address, str(port), log=log)
        self.lives()

    @property
    def messages(self) -> int:
        """That have come back so far."""
        return self._client.log().count("\n") if self._client.running else -1

    def lives(self) -> None:
        before = max(self.messages, 0)
        until(lambda: self.messages != -1 and self.messages > before + 1, "the connection lives", 30, self._client.log)

    def close(self) -> None:
        for end in (self._client, self._server):
            end.stop(signal.SIGKILL)
