"""Holds the host ports of Docker's endpoints, so that a process of the host that wants one is refused.

Docker's own driver does this with its proxy. Here a child process has the sockets (kernel/held_sockets.py). It is
forked before the first thread starts, may do nothing but bind, and ends with its parent. Requests and answers are JSON
on a socket pair:

    ["hold", protocol, address, port]      true, or false if a process of the host has the port
    ["release", protocol, address, port]   true
"""

from __future__ import annotations

import json
import os
import signal
import socket
from threading import Lock
from time import monotonic, sleep

from cni_cnm.cnm.records import READY, endpoint_records
from cni_cnm.kernel import privileges
from cni_cnm.kernel.held_sockets import HeldSockets, Place
from cni_cnm.model import ANY_ADDRESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import NoReturn

    from cni_cnm.cnm.host import Host
    from cni_cnm.model import PortMapping

_MESSAGE_MAX = 4096
_EARLIER_S, _PAUSE_S = 2.0, 0.02


class PortHolder:
    """A HeldPorts (kernel/contract/held_ports.py). `say` writes a line to the log. Any thread may use it."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """Forks. The calling process must have no other thread that holds a lock."""
        self._say = say
        self._lock = Lock()
        self._ended = False
        self._owners: dict[Place, set[str]] = {}
        """Places that are held, and the ids of the endpoints that have them: two of one sandbox during a change."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if not self.pid:
            _serve(theirs)
        theirs.close()

    def close(self) -> None:
        """The child releases everything, and ends."""
        self._socket.close()
        try:
            os.waitpid(self.pid, 0)
        except ChildProcessError:
            pass  # a supervisor has reaped it

    def hold(self, owner: str, port: PortMapping) -> bool:
        places = list(_places(port))
        with self._lock:
            held: list[Place] = []
            for place in places:
                if place not in self._owners and not self._ask("hold", place):
                    for one in held:
                        self._release(one, owner)
                    return False
                held.append(place)
                self._owners.setdefault(place, set()).add(owner)
        return True

    def keep(self, owner: str, ports: Collection[PortMapping]) -> None:
        kept = {place for port in ports for place in _places(port)}
        with self._lock:
            for place in [one for one, owners in self._owners.items() if owner in owners and one not in kept]:
                self._release(place, owner)

    def start(self, host: Host) -> None:
        """Hold what the records say. The child of a service that was killed before this one is about to end."""
        end = monotonic() + _EARLIER_S
        while (refused := self.compare(host)) and monotonic() < end:
            sleep(_PAUSE_S)
        for sentence in refused:
            self._say(f"docker: {sentence}")

    def compare(self, host: Host) -> list[str]:
        """Hold what the records say, and nothing else. Returns a sentence for each port that a process has."""
        records = {one.id: one for one in endpoint_records(host.store) if one.docker_network and one.state == READY}
        with self._lock:
            owners = {owner for known in self._owners.values() for owner in known}
        for owner in owners - records.keys():
            self.keep(owner, ())
        return [
            f"the host port {port} of {record.shown} is in use by a process of the host"
            for record in records.values()
            for port in record.ports
            if not self.hold(record.id, port)
        ]

    def _release(self, place: Place, owner: str) -> None:
        self._owners[place].discard(owner)
        if not self._owners[place]:
            del self._owners[place]
            self._ask("release", place)

    def _ask(self, verb: str, place: Place) -> bool:
        """True as well if the child has ended: then ports are published without being held."""
        try:
            self._socket.send(json.dumps([verb, *place]).encode())
            answer = self._socket.recv(_MESSAGE_MAX)
        except OSError:
            answer = b""
        if not answer and not self._ended:
            self._ended = True
            self._say("docker: host ports are not held any more: the process that holds them has ended")
        return json.loads(answer) is True if answer else True


def _places(port: PortMapping) -> Iterator[Place]:
    """Without an address both IP versions."""
    for address in (port.host_ip,) if port.host_ip is not None else ANY_ADDRESS.values():
        for number in range(port.host_port, port.host_port + port.size):
            yield Place(port.protocol, str(address), number)


def _serve(connection: socket.socket) -> NoReturn:
    """The child: until the parent has ended."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        mine = connection.fileno()
        os.closerange(3, mine)
        os.closerange(mine + 1, os.sysconf("SC_OPEN_MAX"))
        privileges.keep((privileges.NET_BIND_SERVICE,), executes=False)
        held = HeldSockets()
        while message := connection.recv(_MESSAGE_MAX):
            verb, *words = json.loads(message)
            place = Place(*words)
            if verb == "release":
                held.release(place)
            connection.send(json.dumps(verb != "hold" or held.hold(place)).encode())
    finally:
        os._exit(0)
