"""`cni-cnm serve`: the resident service, for pods and as Docker's plugin.

Runs until SIGTERM or SIGINT, then finishes the requests in progress.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentTypeError
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from cni_cnm.service.activation import Listener


def configure(nouns: Any) -> None:
    parser = nouns.add_parser("serve", help="run the resident service that makes pods start faster")
    _add_arguments(parser)
    parser.set_defaults(verb=serve)


def serve(arguments: argparse.Namespace) -> int:
    from cni_cnm.errors import InvalidConfig
    from cni_cnm.service.activation import DOCKER_SOCKET_PATH, Listener, notify, passed
    from cni_cnm.service.processes import Processes
    from cni_cnm.service.supervisor import Supervisor

    if os.getpid() == 1:
        raise InvalidConfig(
            "the service is the first process of its pid namespace, so it cannot tell this run of the host from the "
            "next, and all records would be void",
            hint="let its container see the host's processes: hostPID: true in Kubernetes, or `docker run --pid=host`",
        )
    lingers = bool(arguments.linger)
    if lingers and (arguments.docker or arguments.docker_socket):
        raise InvalidConfig("a service with --linger ends by itself, so it takes no --docker and no --docker-socket")
    if lingers:
        from cni_cnm.service import lingering

        lingering.become_daemon()
    listener = Listener(arguments.socket, {} if lingers else os.environ)
    docker_listener, docker_path = None, arguments.docker_socket or DOCKER_SOCKET_PATH
    from_systemd = not lingers and passed(os.environ, docker=True) is not None
    if arguments.docker or arguments.docker_socket or from_systemd:
        docker_listener = Listener(docker_path, os.environ, docker=True)
    metrics, address = (None, "") if lingers else _metrics()
    listeners = [one for one in (listener, docker_listener, metrics) if one is not None]
    store = _store()
    processes = Processes(
        listener, docker_listener, workers=arguments.workers, trace=arguments.trace, lingers=lingers,
        cluster=not lingers and bool(store), exchanges_names=not lingers and store == "etcd", metrics=metrics,
        metrics_address=address,
    )  # fmt: skip
    processes.prepare()

    def before_stop() -> None:
        notify(os.environ, "STOPPING=1")
        for one in listeners:
            one.close()

    def time_left_s() -> float | None:
        return arguments.linger - processes.page.idle_s() if lingers else None

    locks = [one.lock for one in listeners if one.lock >= 0]
    supervisor = Supervisor(processes.roles(), before_stop, locks, time_left_s, processes.restarted)
    supervisor.start()
    notify(os.environ, "READY=1")
    places = [(listener, arguments.socket), (docker_listener, docker_path)]
    shown = ["the socket of systemd" if one.passed else path for one, path in places if one is not None]
    sys.stderr.write(f"answering on {' and '.join(dict.fromkeys(shown))}\n")
    sys.stderr.flush()
    supervisor.run()
    return 0


def _store() -> str:
    """Of the host's cluster; "" for none, and for settings that cannot be read: each request says why."""
    from cni_cnm.errors import CnmError
    from cni_cnm.settings import load

    try:
        cluster = load().cluster
        return cluster.store if cluster is not None else ""
    except CnmError as error:
        sys.stderr.write(f"there is no agent of a cluster: {error}\n")
        return ""


def _metrics() -> tuple[Listener | None, str]:
    """Where metrics are shown: a socket, and an address or "". Pods are served also where that is not possible."""
    from cni_cnm.errors import CnmError
    from cni_cnm.service.activation import Listener
    from cni_cnm.settings import load

    try:
        settings = load()
        if settings.metrics == "off":
            return None, ""
        address = "" if settings.metrics == "socket" else settings.metrics
        return Listener(f"{settings.run_dir}/metrics.sock", {}), address
    except CnmError as error:
        sys.stderr.write(f"metrics are not shown: {error}\n")
        return None, ""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    from cni_cnm.service.activation import DOCKER_SOCKET_PATH, SOCKET_PATH

    parser.add_argument("--socket", default=SOCKET_PATH, metavar="PATH", help="where to listen (default: %(default)s)")
    parser.add_argument(
        "--docker",
        action="store_true",
        help=f"answer as Docker's network and IPAM plugin, too, on {DOCKER_SOCKET_PATH}",
    )
    parser.add_argument("--docker-socket", default="", metavar="PATH", help="the same, on another socket")
    parser.add_argument(
        "--workers",
        type=_count,
        default=0,
        metavar="N",
        help="processes that answer pods (default: one a processor, up to 4)",
    )
    parser.add_argument(
        "--linger",
        type=_seconds,
        default=0,
        metavar="S",
        help="end after S seconds without calls, as a service that calls have started (the setting `linger`)",
    )
    parser.add_argument("--trace", action="store_true", help="one line a request on stderr, with the time of each step")


def _count(text: str) -> int:
    return _whole(text, 64)


def _seconds(text: str) -> int:
    return _whole(text, 3600)


def _whole(text: str, largest: int) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= largest:
        raise ArgumentTypeError(f"{text!r} is no whole number from 1 to {largest}")
    return int(text)
