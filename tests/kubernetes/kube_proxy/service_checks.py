"""Who reaches a Service from where, and with which address: the same for real and for recorded rules of kube-proxy.

seen = Callers(…).ask_all(targets)      what each caller's request looks like to the server, by Way
expected(…)                             what it has to be
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.system.node import Node


class Caller(NamedTuple):
    """A pod, a node or a machine beside them, by its network namespace."""

    addresses: tuple[str, str]
    """Its own, IPv4 and IPv6."""
    run: Callable[..., str]
    """Runs a command there: its output, "" if it fails."""

    def ask(self, address: str, port: int, tries: int = 3) -> str:
        """The caller's address as the HTTP server there says it; "" without an answer.

        A first packet may find that a neighbour is not resolved: it is tried again.
        """
        host = f"[{address}]" if ":" in address else address
        url = f"http://{host}:{port}/cgi-bin/who"
        for _ in range(tries):
            if answer := self.run("curl", "--silent", "--globoff", "--max-time", "1", url).split():
                return answer[-1].strip("[]").removeprefix("::ffff:")  # as busybox and Python write it
        return ""


def in_node(node: Node, addresses: tuple[str, str], netns: str = "") -> Caller:
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


def failures(callers: Callers, targets: Targets, *, bridge_nf: bool) -> list[str]:
    """A sentence for each connection that is not as it has to be.

    Without bridge-nf-call-iptables answers inside the bridge do not pass connection tracking: `near` and `itself` then
    have none (docs/install.md).
    """
    wrong: list[str] = []

    def check(what: str, seen: str, right: bool) -> None:
        if not right:
            wrong.append(f"{what}: the server has seen {seen or 'nothing'}")

    for family in (0, 1):
        name = f"IPv{6 if family else 4}"
        web, here, there = targets.web[family], callers.here.addresses[family], callers.there.addresses[family]
        if bridge_nf:
            for who, caller in (("a pod", callers.near), ("the pod itself", callers.itself)):
                seen = caller.ask(web, 80)
                check(f"{name}: {who} to the Service", seen, bool(seen))
            check(
                f"{name}: a pod is seen as itself", seen := callers.near.ask(web, 80), _is(callers.near, seen, family)
            )
        check(
            f"{name}: a pod of another node to the Service",
            seen := callers.far.ask(web, 80),
            _is(callers.far, seen, family),
        )
        for who, caller in (("its node", callers.here), ("another node", callers.there)):
            check(f"{name}: {who} to the Service", seen := caller.ask(web, 80), bool(seen))
        for who, address in (("its node", here), ("another node", there)):
            check(
                f"{name}: from outside to the NodePort of {who}",
                seen := callers.outside.ask(address, targets.node_port),
                bool(seen),
            )
        seen = callers.outside.ask(here, targets.local_port)
        check(f"{name}: from outside, externalTrafficPolicy Local", seen, _is(callers.outside, seen, family))
        if bridge_nf:
            seen = callers.outside.ask(there, targets.local_port, tries=1)
            check(f"{name}: a node without the pod, externalTrafficPolicy Local", seen, not seen)
        seen = callers.outside.ask(here, targets.host_port)
        check(f"{name}: from outside to the hostPort", seen, _is(callers.outside, seen, family))
        for who, caller in (
            ("a pod of another node", callers.far),
            ("its node", callers.here),
            ("another node", callers.there),
        ):
            check(f"{name}: {who} to the hostPort", seen := caller.ask(here, targets.host_port), bool(seen))
    return wrong


def _is(caller: Caller, seen: str, family: int) -> bool:
    return seen == caller.addresses[family]
