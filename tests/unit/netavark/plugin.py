"""The plugin on a host whose kernel is in memory, called as netavark calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cni_cnm.cnm.controller import Controller
from cni_cnm.frontend.reply import Reply
from cni_cnm.netavark.plugin import handle
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces
from tests.memory_kernel.nft import MemoryNft

NETNS = "/run/netns/netns-1"


class Plugin:
    def __init__(self, folder: Path) -> None:
        self.namespaces = MemoryNamespaces()
        self.namespaces.create(NETNS)
        self.nft = MemoryNft()
        host = memory_host(folder, self.namespaces, self.nft)
        host.settings = host.settings._replace(port_wait=0)  # no test waits for the holder of a port
        self.controller = Controller(host)

    @property
    def host(self) -> Any:
        return self.namespaces.host()

    def inside(self, netns: str = NETNS) -> Any:
        return self.namespaces.open(netns)

    def call(self, *arguments: str, message: Any = None) -> Reply:
        stdin = message if isinstance(message, bytes) else json.dumps(message).encode()
        return handle(arguments, {}, lambda: stdin, lambda: self.controller)

    def create(self, network: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = answered(self.call("create", message=network))
        return made

    def setup(self, container: dict[str, Any], netns: str = NETNS) -> dict[str, Any]:
        made: dict[str, Any] = answered(self.call("setup", netns, message=container))
        return made

    def teardown(self, container: dict[str, Any], netns: str = NETNS) -> None:
        reply = self.call("teardown", netns, message=container)
        assert (reply.code, reply.out) == (0, b""), reply.out


def answered(reply: Reply) -> Any:
    assert reply.code == 0, reply.out
    return json.loads(reply.out)


def refused(reply: Reply) -> str:
    """The sentence of an error."""
    assert reply.code == 1
    (sentence,) = json.loads(reply.out).values()
    return str(sentence)
