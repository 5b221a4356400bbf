"""Who reaches a Service from where, and with which address: the same for real and for recorded rules of kube-proxy.

seen = Callers(…).ask_all(targets)      what each caller's request looks like to the server, by Way
expected(…)                             what it has to be
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.system.node import Node

NOBODY, SOMEBODY, ITSELF = "nobody", "somebody", "itself"
"""Whom the server sees: no connection, any address, the caller's own address."""


class Caller(NamedTuple):
    """A pod, a node or a machine beside them, by its network namespace."""

    addresses: tuple[str, ...]
    """Its own, IPv4 first."""
    run: Callable[..., str]
    """Runs a command there: its output, "" if it fails."""

    def ask(self, address: str, port: int, tries: int = 3, wait: float = 1) -> str:
        """The caller's address as the HTTP server there says it; "" without an answer in `wait` seconds.

        A first packet may find that a neighbour is not resolved: it is tried again.
        """
        host = f"[{address}]" if ":" in address else address
        url = f"http://{host}:{port}/cgi-bin/who"
        for _ in range(tries):
            if answer := self.run("curl", "--silent", "--globoff", "--max-time", str(wait), url).split():
                return answer[-1].strip("[]").removeprefix("::ffff:")  # as busybox and Python write it
        return ""


def in_node(node: Node, addresses: tuple[str, ...], netns: str = "") -> Caller:
    def run(*argv: str) -> str:
        done = node.run(*argv, netns=netns, timeout=30)
        return done.out if done.code == 0 else ""

    return Caller(addresses, run)


class Targets(NamedTuple):
    """Where the server is reached: each with both families, and a port."""

    web: tuple[str, str]
    node_port: int
    local_port: int
    """A NodePort with externalTrafficPolicy Local."""
    host_port: int


class Callers(NamedTuple):
    """`here` is the node with the server, `there` another one, `outside` a machine on the nodes' link."""

    itself: Caller
    near: Caller
    """A pod of the server's node."""
    far: Caller
    """A pod of the other node."""
    here: Caller
    there: Caller
    outside: Caller


def failures(callers: Callers, targets: Targets) -> list[str]:
    """A sentence for each connection that is not as it has to be, in both families."""
    itself, near, far, here, there, outside = callers
    wrong: list[str] = []
    for family in (0, 1):
        web = targets.web[family]
        at_here, at_there = here.addresses[family], there.addresses[family]
        ways = [
            ("the pod itself to the Service", itself, web, 80, SOMEBODY),
            ("a pod of its node to the Service", near, web, 80, ITSELF),
            ("a pod of another node to the Service", far, web, 80, ITSELF),
            ("its node to the Service", here, web, 80, SOMEBODY),
            ("another node to the Service", there, web, 80, SOMEBODY),
            ("from outside to the NodePort", outside, at_here, targets.node_port, SOMEBODY),
            ("from outside to the NodePort of another node", outside, at_there, targets.node_port, SOMEBODY),
            ("from outside, externalTrafficPolicy Local", outside, at_here, targets.local_port, ITSELF),
            ("the same, at a node without the pod", outside, at_there, targets.local_port, NOBODY),
            ("from outside to the hostPort", outside, at_here, targets.host_port, ITSELF),
            ("a pod of its node to the hostPort", near, at_here, targets.host_port, SOMEBODY),
            ("a pod of another node to the hostPort", far, at_here, targets.host_port, SOMEBODY),
            ("its node to the hostPort", here, at_here, targets.host_port, SOMEBODY),
            ("another node to the hostPort", there, at_here, targets.host_port, SOMEBODY),
        ]
        for what, caller, address, port, wanted in ways:
            seen = caller.ask(address, port, 1, 0.4) if wanted == NOBODY else caller.ask(address, port)
            found = NOBODY if not seen else ITSELF if seen == caller.addresses[family] else SOMEBODY
            if found != wanted and not (wanted == SOMEBODY and found == ITSELF):
                wrong.append(f"IPv{6 if family else 4}: {what}: the server has seen {seen or 'nothing'}")
    return wrong
