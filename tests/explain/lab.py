"""A host with networks of ours, made by CNI calls in this process, and datagrams that are really sent.

`explain` is asked first. Then the datagram is sent: its receiver notes it and answers from the address that was asked.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from pathlib import Path
from typing import Any, NamedTuple

from cni_cnm.cni.plugin import handle
from cni_cnm.explain.explanation import Explanation, explain
from cni_cnm.explain.question import OUTSIDE, Asked, questions
from cni_cnm.explain.world import World
from cni_cnm.settings import Settings
from cni_cnm.wiring import open_controller
from tests.kernel.lab import Lab, Namespace

PORT = 5353
"""Every receiver waits on it."""
OUTSIDE_HOSTS = {4: "192.0.2.9", 6: "2001:db8:9::9"}
HOST_ADDRESSES = {4: "192.0.2.1", 6: "2001:db8:9::1"}
_WAIT_S = 0.35
"""After which a datagram counts as dropped: an address of IPv6 is asked for within this time."""
_PKTINFO = struct.Struct("=I4s4s")
_PKTINFO6 = struct.Struct("=16sI")


class Flow(NamedTuple):
    """Who sends to which address and port, and the words by which explain is asked the same."""

    sender: str
    """A pod's name, `host` or `outside`."""
    target: str
    port: int
    what: str
    asked: dict[str, Any]


class Seen(NamedTuple):
    arrived: str
    """A pod's name, `host` or `outside`; "" for nowhere."""
    answered: bool


class ExplainLab(Lab):
    """`spaces`: pods by name, `host`, and `outside`: another host, by the link wan0."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.settings = Settings(run_dir=str(folder / "run"), state_dir=str(folder / "state"))
        self.folder = folder
        other = self.outside("192.0.2.9/24", "2001:db8:9::9/64", here=("192.0.2.1/24", "2001:db8:9::1/64"))
        self.spaces: dict[str, Namespace] = {"host": self.host, "outside": other}
        self.addresses: dict[tuple[str, int], str] = {}
        self._receivers: dict[socket.socket, str] = {}
        for gateway in OUTSIDE_HOSTS.values():
            self.host.ip(f"route add default via {gateway}")
        for gateway in HOST_ADDRESSES.values():
            other.ip(f"route add default via {gateway}")
        for address in OUTSIDE.values():
            other.ip(f"addr add {address} dev lo")

    def add(self, conf: dict[str, Any], container: str, path: str, runtime: dict[str, Any]) -> dict[str, Any]:
        config = {"cniVersion": "1.0.0", "type": "cni-cnm", **conf, "runtimeConfig": runtime}
        config["ipam"] = {**conf["ipam"], "dataDir": str(self.folder / "leases")}
        environ = {
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": container,
            "CNI_NETNS": path,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": "/nowhere",
        }

        def call() -> dict[str, Any]:
            controller = open_controller(self.settings)
            try:
                reply = handle(environ, json.dumps(config).encode, lambda: controller)
            finally:
                controller.close()
            assert reply.code == 0, reply.out
            return dict(json.loads(reply.out)) if reply.out else {}

        return self.host.call(call)

    def attach(self, name: str, conf: dict[str, Any], ports: list[dict[str, Any]] | None = None) -> Namespace:
        self.spaces[name] = space = self.namespace()
        result = self.add(conf, name, space.path, {"portMappings": ports} if ports else {})
        for one in result["ips"]:
            address = one["address"].partition("/")[0]
            self.addresses[name, 6 if ":" in address else 4] = address
        return space

    def allow(self, one: str, other: str) -> None:
        self.host.call(lambda: open_controller(self.settings).allow(one, other))

    def revoke(self, one: str, other: str) -> None:
        self.host.call(lambda: open_controller(self.settings).revoke(one, other))

    def listen(self) -> None:
        """In every namespace, until the lab is closed."""
        self._receivers = {self._receiver(space): name for name, space in self.spaces.items()}

    def close(self) -> None:
        for sock in self._receivers:
            sock.close()
        super().close()

    def explained(self, what: str, **asked: Any) -> list[Explanation]:
        def ask() -> list[Explanation]:
            controller = open_controller(self.settings)
            try:
                with World(controller.host) as world:
                    found = questions(world, controller.host, Asked(what, **asked))
                    return [explain(world, one) for one in found]
            finally:
                controller.close()

        return self.host.call(ask)

    def send(self, flows: list[Flow], wait_s: float = _WAIT_S) -> list[Seen]:
        """All at once, each from a port of its own. `wait_s`: after which what has not come does not come."""
        receivers = self._receivers
        senders: dict[socket.socket, int] = {}
        arrived, answered = dict.fromkeys(range(len(flows)), ""), set[int]()
        for number, flow in enumerate(flows):
            family = socket.AF_INET6 if ":" in flow.target else socket.AF_INET
            sender = self.spaces[flow.sender].socket(family, socket.SOCK_DGRAM)
            senders[sender] = number
            sender.setblocking(False)
            try:
                sender.connect((flow.target, flow.port))
                sender.send(str(number).encode())
            except OSError:
                continue  # no route
        until = time.monotonic() + wait_s
        while len(answered) < len(senders):
            left = max(0.0, until - time.monotonic())
            if not (ready := select.select([*receivers, *senders], [], [], left)[0]):
                break  # what has come is read, also if this process was not run for that long
            for sock in ready:
                try:
                    if sock in receivers:
                        data, peer, own = self._received(sock)
                        arrived[int(data)] = receivers[sock]
                        sock.sendmsg([data], own, 0, peer)
                    else:
                        sock.recv(16)
                        answered.add(senders[sock])
                except OSError:
                    continue
        for sock in senders:
            sock.close()
        return [Seen(arrived[number], number in answered) for number in range(len(flows))]

    @staticmethod
    def _receiver(space: Namespace) -> socket.socket:
        made = space.call(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        made.bind(("::", PORT))
        made.setblocking(False)
        return made

    @staticmethod
    def _received(sock: socket.socket) -> tuple[bytes, Any, list[tuple[int, int, bytes]]]:
        """The datagram, its sender, and what makes the answer come from the address that was asked."""
        data, ancillary, _, peer = sock.recvmsg(16, 256)
        info = [(level, kind, value) for level, kind, value in ancillary if kind == socket.IPV6_PKTINFO]
        return data, peer, [(level, kind, value[:16] + bytes(4)) for level, kind, value in info]
