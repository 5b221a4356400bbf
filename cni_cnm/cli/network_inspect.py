"""`cni-cnm network inspect`: networks with their endpoints, as JSON.

Keys with a capital letter are Docker's (cli/docker_shapes.py). The others are this program's.
"""

from __future__ import annotations

import json
from typing import Any

from cni_cnm.cli import docker_shapes
from cni_cnm.cli.names import each
from cni_cnm.cnm.network import cluster_networks
from cni_cnm.cnm.network.create_network import network_subnets
from cni_cnm.cnm.overlay_record import is_overlay, network_of
from cni_cnm.cnm.overlay_record import lost as lost_blocks
from cni_cnm.cnm.packet_filter.network_elements import allowed_pairs
from cni_cnm.errors import CnmError
from cni_cnm.find.endpoint_names import NamedEndpoint, named
from cni_cnm.find.networks import docker_names, find_network
from cni_cnm.frontend.stderr import say
from cni_cnm.model import Subnet
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.cnm.objects.network import Network


def configure(verbs: Any) -> None:
    inspect = verbs.add_parser(
        "inspect",
        help="show networks and their endpoints as JSON",
        description="Show networks and their endpoints as JSON. Keys with a capital letter are those of "
        "`docker network inspect`, the others are this program's.",
    )
    inspect.add_argument("network", nargs="+", help="name, id or the beginning of an id")
    inspect.set_defaults(verb=inspect_networks)


def inspect_networks(arguments: argparse.Namespace) -> int:
    controller = open_controller()
    found: dict[str, dict[str, Any]] = {}

    def inspect(name: str) -> None:
        network = find_network(controller, name)
        found[network.id] = _inspected(controller, network)

    code = each(arguments.network, inspect)
    if found:
        print(json.dumps(list(found.values()), indent=4))
    return code


def summary(network: Network, pairs: Sequence[Sequence[str]], names: Mapping[str, str]) -> dict[str, Any]:
    """What `network ls --json` has of a network.

    `pairs`: the names of networks that are open to each other. `names`: Docker's, by its ids.
    """
    record = network.record
    versions = {subnet.version for subnet in network.subnets}
    return {
        "id": network.id,
        "name": network.name,
        "driver": network.driver,
        "subnets": [str(subnet) for subnet in network.subnets],
        "scope": docker_shapes.scope(record),
        "ipv4": 4 in versions,
        "ipv6": 6 in versions,
        "internal": record.internal,
        "created": docker_shapes.created(record),
        "owner": record.owner,
        "docker": [names.get(one, "") or one[:12] for one in record.docker_networks],
        "allowed": sorted(name for pair in pairs if record.name in pair for name in pair if name != record.name),
        "labels": dict(record.labels),
    }


def _inspected(controller: Controller, network: Network) -> dict[str, Any]:
    record = network.record
    endpoints = list(named(controller.host, (endpoint.record for endpoint in network.endpoints())))
    of_hosts = {"cluster": _cluster(controller, network)} if is_overlay(record) else {}
    return {
        **docker_shapes.network(record, _subnets(controller, network), endpoints),
        **summary(network, allowed_pairs(controller.host), docker_names(controller.host, [network])),
        "options": record.options.to_json(),
        "docker_networks": list(record.docker_networks),
        **({"names": _names(controller, network)} if record.names is not None else {}),
        **of_hosts,
        "endpoints": {endpoint.record.id: _endpoint(endpoint) for endpoint in endpoints},
    }


def _endpoint(endpoint: NamedEndpoint) -> dict[str, Any]:
    record = endpoint.record
    return {
        "name": record.name,
        "container": endpoint.container_id,
        "pod": endpoint.pod,
        "ifname": record.ifname,
        "owner": record.owner,
        "state": record.state,
        "mac": endpoint.mac,
        "addresses": [str(address.interface) for address in record.addresses],
        "published": [port.published() for port in record.ports],
        **({"names": list(record.names)} if record.names else {}),
    }


def _names(controller: Controller, network: Network) -> dict[str, Any]:
    """How names are answered, and what is in the way. `server` is a pid, 0 for none."""
    from cni_cnm.cnm.network import name_service
    from cni_cnm.names import server

    host, names = controller.host, network.record.names
    return {
        "domain": names.domain if names else "",
        "servers": list(names.servers) if names else [],
        "server": server.running(host.settings.run_dir, network.name)[0],
        "obstacles": name_service.obstacles(host, network.record),
    }


def _subnets(controller: Controller, network: Network) -> Sequence[Subnet]:
    """With their gateways, if the IPAM can be asked."""
    try:
        return network_subnets(controller.host, network.record) or [Subnet(subnet) for subnet in network.subnets]
    except CnmError as error:
        say(f"cni-cnm: {error}")
        return [Subnet(subnet) for subnet in network.subnets]


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
