"""`cni-cnm endpoint`: what is attached on this host, and to whom it belongs."""

from __future__ import annotations

import json
from typing import Any

from cni_cnm.cli.listing import PREFIX, Column, Listing
from cni_cnm.cli.names import each
from cni_cnm.cnm.objects.endpoint import Endpoint
from cni_cnm.cnm.records import endpoint_records
from cni_cnm.errors import CnmError, InvalidConfig, NoSuchEndpoint
from cni_cnm.frontend.one_line import one_line
from cni_cnm.frontend.stderr import say
from cni_cnm.wiring import open_controller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from cni_cnm.cnm.controller import Controller
    from cni_cnm.cnm.records import EndpointRecord

ENDPOINTS = Listing(
    Column("ID", "ENDPOINT ID", short=12, match=PREFIX),
    Column("Network"),
    Column("Container", short=12, match=PREFIX),
    Column("IfName"),
    Column("Addresses", filter="address"),
    Column("Published", filter="port"),
    Column("Owner"),
    Column("State", styles={"ready": "green", "": "yellow"}),
    Column("MAC", shown=False),
    Column("HostIfName", shown=False),
)


def configure(nouns: Any) -> None:
    parser = nouns.add_parser("endpoint", help="list, show and remove endpoints")
    verbs = parser.add_subparsers(title="verb", metavar="VERB", required=True)

    ls = verbs.add_parser("ls", help="list endpoints")
    ls.add_argument("--network", help="of this network only")
    ENDPOINTS.add_options(ls)
    ls.set_defaults(verb=list_endpoints)

    inspect = verbs.add_parser("inspect", help="show an endpoint's record as JSON")
    inspect.add_argument("endpoint", help="id, the beginning of an id, or a container id")
    inspect.set_defaults(verb=inspect_endpoint)

    rm = verbs.add_parser("rm", help="remove an endpoint whose runtime will not: its interface, addresses and record")
    rm.add_argument("endpoint", nargs="+", help="id, the beginning of an id, or a container id")
    rm.add_argument("--force", action="store_true", help="also if a plugin that has a part in it does not answer")
    rm.set_defaults(verb=remove_endpoints)


def list_endpoints(arguments: argparse.Namespace) -> None:
    controller = open_controller()
    records = [one for one in endpoint_records(controller.host.store) if arguments.network in (None, one.network)]
    names = _names_of_docker(controller, records)
    if arguments.network is not None and not records:
        controller.network(arguments.network)  # there is none, or it has none
    ENDPOINTS.show(arguments, (_row(record, names.get(record.id, "")) for record in records))


def _row(record: EndpointRecord, docker_name: str) -> dict[str, Any]:
    return {
        "id": record.id,
        "network": record.network,
        "container": record.container_id or docker_name or record.name,
        "ifname": record.ifname,
        "addresses": [str(address.interface) for address in record.addresses],
        "published": [port.published() for port in record.ports],
        "owner": record.owner,
        "state": record.state,
        "mac": record.mac,
        "hostifname": record.host_ifname,
    }


def inspect_endpoint(arguments: argparse.Namespace) -> None:
    controller = open_controller()
    found = [Endpoint(controller.host, record) for record in _records(controller, arguments.endpoint)]
    print(json.dumps([_shown(endpoint) for endpoint in found], indent=4))


def remove_endpoints(arguments: argparse.Namespace) -> int:
    controller = open_controller()

    def remove(wanted: str) -> None:
        records = _records(controller, wanted)
        if len(records) > 1 and any(record.container_id != wanted for record in records):
            raise InvalidConfig(f"{wanted!r} is the beginning of {len(records)} endpoint ids", hint="give more of it")
        for record in records:
            for note in Endpoint(controller.host, record).delete(force=True, unanswered=arguments.force):
                say(f"cni-cnm: {note}")
            print(one_line(record.label))

    return each(arguments.endpoint, remove)


def _names_of_docker(controller: Controller, records: Sequence[EndpointRecord]) -> Mapping[str, str]:
    """Names of Docker's containers by the endpoint's id; none where Docker does not answer."""
    networks = {record.docker_network for record in records if record.docker_network}
    if not networks:
        return {}
    from cni_cnm.docker_server.docker_api import DockerApi

    api = DockerApi(controller.host.settings, networks)
    return {one: name for network in networks for one, name in (api.containers(network) or {}).items()}


def _records(controller: Controller, wanted: str) -> list[EndpointRecord]:
    known = endpoint_records(controller.host.store)
    records = [r for r in known if wanted and (r.id.startswith(wanted) or r.container_id == wanted)]
    if not records:
        raise NoSuchEndpoint(f"there is no endpoint {wanted!r}", hint="`cni-cnm endpoint ls` lists them")
    return records


def _shown(endpoint: Endpoint) -> dict[str, Any]:
    """The record, and what a plugin says beside it."""
    shown: dict[str, Any] = endpoint.record.to_json()
    try:
        info = endpoint.info()
    except CnmError as error:
        say(f"cni-cnm: {error}")
        return shown
    return {**shown, "info": dict(info)} if info else shown
