"""`cni-cnm network`: the networks on this host, of every frontend."""

from __future__ import annotations

from typing import Any

from cni_cnm.adopt import adoption
from cni_cnm.cli import network_connect, network_create, network_edit, network_inspect, network_names, network_prune
from cni_cnm.cli.listing import PART, PREFIX, Column, Listing
from cni_cnm.cli.names import each
from cni_cnm.cli.network_inspect import summary
from cni_cnm.cnm.network import cluster_networks
from cni_cnm.cnm.packet_filter.network_elements import allowed_pairs
from cni_cnm.conflists import folder
from cni_cnm.find.networks import docker_names, find_network
from cni_cnm.frontend.stderr import say
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from cni_cnm.cnm.controller import Controller


NETWORKS = Listing(
    Column("ID", "NETWORK ID", short=12, match=PREFIX),
    Column("Name", match=PART),
    Column("Driver"),
    Column("Subnets"),
    Column("Scope", shown=False),
    Column("IPv4", shown=False),
    Column("IPv6", shown=False),
    Column("Internal", shown=False),
    Column("CreatedAt", key="created", shown=False),
    Column("Owner", shown=False),
    Column("Docker", shown=False),
    Column("Allowed", shown=False),
    Column("Labels", shown=False, filter="label"),
)


def configure(nouns: Any) -> None:
    parser = nouns.add_parser("network", help="list, show, create and remove networks")
    verbs = parser.add_subparsers(title="verb", metavar="VERB", required=True)

    ls = verbs.add_parser("ls", help="list networks")
    NETWORKS.add_options(ls)
    ls.set_defaults(verb=list_networks)

    network_inspect.configure(verbs)
    network_names.configure(verbs)
    network_create.configure(verbs)
    network_edit.configure(verbs)
    network_connect.configure(verbs)

    rm = verbs.add_parser("rm", help="remove networks that have no endpoints")
    rm.add_argument("--force", action="store_true", help="also if its plugin does not answer, or Docker has lost it")
    rm.add_argument("--cluster", action="store_true", help="an overlay network of no other host: for all hosts")
    rm.add_argument("network", nargs="+", help="name, id or the beginning of an id")
    rm.set_defaults(verb=remove_networks)

    network_prune.configure(verbs)

    for name, help_text, verb in (
        ("allow", "open two networks to each other", allow_networks),
        ("revoke", "close two networks to each other again", revoke_networks),
    ):
        pair = verbs.add_parser(name, help=help_text)
        pair.add_argument("network", help="name, id or the beginning of an id")
        pair.add_argument("other", help="the other network, named likewise")
        pair.set_defaults(verb=verb)


def allow_networks(arguments: argparse.Namespace) -> None:
    controller = open_controller()
    controller.allow(find_network(controller, arguments.network), find_network(controller, arguments.other))


def revoke_networks(arguments: argparse.Namespace) -> None:
    controller = open_controller()
    controller.revoke(find_network(controller, arguments.network), find_network(controller, arguments.other))


def list_networks(arguments: argparse.Namespace) -> None:
    controller = open_controller()
    networks = list(controller.networks())
    pairs, names = allowed_pairs(controller.host), docker_names(controller.host, networks)
    NETWORKS.show(arguments, (summary(network, pairs, names) for network in networks))


def remove_networks(arguments: argparse.Namespace) -> int:
    controller = open_controller()

    def remove(name: str) -> None:
        network = find_network(controller, name)
        for note in network.delete(force=arguments.force):
            say(f"cni-cnm: {note}")
        left = folder.still_configuring(folder.FOLDER, network.name)
        for sentence in (*left, *adoption.after_network_removal(controller.host, network.name)):
            say(f"cni-cnm: {sentence}")
        print(network.name)

    def remove_everywhere(name: str) -> None:
        cluster_networks.refuse_other_hosts(controller.host, name)
        if any(network.name == name for network in controller.networks()):
            remove(name)
        else:
            print(name)
        cluster_networks.delete(controller.host, name)

    code = each(arguments.network, remove_everywhere if arguments.cluster else remove)
    if controller.host.settings.cluster is not None:
        _remove_unused_underlay(controller)
    return code


def _remove_unused_underlay(controller: Controller) -> None:
    """Remove devices, routes and table of overlay networks, if no such network and no agent is left."""
    from contextlib import closing

    from cni_cnm.cluster import status_file
    from cni_cnm.cluster.apply import Applier
    from cni_cnm.cnm.overlay_record import is_overlay
    from cni_cnm.cnm.records import network_records
    from cni_cnm.kernel.overlay_stack import KernelOverlayStack
    from cni_cnm.kernel.setns import own_fd

    host = controller.host
    if status_file.read(host.settings.run_dir) is not None or any(map(is_overlay, network_records(host.store))):
        return
    with closing(KernelOverlayStack(own_fd(), "")) as stack:
        for problem in Applier(stack, host.nft).whole(()).problems:
            say(f"cni-cnm: {problem}")
