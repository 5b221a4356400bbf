"""`cni-cnm serve`: the resident service, for pods and as Docker's plugin.

Runs until SIGTERM or SIGINT, then finishes the requests in progress.
"""

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
    from cni_cnm.service.activation import DOCKER_SOCKET_PATH, Listener, notify, passed
    from cni_cnm.service.reconcile_watch import ReconcileWatch
    from cni_cnm.service.server import Server

    listener = Listener(arguments.socket, os.environ)
    docker_listener, docker_path = None, arguments.docker_socket or DOCKER_SOCKET_PATH
    if arguments.docker or arguments.docker_socket or passed(os.environ, docker=True) is not None:
        docker_listener = Listener(docker_path, os.environ, docker=True)
    handler = _load(arguments.trace)
    server = Server(listener, handler, trace=arguments.trace)
    docker = None
    if docker_listener is not None:
        from cni_cnm.docker_server.server import Server as DockerServer

        docker = DockerServer(docker_listener.socket, handler.engine, handler.note)
        docker.start()
    watch = ReconcileWatch(handler.engine, handler.note)
    watch.start()
    handler.watches_bridges = watch.is_alive
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _stop(server))
    _settle()
    notify(os.environ, "READY=1")
    places = [(listener, arguments.socket), (docker_listener, docker_path)]
    shown = ["the socket of systemd" if one.passed else path for one, path in places if one is not None]
    sys.stderr.write(f"answering on {' and '.join(dict.fromkeys(shown))}\n")
    sys.stderr.flush()
    server.serve()
    watch.stop()
    if docker is not None and docker_listener is not None:
        docker.stop()
        docker_listener.close()
    return 0


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    from cni_cnm.service.activation import DOCKER_SOCKET_PATH, SOCKET_PATH

    parser.add_argument("--socket", default=SOCKET_PATH, metavar="PATH", help="where to listen (default: %(default)s)")
    parser.add_argument(
        "--docker",
        action="store_true",
        help=f"answer as Docker's network and IPAM plugin, too, on {DOCKER_SOCKET_PATH}",
    )
    parser.add_argument("--docker-socket", default="", metavar="PATH", help="the same, on another socket")
    parser.add_argument("--trace", action="store_true", help="one line a request on stderr, with the time of each step")


def _stop(server: Any) -> None:
    from cni_cnm.service.activation import notify

    notify(os.environ, "STOPPING=1")
    server.stop()


def _load(trace: bool) -> Any:
    """The handler, with everything a request needs imported, so that the first pod is not slower than others."""
    from importlib import import_module

    from cni_cnm.service.handler import Handler

    for module in WARM:
        import_module(module)
    return Handler(trace=trace)


WARM = (
    "cni_cnm.cni.loopback",
    "cni_cnm.cni.result",
    "cni_cnm.cnm.network.ensure_network",
    "cni_cnm.cnm.packet_filter.firewall_reconcile",
    "cni_cnm.cnm.packet_filter.port_listeners",
    "cni_cnm.cnm.requests.attach",
    "cni_cnm.cnm.requests.check",
    "cni_cnm.cnm.requests.collect",
    "cni_cnm.cnm.requests.detach",
    "cni_cnm.cnm.requests.status",
    "cni_cnm.drivers.bridge",
)


def _settle() -> None:
    """Objects of the start stay for good: keep them out of later garbage collections."""
    import gc

    gc.collect()
    gc.freeze()
