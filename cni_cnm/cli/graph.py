"""`cni-cnm graph`: a picture of this host's networks, for a ticket."""

from __future__ import annotations

import os
from time import gmtime, strftime
from typing import Any

from cni_cnm import __version__
from cni_cnm.cli.listing import write
from cni_cnm.find.networks import find_network
from cni_cnm.graph import dot, scene, svg
from cni_cnm.graph.layout import layout
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

FORMATS = {"svg": svg.draw, "dot": dot.draw}


def configure(nouns: Any) -> None:
    parser = nouns.add_parser(
        "graph",
        help="draw the networks, bridges, endpoints, ports and open pairs of this host",
        description="Write a picture of this host to stdout: networks, bridges, endpoints with their containers and "
        "addresses, published ports, networks that are open to each other, other hosts of the cluster. A browser shows "
        "SVG. Graphviz reads DOT: `neato -n2` keeps the places, `dot` chooses others.",
    )
    parser.add_argument("--format", choices=tuple(FORMATS), default="svg", help="default: svg")
    parser.add_argument("--network", action="append", default=[], help="only this network; may be repeated")
    parser.set_defaults(verb=graph)


def graph(arguments: argparse.Namespace) -> None:
    with open_controller() as controller:
        networks = [find_network(controller, name).name for name in arguments.network]
        cluster = controller.host.cluster
        name = cluster.host().name if cluster else os.uname().nodename
        seen = scene.read(controller.host, name, networks)
    when = strftime("%Y-%m-%d %H:%M:%S UTC", gmtime())
    picture = layout(seen, f"{when} · cni-cnm {__version__}")
    write(FORMATS[arguments.format](picture).rstrip("\n"))
