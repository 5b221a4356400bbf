"""`cni-cnm serve`: the resident service. Runs until SIGTERM or SIGINT, then finishes what is under way."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def configure(nouns: Any) -> None:
    parser = nouns.add_parser("serve", help="run the resident service that makes pods start faster")
    _add_arguments(parser)
    parser.set_defaults(verb=serve)


def main(argv: list[str]) -> int:
    """The verb by itself; `argv` is what follows `serve`."""
    import argparse

    parser = argparse.ArgumentParser(prog="cni-cnm serve", description=__doc__)
    _add_arguments(parser)
    return serve(parser.parse_args(argv))


def serve(arguments: argparse.Namespace) -> int:
    from cni_cnm.service.activation import Listener, notify
    from cni_cnm.service.server import Server

    listener = Listener(arguments.socket, os.environ)
    door = _warm(arguments.trace)
    server = Server(listener, door, trace=arguments.trace)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _stop(server))
    _settle()
    notify(os.environ, "READY=1")
    sys.stderr.write(f"answering on {'the socket of systemd' if listener.passed else arguments.socket}\n")
    sys.stderr.flush()
    server.serve()
    return 0


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    from cni_cnm.service.activation import SOCKET_PATH

    parser.add_argument("--socket", default=SOCKET_PATH, metavar="PATH", help="where to listen (default: %(default)s)")
    parser.add_argument("--trace", action="store_true", help="one line a request on stderr, with the time of each step")


def _stop(server: Any) -> None:
    from cni_cnm.service.activation import notify

    notify(os.environ, "STOPPING=1")
    server.stop()


def _warm(trace: bool) -> Any:
    """The door, with everything a request needs imported: the first pod is not the slow one."""
    from importlib import import_module

    from cni_cnm.service.door import Door

    for module in WARM:
        import_module(module)
    return Door(trace=trace)


WARM = (
    "cni_cnm.cni.loopback",
    "cni_cnm.cni.result",
    "cni_cnm.cnm.attachment",
    "cni_cnm.drivers.bridge",
)


def _settle() -> None:
    """What start-up made stays for good: the collector need not look at it again."""
    import gc

    gc.collect()
    gc.freeze()
