"""`cni-cnm probe`: what a kubelet asks of the pod in which the service runs (conf/kubernetes/cni-cnm.yaml).

Exit code 0, or a sentence on stderr with the reason. A kubelet shows it in the events of the pod, or the init container
in its log.
"""

from __future__ import annotations

import os
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_TIMEOUT_S = 5.0


def configure(nouns: Any) -> None:
    parser = nouns.add_parser(
        "probe", help="ask whether the service answers, the cluster's network stands, the settings are right"
    )
    verbs = parser.add_subparsers(title="verb", metavar="VERB", required=True)

    live = verbs.add_parser("live", help="exit code 0 if the service answers")
    live.add_argument("--socket", default="", metavar="PATH", help="where it listens (default: as for `serve`)")
    live.set_defaults(verb=probe_live)

    ready = verbs.add_parser("ready", help="exit code 0 if the data path to the other hosts stands")
    ready.set_defaults(verb=probe_ready)

    read = verbs.add_parser("settings", help="exit code 0 if the settings are right; shows where things are kept")
    read.add_argument("file", nargs="?", default="", metavar="FILE", help="default: the settings of this host")
    read.set_defaults(verb=probe_settings)


def probe_live(arguments: argparse.Namespace) -> None:
    """VERSION is answered also while every thread of a worker is busy, and is not logged."""
    from cni_cnm import settings
    from cni_cnm.service import client
    from cni_cnm.service.protocol import Request

    request = Request({"CNI_COMMAND": "VERSION"}, ["cni-cnm"], b"")
    client.ask(arguments.socket or settings.SERVICE_SOCKET, request, _TIMEOUT_S)


def probe_ready(_arguments: argparse.Namespace) -> None:
    from cni_cnm import settings
    from cni_cnm.cluster import status_file
    from cni_cnm.errors import InvalidConfig, NotReady

    host = settings.load()
    cluster = host.cluster
    if cluster is None:
        raise InvalidConfig("this host belongs to no cluster: its settings have no part [cluster]")
    agent = status_file.read(host.run_dir)
    if agent is None:
        raise NotReady("no agent of the cluster runs here", hint="`cni-cnm serve` starts it; its log says why not")
    if agent.conflict:
        raise NotReady(agent.conflict)
    for name, network in agent.networks.items():
        if not network.ready:
            raise NotReady(f"the network {name} has no data path: {network.why}")
    if cluster.store == "kubernetes" and cluster.network not in agent.networks:
        why = agent.store.why or "; ".join(agent.warnings) or "the agent has just started"
        raise NotReady(f"this node has not joined the network {cluster.network}: {why}")
    if cluster.conflist and not os.path.exists(cluster.conflist):
        raise NotReady(f"{cluster.conflist} is not written yet, so the runtime starts no pods")


def probe_settings(arguments: argparse.Namespace) -> None:
    """For scripts/install, which has no parser of TOML: a line for each value, the key, a space, the value."""
    from cni_cnm import settings

    host = settings.load(arguments.file)
    conflist = host.cluster.conflist if host.cluster else ""
    for key in ("run_dir", "state_dir", "leases_dir"):
        print(key, getattr(host, key))
    if conflist:
        print("conflist", conflist)
