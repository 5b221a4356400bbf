"""`cni-cnm network`: the networks on this host, of every frontend."""

from __future__ import annotations

import json
from typing import Any

from cni_cnm import validate
from cni_cnm.cli.listing import PART, PREFIX, Column, Listing
from cni_cnm.cli.names import each
from cni_cnm.cnm.network import cluster_networks
from cni_cnm.cnm.overlay_record import is_overlay, network_of
from cni_cnm.cnm.overlay_record import lost as lost_blocks
from cni_cnm.drivers import DEFAULT
from cni_cnm.errors import CnmError, InvalidConfig
from cni_cnm.frontend.stderr import say
from cni_cnm.ipam import BUILT_IN
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

    create = verbs.add_parser("create", help="create a network")
    create.add_argument("name")
    create.add_argument(
        "--driver", default=DEFAULT, help=f"network driver, or a Docker plugin's name (default: {DEFAULT})"
    )
    create.add_argument("--ipam", metavar="TYPE", help="where addresses come from (default: host-local)")
    create.add_argument(
        "--ipam-opt", action="append", default=[], metavar="KEY=VALUE", help="option for an IPAM plugin"
    )
    create.add_argument(
        "--subnet", action="append", default=[], help="CIDR, once for each IP family (default: from the pools)"
    )
    create.add_argument(
        "--gateway", action="append", default=[], help="gateway address of the subnet at the same position"
    )
    create.add_argument("--ipv6", action="store_true", help="choose an IPv6 subnet too, where no --subnet is given")
    create.add_argument("--internal", action="store_true", help="no default route, no masquerade")
    create.add_argument(
        "--allow-overlap", action="store_true", help="allow a subnet that overlaps with another network or the host"
    )
    create.add_argument(
        "-o",
        "--opt",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="driver option, such as parent=eth0 or block=24",
    )
    create.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="metadata")
    create.set_defaults(verb=create_network)

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


def create_network(arguments: argparse.Namespace) -> None:
    ranges = _ranges(arguments.subnet, arguments.gateway)
    from_plugin = arguments.ipam not in (None, *BUILT_IN)
    if arguments.ipv6 and ranges and not from_plugin and not any(":" in subnet for subnet in arguments.subnet):
        raise InvalidConfig(
            "--ipv6 chooses an IPv6 subnet where none is given, and --subnet is given",
            hint="give an IPv6 --subnet, too",
        )
    if arguments.ipam_opt and not from_plugin:
        raise InvalidConfig("--ipam-opt is for an IPAM plugin", hint="name it with --ipam")
    config: dict[str, Any] = {"ranges": ranges} if ranges else {}
    if arguments.ipam_opt:
        config["options"] = _pairs(arguments.ipam_opt, "--ipam-opt")
    options: dict[str, Any] = {"profile": "cnm", "labels": _pairs(arguments.opt, "--opt")}
    if arguments.ipv6:
        options["enableipv6"] = True
    try:
        network = open_controller().new_network(
            arguments.name,
            driver=arguments.driver,
            ipam_type=arguments.ipam,
            options=options,
            ipam_config=config,
            internal=arguments.internal,
            labels=_pairs(arguments.label, "--label"),
            allow_overlap=arguments.allow_overlap,
        )
    except CnmError as error:
        error.msg, error.hint = (_as_typed(text, arguments) for text in (error.msg, error.hint))
        raise
    print(network.id)


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


def _ranges(subnets: list[str], gateways: list[str]) -> list[list[dict[str, str]]]:
    """A range set for each subnet; the gateway at the same position, if there is one, is in it."""
    if len(gateways) > len(subnets):
        raise InvalidConfig(f"--gateway {gateways[len(subnets)]} needs the --subnet it is in")
    ranges = []
    for position, text in enumerate(subnets):
        subnet = validate.require(validate.network, text, "--subnet")
        ranges.append([{"subnet": text}])
        if position < len(gateways):
            gateway = validate.require(validate.address, gateways[position], "--gateway")
            if gateway not in subnet:
                raise InvalidConfig(f"--gateway {gateway} is not in --subnet {subnet}")
            ranges[-1][0]["gateway"] = str(gateway)
    return ranges


def _as_typed(text: str, arguments: argparse.Namespace) -> str:
    """A sentence with the words of the command line in place of those of a configuration."""
    import re

    given = " and ".join(flag for flag in ("--subnet", "--gateway", "--ipam") if getattr(arguments, flag[2:]))
    text = re.sub(r"ipam\.ranges\[\d+\]\[0\]\.(gateway|subnet)", r"--\1", text)
    return text.replace("leave out ipam", f"leave out {given}") if given else text


def _pairs(texts: list[str], flag: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise InvalidConfig(f"{flag} {text!r} is not KEY=VALUE")
        pairs[key] = value
    return pairs
