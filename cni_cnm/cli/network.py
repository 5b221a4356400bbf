"""`cni-cnm network`: the networks on this host, of every frontend."""

from __future__ import annotations

import json
from typing import Any

from cni_cnm.cli import network_connect, network_create, network_edit
from cni_cnm.cli.listing import PART, PREFIX, Column, Listing
from cni_cnm.cli.names import each
from cni_cnm.cnm.network import cluster_networks
from cni_cnm.cnm.overlay_record import is_overlay, network_of
from cni_cnm.cnm.overlay_record import lost as lost_blocks
from cni_cnm.frontend.stderr import say
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.cnm.objects.network import Network

NETWORKS = Listing(
    Column("ID", "NETWORK ID", short=12, match=PREFIX),
    Column("Name", match=PART),
    Column("Driver"),
    Column("Subnets"),
    Column("Internal", shown=False),
    Column("Labels", shown=False, filter="label"),
)


def configure(nouns: Any) -> None:
    parser = nouns.add_parser("network", help="list, show, create and remove networks")
    verbs = parser.add_subparsers(title="verb", metavar="VERB", required=True)

    ls = verbs.add_parser("ls", help="list networks")
    NETWORKS.add_options(ls)
    ls.set_defaults(verb=list_networks)

    inspect = verbs.add_parser("inspect", help="show a network and its endpoints as JSON")
    inspect.add_argument("network", help="name, id or the beginning of an id")
    inspect.set_defaults(verb=inspect_network)

    network_create.configure(verbs)
    network_edit.configure(verbs)
    network_connect.configure(verbs)

    rm = verbs.add_parser("rm", help="remove networks that have no endpoints")
    rm.add_argument("--force", action="store_true", help="also if its plugin does not answer, or Docker has lost it")
    rm.add_argument("--cluster", action="store_true", help="an overlay network of no other host: for all hosts")
    rm.add_argument("network", nargs="+", help="name, id or the beginning of an id")
    rm.set_defaults(verb=remove_networks)

    for name, help_text, verb in (
        ("allow", "open two networks to each other", allow_networks),
        ("revoke", "close two networks to each other again", revoke_networks),
    ):
        pair = verbs.add_parser(name, help=help_text)
        pair.add_argument("network", help="name, id or the beginning of an id")
        pair.add_argument("other", help="the other network, named likewise")
        pair.set_defaults(verb=verb)


def allow_networks(arguments: argparse.Namespace) -> None:
    open_controller().allow(arguments.network, arguments.other)


def revoke_networks(arguments: argparse.Namespace) -> None:
    open_controller().revoke(arguments.network, arguments.other)


def list_networks(arguments: argparse.Namespace) -> None:
    NETWORKS.show(arguments, map(_summary, open_controller().networks()))


def inspect_network(arguments: argparse.Namespace) -> None:
    controller = open_controller()
    network = controller.network(arguments.network)
    endpoints = {
        endpoint.id: {
            "name": endpoint.name,
            "container": endpoint.record.container_id,
            "ifname": endpoint.record.ifname,
            "owner": endpoint.record.owner,
            "state": endpoint.record.state,
            "mac": endpoint.mac,
            "addresses": [str(address.interface) for address in endpoint.addresses],
            "published": [port.published() for port in endpoint.record.ports],
        }
        for endpoint in network.endpoints()
    }
    options = network.record.options.to_json()
    of_hosts = {"cluster": _cluster(controller, network)} if is_overlay(network.record) else {}
    print(json.dumps({**_summary(network), "options": options, **of_hosts, "endpoints": endpoints}, indent=4))


def remove_networks(arguments: argparse.Namespace) -> int:
    controller = open_controller()

    def remove(name: str) -> None:
        network = controller.network(name)
        for note in network.delete(force=arguments.force):
            say(f"cni-cnm: {note}")
        print(network.name)

    def remove_everywhere(name: str) -> None:
        cluster_networks.refuse_other_hosts(controller.host, name)
        if any(network.name == name for network in controller.networks()):
            remove(name)
        else:
            print(name)
        cluster_networks.delete(controller.host, name)

    return each(arguments.network, remove_everywhere if arguments.cluster else remove)


def _cluster(controller: Controller, network: Network) -> dict[str, Any]:
    """What all hosts have of an overlay network: its values, and each host's blocks."""
    view = cluster_networks.view_or_last_known(controller.host)
    agreed, lost = network_of(network.record), lost_blocks(network.record)
    hosts: dict[str, Any] = {}
    for block in sorted(view.snapshot.blocks.values()):
        if block.network == network.name:
            host = view.snapshot.hosts.get(block.host)
            addresses = [str(address) for address in host.addresses] if host else []
            shown = hosts.setdefault(block.host, {"addresses": addresses, "blocks": []})
            shown["blocks"].append(" ".join(map(str, block.subnets)))
    return {
        "id": agreed.id,
        "vni": agreed.vni,
        "port": agreed.port,
        "direct": agreed.direct,
        "device": network.record.policy.outside,
        "block_sizes": list(agreed.block_sizes),
        "blocks": [" ".join(map(str, block)) for block in network.blocks],
        "lost": {str(subnet): holder for subnet, holder in lost.items()},
        "hosts": hosts,
        "source": view.source,
    }


def _summary(network: Network) -> dict[str, Any]:
    return {
        "id": network.id,
        "name": network.name,
        "driver": network.driver,
        "subnets": _subnets(network),
        "internal": network.record.internal,
        "labels": dict(network.record.labels),
    }


def _subnets(network: Network) -> list[str]:
    return [str(subnet) for subnet in network.subnets]
