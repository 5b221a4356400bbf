"""`cni-cnm run`: a command in a fresh sandbox on a network, the quickest way to try one."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import Any

from cni_cnm.cli import leftovers
from cni_cnm.cli.network_connect import add_endpoint_options, create_endpoint
from cni_cnm.errors import CnmError, Forbidden, InvalidConfig, TryAgain
from cni_cnm.frontend.stderr import say
from cni_cnm.kernel import commands
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.cnm.objects.network import Network
    from cni_cnm.kernel.commands import Waiting

_NAME_S = 2.0
"""Another command may hold the name for less, while it removes what a killed one left."""


def configure(nouns: Any) -> None:
    parser = nouns.add_parser(
        "run",
        usage="%(prog)s [options] network -- COMMAND [ARGUMENT ...]",
        help="run a command in a fresh sandbox on a network",
        description="Run a command in a network namespace of its own that is joined to a network, and remove the "
        "endpoint afterwards. Only the network is another one: files and users are the host's, /etc/resolv.conf too. "
        "Exit code: the command's, 126 if it cannot be executed, 127 if there is none, 128 + the number of its signal.",
    )
    parser.add_argument("network", help="name, id or the beginning of an id")
    parser.add_argument("--name", default="", help="of the container; another one that runs on the network has another")
    add_endpoint_options(parser)
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="after --, with its arguments")
    parser.set_defaults(verb=run)


def run(arguments: argparse.Namespace) -> int:
    _require_name(arguments.name)
    with open_controller() as controller:
        leftovers.remove(controller.host)
        network = controller.network(arguments.network)
        waiting = commands.start(arguments.command)
        try:
            identity = leftovers.run_name(waiting.pid)
            name = arguments.name or identity
            with ExitStack() as held:
                held.enter_context(leftovers.at_work(controller.host, "", identity))
                try:
                    held.enter_context(leftovers.at_work(controller.host, network.name, name, _NAME_S))
                except TryAgain:
                    raise Forbidden(
                        f"a command with the name {name} runs on the network {network.name}", hint="give another --name"
                    ) from None
                return _run(controller, network, identity, name, waiting, arguments)
        finally:
            waiting.end()


def _require_name(name: str) -> None:
    """InvalidConfig if it could not be answered as a name."""
    from cni_cnm.names import labels

    if name and not labels.is_name(name.lower()):
        raise InvalidConfig(f"--name is {name[:80]!r}, it must be labels of letters, digits, '-' and '_'")


def _run(
    controller: Controller,
    network: Network,
    identity: str,
    name: str,
    waiting: Waiting,
    arguments: argparse.Namespace,
) -> int:
    sandbox = controller.new_sandbox(identity, waiting.namespace)
    try:
        with controller.namespaces.open(waiting.namespace) as stack:
            loopback = stack.link("lo")
            if loopback is not None:
                stack.set_link(loopback.ifindex, up=True)
        endpoint = create_endpoint(network, name, arguments)
        try:
            endpoint.join(sandbox, ifname=arguments.ifname)
            return waiting.run()
        finally:
            for note in endpoint.delete(force=True):
                say(f"cni-cnm: {note}")
    finally:
        with suppress(CnmError):  # it is deleted with its last endpoint
            sandbox.delete()
